import math
from functools import partial
from inspect import unwrap

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mitsugo.errors import DataError, ModelError, UsageError
from mitsugo.space import metrics
from mitsugo.space.metrics import (
    accuracy,
    confusion_matrix,
    evaluate,
    evaluate_alone,
    most_confidently_wrong,
    vote,
)
from mitsugo.space.retrieval import at_r
from mitsugo.values import Embeddings

CLASSES = ("left", "right")


def embeddings(positions, labels, fingerprint="a" * 64, class_names=CLASSES):
    """A fake model that embeds an image as its place on a line."""
    return Embeddings(
        vectors=np.array(positions, dtype=np.float32)[:, None],
        labels=np.array(labels, dtype=np.int64),
        class_names=class_names,
        names=tuple(f"image {index}" for index in range(len(labels))),
        fingerprint=fingerprint,
    )


def vote_by_loops(row):
    counts = {label: row.count(label) for label in row}
    most = max(counts.values())
    winner = next(label for label in row if counts[label] == most)
    return winner, most / len(row)


@given(
    st.integers(1, 7).flatmap(
        lambda k: st.lists(st.lists(st.integers(0, 3), min_size=k, max_size=k), min_size=1)
    )
)
def test_the_vote_goes_to_the_most_and_a_tie_to_the_nearest(rows):
    predicted, agreement = vote(np.array(rows, dtype=np.int64), classes=4)
    assert list(zip(predicted.tolist(), agreement.tolist(), strict=True)) == [
        vote_by_loops(row) for row in rows
    ]


def test_a_vote_needs_voters_and_classes():
    with pytest.raises(UsageError, match="a vote of 0 neighbours"):
        vote(np.zeros((2, 0), dtype=np.int64), classes=2)
    with pytest.raises(DataError, match="labels run from -1 to 1, expected 0 to 1"):
        vote(np.array([[1, -1]]), classes=2)
    with pytest.raises(DataError, match="labels run from 0 to 2, expected 0 to 1"):
        vote(np.array([[0, 2]]), classes=2)


@pytest.mark.parametrize(
    ("right", "n", "low", "high"), [(8, 10, 0.490, 0.943), (9_800, 10_000, 0.9771, 0.9826)]
)
def test_wilsons_interval(right, n, low, high):
    score = accuracy(np.arange(n) < right)
    assert (score.value, score.n, score.interval) == (right / n, n, "Wilson, 95 %, over images")
    digits = 3 if n == 10 else 4
    assert (round(score.low, digits), round(score.high, digits)) == (low, high)


@pytest.mark.parametrize("n", [1, 3, 7, 10, 1000])
def test_wilsons_interval_solves_its_equation(n):
    """Its ends are the shares p that lie 1.96 standard errors √(p (1 - p) / n) from what was seen."""
    for right in range(0, n + 1, max(1, n // 7)):
        score = accuracy(np.arange(n) < right)
        for end in (score.low, score.high):
            reach = 1.959964 * math.sqrt(end * (1 - end) / n)
            assert abs(score.value - end) == pytest.approx(reach, abs=1e-6)
    assert accuracy(np.zeros(n, dtype=bool)).low == 0.0
    assert accuracy(np.ones(n, dtype=bool)).high == 1.0


def test_an_accuracy_of_nothing_is_refused():
    with pytest.raises(UsageError, match="an accuracy of 0 images"):
        accuracy(np.zeros(0, dtype=bool))


def test_the_confusion_counts_true_by_predicted():
    true, predicted = np.array([0, 0, 2, 2, 2]), np.array([0, 1, 2, 2, 0])
    matrix = confusion_matrix(true, predicted, 3)
    assert matrix.tolist() == [[1, 1, 0], [0, 0, 0], [1, 0, 2]]
    assert matrix.dtype == np.int64
    nothing = np.zeros(0, dtype=np.int64)
    assert confusion_matrix(nothing, nothing, 2).tolist() == [[0, 0], [0, 0]]


def test_a_confusion_with_strange_labels_is_refused():
    with pytest.raises(DataError, match="labels run from 0 to 2"):
        confusion_matrix(np.array([0, 2]), np.array([0, 1]), 2)
    with pytest.raises(DataError, match="labels run from -1 to 1"):
        confusion_matrix(np.array([0, 1]), np.array([-1, 1]), 2)
    with pytest.raises(UsageError, match="2 true labels, 1 predictions"):
        unwrap(confusion_matrix)(np.array([0, 1]), np.array([0]), 2)


def test_the_most_confident_mistakes_come_first():
    wrong = {
        "true": np.array([0, 0, 1, 1, 0, 1]),
        "predicted": np.array([1, 0, 0, 0, 1, 0]),
        "agreement": np.array([0.6, 1.0, 1.0, 0.6, 1.0, 0.6]),
        "nearest_distance": np.array([0.5, 0.1, 0.4, 0.2, 0.3, 0.5], dtype=np.float32),
    }
    assert most_confidently_wrong(**wrong, count=9).tolist() == [4, 2, 3, 0, 5]
    assert most_confidently_wrong(**wrong, count=2).tolist() == [4, 2]
    assert most_confidently_wrong(**wrong, count=0).tolist() == []
    with pytest.raises(UsageError, match="the -1 worst mistakes"):
        most_confidently_wrong(**wrong, count=-1)


GALLERY = embeddings([0, 1, 2, 3, 10, 11, 12, 13], [0, 0, 0, 0, 1, 1, 1, 1])


def test_an_evaluation_that_can_be_worked_out_by_head():
    queries = embeddings([0.25, 1.25, 10.25, 2.25], [0, 0, 1, 1])  # the last stands on the wrong side
    result = evaluate(GALLERY, queries, seed=0)
    assert result.neighbors.indices.tolist() == [
        [0, 1, 2, 3, 4],
        [1, 2, 0, 3, 4],
        [4, 5, 6, 7, 3],
        [2, 3, 1, 0, 4],
    ]
    assert result.neighbors.distances[0].tolist() == [0.25, 0.75, 1.75, 2.75, 9.75]
    assert result.predicted.tolist() == [0, 0, 1, 0]
    assert result.agreement.tolist() == [0.8] * 4
    scores = result.scores
    assert (scores.knn_accuracy.value, scores.precision_at_1.value) == (0.75, 0.75)
    assert scores.confusion.tolist() == [[2, 0], [1, 1]]
    # pairs of one class: 1 and 8; of two: 10, 2, 9 and 1
    assert scores.between_within.value == pytest.approx((22 / 4) / (9 / 2))
    # a and b of each query: 1, 6; 1, 5; 8, 9.5; 8, 1.5
    assert scores.silhouette.value == pytest.approx((5 / 6 + 4 / 5 + 1.5 / 9.5 - 6.5 / 8) / 4)
    # of its class 4 in the gallery, among the nearest 4: 4, 4, 4, and of the last none
    assert (scores.r_precision.value, scores.map_at_r.value) == (0.75, 0.75)
    # and among 5 or more the last finds one: 10 is the fifth
    assert (scores.recall_at_2.value, scores.recall_at_4.value, scores.recall_at_8.value) == (0.75, 0.75, 1.0)
    assert scores.balanced_accuracy is None, "two of each: it is the accuracy"
    assert [(one.recall.value, one.precision.value) for one in scores.per_class] == [(1.0, 2 / 3), (0.5, 1.0)]
    assert {score.n for score in scores.numbers().values()} == {4}


def test_everyone_among_the_others():
    """Two heaps of three at one place each, and a stray: itself is left out by its index, its copies stay."""
    points = embeddings([0, 0, 0, 9, 9, 9, 4], [0, 0, 0, 1, 1, 1, 1])
    result = evaluate_alone(points, seed=0, k=2, query_groups=np.array([0, 0, 1, 1, 2, 2, 3]), ng=["right"])
    assert result.neighbors.indices.tolist() == [[1, 2], [0, 2], [0, 1], [4, 5], [3, 5], [3, 4], [0, 1]]
    assert result.predicted.tolist() == [0, 0, 0, 1, 1, 1, 0]
    scores = result.scores
    assert scores.knn_accuracy.value == 6 / 7
    assert scores.knn_accuracy.groups == 4
    assert scores.balanced_accuracy.value == pytest.approx((1 + 3 / 4) / 2)
    assert (scores.inspection.escapes.count, scores.inspection.escapes.n) == (1, 4)
    assert scores.inspection.groups_with_escapes.n == 3
    assert scores.k == 2


def test_fewer_images_than_voters_are_refused_among_themselves_too():
    with pytest.raises(UsageError, match="a gallery of 5 images; expected 6 or more for the vote of 5"):
        evaluate_alone(embeddings(range(5), [0] * 5), seed=0)
    with pytest.raises(UsageError, match="k = 0 neighbours to vote; expected 1 or more"):
        evaluate_alone(embeddings(range(5), [0] * 5), seed=0, k=0)
    with pytest.raises(UsageError, match="3 groups for 6 queries"):
        evaluate_alone(embeddings(range(6), [0] * 6), seed=0, query_groups=np.zeros(3, np.int64))


def test_of_many_queries_a_sample_tells_how_they_lie_and_it_is_said():
    chance = np.random.default_rng(0)
    many = embeddings(chance.normal(size=400) + 9 * (np.arange(400) % 2), np.arange(400) % 2)
    scores = evaluate(many, many, seed=5, sample=100).scores
    for score in (scores.silhouette, scores.ami):
        assert score.n == 100
        assert score.interval.endswith(", on a sample of 100 of 400 drawn from seed 5")


def test_queries_whose_class_is_not_there_are_wrong_but_have_nothing_to_find():
    queries = embeddings([0.25, 10.25, 1.0], [0, 1, 0])
    gallery = embeddings([0, 1, 2, 3, 4], [0] * 5)
    scores = evaluate(gallery, queries, seed=0).scores
    assert scores.knn_accuracy.value == 2 / 3
    assert (scores.map_at_r.value, scores.map_at_r.n) == (1.0, 2)
    assert scores.map_at_r.interval.endswith("without the 1 queries that have none of their class to find")
    none = evaluate(gallery, embeddings([5, 6], [1, 1]), seed=0).scores
    assert none.map_at_r is None
    assert "map_at_r" not in none.plain()["scores"]
    assert none.plain()["inspection"] is None


def test_very_many_queries_are_sampled_for_what_is_exact_and_it_is_said(monkeypatch):
    monkeypatch.setattr(metrics, "at_r", partial(at_r, work=1))
    chance = np.random.default_rng(0)
    queries = embeddings(chance.normal(size=1_200), np.arange(1_200) % 2)
    scores = evaluate(embeddings(chance.normal(size=20), np.arange(20) % 2), queries, seed=3).scores
    assert scores.map_at_r.n < 1_200
    assert scores.map_at_r.interval.endswith(f"on a sample of {scores.map_at_r.n} of 1200 drawn from seed 3")


def test_precision_at_1_asks_the_nearest_alone():
    gallery = embeddings([0, 5, 6, 7, 8], [0, 1, 1, 1, 1])
    scores = evaluate(gallery, embeddings([0, 0.5, 9, 10], [0, 0, 1, 1]), seed=0).scores
    assert (scores.precision_at_1.value, scores.knn_accuracy.value) == (1.0, 0.5)


def test_what_cannot_be_compared_is_refused():
    queries = ([0, 1, 10, 11], [0, 0, 1, 1])
    with pytest.raises(ModelError, match="embedded by model aaaaaaaaaaaa and the queries by bbbbbbbbbbbb"):
        evaluate(GALLERY, embeddings(*queries, fingerprint="b" * 64), seed=0)
    with pytest.raises(UsageError, match="name their classes differently"):
        evaluate(GALLERY, embeddings(*queries, class_names=("right", "left")), seed=0)
    with pytest.raises(UsageError, match="a gallery of 4 images; expected 5 or more"):
        evaluate(embeddings(*queries), embeddings(*queries), seed=0)
    with pytest.raises(DataError, match="an image without a class neither votes nor is scored"):
        evaluate(GALLERY, embeddings([0, 1, 10, 11], [0, 0, 1, -1]), seed=0)
    with pytest.raises(UsageError, match="an accuracy of 0 images"):
        evaluate(GALLERY, embeddings([], []), seed=0)


def test_what_is_not_defined_for_so_few_images_is_left_out_and_the_accuracy_stands():
    one_a_class = embeddings([0.5, 10.5], [0, 1])
    scores = evaluate(GALLERY, one_a_class, seed=0).scores
    assert (scores.knn_accuracy.value, scores.between_within) == (1.0, None)
    assert "between_within" not in scores.numbers()

"""The nouns are validated at birth, and nothing can be written into them afterwards."""

import dataclasses

import jaxtyping
import numpy as np
import pytest

from mitsugo.errors import DataError, UsageError
from mitsugo.values import Embeddings, Epoch, LabeledImages, Neighbors, Position, Score, Scores, Split

INDICES = {"train": [0, 1, 2], "validation": [3], "test": [4, 5]}


@pytest.fixture
def unhooked(monkeypatch):
    """Switch the shape checks of the tests off: what is left is what a user meets."""
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)


def split(**changes):
    parts = {name: np.array(indices, np.int64) for name, indices in (INDICES | changes).items()}
    return Split(**parts, how="by hand")


def images(**changes):
    fields = {
        "pixels": np.zeros((3, 1, 2, 4), np.uint8),
        "labels": np.array([0, 1, 1]),
        "class_names": ("OK", "NG"),
        "names": ("a", "b", "c"),
    }
    return LabeledImages(**(fields | changes))


def embeddings(**changes):
    fields = {
        "vectors": np.zeros((2, 3), np.float32),
        "labels": np.array([-1, 1]),
        "class_names": ("OK", "NG"),
        "names": ("a", "b"),
        "fingerprint": "f" * 64,
    }
    return Embeddings(**(fields | changes))


def score(value=0.5, low=0.4, high=0.6):
    return Score(value=value, low=low, high=high, n=100, interval="Wilson")


def test_a_split_keeps_its_parts():
    parts = split()
    assert parts.train.tolist() == [0, 1, 2]
    assert not parts.validation_is_test


def test_validation_may_be_the_very_test_images_and_says_so():
    assert split(validation=[4, 5]).validation_is_test
    assert not split(validation=[], test=[]).validation_is_test


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"test": [2, 4]}, "image 2 stands in train and in test"),
        ({"validation": [0]}, "image 0 stands in train and in validation"),
        ({"validation": [4]}, "image 4 stands in validation and in test"),
        ({"train": [1, 1]}, "train has a negative or a repeated index"),
        ({"test": [-1]}, "test has a negative or a repeated index"),
        ({"test": [[4, 5]]}, r"split part test is int64 \(1, 2\), expected int64 \(m,\)"),
    ],
)
def test_a_split_that_leaks_or_repeats_is_refused(changes, message):
    with pytest.raises(DataError, match=message):
        split(**changes)


@pytest.mark.usefixtures("unhooked")
def test_a_split_of_other_integers_is_refused():
    with pytest.raises(DataError, match="split part train is int32"):
        Split(train=np.array([0], np.int32), validation=np.array([1]), test=np.array([2]), how="of int32")


def test_images_know_their_number_and_shape():
    assert (len(images()), images().image_shape) == (3, (1, 2, 4))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"pixels": np.zeros((3, 2, 4), np.uint8)}, r"uint8 \(3, 2, 4\), expected uint8 \(n, c, h, w\)"),
        ({"pixels": np.zeros((2, 1, 2, 4), np.uint8)}, "2 images, .* and 3 names: expected one"),
        ({"labels": np.array([0, 1])}, r"3 images, labels int64 \(2,\) and 3 names"),
        ({"class_names": ("OK", "OK")}, "two classes have the same name"),
        ({"labels": np.array([0, 1, 2])}, "labels run from 0 to 2, but there are 2 class names"),
        ({"labels": np.array([-1, 0, 1])}, "labels run from -1 to 1, but there are 2 class names"),
        ({"groups": np.array([1, 2])}, r"groups are int64 \(2,\), expected int64 \(3,\)"),
        ({"split": split()}, "the split names images beyond the 3 that there are"),
    ],
)
def test_images_that_do_not_fit_together_are_refused(changes, message):
    with pytest.raises(DataError, match=message):
        images(**changes)


@pytest.mark.usefixtures("unhooked")
@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"pixels": np.zeros((3, 1, 2, 4))}, "float64"),
        ({"labels": np.zeros(3, np.int32)}, "labels int32"),
        ({"groups": np.zeros(3)}, "groups are float64"),
    ],
)
def test_images_of_other_types_are_refused(changes, message):
    with pytest.raises(DataError, match=message):
        images(**changes)


def test_images_may_be_none_at_all_and_carry_a_split_and_groups():
    none = images(pixels=np.zeros((0, 1, 2, 4), np.uint8), labels=np.zeros(0, np.int64), names=())
    assert len(none) == 0
    parts = split(train=[0, 1], validation=[2], test=[])
    whole = images(split=parts, groups=np.array([7, 7, 8]))
    assert (whole.split, whole.groups.tolist()) == (parts, [7, 7, 8])


def test_some_images_are_taken_in_their_order_and_without_a_split():
    parts = split(train=[0, 1], validation=[2], test=[])
    pixels = np.arange(24, dtype=np.uint8).reshape(3, 1, 2, 4)
    taken = images(pixels=pixels, split=parts, groups=np.array([7, 7, 8])).take(np.array([2, 0]))
    assert (taken.names, taken.labels.tolist(), taken.groups.tolist()) == (("c", "a"), [1, 0], [8, 7])
    assert np.array_equal(taken.pixels, pixels[[2, 0]])
    assert taken.split is None
    assert images().take(np.array([1])).groups is None


def test_embeddings_know_their_number():
    assert len(embeddings()) == 2


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"vectors": np.zeros((3, 3), np.float32)}, r"float32 \(3, 3\), expected float32 \(2, d\)"),
        ({"vectors": np.zeros(2, np.float32)}, r"float32 \(2,\), expected float32 \(2, d\)"),
        ({"labels": np.array([0])}, r"labels are int64 \(1,\), expected int64 \(2,\)"),
        ({"labels": np.array([0, 2])}, "a label lies outside the 2 class names"),
        ({"labels": np.array([0, -2])}, "a label lies outside the 2 class names"),
        ({"vectors": np.array([[0], [np.nan]], np.float32)}, "embedding of b is not finite"),
        ({"vectors": np.array([[np.inf], [0]], np.float32)}, "embedding of a is not finite"),
    ],
)
def test_embeddings_that_do_not_fit_together_are_refused(changes, message):
    with pytest.raises(DataError, match=message):
        embeddings(**changes)


@pytest.mark.usefixtures("unhooked")
@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"vectors": np.zeros((2, 3))}, "vectors are float64"),
        ({"labels": np.zeros(2, np.int16)}, "labels are int16"),
    ],
)
def test_embeddings_of_other_types_are_refused(changes, message):
    with pytest.raises(DataError, match=message):
        embeddings(**changes)


def test_neighbors_have_one_shape():
    with pytest.raises(UsageError, match=r"indices \(1, 2\) and distances \(2, 1\)"):
        Neighbors(indices=np.zeros((1, 2), np.int64), distances=np.zeros((2, 1), np.float32))
    with pytest.raises(UsageError, match=r"indices \(2,\)"):
        Neighbors(indices=np.zeros(2, np.int64), distances=np.zeros(2, np.float32))


@pytest.mark.parametrize(
    ("value", "array"),
    [(split(), "train"), (images(), "pixels"), (images(), "labels"), (embeddings(), "vectors")],
)
def test_values_cannot_be_changed(value, array):
    with pytest.raises(ValueError, match="read-only"):
        getattr(value, array)[...] = 1
    with pytest.raises(dataclasses.FrozenInstanceError):
        setattr(value, array, None)


def test_the_callers_own_array_stays_writable():
    labels = np.array([0, 1, 1])
    images(labels=labels)
    labels[0] = 1
    assert labels.tolist() == [1, 1, 1]


@pytest.mark.parametrize("bounds", [(0.5, 0.6), (0.3, 0.4), (float("nan"), 1.0)])
def test_a_score_lies_in_its_own_interval(bounds):
    with pytest.raises(UsageError, match=r"score 0\.5 lies outside its own interval"):
        score(low=bounds[0] + 0.01, high=bounds[1])


def test_a_position_begins_at_nothing_and_an_epoch_counts_nothing_that_was_not_said():
    assert set(dataclasses.asdict(Position()).values()) == {0}
    said = {"epoch": 1, "train_loss": 0.5, "validation_loss": 0.25, "learning_rate": 0.1, "images": 8}
    epoch = Epoch(**said, seconds=1.0, core_seconds=2.0)
    assert (epoch.active, epoch.valid, epoch.empty_batches, epoch.metrics) == (0, 0, 0, {})
    with pytest.raises(dataclasses.FrozenInstanceError):
        epoch.active = 1


def test_scores_are_told_as_json_values():
    scores = Scores(
        knn_accuracy=score(0.41),
        precision_at_1=score(0.42),
        silhouette=None,
        between_within=score(0.44),
        confusion=np.array([[3, 1], [0, 2]]),
    )
    plain = scores.plain()
    assert list(plain["scores"]) == ["knn_accuracy", "precision_at_1", "between_within"]
    assert plain["scores"]["knn_accuracy"] == dataclasses.asdict(score(0.41))
    assert plain["confusion"] == [[3, 1], [0, 2]]


def test_scores_list_their_numbers_in_order():
    scores = Scores(
        knn_accuracy=score(0.41),
        precision_at_1=score(0.42),
        silhouette=score(0.43),
        between_within=score(0.44),
        confusion=np.eye(2, dtype=np.int64),
    )
    assert {name: number.value for name, number in scores.numbers().items()} == {
        "knn_accuracy": 0.41,
        "precision_at_1": 0.42,
        "silhouette": 0.43,
        "between_within": 0.44,
    }

"""The estimators in scikit-learn's manner: its own checks, what X becomes, and how rows vote."""

from unittest import SkipTest

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from sklearn.base import clone
from sklearn.datasets import load_digits
from sklearn.exceptions import NotFittedError
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import estimator_checks_generator

from mitsugo import estimators
from mitsugo.errors import DataError, UsageError
from mitsugo.estimators import TripletClassifier, TripletEmbedder
from mitsugo.model.bundle import Model
from mitsugo.recipes import RECIPES
from mitsugo.space.votes import vote
from mitsugo.tasks.rows import pixels_of, range_of, rows_of

QUICK = {"epochs": 1, "dimension": 8}
IMAGES_RULE_OUT: dict[str, str] = {}
"""Names and reasons of the checks that fail: there is none."""
NOT_HERE = ("SCIPY_ARRAY_API is not set", "pandas is not installed")
"""What a check says that stops where the machine has no more to try; what stands before it has passed."""
CHECKS = [
    (estimator, check)
    for made in (TripletClassifier(**QUICK), TripletEmbedder(**QUICK))
    for estimator, check in estimator_checks_generator(made, expected_failed_checks=IMAGES_RULE_OUT)
]


@pytest.fixture(autouse=True, scope="module")
def _on_one_thread(one_thread):
    """Take effect for every test of this file."""


def toy(count=12, classes=3, seed=0):
    """Rows of 16 values, uint8; the four of the class are bright."""
    chance = np.random.default_rng(seed)
    labels = np.arange(count) % classes
    rows = chance.integers(0, 60, (count, 16))
    for row, label in zip(rows, labels, strict=True):
        row[4 * label : 4 * label + 4] += 180
    return rows.astype(np.uint8), labels


@pytest.mark.parametrize(
    ("estimator", "check"),
    CHECKS,
    ids=[f"{type(estimator).__name__}-{number}-{check.func.__name__}" for number, (estimator, check) in
         enumerate(CHECKS)],
)  # fmt: skip
def test_scikit_learns_own_checks_pass(estimator, check):
    stopped = ""
    try:
        check(estimator)
    except SkipTest as reason:
        stopped = str(reason)
    assert not stopped or stopped.startswith(NOT_HERE)


def test_no_check_is_left_out():
    names = {check.func.__name__ for _, check in CHECKS}
    assert {"check_classifiers_train", "check_estimators_pickle", "check_transformer_general"} <= names
    assert len(CHECKS) > 100


def test_images_of_every_layout_are_the_same_images():
    rows, labels = toy()
    images = rows.reshape(-1, 4, 4)
    expected = TripletEmbedder(**QUICK).fit(images, labels)
    assert expected.image_shape_ == (1, 4, 4)
    for layout in (images[:, None], images[..., None], images.tolist()):
        found = TripletEmbedder(**QUICK).fit(np.asarray(layout, np.uint8), labels)
        assert found.model_.fingerprint == expected.model_.fingerprint
    folded = TripletEmbedder(**QUICK, image_shape=(4, 4)).fit(rows, labels)
    assert folded.model_.fingerprint == expected.model_.fingerprint
    vectors = expected.transform(images)
    assert vectors.dtype == np.float32
    assert vectors.shape == (12, 8)
    assert np.array_equal(expected.transform(rows), vectors), "rows are folded as in fit"
    assert np.array_equal(folded.transform(images[..., None]), vectors)


def test_colour_comes_first_or_last():
    rows, labels = toy()
    first = np.stack([rows.reshape(-1, 4, 4), 255 - rows.reshape(-1, 4, 4), rows.reshape(-1, 4, 4) // 2], 1)
    fingerprints = {
        TripletEmbedder(**QUICK).fit(images, labels).model_.fingerprint
        for images in (first, np.moveaxis(first, 1, 3))
    }
    assert len(fingerprints) == 1
    folded = TripletEmbedder(**QUICK, image_shape=(3, 4, 4)).fit(first.reshape(12, 48), labels)
    assert fingerprints == {folded.model_.fingerprint}
    _, shape = rows_of(np.zeros((2, 3, 5, 3)))
    assert shape == (3, 5, 3), "where both could be colour, the first is"


def test_floats_are_mapped_from_the_range_of_fit_and_cut_off_there():
    rows, labels = toy()
    rows[0, 0], rows[1, 1] = 0, 255
    made = TripletEmbedder(**QUICK, image_shape=(4, 4))
    bytes_, floats = clone(made).fit(rows, labels), clone(made).fit(rows / 255 * 4 - 2, labels)
    assert (bytes_.range_, floats.range_) == ((0.0, 255.0), (-2.0, 2.0))
    assert bytes_.model_.fingerprint == floats.model_.fingerprint
    assert np.array_equal(bytes_.transform(rows), floats.transform(rows / 255 * 4 - 2))
    beyond = np.where(rows == 0, -9.0, rows / 255 * 4 - 2)
    assert np.array_equal(floats.transform(beyond), floats.transform(np.maximum(beyond, -2)))
    assert np.array_equal(bytes_.transform(rows.astype(np.int64)), bytes_.transform(rows))


def test_columns_that_are_no_image_have_a_range_each():
    rows, labels = toy()
    units, zero = 10.0 ** np.arange(-8, 8), np.arange(16) - 7.5
    one, other = (TripletEmbedder(**QUICK).fit(X, labels) for X in (rows * 1.0, rows * units + zero * units))
    assert one.model_.fingerprint == other.model_.fingerprint
    assert one.range_[0].tolist() == rows.min(axis=0).tolist()
    constant = rows * (np.arange(16) != 3)
    low, high = range_of(constant * 1.0, is_image=False)
    assert (low[3], high[3]) == (0, 0)
    pixels = pixels_of(constant * 1.0, (low, high))
    assert pixels[:, 3].tolist() == [0] * 12, "a constant column says nothing"
    assert pixels.min(axis=0).tolist() == [0] * 16
    assert np.delete(pixels, 3, axis=1).max(axis=0).tolist() == [255] * 15


@given(
    value=st.floats(-1e308, 1e308),
    ends=st.tuples(st.floats(-1e308, 1e308), st.floats(-1e308, 1e308)).map(sorted),
)
def test_every_number_becomes_a_shade(value, ends):
    low, high = ends
    (found,) = pixels_of(np.array([[value]]), (np.float64(low), np.float64(high)))[0].tolist()
    if value <= low or low / 2 == high / 2:
        assert found == 0
    elif value >= high:
        assert found == 255
    else:
        share = (value / 2 - low / 2) / (high / 2 - low / 2)
        assert abs(found - 255 * share) <= 0.5 + 1e-9


def test_what_lies_nowhere_in_space_takes_an_mlp_and_stays_unchanged():
    rows, labels = toy()
    flat = TripletClassifier(**QUICK).fit(rows, labels).model_
    assert (flat.architecture.name, flat.architecture.image_shape) == ("mlp", (1, 1, 16))
    assert [flat.recipe[name] for name in ("shift", "rotation", "scale", "flip_horizontal")] == [0.0] * 4
    image = TripletClassifier(**QUICK, image_shape=(4, 4)).fit(rows, labels).model_
    assert (image.architecture.name, image.recipe["rotation"]) == ("convnet", 5.0)
    article = TripletClassifier(recipe=RECIPES["article"], **QUICK).fit(rows, labels).model_
    assert (article.recipe["name"], article.recipe["hidden"]) == ("article", [256, 256])
    raw = TripletClassifier(recipe="raw-pixels").fit(rows, labels)
    assert raw.transform(rows).shape == (12, 16)


def test_every_row_votes_once_and_an_only_image_is_found_by_itself():
    rows, labels = toy(count=9)
    labels = np.where(np.arange(9) == 8, 7, labels)  # class 7 has one image, and class 2 two
    classifier = TripletClassifier(**QUICK, k=1).fit(rows, labels)
    assert classifier.classes_.tolist() == [0, 1, 2, 7]
    assert classifier.model_.gallery.labels.tolist() == [0, 1, 2, 0, 1, 2, 0, 1, 3]
    assert np.allclose(classifier.model_.gallery.vectors, classifier.transform(rows), atol=1e-6)
    assert classifier.predict(rows).tolist() == labels.tolist()


def test_validation_images_are_carved_and_vote_again():
    rows, labels = toy(count=60)
    classifier = TripletClassifier(**QUICK).fit(rows, labels)
    assert classifier.model_.recipe["validation_share"] == 0.1
    assert len(classifier.model_.gallery) == 60
    few = TripletClassifier(**QUICK).fit(rows[:9], labels[:9])
    assert (few.model_.recipe["validation_share"], few.model_.recipe["keep"], few.model_.k) == (0, "last", 5)


@given(st.integers(1, 12).flatmap(lambda k: st.lists(st.lists(st.integers(0, 3), min_size=k, max_size=k),
                                                     min_size=1, max_size=5)))  # fmt: skip
def test_shares_are_the_weighted_votes_and_decide_as_the_vote_does(voters):
    labels = np.array(voters)
    shares = estimators._shares(labels, 4)
    for row, found in zip(voters, shares, strict=True):
        votes = [0.0] * 4
        for rank, label in enumerate(row, start=1):
            votes[label] += 1 + 2**-rank
        assert found == pytest.approx([share / sum(votes) for share in votes])
    assert shares.sum(axis=1) == pytest.approx(1)
    assert shares.argmax(axis=1).tolist() == vote(labels, 4)[0].tolist()


def test_fewer_rows_than_k_vote_together():
    rows, labels = toy(count=6, classes=2)
    shares = TripletClassifier(**QUICK, k=50).fit(rows, labels).predict_proba(rows[:1])
    votes = sorted(1 + 2.0**-rank for rank in range(1, 7))
    assert shares.sum() == pytest.approx(1)
    assert 3 / sum(votes) < shares[0, 0] < sum(votes[3:]) / sum(votes) + 1e-12


def test_the_same_state_gives_the_same_bits_and_no_global_chance_is_touched():
    rows, labels = toy()
    np.random.seed(3)  # noqa: NPY002 - the global chance is what is looked at
    before = np.random.get_state()[1].copy(), torch.get_rng_state()  # noqa: NPY002 - likewise

    def fingerprint(state):
        return TripletEmbedder(**QUICK, random_state=state).fit(rows, labels).model_.fingerprint

    zero = fingerprint(0)
    assert fingerprint(None) == zero == fingerprint(np.int64(0))
    assert fingerprint(1) != zero
    assert fingerprint(np.random.RandomState(4)) == fingerprint(np.random.RandomState(4))
    assert np.array_equal(np.random.get_state()[1], before[0])  # noqa: NPY002 - likewise
    assert torch.equal(torch.get_rng_state(), before[1])


def test_labels_of_any_kind_come_back():
    rows, labels = toy()
    names = np.array(["不良", "OK", "b c"])[labels]
    classifier = TripletClassifier("raw-pixels", k=1)
    assert classifier.fit(rows, names).predict(rows).tolist() == names.tolist()
    assert classifier.model_.class_names == ("OK", "b c", "不良")
    assert classifier.fit(rows, labels > 0).predict(rows).tolist() == (labels > 0).tolist()
    assert classifier.fit(rows, labels - 5).predict(rows).tolist() == (labels - 5).tolist()


def test_digits_in_a_pipeline_a_search_and_folds():
    rows, labels = (part[:600] for part in load_digits(return_X_y=True))
    classifier = TripletClassifier(epochs=30, dimension=16)
    scaled = make_pipeline(StandardScaler(), classifier)
    assert cross_val_score(scaled, rows, labels, cv=2).mean() > 0.75
    search = GridSearchCV(classifier, {"k": np.array([1, 300]), "epochs": np.array([30])}, cv=2).fit(
        rows, labels
    )
    assert search.best_params_ == {"k": 1, "epochs": 30}, "300 of 300 rows vote for the same class always"
    embedded = make_pipeline(TripletEmbedder(epochs=30, dimension=16), KNeighborsClassifier(3))
    assert embedded.fit(rows[:400], labels[:400]).score(rows[400:], labels[400:]) > 0.75
    copy = clone(search.best_estimator_)
    assert copy.get_params() == {**classifier.get_params(), "k": 1}
    assert not hasattr(copy, "model_")


def test_columns_have_names_and_the_model_can_be_kept(tmp_path):
    rows, labels = toy()
    embedder = TripletEmbedder(epochs=1, dimension=2).fit(rows, labels)
    assert embedder.get_feature_names_out().tolist() == ["tripletembedder0", "tripletembedder1"]
    assert TripletClassifier(**QUICK).fit(rows, labels).get_feature_names_out().size == 8
    embedder.model_.save(tmp_path / "rows.mitsugo")
    kept = Model.load(tmp_path / "rows.mitsugo")
    assert np.array_equal(kept.embed(rows.reshape(-1, 1, 1, 16)), embedder.transform(rows))


@pytest.mark.parametrize(
    ("parameters", "error", "message"),
    [
        ({"recipe": "nonsense"}, UsageError, "--recipe nonsense: there is no such recipe"),
        ({"margin": -1.0}, UsageError, "--margin is -1.0, expected a positive number"),
        ({"image_shape": (4, 5)}, UsageError, r"image_shape \(4, 5\): 20 values, but a row of X has 16"),
        ({"image_shape": (16,)}, UsageError, r"image_shape \(16,\): expected \(h, w\) or \(c, h, w\)"),
        ({"random_state": -1}, UsageError, "random_state -1: expected 0 or more"),
        ({"random_state": "x"}, ValueError, "cannot be used to seed"),
        ({"image_shape": "big"}, UsageError, r"image_shape big: expected \(h, w\) or \(c, h, w\)"),
        ({"image_shape": (4, -4)}, UsageError, r"image_shape \(4, -4\): expected \(h, w\) or \(c, h, w\)"),
        ({"recipe": 5}, UsageError, "--recipe 5: there is no such recipe"),
        ({"epochs": "many"}, UsageError, "'?epochs'?: input should be a valid integer"),
        ({"k": "5"}, UsageError, "k = 5 neighbours: expected 1 or more"),
        ({"k": 0}, UsageError, "k = 0 neighbours: expected 1 or more"),
        ({"device": "abacus"}, UsageError, "--device abacus: there is none on this machine"),
        ({"recipe": "raw-pixels", "epochs": 3}, UsageError, "raw-pixels trains nothing"),
    ],
)
def test_parameters_that_cannot_be_meant_are_refused(parameters, error, message):
    rows, labels = toy()
    with pytest.raises(error, match=message):
        TripletClassifier(**parameters).fit(rows, labels)


def test_images_that_cannot_be_used_are_refused():
    rows, labels = toy()
    embedder = TripletEmbedder(**QUICK)
    with pytest.raises(DataError, match=r"X is 12 x 1 x 1 x 1 x 16, expected rows \(n, features\) or images"):
        embedder.fit(rows.reshape(12, 1, 1, 1, 16), labels)
    with pytest.raises(DataError, match="all of one class"):
        embedder.fit(rows, labels * 0)
    with pytest.raises(DataError, match="there are 4 training images: .*collect 5 or more"):
        embedder.fit(rows[:4], [0, 0, 1, 1])
    with pytest.raises(DataError, match=r"all \d+ pixels of \d+ images are 0: expected images that differ"):
        embedder.fit(np.full((12, 16), 7.0), labels)
    with pytest.raises(UsageError, match=r"image_shape \(2, 8\): X holds images of 1 x 4 x 4; leave it out"):
        TripletEmbedder(**QUICK, image_shape=(2, 8)).fit(rows.reshape(-1, 4, 4), labels)
    with pytest.raises(ValueError, match="requires y to be passed"):
        embedder.fit(rows)
    with pytest.raises(NotFittedError):
        embedder.transform(rows)
    embedder.fit(rows.reshape(-1, 4, 4), labels)
    with pytest.raises(DataError, match="images are 1 x 2 x 8, expected 1 x 4 x 4 as in fit"):
        embedder.transform(rows.reshape(-1, 2, 8))
    with pytest.raises(ValueError, match="X has 15 features, but TripletEmbedder is expecting 16"):
        embedder.transform(rows[:, 1:])

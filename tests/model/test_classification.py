"""Verdicts on points of the plane, whose neighbours can be worked out by head."""

import math

import numpy as np
import pytest

from mitsugo.errors import DataError, ModelError, UsageError
from mitsugo.model.classification import Queries, inversion_warnings, verdicts
from mitsugo.model.known import joined
from mitsugo.values import Embeddings


def verdict(model, x, y, k):
    (found,) = model.classify(np.array([x, y], np.uint8).reshape(1, 1, 1, 2), ["query"], k)
    return found


def test_the_verdict_names_the_class_the_vote_and_the_neighbors(pixels_model):
    """From (0, 1) it is 1 to (0, 0), 9 to (0, 10) and √101 to (10, 0)."""
    found = verdict(pixels_model, 0, 1, 3)
    assert (found.image, found.label, found.agreement, found.warnings) == ("query", "OK", 1.0, ())
    assert [(neighbor.name, neighbor.label) for neighbor in found.neighbors] == [
        ("0, 0", "OK"),
        ("0, 10", "OK"),
        ("10, 0", "OK"),
    ]
    distances = [neighbor.distance for neighbor in found.neighbors]
    assert distances == pytest.approx([1, 9, math.sqrt(101)], rel=1e-5)


def test_the_majority_outvotes_the_nearest(pixels_model):
    found = verdict(pixels_model, 200, 199, 5)
    assert [neighbor.label for neighbor in found.neighbors] == ["NG", "NG", "OK", "OK", "OK"]
    assert (found.label, found.agreement) == ("OK", 0.6)


def test_a_tied_vote_goes_to_the_class_of_the_nearest(pixels_model):
    """From (100, 106): √18836 to (200, 200), which is NG, then √19216 to (0, 10), which is OK."""
    found = verdict(pixels_model, 100, 106, 2)
    assert [neighbor.name for neighbor in found.neighbors] == ["200, 200", "0, 10"]
    assert (found.label, found.agreement) == ("NG", 0.5)
    assert verdict(pixels_model, 100, 106, 3).label == "OK"


def test_five_neighbors_vote_where_nothing_is_said(pixels_model):
    (found,) = pixels_model.classify(np.ones((1, 1, 1, 2), np.uint8), ["query"])
    assert len(found.neighbors) == 5


def test_a_gallery_smaller_than_k_votes_as_a_whole_and_the_verdict_says_so(pixels_model):
    found = verdict(pixels_model, 0, 1, 6)
    assert len(found.neighbors) == 5
    assert found.warnings == ("the gallery holds 5 images, so 5 voted instead of 6",)


def test_each_image_has_its_own_verdict(pixels_model):
    pixels = np.array([[0, 1], [200, 201]], np.uint8).reshape(2, 1, 1, 2)
    one, other = pixels_model.classify(pixels, ["one", "other"], 1)
    assert (one.image, one.label, one.neighbors[0].name) == ("one", "OK", "0, 0")
    assert (other.image, other.label, other.neighbors[0].name) == ("other", "NG", "200, 200")
    assert [len(found.warnings) for found in (one, other)] == [0, 1]


def test_no_images_have_no_verdicts(pixels_model):
    assert pixels_model.classify(np.zeros((0, 1, 1, 2), np.uint8), []) == ()


def test_an_inverted_image_is_warned_about_before_a_small_gallery(pixels_model):
    """The gallery's mean pixel is 0.325, the image's 199.5 / 255 = 0.782, nearer to 0.675."""
    found = verdict(pixels_model, 200, 199, 9)
    assert found.warnings == (
        "looks inverted: its mean pixel is 0.78, that of the training images 0.33; invert it and try again",
        "the gallery holds 5 images, so 5 voted instead of 9",
    )


@pytest.mark.parametrize(
    ("value", "training_mean", "inverted"),
    [
        (127, 0.13, False),  # 0.498 is nearer to 0.13 than to 0.87
        (128, 0.13, True),  # 0.502 is nearer to 0.87
        (0, 0.13, False),
        (127, 0.87, True),
        (128, 0.87, False),
        (255, 0.39, True),  # |1 - 2 · 0.39| = 0.22 tells
        (255, 0.41, False),  # |1 - 2 · 0.41| = 0.18 does not
        (0, 0.61, True),
        (0, 0.59, False),
        (255, 0.5, False),
    ],
)
def test_an_image_looks_inverted_where_it_is_nearer_to_the_mirrored_mean(value, training_mean, inverted):
    (found,) = inversion_warnings(np.full((1, 1, 2, 2), value, np.uint8), training_mean)
    assert len(found) == inverted


def test_what_cannot_be_asked_is_refused(pixels_model):
    pixels = np.zeros((2, 1, 1, 2), np.uint8)
    with pytest.raises(UsageError, match="k = 0 neighbours: expected 1 or more"):
        pixels_model.classify(pixels, ["a", "b"], 0)
    with pytest.raises(UsageError, match="1 names for 2 images: expected one each"):
        pixels_model.classify(pixels, ["a"])
    with pytest.raises(DataError, match="images are 1 x 2 x 1, the model takes 1 x 1 x 2"):
        pixels_model.classify(pixels.reshape(2, 1, 2, 1), ["a", "b"])


def test_an_empty_gallery_cannot_vote():
    nothing = Embeddings(
        vectors=np.zeros((0, 2), np.float32),
        labels=np.zeros(0, np.int64),
        class_names=("OK",),
        names=(),
        fingerprint="f" * 64,
    )
    one = Queries(
        vectors=np.zeros((1, 2), np.float32),
        statistics=np.zeros((1, 0), np.float32),
        digests=np.zeros((1, 2), np.uint64),
        names=["query"],
        warnings=[()],
    )
    with pytest.raises(ModelError, match="gallery is empty, so nothing can vote"):
        verdicts(one, joined(nothing, np.zeros((0, 2), np.uint64), None, (), 5, None), 5)

from dataclasses import replace

import numpy as np
import pytest

from mitsugo.errors import DataError
from mitsugo.report.content import EpochPoint


def test_arrays_of_a_report_cannot_be_changed(content):
    for array in (content.map.flat, content.map.thumbnails, content.mistakes[0].thumbnail):
        with pytest.raises(ValueError, match="read-only"):
            array[0] = 0


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"flat": np.zeros((24, 3), np.float32)},
            r"map positions are float32 \(24, 3\), expected float32 \(24, 2\)",
        ),
        ({"flat": np.full((24, 2), np.nan, np.float32)}, "not finite"),
        ({"labels": np.zeros(23, np.int64)}, r"map labels are int64 \(23,\), expected int64 \(24,\)"),
        ({"predicted": np.zeros(1, np.int64)}, "map predictions"),
        ({"trust": np.full(24, 1.5)}, "outside 0 to 1"),
        ({"trust": np.full(24, np.nan)}, "outside 0 to 1"),
        ({"thumbnails": np.zeros((24, 8), np.uint8)}, r"expected \(n, c, h, w\)"),
        ({"thumbnails": np.zeros((23, 1, 8, 8), np.uint8)}, "map thumbnails"),
        ({"total": 23}, "shows 24 of 23"),
        ({"trustworthiness": -0.1}, "trustworthiness is -0.1"),
    ],
)
def test_a_map_that_does_not_fit_together_is_refused(points, changes, message):
    with pytest.raises(DataError, match=message):
        replace(points, **changes)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"predicted": 0}, "image-00 was predicted rightly"),
        ({"agreement": 0.0}, "agreement on image-00 is 0.0"),
        ({"neighbors": ()}, "no neighbours"),
        ({"thumbnail": np.zeros((8, 8), np.uint8)}, r"uint8 \(8, 8\), expected uint8 \(c, h, w\)"),
    ],
)
def test_what_is_no_mistake_is_refused(mistake, changes, message):
    with pytest.raises(DataError, match=message):
        replace(mistake, **changes)


@pytest.mark.parametrize("distance", [-1.0, float("nan")])
def test_a_distance_that_is_none_is_refused(mistake, distance):
    with pytest.raises(DataError, match="the distance of near-0"):
        replace(mistake.neighbors[0], distance=distance)


def test_a_point_of_the_curves_is_checked():
    with pytest.raises(DataError, match="the loss of epoch 4 is nan"):
        EpochPoint(epoch=4, train_loss=float("nan"), validation_loss=None)
    with pytest.raises(DataError, match="epoch 0"):
        EpochPoint(epoch=0, train_loss=1.0, validation_loss=None)


def test_a_report_that_does_not_fit_together_is_refused(content, points, mistake):
    with pytest.raises(DataError, match=r"confusion matrix is \(3, 3\) for 2 class names"):
        replace(content, class_names=("a", "b"))
    with pytest.raises(DataError, match="dimension 0"):
        replace(content, dimension=0)
    with pytest.raises(DataError, match="training took -1"):
        replace(content, seconds=-1.0)
    with pytest.raises(DataError, match=r"\[3, 2, 1\], expected ascending"):
        replace(content, history=content.history[::-1])
    with pytest.raises(DataError, match="class 3 in the report"):
        replace(content, map=replace(points, predicted=points.predicted + 1))
    with pytest.raises(DataError, match="class -1 in the report"):
        replace(content, mistakes=(replace(mistake, label=-1),))

"""One mean, one standard deviation: exact when measured, and the formula to the last float32 digit."""

import math
import statistics
import tracemalloc

import hypothesis
import hypothesis.extra.numpy
import numpy as np
import pytest
import torch

from mitsugo.errors import DataError
from mitsugo.model import preprocessing
from mitsugo.model.preprocessing import Preprocessing, mean_pixel, measured, prepare

BYTES = hypothesis.extra.numpy.arrays(
    np.uint8, hypothesis.extra.numpy.array_shapes(min_dims=4, max_dims=4, max_side=4)
)


@pytest.mark.parametrize(
    ("mean", "std"),
    [(0.5, 0.0), (0.5, -1.0), (math.nan, 1.0), (0.5, math.nan), (math.inf, 1.0), (0.5, math.inf)],
)
def test_numbers_that_nothing_can_be_divided_by_are_refused(mean, std):
    with pytest.raises(DataError, match=f"mean {mean} and standard deviation {std}: expected finite"):
        Preprocessing(mean, std)


def test_pixels_become_what_the_formula_says():
    every = torch.arange(256, dtype=torch.uint8).reshape(1, 1, 16, 16)
    found = prepare(every, Preprocessing(0.1307, 0.3081))
    expected = [(value / 255 - 0.1307) / 0.3081 for value in range(256)]
    assert found.dtype == torch.float32
    assert found.flatten().tolist() == pytest.approx(expected, abs=3e-7)


def test_an_images_values_do_not_depend_on_its_place_in_the_batch():
    image = torch.randint(0, 256, (1, 3, 5, 7), dtype=torch.uint8, generator=torch.Generator().manual_seed(1))
    alone = prepare(image, Preprocessing(0.1, 0.3))
    for found in prepare(image.expand(61, -1, -1, -1), Preprocessing(0.1, 0.3)):
        assert torch.equal(found, alone[0])


@pytest.mark.parametrize("kind", [torch.uint8, torch.float32])
def test_the_pixels_stay_as_they_are(kind):
    pixels = torch.full((1, 1, 1, 1), 7, dtype=kind)
    assert prepare(pixels, Preprocessing(0.5, 0.5)).item() == pytest.approx((7 / 255 - 0.5) / 0.5)
    assert pixels.item() == 7


@pytest.mark.parametrize("side", [1, 3, 16, 28])
def test_bytes_and_the_same_values_as_floats_give_the_same_bits(side):
    pixels = torch.randint(
        0, 256, (5, 3, side, side), dtype=torch.uint8, generator=torch.Generator().manual_seed(2)
    )
    preprocessing = Preprocessing(0.1307, 0.3081)
    assert torch.equal(prepare(pixels, preprocessing), prepare(pixels.to(torch.float32), preprocessing))


def test_values_between_the_whole_numbers_are_kept():
    found = prepare(torch.tensor([[[[63.75, 127.5]]]]), Preprocessing(0.25, 0.5))
    assert found.flatten().tolist() == pytest.approx([0.0, 0.5], abs=1e-6)


@hypothesis.given(BYTES)
def test_measured_is_the_mean_and_the_deviation_of_all_values(pixels):
    values = [value / 255 for value in pixels.flatten().tolist()]
    hypothesis.assume(len(set(values)) > 1)
    found = measured(pixels)
    assert found.mean == pytest.approx(statistics.fmean(values), rel=1e-14)
    assert found.std == pytest.approx(statistics.pstdev(values), rel=1e-14)
    assert mean_pixel(pixels) == found.mean


@pytest.mark.parametrize("chunk", [1, 5, 12, 100])
def test_what_is_measured_does_not_depend_on_the_chunks(monkeypatch, chunk):
    pixels = np.arange(3 * 24, dtype=np.uint8).reshape(3, 2, 3, 4)
    expected = measured(pixels)
    monkeypatch.setattr(preprocessing, "CHUNK", chunk)
    assert measured(pixels) == expected
    # 0 to 71: mean 35.5, variance (72² - 1) / 12
    assert expected.mean == pytest.approx(35.5 / 255, rel=1e-15)
    assert expected.std == pytest.approx(math.sqrt((72**2 - 1) / 12) / 255, rel=1e-15)


def test_pixels_that_are_not_contiguous_are_measured_too():
    pixels = np.arange(64, dtype=np.uint8).reshape(4, 1, 4, 4)[::2, :, :, ::3]
    assert mean_pixel(pixels) == pytest.approx(sum(pixels.flatten().tolist()) / pixels.size / 255)


def test_memory_stays_bounded_while_measuring():
    # 20 million values in two bytes of memory; as numbers of 8 bytes they would be 160 MB
    pair = np.array([0, 255], np.uint8)
    many = np.lib.stride_tricks.as_strided(pair, (100, 2, 1000, 100), (0, 1, 0, 0))
    tracemalloc.start()
    assert measured(many) == Preprocessing(0.5, 0.5)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 20e6


@pytest.mark.parametrize("value", [0, 7, 255])
def test_constant_images_are_refused_where_they_are_measured(value):
    with pytest.raises(DataError, match=f"all 8 pixels of 2 images are {value}: expected images that differ"):
        measured(np.full((2, 1, 2, 2), value, np.uint8))
    assert mean_pixel(np.full((2, 1, 2, 2), value, np.uint8)) == value / 255


@pytest.mark.parametrize("shape", [(0, 1, 2, 2), (2, 1, 0, 2)])
def test_no_pixels_cannot_be_measured(shape):
    for measure in (measured, mean_pixel):
        with pytest.raises(DataError, match=f"no pixels to measure in {shape[0]} images"):
            measure(np.zeros(shape, np.uint8))

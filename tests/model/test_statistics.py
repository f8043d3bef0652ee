"""Plain statistics: by hand, and each image's own."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mitsugo.model.statistics import FLOOR, plain_statistics


@settings(max_examples=25)
@given(st.integers(1, 9), st.sampled_from([1, 3]), st.integers(1, 40), st.integers(1, 40), st.integers(0, 99))
def test_they_are_finite_and_each_images_own(count, channels, height, width, seed):
    pixels = np.random.default_rng(seed).integers(0, 256, (count, channels, height, width), np.uint8)
    found = plain_statistics(pixels)
    assert found.shape == (count, 11 * channels + 16)
    assert np.isfinite(found).all()
    alone = np.concatenate([plain_statistics(pixels[i : i + 1]) for i in range(count)])
    assert (found == alone).all()


def test_a_chessboard_by_hand():
    """Half black, half white: mean 1/2, variance 1/4, no skew; every neighbour differs by 1, pooled none."""
    board = (np.indices((8, 8)).sum(axis=0) % 2 * 255).astype(np.uint8)[None, None]
    found = plain_statistics(board)[0]
    assert found[:3] == pytest.approx([0.5, np.log(0.25 + FLOOR), 0], abs=1e-6)
    assert found[3:5] == pytest.approx([np.log(1 + FLOOR)] * 2, abs=1e-6)
    assert found[5:11] == pytest.approx([np.log(FLOOR)] * 6, abs=1e-3)
    assert found[11:] == pytest.approx([0.5] * 16, abs=1e-6)


def test_a_blur_has_less_detail_at_the_finest_scale_and_noise_more():
    chance = np.random.default_rng(0)
    noise = chance.integers(0, 256, (1, 1, 64, 64)).astype(np.uint8)
    smooth = np.kron(noise[:, :, :8, :8], np.ones((8, 8), np.uint8))
    fine = [plain_statistics(one)[0, 3] for one in (noise, smooth)]
    coarse = [plain_statistics(one)[0, 9] for one in (noise, smooth)]
    assert fine[0] > fine[1] + 1
    assert coarse[0] < coarse[1] - 1


def test_no_images_have_none():
    assert plain_statistics(np.empty((0, 3, 8, 8), np.uint8)).shape == (0, 49)

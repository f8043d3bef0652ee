"""What is usual in a gallery, measured where there is little to measure."""

import numpy as np
import pytest

from mitsugo.model.known import measured_gates
from mitsugo.model.statistics import plain_statistics
from mitsugo.values import Embeddings


def gallery_of(count):
    chance = np.random.default_rng(1)
    vectors = chance.standard_normal((count, 3)).astype(np.float32)
    return Embeddings(
        vectors=vectors / np.linalg.norm(vectors, axis=1, keepdims=True),
        labels=np.arange(count) % 2,
        class_names=("left", "right"),
        names=tuple(map(str, range(count))),
        fingerprint="f",
    )


@pytest.mark.parametrize("different", [1, 2, 3, 8])
@pytest.mark.parametrize("count", [2, 8, 40])
def test_copies_of_few_images_have_finite_gates_and_any_other_image_is_unusual(different, count):
    chance = np.random.default_rng(0)
    photos = chance.integers(0, 256, (different, 1, 8, 8)).astype(np.uint8)
    statistics = plain_statistics(photos[np.arange(count) % different])
    gates = measured_gates(gallery_of(count), statistics, np.zeros(count, np.bool_), 5)
    assert np.isfinite(gates.whitener).all()
    assert np.isfinite(gates.units).all()
    blank = plain_statistics(np.zeros((1, 1, 8, 8), np.uint8))
    own = np.linalg.norm((statistics - gates.mean) @ gates.whitener, axis=1)
    assert np.linalg.norm((blank - gates.mean) @ gates.whitener) > 2 * own.max()


def test_the_whitened_statistics_of_many_images_have_no_correlation():
    chance = np.random.default_rng(0)
    mixing = np.eye(5) + 0.3 * chance.random((5, 5))
    statistics = (chance.standard_normal((20_000, 5)) @ mixing).astype(np.float32)
    gates = measured_gates(gallery_of(20_000), statistics, np.ones(20_000, np.bool_), 5)
    white = (statistics - gates.mean) @ gates.whitener
    assert np.cov(white.T) == pytest.approx(np.eye(5), abs=0.05)

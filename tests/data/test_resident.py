"""Pixels lie on the device, or are brought there batch by batch; training cannot tell."""

import numpy as np
import pytest
import torch

from mitsugo.data.resident import Brought, resident
from mitsugo.values import LazyPixels

PIXELS = np.arange(24, dtype=np.uint8).reshape(6, 1, 2, 2)
CPU = torch.device("cpu")


@pytest.fixture
def mapped(tmp_path):
    PIXELS.tofile(tmp_path / "pixels")
    return np.memmap(tmp_path / "pixels", np.uint8, "r", shape=PIXELS.shape)


def test_an_array_becomes_a_tensor_of_its_own():
    tensor = resident(PIXELS, CPU)
    assert isinstance(tensor, torch.Tensor)
    assert tensor.tolist() == PIXELS.tolist()


@pytest.mark.parametrize("kind", ["mapped", "lazy"])
def test_rows_are_brought_when_they_are_asked_for(kind, mapped):
    asked = []

    def read(rows):
        asked.append(rows.tolist())
        return PIXELS[rows]

    far = resident(mapped if kind == "mapped" else LazyPixels(PIXELS.shape, read), CPU)
    assert isinstance(far, Brought)
    assert asked == []
    assert far.index_select(0, torch.tensor([5, 0, 5])).tolist() == PIXELS[[5, 0, 5]].tolist()
    assert asked == ([] if kind == "mapped" else [[5, 0, 5]])
    assert far.device == CPU

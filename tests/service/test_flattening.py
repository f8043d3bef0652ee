"""Laid flat elsewhere is as laid flat here."""

import multiprocessing

import numpy as np
import pytest

from mitsugo.errors import ResourceError
from mitsugo.report.projection import flatten
from mitsugo.service import flattening
from mitsugo.service.flattening import laid_flat


def test_it_is_the_same_to_the_bit():
    vectors = np.random.default_rng(0).normal(size=(40, 5)).astype(np.float32)
    assert np.array_equal(laid_flat(vectors, 3), flatten(vectors, 3))


def test_its_process_ends_with_whoever_asked():
    ours, theirs = multiprocessing.get_context("spawn").Pipe()
    process = multiprocessing.get_context("spawn").Process(target=flattening._work, args=(theirs,))
    process.start()
    theirs.close()
    many = np.random.default_rng(0).normal(size=(20_000, 8)).astype(np.float32)
    ours.send_bytes(flattening.HEADER.pack(*many.shape, 0) + many.tobytes())
    ours.close()
    process.join(30)
    assert process.exitcode == 1


def broken(pipe):
    raise SystemExit(1)


def test_a_process_that_ends_is_told(monkeypatch):
    monkeypatch.setattr(flattening, "_work", broken)
    with pytest.raises(ResourceError, match="the map could not be computed"):
        laid_flat(np.zeros((2, 2), np.float32), 0)

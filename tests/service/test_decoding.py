"""Uploads are decoded elsewhere: what breaks a decoder costs one request, and the next one is answered."""

import asyncio
import os
import signal
import time

import numpy as np
import pytest

from mitsugo.data.images import encode_png
from mitsugo.errors import DataError
from mitsugo.service import decoding
from mitsugo.service.decoding import Decoders, Shape
from mitsugo.values import Framing

GREY = Shape(image_shape=(1, 4, 6), framing=None)
PIXELS = np.arange(24, dtype=np.uint8).reshape(1, 4, 6)


def answered(shape=GREY, *, seconds=20.0, memory=1 << 30, workers=1):
    """Run a test of decoders within an event loop."""

    def run(test):
        async def whole():
            decoders = Decoders(shape, workers=workers, seconds=seconds, memory=memory)
            await decoders.start()
            try:
                return await test(decoders)
            finally:
                decoders.close()

        return asyncio.run(whole())

    return run


def test_an_image_comes_as_the_model_takes_it():
    pixels, notes = answered()(lambda decoders: decoders.decode(encode_png(PIXELS), "a.png"))
    assert np.array_equal(pixels, PIXELS)
    assert notes == ()


def test_an_image_of_another_size_is_resized_and_says_so():
    large = np.repeat(np.repeat(PIXELS, 2, axis=1), 2, axis=2)
    pixels, notes = answered()(lambda decoders: decoders.decode(encode_png(large), "a.png"))
    assert pixels.shape == (1, 4, 6)
    assert notes == ("resized from 12x8 to 6x4",)


def test_photos_are_framed_as_in_training():
    shape = Shape(image_shape=(3, 2, 2), framing=Framing(channels=3, height=2, width=2, fit="pad"))
    pixels, notes = answered(shape)(lambda decoders: decoders.decode(encode_png(PIXELS), "a.png"))
    assert pixels.shape == (3, 2, 2)
    assert notes == ()


def test_what_is_no_image_is_refused_by_its_name_and_the_next_is_answered():
    async def test(decoders):
        with pytest.raises(DataError, match="部品.png: is no JPEG, PNG"):
            await decoders.decode(b"no image", "部品.png")
        return await decoders.decode(encode_png(PIXELS), "a.png")

    assert np.array_equal(answered()(test)[0], PIXELS)


def test_many_images_are_decoded_side_by_side_in_order():
    async def test(decoders):
        each = [np.full((1, 4, 6), value, np.uint8) for value in range(40)]
        return await asyncio.gather(*(decoders.decode(encode_png(one), "a") for one in each))

    found = answered(workers=2)(test)
    assert [int(pixels[0, 0, 0]) for pixels, _ in found] == list(range(40))


def test_a_worker_that_dies_costs_one_request():
    async def test(decoders):
        await decoders.decode(encode_png(PIXELS), "a")
        worker = decoders._workers[0]
        os.kill(worker.process.pid, signal.SIGSTOP)
        waiting = asyncio.create_task(decoders.decode(encode_png(PIXELS), "hit.png"))
        await asyncio.sleep(0.2)
        os.kill(worker.process.pid, signal.SIGKILL)
        with pytest.raises(DataError, match=r"hit.png: breaks the decoder"):
            await waiting
        return await decoders.decode(encode_png(PIXELS), "after.png")

    assert np.array_equal(answered()(test)[0], PIXELS)


def test_a_worker_that_takes_too_long_is_ended():
    async def test(decoders):
        worker = decoders._workers[0]
        os.kill(worker.process.pid, signal.SIGSTOP)
        start = time.perf_counter()
        with pytest.raises(DataError, match=r"slow.png: takes longer than 0.5 s"):
            await decoders.decode(encode_png(PIXELS), "slow.png")
        assert time.perf_counter() - start < 5
        assert not worker.process.is_alive()
        return await decoders.decode(encode_png(PIXELS), "after.png")

    assert np.array_equal(answered(seconds=0.5)(test)[0], PIXELS)


def test_memory_is_bounded():
    wide = np.zeros((1, 6000, 6000), np.uint8)  # decoded 36 MB, as grey, then again

    async def test(decoders):
        with pytest.raises(DataError, match="large.png"):
            await decoders.decode(encode_png(wide), "large.png")
        return await decoders.decode(encode_png(PIXELS), "after.png")

    assert np.array_equal(answered(memory=8 << 20)(test)[0], PIXELS)


def test_an_empty_file_is_refused_by_its_name():
    with pytest.raises(DataError, match="a=b: is empty"):
        answered()(lambda decoders: decoders.decode(b"", "a=b"))


def test_where_there_is_no_forkserver_workers_are_spawned(monkeypatch):
    monkeypatch.setattr(decoding.multiprocessing, "get_all_start_methods", lambda: ["spawn"])
    assert decoding._method() == "spawn"

"""Requests are gathered: while one batch is answered the next waits; they go through the network together.

One thread answers, so the network and the gallery are never asked twice at once; who comes while too many
wait is told to come again.
"""

import asyncio
import contextlib
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Final, Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

__all__ = ["Answers", "Busy", "Image"]

TOGETHER: Final = 64
"""So many images go through the network at once."""
T = TypeVar("T")
S = TypeVar("S")
V = TypeVar("V")
Classify = Callable[[NDArray[np.uint8], Sequence[str], Sequence[tuple[str, ...]]], tuple[S, tuple[V, ...]]]
"""Pixels, names and notes in; a snapshot and a verdict an image out."""


class Busy(Exception):  # noqa: N818 - it is no error of ours
    """Too many requests wait."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Image:
    """A decoded upload.

    Args:
        name: as it was sent.
        pixels: uint8 (c, h, w), as the model takes it.
        notes: what should be known of it.
    """

    name: str
    pixels: NDArray[np.uint8]
    notes: tuple[str, ...]


@dataclass(frozen=True, kw_only=True, eq=False)
class _Waiting(Generic[S, V]):
    images: Sequence[Image]
    future: "asyncio.Future[tuple[S, tuple[V, ...]]]"


class Answers(Generic[S, V]):
    """Verdicts by batches; `run` must be running while they are asked for.

    Args:
        classify: what answers a batch.
        most_waiting: images that may wait; with more, `Busy` is raised.
        seen: hears how many images went together.
    """

    def __init__(self, classify: Classify[S, V], *, most_waiting: int, seen: Callable[[int], None]) -> None:
        self._classify, self._most, self._seen = classify, most_waiting, seen
        self._waiting: list[_Waiting[S, V]] = []
        self._come = asyncio.Event()
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="answer")

    @property
    def waiting(self) -> int:
        """How many images wait."""
        return sum(len(one.images) for one in self._waiting)

    async def verdicts(self, images: Sequence[Image]) -> tuple[S, tuple[V, ...]]:
        """Return a verdict for each image, all from one snapshot.

        Raises:
            Busy: too many wait.
        """
        if self._waiting and self.waiting + len(images) > self._most:
            raise Busy
        future: asyncio.Future[tuple[S, tuple[V, ...]]] = asyncio.get_running_loop().create_future()
        self._waiting.append(_Waiting(images=images, future=future))
        self._come.set()
        return await future

    async def apart(self, work: Callable[[], T]) -> T:
        """Return what some other work with the network gives, between two batches."""
        return await asyncio.get_running_loop().run_in_executor(self._thread, work)

    async def run(self) -> None:
        """Answer until it is cancelled, which is when nobody waits any more."""
        loop = asyncio.get_running_loop()
        with contextlib.suppress(asyncio.CancelledError):
            while True:
                await self._come.wait()
                self._come.clear()
                while self._waiting:
                    batch = self._next()
                    try:
                        found = await asyncio.shield(
                            loop.run_in_executor(self._thread, self._answered, batch)
                        )
                    except Exception as error:  # noqa: BLE001 - whoever asked is told
                        _tell(batch, error)
                    else:
                        for one, answer in zip(batch, found, strict=True):
                            if not one.future.done():
                                one.future.set_result(answer)

    def close(self) -> None:
        """End the thread, once it has answered."""
        self._thread.shutdown(wait=True, cancel_futures=True)

    def _next(self) -> list[_Waiting[S, V]]:
        """Take those that came first, as many as go together; those who went away are let go."""
        self._waiting = [one for one in self._waiting if not one.future.done()]
        batch: list[_Waiting[S, V]] = []
        count = 0
        for one in self._waiting:
            if batch and count + len(one.images) > TOGETHER:
                break
            batch.append(one)
            count += len(one.images)
        self._waiting = self._waiting[len(batch) :]
        return batch

    def _answered(self, batch: Sequence[_Waiting[S, V]]) -> list[tuple[S, tuple[V, ...]]]:
        images = [image for one in batch for image in one.images]
        if not images:
            return []
        self._seen(len(images))
        snapshot, verdicts = self._classify(
            np.stack([image.pixels for image in images]),
            [image.name for image in images],
            [image.notes for image in images],
        )
        found, start = [], 0
        for one in batch:
            found.append((snapshot, verdicts[start : start + len(one.images)]))
            start += len(one.images)
        return found


def _tell(batch: Sequence[_Waiting[S, V]], error: Exception) -> None:
    for one in batch:
        if not one.future.done():
            one.future.set_exception(error)

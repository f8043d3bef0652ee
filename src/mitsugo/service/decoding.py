"""Uploads are decoded by processes of their own: what a decoder does to memory or time costs one request.

A worker is forked from a server process that has the decoders loaded, so that a new one takes milliseconds.
It answers over a pipe, in bytes that we lay out ourselves, and is ended where it takes too long.
"""

import asyncio
import contextlib
import multiprocessing
import struct
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from multiprocessing.connection import Connection
from typing import Final

import numpy as np
from numpy.typing import NDArray

from ..data.framing import decode_as
from ..errors import DataError, MitsugoError, ResourceError
from ..values import Framing

__all__ = ["Decoders", "Shape"]

HEADER: Final = struct.Struct("<3I")
FOUND, FAILED = b"i", b"e"
START_SECONDS: Final = 60.0
MEGABYTE: Final = 1 << 20


@dataclass(frozen=True, kw_only=True)
class Shape:
    """What images are brought to.

    Args:
        image_shape: channels, height and width.
        framing: of the training photos; None where images come as they are, and others are resized.
    """

    image_shape: tuple[int, int, int]
    framing: Framing | None


class Decoders:
    """Worker processes that decode; to be started within a running event loop, and closed.

    Args:
        shape: what images are brought to.
        workers: how many processes.
        seconds: an image that takes longer is refused, and its worker ended.
        memory: bytes that a worker may take beyond what it has at its start.
    """

    def __init__(self, shape: Shape, *, workers: int, seconds: float, memory: int) -> None:
        self._shape, self._seconds, self._memory = shape, seconds, memory
        self._context = multiprocessing.get_context(_method())
        if _method() == "forkserver":
            self._context.set_forkserver_preload([__name__])
        self._workers: list[_Worker | None] = [None] * workers
        self._idle: asyncio.Queue[int] = asyncio.Queue()
        for number in range(workers):
            self._idle.put_nowait(number)
        self._threads = ThreadPoolExecutor(workers, thread_name_prefix="decode")

    async def start(self) -> None:
        """Start the workers, so that the first request need not wait for them."""
        loop = asyncio.get_running_loop()
        await asyncio.gather(
            *(loop.run_in_executor(self._threads, self._worker, n) for n in range(len(self._workers)))
        )

    async def decode(self, content: bytes, name: str) -> tuple[NDArray[np.uint8], tuple[str, ...]]:
        """Return an image as the model takes it, uint8 (c, h, w), and what should be known of it.

        Raises:
            DataError: it is no image that is taken, takes too long, or broke the decoder.
            ResourceError: no worker can be started.
        """
        number = await self._idle.get()
        try:
            loop = asyncio.get_running_loop()
            return await loop.run_in_executor(self._threads, self._decoded, number, content, name)
        finally:
            self._idle.put_nowait(number)

    def close(self) -> None:
        """End the workers."""
        for worker in self._workers:
            if worker is not None:
                worker.end()
        self._threads.shutdown(wait=False, cancel_futures=True)

    def _worker(self, number: int) -> "_Worker":
        worker = self._workers[number]
        if worker is None or not worker.process.is_alive():
            worker = self._workers[number] = _Worker(self._context, self._shape, self._memory)
        return worker

    def _decoded(self, number: int, content: bytes, name: str) -> tuple[NDArray[np.uint8], tuple[str, ...]]:
        worker = self._worker(number)
        try:
            answer = worker.ask(content, name, self._seconds)
        except TimeoutError as error:
            self._lose(number)
            raise DataError(
                f"{name}: takes longer than {self._seconds:g} s to decode; scale it down first"
            ) from error
        except (EOFError, OSError) as error:
            self._lose(number)
            raise DataError(
                f"{name}: breaks the decoder or takes too much memory; save it anew, or scale it down"
            ) from error
        return answer

    def _lose(self, number: int) -> None:
        worker, self._workers[number] = self._workers[number], None
        if worker is not None:
            worker.end()


class _Worker:
    """One process and our end of its pipe."""

    def __init__(self, context: multiprocessing.context.BaseContext, shape: Shape, memory: int) -> None:
        self.pipe, theirs = context.Pipe()
        self.process = context.Process(  # type: ignore[attr-defined]
            target=_work, args=(theirs, shape, memory), daemon=True, name="mitsugo-decoder"
        )
        try:
            self.process.start()
            theirs.close()
            if not self.pipe.poll(START_SECONDS):
                raise ResourceError("no process that decodes could be started in time; try again")
            self.pipe.recv_bytes()
        except OSError as error:
            raise ResourceError(f"no process that decodes can be started: {error.strerror}") from error

    def ask(self, content: bytes, name: str, seconds: float) -> tuple[NDArray[np.uint8], tuple[str, ...]]:
        self.pipe.send_bytes(name.encode("utf-8", "replace"))
        self.pipe.send_bytes(content)
        if not self.pipe.poll(seconds):
            raise TimeoutError
        answer = self.pipe.recv_bytes()
        if answer[:1] == FAILED:
            raise DataError(answer[1:].decode())
        channels, height, width = HEADER.unpack_from(answer, 1)
        end = 1 + HEADER.size + channels * height * width
        pixels = np.frombuffer(answer, np.uint8, end - 1 - HEADER.size, 1 + HEADER.size)
        note = answer[end:].decode()
        return pixels.reshape(channels, height, width), (note,) if note else ()

    def end(self) -> None:
        """End the process at once."""
        self.process.kill()
        self.process.join()
        self.pipe.close()


def _method() -> str:
    return "forkserver" if "forkserver" in multiprocessing.get_all_start_methods() else "spawn"


def _work(pipe: Connection, shape: Shape, memory: int) -> None:
    """Decode what comes in until the other end is closed."""
    _limit(memory)
    pipe.send_bytes(b"ready")
    with contextlib.suppress(EOFError, KeyboardInterrupt, BrokenPipeError, ConnectionResetError):
        while True:
            name = pipe.recv_bytes().decode()
            pipe.send_bytes(_answer(pipe.recv_bytes(), name, shape))


def _answer(content: bytes, name: str, shape: Shape) -> bytes:
    try:
        pixels, notes = decode_as(content, name, shape.image_shape, shape.framing, resize=True)
    except MitsugoError as error:
        return FAILED + str(error).encode()
    except MemoryError:
        return FAILED + f"{name}: takes too much memory to decode; scale it down first".encode()
    return FOUND + HEADER.pack(*pixels.shape) + pixels.tobytes() + "; ".join(notes).encode()


def _limit(memory: int) -> None:
    """Bound what this process may take beyond what it has, and let a signal for the group pass it by."""
    import signal

    signal.signal(signal.SIGINT, signal.SIG_IGN)
    with contextlib.suppress(ImportError, OSError, ValueError):
        import resource
        from pathlib import Path

        pages = int(Path("/proc/self/statm").read_text("ascii").split()[0])
        most = pages * resource.getpagesize() + memory
        resource.setrlimit(resource.RLIMIT_AS, (most, most))

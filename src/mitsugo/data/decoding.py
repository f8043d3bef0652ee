"""Many files at once: read, hashed, decoded and framed by several threads, and given back in order."""

import contextlib
import hashlib
import math
import os
from collections import deque
from collections.abc import Callable, Generator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Final, NamedTuple, TypeVar

import numpy as np

from ..errors import DataError, shown
from ..shapes import UInt8
from ..values import Framing
from .framing import Framed, decode_framed
from .images import Header, file_content, header_of

__all__ = ["UNREAD", "Look", "decoded_again", "hashed", "header_at", "in_order", "looked_at", "status_of"]

CHUNK: Final = 16
SMALL: Final = 8 << 10
"""Files of fewer bytes are decoded sooner by one thread."""
MOST_THREADS: Final = 16
UNREAD: Final = (-1, -1, -1, -1)
"""The status of a file that could not be read."""

Found = TypeVar("Found")
Status = tuple[int, int, int, int]


class Look(NamedTuple):
    """What reading one file gave; without `framed` a reason."""

    digest: bytes
    status: Status
    framed: Framed | None
    reason: str = ""


def header_at(path: Path) -> Header | DataError:
    """Return what a file's header says, or why it is no image."""
    try:
        return header_of(file_content(path)[0], os.fspath(path))
    except DataError as error:
        return error


def status_of(found: os.stat_result) -> Status:
    """Return size, time, inode and time of change of a file."""
    return found.st_size, found.st_mtime_ns, found.st_ino & (2**63 - 1), found.st_ctime_ns


def hashed(path: Path) -> Look:
    """Read and hash one file; what cannot be read has a hash of zeros."""
    try:
        content, status = file_content(path)
    except DataError:
        return Look(bytes(32), UNREAD, None)
    return Look(hashlib.sha256(content).digest(), status_of(status), None)


def looked_at(path: Path, framing: Framing) -> Look:
    """Read, hash, decode and frame one file."""
    digest, status = bytes(32), UNREAD
    try:
        content, found = file_content(path)
        digest, status = hashlib.sha256(content).digest(), status_of(found)
        return Look(digest, status, decode_framed(content, os.fspath(path), framing))
    except DataError as error:
        return Look(digest, status, None, str(error).removeprefix(f"{shown(path)}: "))


def decoded_again(path: Path, status: tuple[int, ...], framing: Framing) -> UInt8[np.ndarray, "c h w"]:
    """Decode a file that was looked at before.

    Args:
        path: of the file.
        status: its size and time then.
        framing: what it goes through.

    Raises:
        DataError: it vanished, or is not as it was.
    """
    content, found = file_content(path)
    if status_of(found)[:2] != status:
        raise DataError(f"{shown(path)}: changed after it was first read; put it back, or start anew with it")
    return decode_framed(content, os.fspath(path), framing).pixels


def in_order(
    work: Callable[[int], Found], places: Sequence[int], *, each: float = math.inf
) -> contextlib.closing[Generator[Found, None, None]]:
    """Yield what is found at each place, in their order; at the end of the block no thread is left.

    Args:
        work: is given a place.
        places: in the order in which they are yielded.
        each: bytes of a file, about. Small ones are worked on by this thread alone: Python's own work for
            each is the most of it, and threads would take turns at that.
    """
    return contextlib.closing(_worked_out(work, places, 1 if each < SMALL else _threads()))


def _worked_out(
    work: Callable[[int], Found], places: Sequence[int], threads: int
) -> Generator[Found, None, None]:
    if min(threads, len(places)) < 2:
        yield from map(work, places)
        return
    size = max(1, min(CHUNK, len(places) // (4 * threads)))
    ahead: deque[Future[list[Found]]] = deque()
    with ThreadPoolExecutor(threads) as pool:
        try:
            for start in range(0, len(places), size):
                some = places[start : start + size]
                ahead.append(pool.submit(lambda some: [work(place) for place in some], some))
                if len(ahead) > 2 * threads:  # a bounded way ahead
                    yield from ahead.popleft().result()
            while ahead:
                yield from ahead.popleft().result()
        finally:
            for future in ahead:
                future.cancel()


def _threads() -> int:
    mine = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min(MOST_THREADS, mine)

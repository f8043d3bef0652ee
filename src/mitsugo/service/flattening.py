"""Embeddings are laid flat by a process of its own, of low priority: it would hold up answers for seconds."""

import contextlib
import multiprocessing
import os
import signal
import struct
import threading
from multiprocessing.connection import Connection
from typing import Final

import numpy as np
from numpy.typing import NDArray

from ..errors import ResourceError
from ..shapes import Vectors

__all__ = ["laid_flat"]

HEADER: Final = struct.Struct("<3q")
NICE: Final = 15


def laid_flat(vectors: Vectors, seed: int) -> NDArray[np.float32]:
    """Return what `report.projection.flatten` does, computed elsewhere.

    Raises:
        ResourceError: the process ended before it was done.
    """
    ours, theirs = multiprocessing.get_context("spawn").Pipe()
    process = multiprocessing.get_context("spawn").Process(target=_work, args=(theirs,), daemon=True)
    process.start()
    theirs.close()
    try:
        ours.send_bytes(HEADER.pack(*vectors.shape, seed) + vectors.tobytes())
        content = ours.recv_bytes()
    except (EOFError, OSError) as error:
        raise ResourceError("the map could not be computed; the memory may be full") from error
    finally:
        ours.close()
        process.join()
    return np.frombuffer(content, np.float32).reshape(-1, 2).copy()


def _work(pipe: Connection) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # which is for the whole group; the server ends us
    with contextlib.suppress(OSError, AttributeError):
        os.nice(NICE)
    try:
        content = pipe.recv_bytes()
    except (EOFError, OSError):  # nobody waits any more
        return
    threading.Thread(target=_end_with, args=(pipe,), daemon=True).start()
    import torch

    from ..report.projection import flatten

    torch.set_num_threads(1)
    n, d, seed = HEADER.unpack_from(content)
    vectors = np.frombuffer(content, np.float32, n * d, HEADER.size).reshape(n, d).copy()
    pipe.send_bytes(flatten(vectors, seed).tobytes())


def _end_with(pipe: Connection) -> None:
    """End this process when the other one has: nobody sends any more, so what can be read is the end."""
    with contextlib.suppress(OSError):
        pipe.poll(None)
    os._exit(1)

"""Ctrl-C and SIGTERM: the first one stops where the state can be saved, the second one at once."""

import contextlib
import os
import signal
import threading
from collections.abc import Iterator
from types import FrameType

from ..errors import Interrupted

__all__ = ["Stop", "stopping"]

SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Stop:
    """Whether a signal asked to stop, and who may answer it when."""

    def __init__(self) -> None:
        self.asked: int | None = None
        self._deferred = False

    @contextlib.contextmanager
    def deferred(self) -> Iterator[None]:
        """Let whoever is inside look at `asked` in its own time; outside, a signal interrupts at once."""
        self._deferred = True
        try:
            yield
        finally:
            self._deferred = False

    def handle(self, number: int, _frame: FrameType | None) -> None:
        """Take a signal in."""
        if self.asked is not None:
            os._exit(128 + number)
        self.asked = number
        if not self._deferred:
            raise Interrupted(
                f"stopped by {signal.Signals(number).name}; what was saved stands: "
                f"give the same command with --resume to go on",
                number,
            )


@contextlib.contextmanager
def stopping() -> Iterator[Stop]:
    """Take SIGINT and SIGTERM while inside; elsewhere than in the main thread nothing is changed."""
    stop = Stop()
    if threading.current_thread() is not threading.main_thread():
        yield stop
        return
    before = {number: signal.signal(number, stop.handle) for number in SIGNALS}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)

"""Ctrl-C and SIGTERM: the first one stops where the state can be saved, the second one at once.

A signal is raised as Stopped, which no library takes for a failure of its own, and leaves `stopping` as
Interrupted. Where something did swallow it, in the midst of an import, say, whatever fails afterwards fails
because of it and is told as the interruption that it is.
"""

import contextlib
import os
import signal
import threading
from collections.abc import Iterator
from types import FrameType

from ..errors import Interrupted

__all__ = ["SIGNALS", "Stop", "stopping"]

SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Stopped(BaseException):
    """A signal came. KeyboardInterrupt is not it: typer swallows that, and Python ends by it after exec()."""


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
        if self.asked is not None:  # it came after the last look
            raise Stopped

    def handle(self, number: int, _frame: FrameType | None) -> None:
        """Take a signal in."""
        if self.asked is not None:
            os._exit(128 + number)
        self.asked = number
        if not self._deferred:
            raise Stopped


@contextlib.contextmanager
def stopping(remedy: str = "") -> Iterator[Stop]:
    """Take SIGINT and SIGTERM while inside; elsewhere than in the main thread nothing is changed.

    Args:
        remedy: what the message says after "stopped by SIGINT".

    Raises:
        Interrupted: a signal came.
    """
    stop = Stop()
    if threading.current_thread() is not threading.main_thread():
        yield stop
        return
    before = {number: signal.signal(number, stop.handle) for number in SIGNALS}
    try:
        yield stop
    except Interrupted:
        raise
    except BaseException as error:
        if stop.asked is None:
            raise
        name = signal.Signals(stop.asked).name
        raise Interrupted(f"stopped by {name}{remedy}", stop.asked) from error
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)

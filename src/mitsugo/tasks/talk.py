"""How a task speaks while it works: to a terminal, to a log, or to nobody."""

from typing import Protocol, runtime_checkable

from ..training import Progress
from ..values import Epoch

__all__ = ["SILENT", "Talk"]


@runtime_checkable
class Talk(Protocol):
    """Who listens to a task."""

    def say(self, sentence: str) -> None:
        """Hear one sentence."""

    def warn(self, sentence: str) -> None:
        """Hear what must not be missed."""

    def progress(self, progress: Progress, epochs: int) -> None:
        """Hear of a finished batch of a training of `epochs` in all."""

    def epoch(self, epoch: Epoch, epochs: int) -> None:
        """Hear of a finished epoch."""

    def reading(self, done: int, total: int) -> None:
        """Hear how many of the source's files were read."""


class _Silent:
    def say(self, sentence: str) -> None:
        """Say nothing."""

    def warn(self, sentence: str) -> None:
        """Say nothing."""

    def progress(self, progress: Progress, epochs: int) -> None:
        """Say nothing."""

    def epoch(self, epoch: Epoch, epochs: int) -> None:
        """Say nothing."""

    def reading(self, done: int, total: int) -> None:
        """Say nothing."""


SILENT: Talk = _Silent()

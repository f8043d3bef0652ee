"""The curves for TensorBoard: each finished epoch once, whatever happened in between.

What stands in RUN/tensorboard follows from history.jsonl. The first epoch that is heard of writes all the
finished ones anew, in place of what another process left; each later one is added as it is finished; at
the end what a kill kept from being written is written. An epoch is written at once and in this thread, where
a full disk can be told of: torch's SummaryWriter writes in a thread of its own.
"""

import contextlib
import errno
import io
import time
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from typing import Any, BinaryIO

from ..errors import ResourceError, UsageError, shown
from ..files import reason
from ..runs import RunFolder, flat
from ..training import Progress
from ..values import Epoch
from .talk import Talk

__all__ = ["check_tensorboard", "tracked"]

LEFT_OUT = ("epoch", "valid", "active", "images", "empty_batches")
"""Counts, which are no curves."""
FILE = "events.out.tfevents.{seconds:010d}.mitsugo"
VERSION = "brain.Event:2"
"""How TensorBoard knows its files."""


def check_tensorboard() -> None:
    """Look that TensorBoard is there, before anything is begun.

    Raises:
        UsageError: it is not installed.
    """
    try:
        import tensorboard.summary.writer.record_writer  # noqa: F401 - whether it is there
    except ImportError as error:
        raise UsageError(
            "--tensorboard: TensorBoard is not installed; `pip install mitsugo[track]`, "
            "or leave it out: history.csv holds the same numbers"
        ) from error


@contextlib.contextmanager
def tracked(folder: RunFolder, talk: Talk) -> Iterator[Talk]:
    """Listen to a training for `talk`, and write its curves into the run folder for TensorBoard.

    Args:
        folder: the run; its epochs are appended before they are heard of.
        talk: who listens, too.

    Raises:
        UsageError: TensorBoard is not installed.
        ResourceError: the disk is full, or the folder cannot be written.
    """
    check_tensorboard()
    tracking = _Tracking(folder, talk)
    try:
        yield tracking
        tracking.catch_up()
    finally:
        tracking.close()


class _Tracking:
    """A talk that hears for another one."""

    def __init__(self, folder: RunFolder, talk: Talk) -> None:
        self._folder = folder
        self._talk = talk
        self._file: BinaryIO | None = None
        self._written = 0
        self.say, self.warn, self.reading = talk.say, talk.warn, talk.reading

    def progress(self, progress: Progress, epochs: int) -> None:
        self._talk.progress(progress, epochs)

    def epoch(self, epoch: Epoch, epochs: int) -> None:
        if self._file is None:
            self.catch_up()
        else:
            self._write([asdict(epoch)])
        self._talk.epoch(epoch, epochs)

    def catch_up(self) -> None:
        """Write all finished epochs that this process has not written."""
        self._write([entry for entry in self._folder.epochs() if entry["epoch"] > self._written])

    def close(self) -> None:
        """Leave the file as it is."""
        if self._file is not None:
            self._file.close()

    def _write(self, entries: list[dict[str, Any]]) -> None:
        where = self._folder.tensorboard
        try:
            if entries and self._file is None:
                self._folder.clear_tensorboard()
                where.mkdir(exist_ok=True)
                self._file = (where / FILE.format(seconds=int(time.time()))).open("wb", buffering=0)
                self._put(_record(file_version=VERSION))
            for entry in entries:
                self._put(_points(entry))
                self._written = entry["epoch"]
        except OSError as error:
            raise ResourceError(
                f"{shown(where)}: cannot be written: {reason(error)}; free space, or go on by --resume "
                f"without --tensorboard"
            ) from error

    def _put(self, record: bytes) -> None:
        assert self._file is not None
        if self._file.write(record) != len(record):
            raise OSError(errno.ENOSPC, "no space left on the device")


def _points(entry: Mapping[str, Any]) -> bytes:
    """Return an epoch's points as one record: it is there whole, or torn, and TensorBoard drops it."""
    from tensorboard.compat.proto.summary_pb2 import Summary

    values = [Summary.Value(tag=name, simple_value=value) for name, value in scalars(entry).items()]
    return _record(step=entry["epoch"], summary=Summary(value=values))


def _record(**content: Any) -> bytes:  # noqa: ANN401 - fields of TensorBoard's own event
    from tensorboard.compat.proto.event_pb2 import Event
    from tensorboard.summary.writer.record_writer import RecordWriter

    record = io.BytesIO()
    RecordWriter(record).write(Event(wall_time=time.time(), **content).SerializeToString())
    return record.getvalue()


def scalars(entry: Mapping[str, Any]) -> dict[str, float]:
    """Return the curves of a line of history.jsonl: losses, rate, times, metrics, the active share.

    >>> line = {"epoch": 2, "train_loss": 0.5, "active": 3, "valid": 4, "metrics": {"accuracy": 0.9}}
    >>> scalars(line)
    {'train_loss': 0.5, 'accuracy': 0.9, 'active_share': 0.75}
    """
    found = {name: float(value) for name, value in flat(entry).items() if name not in LEFT_OUT}
    if entry.get("valid"):
        found["active_share"] = entry["active"] / entry["valid"]
    return found

"""The run folder: what a training leaves behind; a kill at any instant leaves the last good state.

run.json            what was run: recipe, source, split, seeds, versions, machine
history.jsonl       a line an epoch, and a line wherever it was resumed
history.csv         the same numbers of the finished epochs as a table
checkpoint.mitsugo  weights, optimiser and position: what --resume goes on from
model.mitsugo       the bundle
scores.json         the accuracy with its intervals
*.png, report.html  the pictures
tensorboard         the curves for TensorBoard, where they were asked for
"""

import contextlib
import csv
import io
import json
import shutil
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import filelock
import safetensors
import safetensors.torch

from .errors import ModelError, ResourceError, UsageError, shown
from .files import append_line, read_sealed, reason, remove_leftovers, replacing, write_bytes, write_sealed
from .shapes import Tensor
from .values import Epoch, Position

__all__ = ["SEEN", "Checkpoint", "RunFolder", "flat", "opened"]

SCHEMA = 1
RUN, HISTORY, TABLE, CHECKPOINT, BUNDLE, SCORES = (
    "run.json",
    "history.jsonl",
    "history.csv",
    "checkpoint.mitsugo",
    "model.mitsugo",
    "scores.json",
)
SUSPECTS = ("suspects.csv", "suspects.html")
FOLDS = "folds"
FEATURES = ".features-*.mitsugo"
SEEN = "seen.png"
"""What training sees of photos, drawn before the first step."""
PICTURES = ("loss_curves.png", "embedding.png", "confusion.png", "mistakes.png", "report.html")
EVENTS = "events.out.tfevents.*"
"""The files that TensorBoard reads."""
LOCK = ".lock"


@dataclass(frozen=True, kw_only=True, eq=False)
class Checkpoint:
    """Where a training stands.

    Args:
        tensors: weights and the optimiser's state, by name.
        position: how far it has come.
        history: the finished epochs.
    """

    tensors: Mapping[str, Tensor]
    position: Position
    history: tuple[Epoch, ...]


@dataclass(frozen=True)
class RunFolder:
    """A run folder that is ours alone while the lock is held."""

    path: Path

    @property
    def bundle(self) -> Path:
        """Where the model lies."""
        return self.path / BUNDLE

    @property
    def report(self) -> Path:
        """Where the report lies."""
        return self.path / "report.html"

    @property
    def tensorboard(self) -> Path:
        """Where TensorBoard looks."""
        return self.path / "tensorboard"

    def description(self) -> dict[str, Any] | None:
        """Return run.json, or None where no run was begun."""
        return self._read_json(RUN)

    def describe(self, description: Mapping[str, Any]) -> None:
        """Write run.json."""
        self._write_json(RUN, {"schema": SCHEMA, **description})

    def scores(self) -> dict[str, Any] | None:
        """Return scores.json, or None where the run was never finished."""
        return self._read_json(SCORES)

    def write_scores(self, scores: Mapping[str, Any]) -> None:
        """Write scores.json; its presence, with its epochs, says that the run is finished."""
        self._write_json(SCORES, scores)

    def save(self, checkpoint: Checkpoint) -> None:
        """Put a checkpoint in the place of the last one."""
        state = {
            "schema": SCHEMA,
            "position": asdict(checkpoint.position),
            "history": [asdict(epoch) for epoch in checkpoint.history],
        }
        tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in checkpoint.tensors.items()}
        write_sealed(
            self.path / CHECKPOINT,
            {"state.json": json.dumps(state).encode(), "state.safetensors": safetensors.torch.save(tensors)},
        )

    def checkpoint(self) -> Checkpoint | None:
        """Return the last checkpoint, or None where there is none yet.

        Raises:
            ModelError: it is damaged or of another version of mitsugo.
        """
        path = self.path / CHECKPOINT
        if not path.exists():
            return None
        members = read_sealed(path)
        try:
            state = json.loads(members["state.json"])
            if state["schema"] != SCHEMA:
                raise ModelError(
                    f"{shown(path)}: has schema {state['schema']}, this mitsugo reads {SCHEMA}; "
                    f"go on with the version that wrote it"
                )
            return Checkpoint(
                tensors=safetensors.torch.load(members["state.safetensors"]),
                position=Position(**state["position"]),
                history=tuple(Epoch(**epoch) for epoch in state["history"]),
            )
        except (KeyError, TypeError, ValueError, safetensors.SafetensorError) as error:
            raise ModelError(
                f"{shown(path)}: is no checkpoint of mitsugo; train again with --overwrite"
            ) from error

    def append(self, epoch: Epoch) -> None:
        """Add a finished epoch to history.jsonl, then to history.csv.

        The table follows from the lines alone: where it has other columns, or is not there, it is made anew.
        """
        append_line(self.path / HISTORY, _line(epoch))
        row, path = flat(asdict(epoch)), self.path / TABLE
        if _first_line(path) == _cells(row).encode() + b"\n":
            append_line(path, _cells(row.values()))
        else:
            self._tabulate()

    def epochs(self) -> tuple[dict[str, Any], ...]:
        """Return the finished epochs that history.jsonl tells of, as they stand there."""
        path = self.path / HISTORY
        lines = path.read_bytes().split(b"\n") if path.exists() else []
        return tuple(entry for line in lines if "epoch" in (entry := _told(line) or {}))

    def resume_history(self, checkpoint: Checkpoint) -> None:
        """Make history.jsonl tell the finished epochs, their lines kept, and say where it went on.

        A kill can fall between the checkpoint and the line, or inside the line: what is missing is added,
        what is torn is dropped.
        """
        path = self.path / HISTORY
        kept, told = [], set()
        if path.exists():
            for line in path.read_bytes().split(b"\n"):
                entry = _told(line)
                if entry is not None and entry.get("epoch", 0) <= checkpoint.position.epochs:
                    kept.append(line)
                    told.add(entry.get("epoch"))
        kept += [_line(epoch).encode() for epoch in checkpoint.history if epoch.epoch not in told]
        resumed = {"resumed_after_epoch": checkpoint.position.epochs, "batches": checkpoint.position.batches}
        kept.append(json.dumps(resumed).encode())
        write_bytes(path, b"\n".join(kept) + b"\n")
        self._tabulate()

    def check_unbegun(self) -> None:
        """Look that no epoch was finished here, where there is no checkpoint to go on from.

        Raises:
            ModelError: the history tells of epochs: the checkpoint was lost.
        """
        if (self.path / HISTORY).exists():
            raise ModelError(
                f"{shown(self.path / CHECKPOINT)}: is missing, but {HISTORY} tells of finished epochs; "
                f"put it back, or train again with --overwrite"
            )

    def clear(self) -> None:
        """Remove what a run left here, and nothing else; run.json goes last.

        Raises:
            ResourceError: a file cannot be removed.
        """
        self.clear_tensorboard()
        features = [path.name for path in self.path.glob(FEATURES)]
        for name in (
            FOLDS,
            *SUSPECTS,
            *PICTURES,
            SEEN,
            *features,
            SCORES,
            BUNDLE,
            TABLE,
            HISTORY,
            CHECKPOINT,
            RUN,
        ):
            _remove(self.path / name)

    def clear_tensorboard(self) -> None:
        """Remove the curves that TensorBoard reads, and nothing else.

        Raises:
            ResourceError: a file cannot be removed.
        """
        for path in self.tensorboard.glob(EVENTS):
            _remove(path)
        with contextlib.suppress(OSError):  # somebody else's files are left, or it was never there
            self.tensorboard.rmdir()

    def _tabulate(self) -> None:
        rows = [flat(entry) for entry in self.epochs()]
        columns = dict.fromkeys(name for row in rows for name in row)
        lines = [_cells(columns), *(_cells(row.get(name, "") for name in columns) for row in rows)]
        write_bytes(self.path / TABLE, "".join(f"{line}\n" for line in lines).encode())

    def _read_json(self, name: str) -> dict[str, Any] | None:
        path = self.path / name
        if not path.exists():
            return None
        try:
            content = json.loads(path.read_bytes())
            if not isinstance(content, dict):
                raise TypeError(name)
        except (ValueError, TypeError) as error:
            raise ModelError(f"{shown(path)}: is damaged; train again with --overwrite") from error
        except OSError as error:
            raise ModelError(f"{shown(path)}: cannot be read: {reason(error)}") from error
        return content

    def _write_json(self, name: str, content: Mapping[str, Any]) -> None:
        with replacing(self.path / name) as file:
            text = json.dumps(content, indent=1, ensure_ascii=False)
            file.write(text.encode(errors="backslashreplace") + b"\n")  # \udcff is JSON's escape, too


@contextlib.contextmanager
def opened(path: Path, *, resume: bool, overwrite: bool) -> Iterator[RunFolder]:
    """Open a run folder for one writer; it is made where there is none, and left as it is where there is one.

    Args:
        path: the folder.
        resume: a run that it holds is to be gone on with.
        overwrite: a run that it holds is to be replaced; it stands until `clear` is called.

    Raises:
        UsageError: the folder holds another run, or files that are no run at all.
        ResourceError: another process trains into it, or it cannot be made.
    """
    try:
        path.mkdir(parents=True, exist_ok=True)
        names = {entry.name for entry in path.iterdir()} - {LOCK}
    except OSError as error:
        raise ResourceError(
            f"--out {shown(path)}: cannot be used: {reason(error)}; choose another folder"
        ) from error
    _check_content(path, names, resume=resume, overwrite=overwrite)
    lock = filelock.FileLock(path / LOCK)
    try:
        lock.acquire(timeout=0)
    except filelock.Timeout as error:
        raise ResourceError(
            f"--out {shown(path)}: another process is training into it; wait for it, or choose another folder"
        ) from error
    except OSError as error:
        raise ResourceError(
            f"--out {shown(path)}: cannot be written: {reason(error)}; choose another folder"
        ) from error
    try:
        remove_leftovers(path)
        yield RunFolder(path)
    finally:
        lock.release()


def _check_content(path: Path, names: set[str], *, resume: bool, overwrite: bool) -> None:
    if resume and overwrite:
        raise UsageError("--resume goes on and --overwrite begins anew: give one of them")
    if RUN not in names and any(not name.startswith(".") for name in names):
        raise UsageError(f"--out {shown(path)}: holds files that are no run; choose an empty or a new folder")
    if RUN in names and not (resume or overwrite):
        raise UsageError(
            f"--out {shown(path)}: holds another run; go on with it by --resume, "
            f"replace it by --overwrite, or choose another folder"
        )


def flat(entry: Mapping[str, Any]) -> dict[str, Any]:
    """Return an epoch's numbers by column: its own, then each metric by its name.

    >>> flat({"epoch": 1, "train_loss": 0.5, "metrics": {"accuracy": 0.9}})
    {'epoch': 1, 'train_loss': 0.5, 'accuracy': 0.9}
    >>> flat({"epoch": 1, "metrics": {"epoch": 7.0}})
    {'epoch': 1, 'metrics.epoch': 7.0}
    """
    own = {name: value for name, value in entry.items() if name != "metrics"}
    metrics = entry.get("metrics", {})
    return own | {f"metrics.{name}" if name in own else name: value for name, value in metrics.items()}


def _line(epoch: Epoch) -> str:
    return json.dumps(asdict(epoch))


def _told(line: bytes) -> dict[str, Any] | None:
    """Return what a line of the history tells, or None of a torn one."""
    try:
        entry = json.loads(line)
    except ValueError:
        return None
    return entry if isinstance(entry, dict) and isinstance(entry.get("epoch", 0), int) else None


def _cells(values: Iterable[Any]) -> str:
    """Return a line of a table; a number reads as in history.jsonl, and a line break is no cell's."""
    text = io.StringIO()
    csv.writer(text, lineterminator="").writerow(" ".join(str(value).split()) for value in values)
    return text.getvalue()


def _first_line(path: Path) -> bytes:
    """Return a file's first line, or nothing where there is none to be read."""
    try:
        with path.open("rb") as file:
            return file.readline()
    except OSError:
        return b""


def _remove(path: Path) -> None:
    try:
        if path.name == FOLDS and path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)
    except OSError as error:
        raise ResourceError(
            f"{shown(path)}: cannot be removed: {reason(error)}; choose another --out"
        ) from error

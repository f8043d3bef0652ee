"""The run folder: one writer, whole files, and a history that keeps its lines."""

import csv
import errno
import json
import os
import signal
import stat
import subprocess
import sys
import time
from dataclasses import asdict, replace
from pathlib import Path

import filelock
import pytest
import safetensors.torch
import torch

from mitsugo.errors import ModelError, ResourceError, UsageError
from mitsugo.files import write_sealed
from mitsugo.runs import Checkpoint, RunFolder, opened
from mitsugo.values import Epoch, Position

HOLD = """
import sys, time, filelock
lock = filelock.FileLock(sys.argv[1])
lock.acquire(timeout=0)
print("held", flush=True)
time.sleep(20)
"""


def epoch(number):
    return Epoch(
        epoch=number,
        train_loss=1 / number,
        validation_loss=0.1 + 0.2,
        learning_rate=2e-4,
        seconds=0.5,
        core_seconds=1.0,
        images=96,
        active=10**12 + number,
        valid=10**13,
        empty_batches=2,
        metrics={"watched": 1.5},
    )


def checkpoint(epochs, batches=0):
    return Checkpoint(
        tensors={"w": torch.tensor([1 / 3, -0.0]), "step": torch.tensor(7.0)},
        position=Position(
            epochs=epochs,
            batches=batches,
            loss_sum=0.1 + 0.2,
            images=24,
            active=10**12 + 1,
            valid=10**13,
            empty_batches=1,
            seconds=1.5,
        ),
        history=tuple(map(epoch, range(1, epochs + 1))),
    )


def open_folder(path, *, resume=False, overwrite=False):
    with opened(path, resume=resume, overwrite=overwrite) as folder:
        return folder


@pytest.fixture
def folder(tmp_path):
    """An empty run folder."""
    return open_folder(tmp_path / "run")


@pytest.fixture
def table(folder):
    """The rows of history.csv."""

    def rows():
        with (folder.path / "history.csv").open(newline="") as file:
            return list(csv.DictReader(file))

    return rows


@pytest.fixture
def history(folder):
    """The lines of history.jsonl."""
    return lambda: (folder.path / "history.jsonl").read_bytes().splitlines()


def test_a_folder_is_made_with_its_parents(tmp_path):
    folder = open_folder(tmp_path / "a" / "b")
    assert [file.name for file in folder.path.iterdir()] == [".lock"]
    assert folder.description() is folder.scores() is folder.checkpoint() is None
    assert (folder.bundle, folder.report) == (folder.path / "model.mitsugo", folder.path / "report.html")


def test_an_empty_folder_or_one_with_hidden_files_is_taken(tmp_path):
    (tmp_path / ".DS_Store").write_text("a file manager's")
    assert open_folder(tmp_path).path == tmp_path


def test_foreign_files_are_left_alone(tmp_path):
    (tmp_path / "photo.png").write_text("dear")
    for flags in ({}, {"resume": True}, {"overwrite": True}):
        with pytest.raises(UsageError, match="holds files that are no run; choose an empty or a new folder"):
            open_folder(tmp_path, **flags)
    assert [file.name for file in tmp_path.iterdir()] == ["photo.png"]


def test_another_run_is_replaced_only_when_told(folder):
    folder.describe({"seed": 1})
    with pytest.raises(
        UsageError, match="holds another run; go on with it by --resume, replace it by --overw"
    ):
        open_folder(folder.path)
    with pytest.raises(UsageError, match="give one of them"):
        open_folder(folder.path, resume=True, overwrite=True)
    assert open_folder(folder.path, resume=True).description() == {"schema": 1, "seed": 1}
    assert open_folder(folder.path, overwrite=True).description() == {"schema": 1, "seed": 1}


def test_clearing_removes_what_a_run_left_and_nothing_else(folder):
    folder.describe({})
    folder.save(checkpoint(1))
    folder.append(epoch(1))
    folder.write_scores({})
    folder.bundle.write_bytes(b"")
    (folder.path / "notes.txt").write_text("mine")
    folder.tensorboard.mkdir()
    (folder.tensorboard / "events.out.tfevents.1.x").write_bytes(b"")
    folder.clear()
    assert {file.name for file in folder.path.iterdir()} == {"notes.txt", ".lock"}
    folder.tensorboard.mkdir()
    (folder.tensorboard / "notes.txt").write_text("mine")
    folder.clear()
    assert [file.name for file in folder.tensorboard.iterdir()] == ["notes.txt"]
    folder.clear()


def test_what_cannot_be_removed_is_named(folder):
    folder.describe({})
    (folder.path / "report.html").mkdir()
    with pytest.raises(
        ResourceError, match=r"report\.html: cannot be removed: is a directory; choose another"
    ):
        folder.clear()
    assert folder.description() == {"schema": 1}


@pytest.mark.parametrize(
    ("out", "why"),
    [("file", "file exists"), ("file/run", "not a directory"), ("x" * 300, "file name too long")],
)
def test_a_folder_that_cannot_be_made_is_named(tmp_path, out, why):
    (tmp_path / "file").write_text("")
    with pytest.raises(ResourceError, match=f"--out .*: cannot be used: {why}; choose another folder"):
        open_folder(tmp_path / out)


@pytest.mark.parametrize("code", [errno.EACCES, errno.EROFS, errno.ENOSPC, errno.ESTALE])
@pytest.mark.parametrize("call", ["mkdir", "listdir", "open"])
def test_a_folder_that_cannot_be_written_is_named(tmp_path, monkeypatch, call, code):
    def fail(path, *arguments, **options):
        raise OSError(code, os.strerror(code), str(path))

    with monkeypatch.context() as patched:
        patched.setattr(filelock.FileLock, "acquire", fail) if call == "open" else None
        patched.setattr(Path, "mkdir", fail) if call == "mkdir" else None
        patched.setattr(Path, "iterdir", fail) if call == "listdir" else None
        with pytest.raises(
            ResourceError, match="--out .*run: cannot be .*; choose another folder"
        ) as refusal:
            open_folder(tmp_path / "run")
    assert os.strerror(code).lower() in str(refusal.value) or "the disk is full" in str(refusal.value)


def test_a_killed_writers_leftovers_are_removed(folder):
    (folder.path / ".history.jsonl.1.00.mitsugo-part").write_text("half")
    open_folder(folder.path)
    assert [file.name for file in folder.path.iterdir()] == [".lock"]


def test_a_second_writer_is_refused_at_once_and_a_dead_one_does_not_block(tmp_path):
    (tmp_path / "run").mkdir()
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, tmp_path / "run" / ".lock"], stdout=subprocess.PIPE, text=True
    ) as other:
        assert other.stdout.readline() == "held\n"
        started = time.monotonic()
        for flags in ({}, {"resume": True}, {"overwrite": True}):
            with pytest.raises(
                ResourceError, match="run: another process is training into it; wait for it, or"
            ):
                open_folder(tmp_path / "run", **flags)
        assert time.monotonic() - started < 1
        other.send_signal(signal.SIGKILL)
        other.wait()
    assert open_folder(tmp_path / "run").path == tmp_path / "run"


def test_what_is_described_is_read_back_and_private_where_the_umask_says_so(folder):
    before = os.umask(0o077)
    try:
        folder.describe({"source": "品", "name": os.fsdecode(b"a\xff")})
        folder.append(epoch(1))
    finally:
        os.umask(before)
    assert folder.description() == {"schema": 1, "source": "品", "name": "a\udcff"}
    for name in ("run.json", "history.jsonl"):
        assert stat.S_IMODE((folder.path / name).stat().st_mode) == 0o600
    folder.write_scores({"epochs": 3})
    assert folder.scores() == {"epochs": 3}


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"null", b"\xff", b'{"a": 1'])
def test_damaged_json_is_refused_by_its_name(folder, content):
    for name, read in (("run.json", folder.description), ("scores.json", folder.scores)):
        (folder.path / name).write_bytes(content)
        with pytest.raises(ModelError, match=f"{name}: is damaged; train again with --overwrite"):
            read()


def test_unreadable_json_is_refused_by_its_name(folder):
    (folder.path / "run.json").mkdir()
    with pytest.raises(ModelError, match=r"run\.json: cannot be read: is a directory"):
        folder.description()


def test_a_checkpoint_comes_back_to_the_bit(folder):
    saved = checkpoint(2, 3)
    folder.save(checkpoint(1))
    folder.save(saved)
    read = folder.checkpoint()
    assert (read.position, read.history) == (saved.position, saved.history)
    assert read.tensors.keys() == saved.tensors.keys()
    for name, tensor in saved.tensors.items():
        assert read.tensors[name].numpy().tobytes() == tensor.numpy().tobytes()


def test_a_checkpoint_of_before_terms_were_counted_has_counted_none(folder):
    counts = ("active", "valid", "empty_batches")
    position, one = (
        {name: value for name, value in asdict(whole).items() if name not in counts}
        for whole in (checkpoint(1, 3).position, epoch(1))
    )
    state = {"schema": 1, "position": position, "history": [one]}
    tensors = safetensors.torch.save({"w": torch.zeros(1)})
    members = {"state.json": json.dumps(state).encode(), "state.safetensors": tensors}
    write_sealed(folder.path / "checkpoint.mitsugo", members)
    read = folder.checkpoint()
    none = dict.fromkeys(counts, 0)
    assert asdict(read.position) == position | none
    assert [asdict(found) for found in read.history] == [one | none]


def test_a_checkpoint_cut_or_flipped_anywhere_is_refused(folder):
    folder.save(checkpoint(1))
    path = folder.path / "checkpoint.mitsugo"
    content = path.read_bytes()
    damaged = [content[:length] for length in range(0, len(content), 37)]
    damaged += [
        content[:at] + bytes([content[at] ^ 4]) + content[at + 1 :] for at in range(0, len(content), 41)
    ]
    for one in damaged:
        path.write_bytes(one)
        with pytest.raises(
            ModelError, match=r"checkpoint\.mitsugo: is (truncated or damaged|no mitsugo file)"
        ):
            folder.checkpoint()


GOOD = {"schema": 1, "position": asdict(Position()), "history": []}


@pytest.mark.parametrize(
    ("state", "message"),
    [
        ({**GOOD, "schema": 2}, "has schema 2, this mitsugo reads 1; go on with the version that wrote it"),
        ({**GOOD, "position": {"epoch": 1}}, "is no checkpoint of mitsugo"),
        ({**GOOD, "history": [{}]}, "is no checkpoint of mitsugo"),
        ({"schema": 1}, "is no checkpoint of mitsugo"),
        ([], "is no checkpoint of mitsugo"),
    ],
)
def test_a_doctored_checkpoint_is_refused(folder, state, message):
    tensors = safetensors.torch.save({"w": torch.zeros(1)})
    members = {"state.json": json.dumps(state).encode(), "state.safetensors": tensors}
    write_sealed(folder.path / "checkpoint.mitsugo", members)
    with pytest.raises(ModelError, match=rf"checkpoint\.mitsugo: {message}"):
        folder.checkpoint()
    for member in members:
        for content in (b"", b"\x80\x04nonsense"):
            write_sealed(
                folder.path / "checkpoint.mitsugo",
                {"state.json": json.dumps(GOOD).encode(), "state.safetensors": tensors, member: content},
            )
            with pytest.raises(ModelError, match="is no checkpoint of mitsugo; train again with --overwrite"):
                folder.checkpoint()


def test_going_on_keeps_the_lines_of_finished_epochs_as_they_are(folder, history):
    for number in (1, 2):
        folder.append(epoch(number))
    strange = b'{"epoch": 1,   "train_loss": 1.0}'
    (folder.path / "history.jsonl").write_bytes(strange + b"\n" + history()[1] + b"\n")
    second = history()[1]
    folder.resume_history(checkpoint(2, 1))
    assert history()[:2] == [strange, second]
    assert [json.loads(line) for line in history()[2:]] == [{"resumed_after_epoch": 2, "batches": 1}]
    folder.append(epoch(3))
    folder.resume_history(checkpoint(3))
    kinds = [next(iter(json.loads(line))) for line in history()]
    assert kinds == ["epoch", "epoch", "resumed_after_epoch", "epoch", "resumed_after_epoch"]


@pytest.mark.parametrize(
    "torn", [b"", b'{"ep', b'{"epoch": 2}', b"7", b'"epoch"', b'{"epoch": "2"}', b"\xff\xfe"]
)
def test_what_is_missing_is_added_and_what_is_torn_is_dropped(folder, history, torn):
    folder.append(epoch(1))
    first = history()[0]
    (folder.path / "history.jsonl").write_bytes(first + b"\n" + torn)
    folder.resume_history(checkpoint(2))
    kept = torn if torn == b'{"epoch": 2}' else json.dumps(asdict(epoch(2))).encode()
    assert history()[:2] == [first, kept]
    assert json.loads(history()[2]) == {"resumed_after_epoch": 2, "batches": 0}
    assert len(history()) == 3


def test_lines_of_epochs_that_the_checkpoint_does_not_know_are_dropped(folder, history):
    for number in (1, 2, 3):
        folder.append(epoch(number))
    folder.resume_history(checkpoint(1))
    assert [json.loads(line).get("epoch") for line in history()] == [1, None]


def test_a_history_that_was_never_begun_is_made(folder, history):
    folder.resume_history(checkpoint(2))
    assert [json.loads(line).get("epoch") for line in history()] == [1, 2, None]


def test_the_table_holds_the_numbers_of_the_history(folder, history, table):
    for number in (1, 2, 3):
        folder.append(epoch(number))
        assert len(table()) == number
    told = [json.loads(line) for line in history()]
    for row, line in zip(table(), told, strict=True):
        metrics = line.pop("metrics")
        assert row == {name: str(value) for name, value in (line | metrics).items()}
        assert float(row["train_loss"]) == line["train_loss"]
    assert list(table()[0]) == [
        "epoch", "train_loss", "validation_loss", "learning_rate", "seconds", "core_seconds", "images",
        "active", "valid", "empty_batches", "watched",
    ]  # fmt: skip
    assert [entry["epoch"] for entry in folder.epochs()] == [1, 2, 3]


def test_other_columns_make_the_table_anew(folder, table):
    folder.append(epoch(1))
    folder.append(replace(epoch(2), metrics={"watched": 2.0, "a\nnew, one": 0.25, "epoch": 7.0}))
    folder.append(epoch(3))
    seen = [(row["epoch"], row["watched"], row["a new, one"], row["metrics.epoch"]) for row in table()]
    assert seen == [("1", "1.5", "", ""), ("2", "2.0", "0.25", "7.0"), ("3", "1.5", "", "")]


@pytest.mark.parametrize("left", [None, b"", b"epoch,tr", b"epoch\n1\n2\n"])
def test_a_table_that_is_missing_or_torn_is_made_anew(folder, table, left):
    for number in (1, 2):
        folder.append(epoch(number))
    path = folder.path / "history.csv"
    whole = path.read_bytes()
    path.unlink() if left is None else path.write_bytes(left)
    folder.append(epoch(3))
    assert path.read_bytes().startswith(whole)
    assert [row["epoch"] for row in table()] == ["1", "2", "3"]


@pytest.mark.parametrize("length", range(0, 400, 23))
def test_going_on_after_a_kill_gives_the_table_each_epoch_once(folder, table, length):
    for number in (1, 2, 3):
        folder.append(epoch(number))
    path = folder.path / "history.csv"
    path.write_bytes(path.read_bytes()[:length])
    folder.resume_history(checkpoint(2, 1))
    assert [row["epoch"] for row in table()] == ["1", "2"]
    folder.append(epoch(3))
    assert [row["epoch"] for row in table()] == ["1", "2", "3"]
    assert [row["images"] for row in table()] == ["96"] * 3


def test_a_table_that_cannot_be_written_is_named(folder):
    (folder.path / "history.csv").mkdir()
    with pytest.raises(ResourceError, match=r"history\.csv: cannot be written: is a directory"):
        folder.append(epoch(1))


def test_finished_epochs_without_a_checkpoint_are_told(folder):
    folder.check_unbegun()
    folder.append(epoch(1))
    with pytest.raises(
        ModelError, match=r"checkpoint\.mitsugo: is missing, but history\.jsonl tells of finished"
    ):
        folder.check_unbegun()


def test_a_folder_named_by_any_bytes_stays_one_line(tmp_path):
    path = tmp_path / os.fsdecode(b"a\nb\xff")
    path.mkdir()
    (path / "photo").write_text("")
    with pytest.raises(UsageError) as refusal:
        open_folder(path)
    assert str(refusal.value).isprintable()
    assert RunFolder(path).checkpoint() is None

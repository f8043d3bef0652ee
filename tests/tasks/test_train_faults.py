"""A full disk at every call of a training that changes its run folder: it is told and can be gone on with."""

import errno
import io
import itertools
import os
from pathlib import Path

import pytest

from mitsugo.errors import ResourceError
from mitsugo.tasks.train import train

pytestmark = pytest.mark.usefixtures("plain_pictures")


class FaultyFile(io.FileIO):
    """Writes half of what it was given, then fails, when its disk says so."""

    def __init__(self, path, mode, disk):
        super().__init__(path, mode.replace("b", ""))
        self.disk = disk

    def write(self, content):
        try:
            self.disk.tick("write", self.name)
        except OSError:
            super().write(bytes(content)[: len(content) // 2])
            raise
        return super().write(content)


class Disk:
    """Counts the calls that change a folder, and lets one of them fail, and maybe all after it."""

    def __init__(self, monkeypatch, folder, failing, code, *, stays_full):
        self.folder, self.failing, self.code, self.stays_full = str(folder), failing, code, stays_full
        self.calls = []
        self.real_fsync, self.real_replace, self.real_open = os.fsync, os.replace, io.open
        monkeypatch.setattr(io, "open", self.open)
        monkeypatch.setattr(os, "fsync", self.fsync)
        monkeypatch.setattr(os, "replace", self.replace)

    def tick(self, name, path):
        if not str(path).startswith(self.folder):
            return
        self.calls.append(name)
        number = len(self.calls)
        if number == self.failing or (self.stays_full and number > self.failing):
            raise OSError(self.code, os.strerror(self.code))

    def fsync(self, descriptor):
        self.tick("fsync", Path(f"/proc/self/fd/{descriptor}").readlink())
        self.real_fsync(descriptor)

    def replace(self, one, other):
        self.tick("replace", other)
        self.real_replace(one, other)

    def open(self, path, mode="r", buffering=-1, *arguments, **options):
        if not str(path).startswith(self.folder) or not set(mode) & set("wax+"):
            return self.real_open(path, mode, buffering, *arguments, **options)
        self.tick("open", path)
        raw = FaultyFile(path, mode, self)
        return raw if buffering == 0 else io.BufferedRandom(raw)


# run.json, three checkpoints, the table's head, the bundle, five pictures, scores.json: each once
REPLACED = 1 + 3 + 1 + 1 + 5 + 1


def fails_everywhere(folder, options, code, expected, *, stays_full, first=1, step=1):
    """Train with a fault at each call in turn, or at one of a step, until none is left; return the calls."""
    for failing in itertools.count(first, step):
        run = folder / f"{failing:03d}"
        with pytest.MonkeyPatch.context() as monkeypatch:
            disk = Disk(monkeypatch, run, failing, code, stays_full=stays_full)
            try:
                train(options(run))
            except ResourceError as error:
                message = str(error)
            else:
                assert failing > len(disk.calls), f"the fault at call {failing} was kept quiet"
                return disk.calls
        assert message.isprintable()
        assert os.strerror(code).lower() in message or "the disk is full" in message
        assert str(run) in message, "the message names the file"
        assert not list(run.glob(".*mitsugo-part")), "what was begun aside is removed"
        again = train(options(run, resume=True))
        assert again.summary["weights_sha256"] == expected
    raise AssertionError


@pytest.fixture(scope="module")
def expected(tiny_run):
    """The hash of a run that nothing happened to."""
    return tiny_run.summary["weights_sha256"]


@pytest.mark.parametrize("stays_full", [False, True])
@pytest.mark.parametrize(("first", "step"), [(1, 7), (4, 7), pytest.param(1, 1, marks=pytest.mark.slow)])
def test_a_full_disk_at_any_call_of_a_training(tmp_path, tiny_options, expected, stays_full, first, step):
    """Every day at two of seven calls, in turn."""
    calls = fails_everywhere(
        tmp_path, tiny_options, errno.ENOSPC, expected, stays_full=stays_full, first=first, step=step
    )
    assert calls.count("replace") == REPLACED
    # three lines of the history and two of the table are added
    assert calls.count("fsync") == 2 * REPLACED + 3 + 2 + 1
    assert calls.count("write") > 30


@pytest.mark.slow
@pytest.mark.parametrize("code", [errno.EIO, errno.EROFS, errno.EDQUOT, errno.EFBIG], ids=errno.errorcode.get)
@pytest.mark.parametrize("stays_full", [False, True])
def test_any_other_fault_of_a_disk_at_any_call_of_a_training(
    tmp_path, tiny_options, expected, code, stays_full
):
    calls = fails_everywhere(tmp_path, tiny_options, code, expected, stays_full=stays_full)
    assert calls.count("replace") == REPLACED


def test_the_command_ends_with_5_and_one_line(tmp_path, tiny, refused, monkeypatch):
    Disk(monkeypatch, tmp_path / "run", 20, errno.ENOSPC, stays_full=True)
    line = refused(5, "train", tiny, "--recipe", "article", "--out", tmp_path / "run", "--epochs", 3)
    assert "cannot be written: the disk is full; what was there before is unharmed" in line
    assert str(tmp_path / "run") in line

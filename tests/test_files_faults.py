"""Files are whole or not there: a fault at every call that changes a folder, a disk full at any byte."""

import errno
import io
import itertools
import os
import resource

import pytest

from mitsugo import files
from mitsugo.errors import ResourceError

OLD = {"a": b"old"}
NEW = {"a": b"new" * 10_000, "b": b"", "c": bytes(range(256)) * 100}


class Disk:
    """Counts the calls that change a folder, and lets the one that is chosen fail, and maybe all after it."""

    def __init__(self, monkeypatch, folder, failing, code, *, stays_broken):
        self.folder, self.failing, self.code, self.stays_broken = str(folder), failing, code, stays_broken
        self.calls = []
        self.real = {name: getattr(os, name) for name in ("fsync", "replace", "open")}
        self.real_open = io.open
        monkeypatch.setattr(io, "open", self.open)
        monkeypatch.setattr(os, "fsync", lambda descriptor: self.call("fsync", descriptor))
        monkeypatch.setattr(os, "replace", lambda one, other: self.call("replace", one, other))
        monkeypatch.setattr(os, "open", self.open_folder)

    def tick(self, name):
        self.calls.append(name)
        number = len(self.calls)
        if number == self.failing or (self.stays_broken and number > self.failing):
            raise OSError(self.code, os.strerror(self.code))

    @property
    def failed(self):
        return len(self.calls) >= self.failing

    def call(self, name, *arguments):
        self.tick(name)
        return self.real[name](*arguments)

    def open_folder(self, path, *arguments, **options):
        if str(path) == self.folder:
            self.tick("open folder")
        return self.real["open"](path, *arguments, **options)

    def open(self, path, mode="r", buffering=-1, *arguments, **options):
        if not str(path).startswith(self.folder) or not set(mode) & set("wax+"):
            return self.real_open(path, mode, buffering, *arguments, **options)
        self.tick("open")
        raw = FaultyFile(path, mode, self)
        return raw if buffering == 0 else io.BufferedRandom(raw)


class FaultyFile(io.FileIO):
    """Writes half of what it was given, then fails, when its disk says so."""

    def __init__(self, path, mode, disk):
        super().__init__(path, mode.replace("b", ""))
        self.disk = disk

    def write(self, content):
        try:
            self.disk.tick("write")
        except OSError:
            super().write(bytes(content)[: len(content) // 2])
            raise
        return super().write(content)


def with_every_fault(folder, act, code, *, stays_broken):
    """Yield the disk after a fault at the first call, the second, … until none is left to fail."""
    for failing in itertools.count(1):
        with pytest.MonkeyPatch.context() as monkeypatch:
            disk = Disk(monkeypatch, folder, failing, code, stays_broken=stays_broken)
            try:
                act()
            except ResourceError as error:
                failure = error
            else:
                failure = None
        yield disk, failure
        if not disk.failed:
            return


FAULTS = pytest.mark.parametrize(
    ("code", "words"),
    [
        (errno.ENOSPC, "the disk is full"),
        (errno.EDQUOT, "the disk is full"),
        (errno.EIO, "input/output error"),
        (errno.EROFS, "read-only file system"),
    ],
)


@FAULTS
@pytest.mark.parametrize("stays_broken", [False, True])
def test_a_fault_at_any_call_of_a_sealed_write_leaves_the_old_file(tmp_path, code, words, stays_broken):
    path = tmp_path / "model.mitsugo"
    seen = []
    files.write_sealed(path, OLD)
    for disk, failure in with_every_fault(
        tmp_path, lambda: files.write_sealed(path, NEW), code, stays_broken=stays_broken
    ):
        assert [file.name for file in tmp_path.iterdir()] == ["model.mitsugo"]
        if not disk.failed:
            assert failure is None
            assert files.read_sealed(path) == NEW
            break
        at = disk.calls[disk.failing - 1]
        replaced = "replace" in disk.calls[: disk.failing - 1]
        seen.append(at)
        assert words in str(failure)
        assert ("was replaced whole" if replaced else "what was there before is unharmed") in str(failure)
        assert files.read_sealed(path) == (NEW if replaced else OLD)
        files.write_sealed(path, OLD)
    assert seen[0] == "open"
    assert seen[-5:] == ["write", "fsync", "replace", "open folder", "fsync"]
    assert seen.count("write") >= 4


@FAULTS
@pytest.mark.parametrize("stays_broken", [False, True])
def test_a_fault_at_any_call_takes_the_line_back(tmp_path, code, words, stays_broken):
    path = tmp_path / "history.jsonl"
    seen = []
    files.append_line(path, "one")
    for disk, failure in with_every_fault(
        tmp_path, lambda: files.append_line(path, "two, longer"), code, stays_broken=stays_broken
    ):
        if disk.failed:
            seen.append(disk.calls[disk.failing - 1])
            assert f"history.jsonl: cannot be written: {words}" in str(failure)
            assert path.read_bytes() == b"one\n"
    assert seen == ["open", "write", "fsync"]
    assert path.read_bytes() == b"one\ntwo, longer\n"


def test_a_fault_at_any_call_of_the_first_line_leaves_no_line(tmp_path):
    path = tmp_path / "history.jsonl"
    seen = []
    for disk, failure in with_every_fault(
        tmp_path, lambda: files.append_line(path, "one"), errno.EIO, stays_broken=False
    ):
        if disk.failed:
            seen.append(disk.calls[disk.failing - 1])
            assert "cannot be written" in str(failure)
            assert not path.exists() or path.read_bytes() == b""
    assert seen == ["open", "write", "fsync", "open folder", "fsync"]
    assert path.read_bytes() == b"one\n"


def test_a_disk_that_is_full_at_any_byte_leaves_the_old_file(tmp_path):
    """The real thing: the system itself lets no file grow beyond a limit."""
    path = tmp_path / "model.mitsugo"
    files.write_sealed(path, OLD)
    old = path.read_bytes()
    new = {"a": b"new" * 100}
    files.write_sealed(tmp_path / "other", new)
    size = (tmp_path / "other").stat().st_size
    (tmp_path / "other").unlink()
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    for limit in range(0, size, 7):
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, hard))
        try:
            with pytest.raises(ResourceError, match="the disk is full; what was there before is unharmed"):
                files.write_sealed(path, new)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        assert path.read_bytes() == old
        assert len(list(tmp_path.iterdir())) == 1


def test_a_line_that_fits_the_disk_in_part_is_taken_back(tmp_path):
    path = tmp_path / "history.jsonl"
    files.append_line(path, "one")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (6, hard))
    try:
        with pytest.raises(ResourceError, match="the disk is full"):
            files.append_line(path, "two")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert path.read_bytes() == b"one\n"

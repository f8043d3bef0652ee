"""The cache of decoded pixels: whole entries or none, the budget, damage, processes, disks that fail."""

import contextlib
import errno
import io
import itertools
import json
import os
import shutil
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import NamedTuple

import filelock
import numpy as np
import pytest

from mitsugo.data import cache as cache_module
from mitsugo.data.cache import (
    Cache,
    Contents,
    cleared,
    discarded,
    drafted,
    entries,
    entry_of,
    entry_seen,
    pixels_of,
    remember,
)
from mitsugo.errors import ResourceError
from mitsugo.values import Framing

FRAMING = Framing(channels=1, height=4, width=5, crop=(0, 1, 2, 3))
ROW = 20


def key(number):
    return f"{number:064x}"


def contents(images=3, **changes):
    usual = {"files": images + 1, "source_bytes": 77, "images": images, "left_out": ((1, "is empty 品"),)}
    others = {"framing": FRAMING, "shrunk": 2.5, "constant": (0,), "constants": 1}
    return Contents(**{**usual, **others, **changes})


def rows(images=3, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (images, 1, 4, 5), dtype=np.uint8)


def keep(cache, number, images=3, used=None):
    pixels = rows(images, number)
    with drafted(cache, pixels.nbytes) as draft:
        for row in pixels:
            draft.add(row)
        draft.finish(key(number), contents(images))
    if used is not None:
        os.utime(cache.folder / "v1" / "entries" / key(number) / "meta.json", (used, used))
    return pixels


def numbers(cache):
    return [int(entry.key, 16) for entry in entries(cache)]


@pytest.fixture
def cache(tmp_path):
    return Cache(folder=tmp_path / "cache")


def test_an_entry_gives_back_what_went_in(cache):
    pixels = keep(cache, 7)
    entry = entry_of(cache, key(7))
    assert (entry.key, entry.contents) == (key(7), contents())
    assert entry.contents.shape == (3, 1, 4, 5)
    for mapped in (False, True):
        found = pixels_of(entry, mapped=mapped)
        assert np.array_equal(found, pixels)
        assert isinstance(found, np.memmap) == mapped
    assert not pixels_of(entry, mapped=True).flags.writeable
    assert list((cache.folder / "v1" / "making").iterdir()) == []


def test_there_is_nothing_at_first(cache):
    assert entries(cache) == ()
    assert entry_of(cache, key(1)) is None
    assert entry_seen(cache, "x") is None
    assert cleared(cache) == (0, 0)
    assert not cache.folder.exists()


def test_what_is_not_finished_is_removed(cache):
    with drafted(cache, 100) as draft:
        draft.add(rows())
    with pytest.raises(TypeError), drafted(cache, 100) as draft:
        draft.finish(key(1), None)
    assert entries(cache) == ()
    assert list((cache.folder / "v1" / "making").iterdir()) == []


def test_the_first_to_finish_gives_the_entry(cache):
    with drafted(cache, 60) as one, drafted(cache, 60) as other:
        one.add(rows())
        other.add(rows())
        one.finish(key(1), contents())
        other.finish(key(1), contents())
    assert np.array_equal(pixels_of(entry_of(cache, key(1)), mapped=False), rows())
    assert list((cache.folder / "v1" / "making").iterdir()) == []


def test_files_that_were_seen_find_their_entry(cache):
    keep(cache, 1)
    keep(cache, 2)
    remember(cache, key(2), "a-stamp")
    assert entry_seen(cache, "a-stamp").key == key(2)
    assert entry_seen(cache, "another") is None
    discarded(cache, entry_of(cache, key(2)))
    assert entry_seen(cache, "a-stamp") is None
    remember(cache, key(2), "a-stamp")  # there is no entry to remember it by
    assert numbers(cache) == [1]


# The budget


def size_of(cache, number):
    return next(entry.bytes for entry in entries(cache) if entry.key == key(number))


def test_the_least_recently_used_goes_first(cache):
    for number, used in ((1, 300), (2, 100), (3, 200)):
        keep(cache, number, used=used)
    assert numbers(cache) == [1, 3, 2]
    taken = sum(size_of(cache, number) for number in (1, 2, 3))
    assert entry_of(cache, key(2)).used == 100  # from now on it is the one used last
    assert numbers(cache) == [2, 1, 3]
    tight = Cache(folder=cache.folder, budget=taken + 60 - 1)
    with drafted(tight, 60):
        assert numbers(cache) == [2, 1]
    generous = Cache(folder=cache.folder, budget=taken + 60)
    with drafted(generous, 60):
        assert numbers(cache) == [2, 1]


def test_what_has_no_room_at_all_removes_nothing(cache):
    keep(cache, 1)
    with (
        pytest.raises(
            ResourceError,
            match=r"cache has no room for 5\.0 GB of pixels: its budget is 4\.0 GB, the disk has "
            r"\d+\.\d GB free; give --cache-budget more, or \$MITSUGO_CACHE another disk$",
        ),
        drafted(Cache(folder=cache.folder, budget=4 * 10**9), 5 * 10**9),
    ):
        pass
    assert numbers(cache) == [1]


class Usage(NamedTuple):
    free: int


def test_some_of_the_disk_is_left_to_others(cache, monkeypatch):
    keep(cache, 1)
    generous = Cache(folder=cache.folder, budget=1 << 40)
    reserve = cache_module.RESERVE
    for free, fits in ((reserve + 1000, True), (reserve + 999, True), (reserve - 10_000, False)):
        monkeypatch.setattr(shutil, "disk_usage", lambda _path, free=free: Usage(free))
        with contextlib.ExitStack() as stack:
            if not fits:
                stack.enter_context(pytest.raises(ResourceError, match="has no room"))
            stack.enter_context(drafted(generous, 1000))
        # one byte is missing in the second case, and the entry gives way to it
        assert numbers(cache) == ([1] if free == reserve + 1000 else [])


def test_without_a_budget_half_of_the_disk_at_most_is_taken(cache, monkeypatch):
    monkeypatch.setattr(shutil, "disk_usage", lambda _path: Usage(10 * 2**30))
    with drafted(cache, 5 * 2**30):
        pass
    with pytest.raises(ResourceError, match=r"its budget is 5\.4 GB"), drafted(cache, 6 * 2**30):
        pass
    monkeypatch.setattr(shutil, "disk_usage", lambda _path: Usage(1000 * 2**30))
    with pytest.raises(ResourceError, match=r"its budget is 21\.5 GB"), drafted(cache, 21 * 2**30):
        pass


def test_a_map_is_read_on_after_its_entry_was_removed(cache):
    pixels = keep(cache, 1)
    mapped = pixels_of(entry_of(cache, key(1)), mapped=True)
    count, size = cleared(cache)
    assert (count, size > pixels.nbytes) == (1, True)
    assert entries(cache) == ()
    assert np.array_equal(mapped, pixels)


# Damage


@pytest.mark.parametrize("mapped", [False, True])
def test_damaged_pixels_are_seen(cache, mapped, monkeypatch):
    monkeypatch.setattr(cache_module, "BLOCK", 16)
    pixels = keep(cache, 1)
    entry = entry_of(cache, key(1))
    assert len(entry.digests) == 4
    path = entry.folder / "pixels.u8"
    for content in (pixels.tobytes()[:-1], pixels.tobytes() + b"x", b""):
        path.write_bytes(content)
        assert pixels_of(entry, mapped=mapped) is None
    for place in range(pixels.size):
        damaged = bytearray(pixels.tobytes())
        damaged[place] ^= 1
        path.write_bytes(damaged)
        assert pixels_of(entry, mapped=mapped) is None
    path.unlink()
    assert pixels_of(entry, mapped=mapped) is None
    path.write_bytes(pixels.tobytes())
    assert np.array_equal(pixels_of(entry, mapped=mapped), pixels)


def test_of_a_long_map_sixteen_blocks_are_looked_at(cache, monkeypatch):
    monkeypatch.setattr(cache_module, "BLOCK", ROW)
    pixels = keep(cache, 1, images=31)
    entry = entry_of(cache, key(1))
    seen = []
    for row in range(31):
        damaged = pixels.copy()
        damaged[row] += 1
        (entry.folder / "pixels.u8").write_bytes(damaged.tobytes())
        assert pixels_of(entry, mapped=False) is None
        seen.append(pixels_of(entry, mapped=True) is None)
    assert seen == [row % 2 == 0 for row in range(31)]


def test_an_entry_with_too_few_digests_is_damaged(cache):
    keep(cache, 1)
    meta = cache.folder / "v1" / "entries" / key(1) / "meta.json"
    sealed = json.loads(meta.read_text())
    sealed["entry"]["digests"] = []
    sealed["sha256"] = cache_module._seal(sealed["entry"])
    meta.write_text(json.dumps(sealed))
    assert pixels_of(entry_of(cache, key(1)), mapped=False) is None


def test_no_changed_byte_of_the_description_is_believed(cache):
    keep(cache, 1)
    meta = cache.folder / "v1" / "entries" / key(1) / "meta.json"
    whole = meta.read_bytes()
    expected = entry_of(cache, key(1))
    for place in range(len(whole)):
        meta.write_bytes(whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :])
        found = entry_of(cache, key(1))
        assert found is None or found.contents == expected.contents
    for length in range(0, len(whole), 9):
        meta.write_bytes(whole[:length])
        assert entry_of(cache, key(1)) is None
    meta.write_text("[]")
    assert entry_of(cache, key(1)) is None
    assert entries(cache) == ()
    pixels = keep(cache, 1)  # it is replaced
    assert np.array_equal(pixels_of(entry_of(cache, key(1)), mapped=False), pixels)


def test_only_entries_are_listed(cache):
    keep(cache, 1)
    (cache.folder / "v1" / "entries" / "notes").mkdir()
    (cache.folder / "v1" / "entries" / key(5)).write_text("no folder")
    assert numbers(cache) == [1]


# Processes


def test_what_a_killed_process_left_is_removed_and_what_is_being_made_is_not(cache):
    program = f"""
        import os, signal
        from pathlib import Path
        import numpy as np
        from mitsugo.data.cache import Cache, drafted
        with drafted(Cache(folder=Path({str(cache.folder)!r})), 60) as draft:
            draft.add(np.zeros(60, np.uint8))
            os.kill(os.getpid(), signal.SIGKILL)
    """
    killed = subprocess.run([sys.executable, "-c", textwrap.dedent(program)], check=False, timeout=50)
    assert killed.returncode == -9
    making = cache.folder / "v1" / "making"
    (left,) = (path for path in making.iterdir() if path.is_dir())
    with drafted(cache, 60) as draft:
        assert not left.exists()
        assert len([path for path in making.iterdir() if path.is_dir()]) == 1
        assert cleared(cache)[0] == 0
        draft.add(rows())
        draft.finish(key(1), contents())
    assert np.array_equal(pixels_of(entry_of(cache, key(1)), mapped=True), rows())
    assert list(making.iterdir()) == []


def test_two_processes_make_the_same_entries_at_once(cache):
    program = f"""
        import sys
        from pathlib import Path
        import numpy as np
        from mitsugo.data.cache import Cache, Contents, drafted, entries, entry_of, pixels_of
        from mitsugo.values import Framing
        cache = Cache(folder=Path({str(cache.folder)!r}), budget=20_000)
        for number in range(16):
            pixels = np.full((100, 1, 4, 5), number, np.uint8)
            contents = Contents(
                framing=Framing(channels=1, height=4, width=5), files=100, source_bytes=1, images=100,
                left_out=(), shrunk=1.0, constant=(), constants=0)
            with drafted(cache, pixels.nbytes) as draft:
                draft.add(pixels)
                draft.finish(f"{{number:064x}}", contents)
            for entry in entries(cache):
                found = pixels_of(entry, mapped=True)
                assert found is None or (found == int(entry.key, 16)).all()
    """
    arguments = [sys.executable, "-c", textwrap.dedent(program)]
    both = [subprocess.Popen(arguments) for _ in range(2)]
    assert [process.wait(timeout=50) for process in both] == [0, 0]
    found = entries(cache)
    assert 1 <= len(found) <= 20_000 // 2000
    assert all((pixels_of(entry, mapped=False) == int(entry.key, 16)).all() for entry in found)
    assert list((cache.folder / "v1" / "making").iterdir()) == []


def test_a_lock_that_another_process_keeps_is_not_waited_for_for_ever(cache, monkeypatch):
    keep(cache, 1)
    monkeypatch.setattr(cache_module, "PATIENCE", 0.1)
    with (
        filelock.FileLock(cache.folder / "v1" / "lock"),
        pytest.raises(ResourceError, match="another process has held its lock for 0 s; end it, or name"),
    ):
        cleared(cache)
    assert numbers(cache) == [1]


def test_a_file_system_without_locks_is_told(cache, monkeypatch):
    def no_locks(*_arguments, **_options):
        raise NotImplementedError

    monkeypatch.setattr(filelock, "FileLock", no_locks)
    with pytest.raises(ResourceError, match="cannot be written: its file system has no locks"):
        keep(cache, 1)


# Disks that fail


class Disk:
    """Lets one call that changes the cache fail, and maybe all after it."""

    def __init__(self, monkeypatch, folder, failing, code, *, stays_broken):
        self.folder, self.failing, self.code, self.stays_broken = str(folder), failing, code, stays_broken
        self.calls = []
        self.real_open = io.open
        monkeypatch.setattr(io, "open", self.open)
        for name in ("fsync", "replace", "rename", "mkdir"):
            real = getattr(os, name)
            monkeypatch.setattr(os, name, lambda *a, name=name, real=real: (self.tick(name), real(*a))[1])

    def tick(self, name):
        self.calls.append(name)
        number = len(self.calls)
        if number == self.failing or (self.stays_broken and number > self.failing):
            raise OSError(self.code, os.strerror(self.code))

    @property
    def failed(self):
        return len(self.calls) >= self.failing

    def open(self, path, mode="r", buffering=-1, *arguments, **options):
        if not str(path).startswith(self.folder) or not set(mode) & set("wax+"):
            return self.real_open(path, mode, buffering, *arguments, **options)
        self.tick("open")
        return io.BufferedRandom(FaultyFile(path, mode, self), 8)


class FaultyFile(io.FileIO):
    """Writes half of what it was given, then fails, when its disk says so."""

    def __init__(self, path, mode, disk):
        super().__init__(path, mode.replace("b", "").replace("+", "") + "+")
        self.disk = disk

    def write(self, content):
        try:
            self.disk.tick("write")
        except OSError:
            super().write(bytes(content)[: len(content) // 2])
            raise
        return super().write(content)


@pytest.mark.parametrize("stays_broken", [False, True])
@pytest.mark.parametrize(
    ("code", "words"),
    [
        (errno.ENOSPC, "the disk is full"),
        (errno.EDQUOT, "the disk is full"),
        (errno.EIO, "input/output error"),
        (errno.EROFS, "read-only file system"),
    ],
)
def test_a_fault_at_any_call_leaves_no_entry_or_a_whole_one(cache, code, words, stays_broken):
    seen = []
    for failing in itertools.count(1):
        shutil.rmtree(cache.folder, ignore_errors=True)
        failure = None
        with pytest.MonkeyPatch.context() as monkeypatch:
            disk = Disk(monkeypatch, cache.folder, failing, code, stays_broken=stays_broken)
            try:
                keep(cache, 1)
            except ResourceError as error:
                failure = str(error)
        if not disk.failed:
            assert failure is None
            break
        seen.append(disk.calls[failing - 1])
        if failure is None:  # the folder that could not be made was there
            assert seen[-1] == "mkdir"
            assert numbers(cache) == [1]
        else:
            assert words in failure
            assert str(cache.folder) in failure
            assert failure.isprintable()
        assert all((pixels_of(entry, mapped=False) == rows(3, 1)).all() for entry in entries(cache))
        pixels = keep(cache, 2)  # the cache is as good as before
        assert np.array_equal(pixels_of(entry_of(cache, key(2)), mapped=False), pixels)
        assert list((cache.folder / "v1" / "making").iterdir()) == []
    assert {"mkdir", "open", "write", "fsync", "replace", "rename"} == set(seen)
    assert seen.count("write") >= 3


def test_a_cache_that_cannot_be_written_is_read(cache, monkeypatch):
    def refused(*_arguments, **_options):
        raise PermissionError(errno.EACCES, "Permission denied")

    pixels = keep(cache, 1, used=100)
    monkeypatch.setattr(os, "utime", refused)
    monkeypatch.setattr(Path, "touch", refused)
    remember(cache, key(1), "a-stamp")
    assert entry_seen(cache, "a-stamp") is None
    entry = entry_of(cache, key(1))
    assert entry.used == 100
    assert np.array_equal(pixels_of(entry, mapped=True), pixels)
    monkeypatch.setattr(os, "mkdir", refused)
    with pytest.raises(
        ResourceError, match="cache cannot be written: permission denied; free space, or name"
    ):
        keep(cache, 2)


def test_a_file_that_another_process_removes_while_sizes_are_added_takes_no_room(cache, monkeypatch):
    keep(cache, 1)
    before = entry_of(cache, key(1)).bytes
    real = os.walk
    monkeypatch.setattr(
        os, "walk", lambda folder: [(at, (), [*names, "gone"]) for at, _, names in real(folder)]
    )
    assert entry_of(cache, key(1)).bytes == before


def test_a_cache_where_a_file_stands_is_told(tmp_path):
    (tmp_path / "cache").write_text("a file")
    with pytest.raises(ResourceError, match=r"cache cannot be written: not a directory; free space, or name"):
        keep(Cache(folder=tmp_path / "cache"), 1)
    assert entries(Cache(folder=tmp_path / "cache")) == ()

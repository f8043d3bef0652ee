"""Decoded pixels on the disk, keyed by what they were made of; whole or not there.

    FOLDER/v1/lock                    who makes room or gives an entry its name holds it for a moment
    FOLDER/v1/making/NAME(.lock)      an entry in the making, and the lock that its maker holds until the end
    FOLDER/v1/entries/KEY/pixels.u8   uint8 (n, c, h, w), row by row
    FOLDER/v1/entries/KEY/meta.json   what was found in the files, and the SHA-256 of each 16 MiB of pixels
    FOLDER/v1/entries/KEY/seen-STAMP  files that had these times and sizes made this entry

An entry takes its name when it is whole and on the disk; the time of meta.json is when it was last used.
The entry that was used least recently goes first; a process that has it mapped keeps reading it (on Windows
it cannot be removed as long as that). Without a lock that works nothing is written, only read.
"""

import contextlib
import hashlib
import json
import os
import re
import secrets
import shutil
import sys
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import BinaryIO, Final

import filelock
import numpy as np
import pydantic
from numpy.typing import NDArray

from ..errors import ResourceError, shown
from ..files import reason, sha256_of, write_bytes
from ..values import Framing

__all__ = [
    "BLOCK",
    "Cache",
    "Contents",
    "Draft",
    "Entry",
    "cleared",
    "discarded",
    "drafted",
    "entries",
    "entry_of",
    "entry_seen",
    "pixels_of",
    "remember",
    "usual_folder",
]

BLOCK: Final = 16 << 20
"""Bytes that share one SHA-256."""
LARGEST_BUDGET: Final = 20 << 30
RESERVE: Final = 256 << 20
"""Bytes of the disk that are left to others."""
BLOCKS_LOOKED_AT: Final = 16
"""Of more blocks than these so many are looked at, spread evenly, when pixels are opened."""
PATIENCE: Final = 60.0
"""Seconds that the lock is waited for; it is held for a moment only."""
KEY = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, kw_only=True)
class Cache:
    """Where decoded pixels are kept.

    Args:
        folder: of the cache; it need not exist.
        budget: bytes that it may take; None: 20 GiB, or half of the disk that is free for it where that is
            less. 0 keeps nothing.
    """

    folder: Path
    budget: int | None = None


@dataclass(frozen=True, kw_only=True)
class Contents:
    """What was found in the files that an entry was made of.

    Args:
        framing: what every photo went through.
        files: how many there were.
        source_bytes: how many bytes they have.
        images: how many of them are images: the rows of the pixels.
        left_out: place among the files and reason of each of the others.
        shrunk: how many times as large a mark was in the median photo.
        constant: the first rows that show one value all over.
        constants: how many there are in all.
    """

    framing: Framing
    files: int
    source_bytes: int
    images: int
    left_out: tuple[tuple[int, str], ...]
    shrunk: float
    constant: tuple[int, ...]
    constants: int

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """Of the pixels: n, c, h, w."""
        return self.images, self.framing.channels, self.framing.height, self.framing.width


@dataclass(frozen=True, kw_only=True)
class Entry:
    """Pixels that are in the cache.

    Args:
        folder: where they lie.
        contents: what was found in their files.
        digests: the SHA-256 of each block.
        bytes: what it takes on the disk.
        used: when it was last used, in seconds since 1970.
    """

    folder: Path
    contents: Contents
    digests: tuple[str, ...]
    bytes: int
    used: float

    @property
    def key(self) -> str:
        """The SHA-256 of what it was made of."""
        return self.folder.name


@dataclass(frozen=True, kw_only=True)
class _Meta:
    contents: Contents
    digests: tuple[str, ...]


_META = pydantic.TypeAdapter(_Meta)


def usual_folder() -> Path:
    """Return where the cache lies: $MITSUGO_CACHE, or the user's folder for caches on this system."""
    said = os.environ.get("MITSUGO_CACHE")
    if said:
        return Path(said)
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local") / "mitsugo" / "cache"
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Caches" / "mitsugo"
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "mitsugo"


def entries(cache: Cache) -> tuple[Entry, ...]:
    """Return what is in the cache, most recently used first; what cannot be read is not."""
    found = [_read(folder) for folder in _folders(_entries(cache)) if KEY.fullmatch(folder.name)]
    return tuple(sorted((entry for entry in found if entry), key=lambda entry: (-entry.used, entry.key)))


def entry_of(cache: Cache, key: str) -> Entry | None:
    """Return the entry of a key, which counts as used now."""
    entry = _read(_entries(cache) / key)
    if entry is not None:
        with contextlib.suppress(OSError):  # a cache that cannot be written is read all the same
            os.utime(entry.folder / "meta.json")
    return entry


def entry_seen(cache: Cache, stamp: str) -> Entry | None:
    """Return the entry that files of this stamp made, or None."""
    for folder in _folders(_entries(cache)):
        if (folder / f"seen-{stamp}").exists():
            return entry_of(cache, folder.name)
    return None


def remember(cache: Cache, key: str, stamp: str) -> None:
    """Let files of this stamp find the entry unread; where that cannot be written, they will be read."""
    with contextlib.suppress(OSError):
        (_entries(cache) / key / f"seen-{stamp}").touch()


def pixels_of(entry: Entry, *, mapped: bool) -> NDArray[np.uint8] | None:
    """Return an entry's pixels, read-only, in memory or as a memory map; None where they are damaged.

    The length must fit, and the SHA-256 of every block; of a map with more than sixteen blocks (256 MiB)
    those of sixteen that are spread evenly, first and last among them.
    """
    size = int(np.prod(entry.contents.shape))
    blocks = np.arange(len(entry.digests))
    if len(blocks) != -(-size // BLOCK):
        return None
    if mapped and len(blocks) > BLOCKS_LOOKED_AT:
        blocks = np.linspace(0, len(blocks) - 1, BLOCKS_LOOKED_AT).astype(np.int64)
    try:
        pixels: NDArray[np.uint8] = np.memmap(entry.folder / "pixels.u8", np.uint8, "r")
        if len(pixels) != size:
            return None
        if not mapped:
            pixels = np.fromfile(entry.folder / "pixels.u8", np.uint8)
    except (OSError, ValueError):
        return None
    for block in blocks.tolist():
        part = pixels[block * BLOCK : (block + 1) * BLOCK]
        if sha256_of(part.data) != entry.digests[block]:
            return None
    return pixels.reshape(entry.contents.shape)


class Draft:
    """An entry in the making.

    Args:
        cache: where it will stand.
        folder: where it is made.
    """

    def __init__(self, cache: Cache, folder: Path) -> None:
        self._cache, self._folder = cache, folder
        self._file: BinaryIO = (folder / "pixels.u8").open("xb")
        self._digests: list[str] = []
        self._digest = hashlib.sha256()
        self._left = BLOCK

    def add(self, pixels: NDArray[np.uint8]) -> None:
        """Write further rows.

        Raises:
            ResourceError: the disk is full, or failed.
        """
        content = np.ascontiguousarray(pixels).reshape(-1).data
        with _written(self._cache):
            self._file.write(content)
        while len(content) >= self._left:
            self._digest.update(content[: self._left])
            content = content[self._left :]
            self._digests.append(self._digest.hexdigest())
            self._digest, self._left = hashlib.sha256(), BLOCK
        self._digest.update(content)
        self._left -= len(content)

    def finish(self, key: str, contents: Contents) -> None:
        """Give the entry its name, unless another process did so before.

        Raises:
            ResourceError: the disk is full, or failed.
        """
        if self._left < BLOCK:
            self._digests.append(self._digest.hexdigest())
        meta = {"contents": asdict(contents), "digests": self._digests}
        with _written(self._cache):
            self._file.flush()
            os.fsync(self._file.fileno())
            self._file.close()
            sealed = {"sha256": _seal(meta), "entry": meta}
            write_bytes(self._folder / "meta.json", json.dumps(sealed).encode())
            with _locked(self._cache):
                place = _entries(self._cache) / key
                place.parent.mkdir(exist_ok=True)
                if _read(place) is None:
                    _remove(self._cache, place)
                    self._folder.rename(place)

    def close(self) -> None:
        """Close the file, finished or not."""
        with contextlib.suppress(OSError):  # what was not written is thrown away anyway
            self._file.close()


@contextlib.contextmanager
def drafted(cache: Cache, size: int) -> Iterator[Draft]:
    """Make room for so many bytes of pixels and begin an entry; what is not finished at the end is removed.

    Raises:
        ResourceError: neither the budget nor the disk has room for it, or the folder cannot be written.
    """
    with _written(cache), _locked(cache):
        _make_room(cache, size)
        name = secrets.token_hex(8)
        folder = _making(cache) / name
        folder.mkdir(parents=True)
        mine = filelock.FileLock(folder.with_suffix(".lock"))
        mine.acquire(timeout=0)
    try:
        with _written(cache):
            draft = Draft(cache, folder)
        try:
            yield draft
        finally:
            draft.close()
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        mine.release()
        with contextlib.suppress(OSError):
            folder.with_suffix(".lock").unlink(missing_ok=True)


def discarded(cache: Cache, entry: Entry) -> None:
    """Remove an entry.

    Raises:
        ResourceError: the folder cannot be written.
    """
    with _written(cache), _locked(cache):
        _remove(cache, entry.folder)


def cleared(cache: Cache) -> tuple[int, int]:
    """Remove every entry and what killed processes left; return how many entries and bytes that were.

    What another process is making just now stays.

    Raises:
        ResourceError: the folder cannot be written.
    """
    if not _root(cache).exists():
        return 0, 0
    with _written(cache), _locked(cache):
        before = _size(_root(cache))
        _remove_leftovers(cache)
        folders = _folders(_entries(cache))
        for folder in folders:
            _remove(cache, folder)
        return len(folders), before - _size(_root(cache))


def _make_room(cache: Cache, size: int) -> None:
    _remove_leftovers(cache)
    used = _size(_root(cache))
    free = shutil.disk_usage(_root(cache)).free
    budget = cache.budget
    if budget is None:
        budget = min(LARGEST_BUDGET, (free + used) // 2)
    kept = entries(cache)
    missing = max(used + size - budget, size + RESERVE - free)
    if size > budget or missing > sum(entry.bytes for entry in kept):
        raise ResourceError(
            f"the cache {shown(cache.folder)} has no room for {size / 1e9:.1f} GB of pixels: its budget is "
            f"{budget / 1e9:.1f} GB, the disk has {free / 1e9:.1f} GB free; give --cache-budget more, or "
            f"$MITSUGO_CACHE another disk"
        )
    for entry in reversed(kept):
        if missing <= 0:
            break
        _remove(cache, entry.folder)
        missing -= entry.bytes


def _remove_leftovers(cache: Cache) -> None:
    """Remove what was in the making when its maker was killed: nobody holds its lock."""
    for folder in _folders(_making(cache)):
        with contextlib.suppress(filelock.Timeout):
            lock = filelock.FileLock(folder.with_suffix(".lock"))
            with lock.acquire(timeout=0):
                shutil.rmtree(folder, ignore_errors=True)
            folder.with_suffix(".lock").unlink(missing_ok=True)


def _remove(cache: Cache, folder: Path) -> None:
    """Take the name away at once, the rest after; what is open on Windows stays."""
    if not folder.exists():
        return
    aside = _making(cache) / f"gone-{secrets.token_hex(8)}"
    aside.parent.mkdir(exist_ok=True)
    with contextlib.suppress(PermissionError):
        folder.rename(aside)
    shutil.rmtree(aside, ignore_errors=True)


def _read(folder: Path) -> Entry | None:
    """Return the entry that lies in a folder, or None where none does that can be read."""
    try:
        with (folder / "meta.json").open("rb") as file:
            content, used = file.read(), os.fstat(file.fileno()).st_mtime
        sealed = json.loads(content)
        if sealed["sha256"] != _seal(sealed["entry"]):
            return None
        meta = _META.validate_python(sealed["entry"])
    except (OSError, ValueError, LookupError, TypeError):
        return None
    return Entry(folder=folder, contents=meta.contents, digests=meta.digests, bytes=_size(folder), used=used)


def _seal(meta: object) -> str:
    return sha256_of(json.dumps(meta, sort_keys=True).encode())


def _size(folder: Path) -> int:
    return sum(_length(Path(at) / name) for at, _, names in os.walk(folder) for name in names)


def _length(path: Path) -> int:
    try:
        return path.lstat().st_size
    except OSError:  # it was removed meanwhile
        return 0


def _folders(folder: Path) -> list[Path]:
    try:
        return sorted(path for path in folder.iterdir() if path.is_dir())
    except OSError:
        return []


def _root(cache: Cache) -> Path:
    return cache.folder / "v1"


def _entries(cache: Cache) -> Path:
    return _root(cache) / "entries"


def _making(cache: Cache) -> Path:
    return _root(cache) / "making"


@contextlib.contextmanager
def _locked(cache: Cache) -> Iterator[None]:
    _root(cache).mkdir(parents=True, exist_ok=True, mode=0o700)
    with filelock.FileLock(_root(cache) / "lock", timeout=PATIENCE):
        yield


@contextlib.contextmanager
def _written(cache: Cache) -> Iterator[None]:
    """Turn what the disk says into one line that names the cache."""
    try:
        yield
    except filelock.Timeout as error:
        raise ResourceError(
            f"the cache {shown(cache.folder)}: another process has held its lock for {PATIENCE:.0f} s; "
            f"end it, or name another folder with $MITSUGO_CACHE"
        ) from error
    except (OSError, NotImplementedError) as error:
        why = reason(error) if isinstance(error, OSError) else "its file system has no locks"
        raise ResourceError(
            f"the cache {shown(cache.folder)} cannot be written: {why}; "
            f"free space, or name another folder with $MITSUGO_CACHE"
        ) from error

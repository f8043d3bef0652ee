"""Files that are whole or not there: atomic writing, safe opening, sealed archives.

A sealed archive is a zip of stored members whose comment is the SHA-256 of every byte before it, so that any
flipped bit, truncation or exchanged member is seen before a member is looked at.
"""

import contextlib
import errno
import hashlib
import io
import os
import secrets
import stat
import struct
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import BinaryIO

from .errors import DataError, MitsugoError, ModelError, ResourceError, shown

__all__ = [
    "append_line",
    "open_regular",
    "read_sealed",
    "remove_leftovers",
    "replacing",
    "sha256_of",
    "write_bytes",
    "write_sealed",
]

SEAL = b"mitsugo sealed sha256 "
SEAL_LENGTH = len(SEAL) + 64
LARGEST = (1 << 31) - 1
"""Bytes of the largest sealed archive: what a zip holds without its 64-bit extension, and a memory too."""
LARGEST_DIRECTORY = 1 << 16
"""Bytes of the largest table of members; a handful of members needs a few hundred."""
END_RECORD = struct.Struct("<4s4H2LH")
WIDE_LOCATOR = b"PK\x06\x07"
WIDE_LOCATOR_LENGTH = 20
TEMPORARY = ".mitsugo-part"
FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
TORN_STEP = 1 << 16


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[BinaryIO]:
    """Open a file aside of `path` that takes its name only when it is whole and on the disk.

    Raises:
        ResourceError: the disk is full, or the folder cannot be written. The old file is as it was, unless
            the message says that the new one stands and only the disk's confirmation is missing.
    """
    aside = _aside(path)
    try:
        with aside.open("xb+") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        aside.replace(path)
    except BaseException as error:
        with contextlib.suppress(OSError):
            aside.unlink()
        if isinstance(error, OSError):
            raise _cannot_write(path, error) from error
        raise
    try:
        _sync_folder(path.parent)
    except OSError as error:
        raise ResourceError(
            f"{shown(path)}: was replaced whole, but the disk did not confirm it: {reason(error)}; "
            f"check the disk, then write it again"
        ) from error


def write_bytes(path: Path, content: bytes) -> None:
    """Write a whole file, or leave the old one as it was."""
    with replacing(path) as file:
        file.write(content)


def append_line(path: Path, line: str) -> None:
    """Add one line that is on the disk when this returns; a line that did not fit is taken back whole.

    What a killed writer left after the last line break was never acknowledged and is taken back first.

    Raises:
        ResourceError: the disk is full, or the file cannot be written.
    """
    assert "\n" not in line
    content = line.encode() + b"\n"
    try:
        with path.open("ab+", buffering=0) as file:
            before = _whole_lines(file)
            file.truncate(before)
            try:
                if file.write(content) != len(content):
                    raise OSError(errno.ENOSPC, "no space left on the device")
                os.fsync(file.fileno())
                if not before:
                    _sync_folder(path.parent)
            except OSError:
                with contextlib.suppress(OSError):
                    file.truncate(before)
                raise
    except OSError as error:
        raise _cannot_write(path, error) from error


def open_regular(path: Path, error_type: type[MitsugoError] = DataError) -> BinaryIO:
    """Open a regular file for reading; a folder, FIFO, socket or device is refused and never waited for.

    Raises:
        DataError: (or `error_type`) the file is missing, unreadable or not a regular file.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
    except (OSError, ValueError) as error:
        raise error_type(f"{shown(path)}: cannot be read: {reason(error)}") from error
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise error_type(f"{shown(path)}: is not a regular file; name a file")
    return os.fdopen(descriptor, "rb")


def reason(error: OSError | ValueError) -> str:
    """Return what went wrong, in the system's words and without the path that it repeats.

    >>> reason(OSError(errno.ENOENT, "No such file or directory", "runs/a"))
    'no such file or directory'
    """
    if getattr(error, "errno", None) in FULL:
        return "the disk is full"
    return (getattr(error, "strerror", None) or str(error)).lower()


def sha256_of(*parts: bytes | memoryview) -> str:
    """Return the SHA-256 of the parts, one after the other, in hexadecimal."""
    digest = hashlib.sha256()
    for part in parts:
        digest.update(part)
    return digest.hexdigest()


def write_sealed(path: Path, members: Mapping[str, bytes]) -> None:
    """Write a sealed archive: the same members give the same bytes, on every system.

    Raises:
        ResourceError: the disk is full, or the folder cannot be written. The old file is as it was.
        ModelError: the members hold more than a sealed archive can.
    """
    size = sum(len(content) for content in members.values())
    if size > LARGEST - LARGEST_DIRECTORY:
        raise ModelError(
            f"{shown(path)}: would hold {size} bytes, a mitsugo file holds at most {LARGEST}; "
            f"keep fewer images or fewer dimensions in its gallery"
        )
    with replacing(path) as file:
        with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED, allowZip64=False) as archive:
            for name, content in members.items():
                info = zipfile.ZipInfo(name)
                info.create_system = 3  # a file sealed on Windows is the same file
                archive.writestr(info, content)
            archive.comment = b" " * SEAL_LENGTH
        body_length = file.seek(-SEAL_LENGTH, os.SEEK_END)
        file.seek(0)
        digest = hashlib.sha256()
        while chunk := file.read(min(1 << 20, body_length - file.tell())):
            digest.update(chunk)
        file.write(SEAL + digest.hexdigest().encode())


def read_sealed(path: Path) -> dict[str, bytes]:
    """Return the members of a sealed archive after its seal was found whole.

    Nothing is read into memory before the file ends as a sealed one does, and its size is bounded.

    Raises:
        ModelError: the file is missing, truncated, damaged, or no sealed archive at all.
    """
    content = _sealed_content(path)
    try:
        _check_directory(content)
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            infos = archive.infolist()
            if any(info.compress_type != zipfile.ZIP_STORED for info in infos):
                raise zipfile.BadZipFile("a member is compressed")
            if len({info.filename for info in infos}) != len(infos):
                raise zipfile.BadZipFile("a member stands twice")
            if sum(info.file_size for info in infos) > len(content):
                raise zipfile.BadZipFile("the members are larger than the file")
            return {info.filename: archive.read(info) for info in infos}
    except (
        zipfile.BadZipFile,
        NotImplementedError,
        RuntimeError,
        EOFError,
        ValueError,
        struct.error,
    ) as error:
        what = ascii(str(error))[1:-1]
        raise ModelError(f"{shown(path)}: was doctored: {what}; get it again from its maker") from error


def remove_leftovers(folder: Path) -> None:
    """Remove the files that killed writers left aside; call it only where no writer can be at work."""
    for aside in folder.glob(f".*{TEMPORARY}"):
        try:
            aside.unlink(missing_ok=True)
        except OSError as error:
            raise ResourceError(
                f"{shown(aside)}: is a killed writer's leftover and cannot be removed: {reason(error)}; "
                f"remove it by hand"
            ) from error


def _aside(path: Path) -> Path:
    """Return a name beside `path` that nobody else writes to, another thread of ours included."""
    if not path.name or "\0" in str(path):
        raise ResourceError(f"{shown(path)}: is no name that a file can have; choose another")
    return path.with_name(f".{path.name[:40]}.{os.getpid()}.{secrets.token_hex(4)}{TEMPORARY}")


def _whole_lines(file: BinaryIO | io.FileIO) -> int:
    """Return the length of a file up to its last line break."""
    end = file.seek(0, os.SEEK_END)
    while end:
        start = max(0, end - TORN_STEP)
        file.seek(start)
        line_break = file.read(end - start).rfind(b"\n")
        if line_break >= 0:
            return start + line_break + 1
        end = start
    return 0


def _sealed_content(path: Path) -> bytes:
    with open_regular(path, ModelError) as file:
        try:
            size = file.seek(0, os.SEEK_END)
            file.seek(0)
            if file.read(2) != b"PK":
                raise ModelError(f"{shown(path)}: is no mitsugo file; expected one that mitsugo wrote")
            if size > LARGEST:
                raise ModelError(f"{shown(path)}: holds {size} bytes, a mitsugo file at most {LARGEST}")
            file.seek(-min(size, SEAL_LENGTH), os.SEEK_END)
            seal = file.read()
            file.seek(0)
            content = file.read(size) if seal.startswith(SEAL) else b""
        except OSError as error:
            raise ModelError(f"{shown(path)}: cannot be read: {reason(error)}; check the disk") from error
    body = memoryview(content)[:-SEAL_LENGTH]
    if not content or content[-SEAL_LENGTH:] != SEAL + sha256_of(body).encode():
        raise ModelError(
            f"{shown(path)}: is truncated or damaged (its seal does not fit its bytes); "
            f"copy it again from where it was made, or train again"
        )
    return content


def _check_directory(content: bytes) -> None:
    """Refuse a table of members that is not where and what ours is, before memory is spent on it."""
    at = len(content) - SEAL_LENGTH - END_RECORD.size
    if at < 0:
        raise zipfile.BadZipFile("it has no table of members")
    signature, _, _, _, _, size, offset, comment_length = END_RECORD.unpack_from(content, at)
    if signature != b"PK\x05\x06" or comment_length != SEAL_LENGTH or offset + size != at:
        raise zipfile.BadZipFile("its table of members is not where it belongs")
    if size > LARGEST_DIRECTORY or content[max(0, at - WIDE_LOCATOR_LENGTH) : at].startswith(WIDE_LOCATOR):
        raise zipfile.BadZipFile("its table of members is too large")


def _sync_folder(folder: Path) -> None:
    if os.name == "nt":
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno != errno.EINVAL:  # some network file systems have no such thing
            raise
    finally:
        os.close(descriptor)


def _cannot_write(path: Path, error: OSError) -> ResourceError:
    return ResourceError(
        f"{shown(path)}: cannot be written: {reason(error)}; what was there before is unharmed. "
        f"Free space or choose another place, then try again"
    )

"""Files that are whole or not there: atomic writing, safe opening, sealed archives.

A sealed archive is a zip of stored members whose comment is the SHA-256 of every byte before it, so that any
flipped bit, truncation or exchanged member is seen before a member is looked at.
"""

import contextlib
import errno
import hashlib
import io
import os
import stat
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
TEMPORARY = ".mitsugo-part"
FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[BinaryIO]:
    """Open a file aside of `path` that takes its name only when it is whole and on the disk.

    Raises:
        ResourceError: the disk is full, or the folder cannot be written. The old file is as it was.
    """
    aside = path.with_name(f".{path.name}.{os.getpid()}{TEMPORARY}")
    try:
        with aside.open("w+b") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        aside.replace(path)
        _sync_folder(path.parent)
    except BaseException as error:
        with contextlib.suppress(OSError):
            aside.unlink()
        if isinstance(error, OSError):
            raise _cannot_write(path, error) from error
        raise


def write_bytes(path: Path, content: bytes) -> None:
    """Write a whole file, or leave the old one as it was."""
    with replacing(path) as file:
        file.write(content)


def append_line(path: Path, line: str) -> None:
    """Add one line that is on the disk when this returns; a line that did not fit is taken back whole.

    Raises:
        ResourceError: the disk is full, or the file cannot be written.
    """
    try:
        with path.open("ab", buffering=0) as file:
            before = file.seek(0, os.SEEK_END)
            content = line.encode() + b"\n"
            try:
                if file.write(content) != len(content):
                    raise OSError(errno.ENOSPC, "no space left on the device")
                os.fsync(file.fileno())
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
    except OSError as error:
        raise error_type(f"{shown(path)}: cannot be read: {reason(error)}") from error
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise error_type(f"{shown(path)}: is not a regular file; name a file")
    return os.fdopen(descriptor, "rb")


def reason(error: OSError) -> str:
    """Return the system's words for an error, without the path that it repeats."""
    return (error.strerror or str(error)).lower()


def sha256_of(*parts: bytes | memoryview) -> str:
    """Return the SHA-256 of the parts, one after the other, in hexadecimal."""
    digest = hashlib.sha256()
    for part in parts:
        digest.update(part)
    return digest.hexdigest()


def write_sealed(path: Path, members: Mapping[str, bytes]) -> None:
    """Write a sealed archive: the same members give the same bytes.

    Raises:
        ResourceError: the disk is full, or the folder cannot be written. The old file is as it was.
    """
    with replacing(path) as file:
        with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive:
            for name, content in members.items():
                archive.writestr(zipfile.ZipInfo(name), content)
            archive.comment = b" " * SEAL_LENGTH
        body_length = file.seek(-SEAL_LENGTH, os.SEEK_END)
        file.seek(0)
        digest = hashlib.sha256()
        while chunk := file.read(min(1 << 20, body_length - file.tell())):
            digest.update(chunk)
        file.write(SEAL + digest.hexdigest().encode())


def read_sealed(path: Path) -> dict[str, bytes]:
    """Return the members of a sealed archive after its seal was found whole.

    Raises:
        ModelError: the file is missing, truncated, damaged, or no sealed archive at all.
    """
    with open_regular(path, ModelError) as file:
        content = file.read()
    if not content.startswith(b"PK"):
        raise ModelError(f"{shown(path)}: is no mitsugo file; expected one that mitsugo wrote")
    body, seal = content[:-SEAL_LENGTH], content[-SEAL_LENGTH:]
    if seal != SEAL + sha256_of(body).encode():
        raise ModelError(
            f"{shown(path)}: is truncated or damaged (its seal does not fit its bytes); "
            f"copy it again from where it was made, or train again"
        )
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            infos = archive.infolist()
            if any(info.compress_type != zipfile.ZIP_STORED for info in infos):
                raise zipfile.BadZipFile("a member is compressed")
            if len({info.filename for info in infos}) != len(infos):
                raise zipfile.BadZipFile("a member stands twice")
            if sum(info.file_size for info in infos) > len(content):
                raise zipfile.BadZipFile("the members are larger than the file")
            return {info.filename: archive.read(info) for info in infos}
    except (zipfile.BadZipFile, NotImplementedError, RuntimeError, EOFError, ValueError, OSError) as error:
        raise ModelError(f"{shown(path)}: was doctored: {error}; get it again from its maker") from error


def remove_leftovers(folder: Path) -> None:
    """Remove the files that killed writers left aside; call it only where no writer can be at work."""
    for aside in folder.glob(f".*{TEMPORARY}"):
        aside.unlink(missing_ok=True)


def _sync_folder(folder: Path) -> None:
    if os.name == "nt":
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _cannot_write(path: Path, error: OSError) -> ResourceError:
    what = "the disk is full" if error.errno in FULL else reason(error)
    return ResourceError(
        f"{shown(path)}: cannot be written: {what}; what was there before is unharmed. "
        f"Free space or choose another place, then try again"
    )

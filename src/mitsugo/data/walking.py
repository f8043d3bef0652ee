"""What lies in folders, told without opening any file: photos by their names, folders, and all else.

Nothing here hangs, whatever lies there: links to folders are not followed, so no walk goes in a circle, and a
pipe, a socket or a device is told by its kind.
"""

import os
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from ..errors import DataError, shown
from ..files import reason

__all__ = ["PHOTO_ENDINGS", "Level", "is_photo", "level_of", "photos_below", "unreadable"]

PHOTO_ENDINGS: Final = (".bmp", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp")
SYSTEM_FOLDERS: Final = {
    "$RECYCLE.BIN",
    "#recycle",
    "@eaDir",
    "__MACOSX",
    "lost+found",
    "System Volume Information",
}
"""What Windows, macOS and network stores keep for themselves; @eaDir holds small copies of every photo."""

NO_PHOTO: Final = f"is no photo by its name; photos end with {' '.join(PHOTO_ENDINGS)}"
NO_PHOTOS: Final = "is a folder without photos"
NOT_OURS: Final = "is a folder that the system keeps for itself"
NOT_REGULAR: Final = "is no regular file (a pipe, socket or device)"
LINK_TO_FOLDER: Final = "is a link to a folder, which is not followed"
LINK_OUT: Final = "is a link that leads out of the folder"


@dataclass(frozen=True)
class Level:
    """What lies in one folder, as sorted paths below the root; what was left out with its reason."""

    below: str
    folders: list[str]
    photos: list[str]
    left_out: list[tuple[str, str]]


def level_of(root: str, below: str, *, skip: bool) -> Level:
    """Look into one folder.

    Args:
        root: the folder that links may not lead out of, without links in its path.
        below: the path of the one to look into, below the root.
        skip: whether what is named as a photo and cannot be one (links, pipes, sockets, devices), and links
            to folders, are listed in `left_out` or refused.

    Raises:
        DataError: the folder cannot be read, or there is such a thing.
    """
    path = f"{root}/{below}" if below else root
    level = Level(below, [], [], [])
    unfit: list[tuple[str, str]] = []
    try:
        with os.scandir(path) as entries:
            for entry in entries:
                if not entry.name.startswith("."):
                    _sort_in(entry, root, level, unfit)
    except (OSError, ValueError) as error:
        raise unreadable(path, error) from error
    if unfit and not skip:
        name, why = min(unfit)
        raise DataError(
            f"{shown(f'{root}/{name}')}: {why}; put the photos themselves there, "
            f"or leave such files out with --bad-images skip"
        )
    level.folders.sort()
    level.photos.sort()
    level.left_out.extend(unfit)
    return level


def _sort_in(entry: os.DirEntry[str], root: str, level: Level, unfit: list[tuple[str, str]]) -> None:
    """Add an entry to the list that it belongs to; none is opened, and no link to a folder followed."""
    name = f"{level.below}/{entry.name}" if level.below else entry.name
    if entry.is_dir(follow_symlinks=False):
        if entry.name in SYSTEM_FOLDERS:
            level.left_out.append((name, NOT_OURS))
        else:
            level.folders.append(name)
        return
    why = None if entry.is_file(follow_symlinks=False) else _why_unfit(entry, root)
    named_so = is_photo(entry.name)
    if why is not None and (named_so or why == LINK_TO_FOLDER):
        unfit.append((name, why))
    elif named_so:
        level.photos.append(name)
    else:
        level.left_out.append((name, why or NO_PHOTO))


def _why_unfit(entry: os.DirEntry[str], root: str) -> str | None:
    """Return why what is no plain file cannot stand for one; None for a link to a plain file of the root."""
    if not entry.is_symlink():
        return NOT_REGULAR
    try:
        target = os.path.realpath(entry.path, strict=True)
        mode = Path(target).stat().st_mode
    except OSError as error:
        return f"is a link that cannot be followed: {reason(error)}"
    if stat.S_ISDIR(mode):
        return LINK_TO_FOLDER
    if not target.startswith(root.rstrip(os.sep) + os.sep):
        return LINK_OUT
    return None if stat.S_ISREG(mode) else NOT_REGULAR


def photos_below(root: str, folder: str, *, skip: bool) -> tuple[list[str], list[tuple[str, str]]]:
    """Return the photos at any depth below a folder, sorted, and what was left out there.

    A folder without photos is itself left out. See `level_of` for the arguments and the errors.
    """
    photos: list[str] = []
    left_out: list[tuple[str, str]] = []
    ahead = [folder]
    while ahead:
        level = level_of(root, ahead.pop(), skip=skip)
        photos += level.photos
        left_out += level.left_out
        ahead += reversed(level.folders)
    if not photos:
        left_out.append((folder, NO_PHOTOS))
    return sorted(photos), left_out


def is_photo(name: str) -> bool:
    """Tell by a name's end, in any case, whether it is a photo's.

    >>> is_photo("IMG_0001.JPG"), is_photo("Thumbs.db")
    (True, False)
    """
    return name.lower().endswith(PHOTO_ENDINGS)


def unreadable(path: str | Path, error: OSError | ValueError) -> DataError:
    """Return the error that says why a folder cannot be read."""
    return DataError(f"{shown(path)}: cannot be read: {reason(error)}; check its name and who may read it")

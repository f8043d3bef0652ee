"""A folder of photos, one folder a class, as a list of files; nothing is opened.

    FOLDER/CLASS/….jpg                   without a split
    FOLDER/train/CLASS/….jpg             with the split that the folders name: test/ must be there,
    FOLDER/test/CLASS/….jpg              validation/ (or val/, valid/) may; in any case of letters

Photos may lie deeper below their class. A photo is told by its name's end; files and folders whose name
begins with a dot are hidden and passed over without a word, all else that is no photo is listed with its
reason.
"""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np

from ..errors import DataError, shown
from .classes import PART_OF, PARTS, check_class_names, in_natural_order, one_class_refusal, own_split
from .grouping import grouped
from .listing import FileSet
from .reading import Reading
from .walking import Level, is_photo, level_of, photos_below, unreadable

__all__ = ["is_image_folder", "listed_folder"]

IDX_ENDINGS: Final = ("-ubyte", "-ubyte.gz")


@dataclass(frozen=True)
class _Class:
    """The photos of one class in one part: 0 train, 1 validation, 2 test; 0 where there are no parts."""

    part: int
    name: str
    photos: list[str]


def is_image_folder(folder: Path) -> bool:
    """Tell whether a folder holds folders or photos, and no file of an IDX set (…-ubyte, plain or .gz).

    Raises:
        DataError: the folder cannot be read.
    """
    found = False
    try:
        with os.scandir(folder) as entries:
            for entry in entries:
                if entry.name.endswith(IDX_ENDINGS):
                    return False
                found = found or _may_hold_photos(entry)
    except (OSError, ValueError) as error:
        raise unreadable(folder, error) from error
    return found


def listed_folder(folder: Path, reading: Reading) -> FileSet:
    """List the photos of a folder of classes, or of train/, validation/ and test/ folders of classes.

    The order is that of the parts, of the classes (natural: 2 before 10), and of the names' code points in
    each. Without a validation folder that part of the split is empty. Links to regular files inside the
    folder count as files. What is named as a photo but is a link out of the folder, in a circle or to
    nowhere, a pipe, a socket or a device, and every link to a folder, stops the listing, or is listed in
    `left_out` where `reading.bad_images` is "skip"; in neither case is it opened. Class folders without
    photos and files that are no photos by their names are always listed there.

    Groups are those of `reading.group_by`; without it there are none.

    Args:
        folder: the folder; it may itself be a link.
        reading: of which `bad_images` and `group_by` count here.

    Raises:
        DataError: a folder cannot be read; there are no photos, or of one class only; photos lie beside the
            class folders; a part is missing or there twice; two class names look the same.
        UsageError: `group_by` finds nothing in a name.
    """
    try:
        root = os.path.realpath(folder)
    except ValueError as error:
        raise unreadable(folder, error) from error
    who = shown(folder)
    skip = reading.bad_images == "skip"
    top = level_of(root, "", skip=skip)
    parts = _parts(top.folders, who)
    levels = {part: level_of(root, name, skip=skip) for part, name in parts.items()}
    left_out = [left for level in (top, *levels.values()) for left in level.left_out]
    if parts:
        left_out += _beside_parts(root, [name for name in top.folders if name not in parts.values()], who)
    for level in (top, *levels.values()):
        _check_no_loose_photos(level, shown(folder / level.below))
    classes: list[_Class] = []
    for part, level in (levels or {0: top}).items():
        for below in level.folders:
            photos, others = photos_below(root, below, skip=skip)
            left_out += others
            if photos:
                classes.append(_Class(part, below.rpartition("/")[2], photos))
    left_out.sort()
    _check_classes(classes, left_out, who)
    return _file_set(folder, classes, tuple(left_out), reading, divided=bool(parts))


def _may_hold_photos(entry: os.DirEntry[str]) -> bool:
    return not entry.name.startswith(".") and (
        is_photo(entry.name) or entry.is_symlink() or entry.is_dir(follow_symlinks=False)
    )


def _file_set(
    folder: Path,
    classes: list[_Class],
    left_out: tuple[tuple[str, str], ...],
    reading: Reading,
    *,
    divided: bool,
) -> FileSet:
    """Put the classes in their order, one photo after the other."""
    class_names = in_natural_order(found.name for found in classes)
    number = {name: i for i, name in enumerate(class_names)}
    classes.sort(key=lambda found: (found.part, number[found.name]))
    counts = [len(found.photos) for found in classes]
    names = tuple(name for found in classes for name in found.photos)
    groups, group_names = (None, ()) if reading.group_by is None else grouped(names, reading.group_by)
    part_of_each = np.repeat(np.array([found.part for found in classes], np.int8), counts)
    return FileSet(
        paths=tuple(folder / name for name in names),
        names=names,
        labels=np.repeat(np.array([number[found.name] for found in classes], np.int64), counts),
        class_names=class_names,
        groups=groups,
        group_names=group_names,
        split=own_split(part_of_each, shown(folder)) if divided else None,
        left_out=left_out,
    )


def _parts(folders: Sequence[str], who: str) -> dict[int, str]:
    """Return which folder holds which part (0 train, 1 validation, 2 test); none where they are classes.

    They are parts where train stands beside another part, or where there is nothing else; a sole test/ or
    train/ among others is a class of that name.
    """
    found: dict[str, list[str]] = {}
    for name in folders:
        if part := PART_OF.get(name.lower()):
            found.setdefault(part, []).append(name)
    others = len(folders) - sum(map(len, found.values()))
    if not found or (others and not ("train" in found and len(found) > 1)):
        return {}
    for part, names in found.items():
        if len(names) > 1:
            both = " and ".join(f"{shown(name)}/" for name in names)
            raise DataError(f"{who}: {both} are {part} parts; keep one of them")
    for part in ("train", "test"):
        if part not in found:
            held = " and ".join(f"{name}/" for (name,) in found.values())
            raise DataError(
                f"{who}: holds {held} but no {part}/; add it with a folder a class in it, "
                f"or put the class folders directly into {who}, and a split is drawn"
            )
    return {number: found[part][0] for number, part in enumerate(PARTS) if part in found}


def _beside_parts(root: str, folders: Sequence[str], who: str) -> list[tuple[str, str]]:
    """Return what is left out beside the parts: folders without photos; with photos they are refused."""
    left_out: list[tuple[str, str]] = []
    for name in folders:
        photos, others = photos_below(root, name, skip=True)
        if photos:
            raise DataError(
                f"{who}: {shown(name)}/ lies beside the parts train/ and test/ and holds photos; "
                f"move them into a class folder of a part, or out of {who}"
            )
        left_out += others
    return left_out


def _check_no_loose_photos(level: Level, who: str) -> None:
    if level.photos:
        first = shown(level.photos[0].rpartition("/")[2])
        count = len(level.photos)
        raise DataError(
            f"{who}: {count:,} {'photo lies' if count == 1 else 'photos lie'} directly in it, in no class "
            f"(first: {first}); move each into a folder of its class there, such as ok/ and ng/"
        )


def _check_classes(classes: Sequence[_Class], left_out: Sequence[tuple[str, str]], who: str) -> None:
    """Refuse what triplets cannot be drawn from, and class names that look the same."""
    if not classes:
        others = f"; found {shown(left_out[0][0])}, which {left_out[0][1]}" if left_out else ""
        raise DataError(f"{who}: holds no photos; expected a folder a class with photos in it{others}")
    check_class_names((found.name for found in classes), who)
    trained = [found for found in classes if found.part == 0]
    if len(trained) == 1:
        only = trained[0]
        raise one_class_refusal(
            who, f"{shown(only.name)}/", len(only.photos), "into a second folder beside it"
        )

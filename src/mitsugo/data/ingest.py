"""Files of photos -> images of one size, decoded in parallel; a bad file stops it, or is listed."""

import dataclasses
import os
import statistics
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from ..errors import DataError, ResourceError, shown
from ..values import Framing, Intake, LabeledImages, Split
from .framing import Framed, chosen_framing, decode_framed
from .images import Header, file_content, header_of
from .listing import FileSet
from .reading import Reading

__all__ = ["ingested"]

SAMPLE: Final = 500
"""So many photos, evenly over all, tell by their headers what size and colour the images are to have."""
MOST_BYTES: Final = 8 << 30
AHEAD: Final = 8
"""Photos that each thread may be ahead of those that were taken over, which bounds the memory."""


def ingested(files: FileSet, reading: Reading, *, tell: Callable[[int, int], object]) -> LabeledImages:
    """Decode the photos of a set, in the set's order, into one array.

    Args:
        files: what was listed.
        reading: how they are read; what it leaves open is settled by the headers of some 500 of them.
        tell: is told how many photos of how many were read.

    Raises:
        DataError: a file is no image, and `reading.bad_images` is "stop"; or no photo is left.
        ResourceError: the images would take more memory than 8 GiB.
    """
    framing = chosen_framing(_headers(files, reading), reading)
    shape = (len(files), framing.channels, framing.height, framing.width)
    if np.prod(shape, dtype=np.float64) > MOST_BYTES:
        raise ResourceError(
            f"{len(files):,} images of {framing.width}x{framing.height}x{framing.channels} take "
            f"{np.prod(shape, dtype=np.float64) / 1e9:,.0f} GB, more than {MOST_BYTES / 1e9:.0f}; "
            f"give a smaller --image-size"
        )
    pixels = np.empty(shape, np.uint8)
    kept = np.zeros(len(files), np.bool_)
    shrunk, skipped = [], list(files.left_out)
    for row, found in enumerate(_decoded(files, framing)):
        if isinstance(found, Framed):
            pixels[row], kept[row] = found.pixels, True
            shrunk.append(found.shrunk)
        elif reading.bad_images == "skip":
            skipped.append((files.names[row], str(found)))
        else:
            raise _stopped(found)
        tell(row + 1, len(files))
    if not kept.any():
        raise DataError(f"none of {len(files):,} files is an image that can be read; first: {skipped[-1][1]}")
    intake = Intake(framing=framing, skipped=tuple(skipped), shrunk=statistics.median(shrunk))
    return _labeled(files, pixels if kept.all() else pixels[kept], kept, intake)


def _headers(files: FileSet, reading: Reading) -> list[Header]:
    found = []
    for row in np.unique(np.linspace(0, len(files) - 1, min(SAMPLE, len(files))).astype(np.int64)).tolist():
        try:
            found.append(header_of(file_content(files.paths[row])[0], os.fspath(files.paths[row])))
        except DataError as error:
            if reading.bad_images == "stop":
                raise _stopped(error) from error
    if not found:
        raise DataError(
            f"none of the files that were looked at is an image, {shown(files.names[0])} among them; "
            f"name a folder of JPEG, PNG, BMP, TIFF or WebP photos"
        )
    return found


def _stopped(error: DataError) -> DataError:
    return DataError(f"{error} (or leave such files out by --bad-images skip)")


def _decoded(files: FileSet, framing: Framing) -> Iterator[Framed | DataError]:
    """Yield what became of each file, in order; Pillow decodes without holding the other threads up."""

    def read(path: Path) -> Framed | DataError:
        try:
            return decode_framed(file_content(path)[0], os.fspath(path), framing)
        except DataError as error:
            return error

    threads = os.cpu_count() or 1
    paths = iter(files.paths)
    with ThreadPoolExecutor(threads) as pool:
        waiting = [pool.submit(read, path) for path in islice(paths, threads * AHEAD)]
        try:
            while waiting:
                yield waiting.pop(0).result()
                waiting += [pool.submit(read, path) for path in islice(paths, 1)]
        finally:
            pool.shutdown(cancel_futures=True)


def _labeled(
    files: FileSet, pixels: NDArray[np.uint8], kept: NDArray[np.bool_], intake: Intake
) -> LabeledImages:
    return LabeledImages(
        pixels=pixels,
        labels=files.labels[kept],
        class_names=files.class_names,
        names=tuple(name for name, keep in zip(files.names, kept.tolist(), strict=True) if keep),
        groups=None if files.groups is None else files.groups[kept],
        group_names=files.group_names,
        split=None if files.split is None else _moved(files.split, kept),
        intake=intake,
    )


def _moved(split: Split, kept: NDArray[np.bool_]) -> Split:
    """Return a split of the files that are left."""
    place = np.cumsum(kept) - 1
    parts = {name: getattr(split, name) for name in ("train", "validation", "test")}
    return dataclasses.replace(split, **{name: place[part[kept[part]]] for name, part in parts.items()})

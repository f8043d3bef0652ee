"""Files of photos -> labelled images: decoded once, in parallel, into memory or the cache.

Up to 256 MiB of pixels end in memory, more in a memory map of the cache; where the cache has no room for them
each photo is decoded anew whenever it is asked for. What was decoded before is found again: by the files'
times and sizes without reading any, else by what they hold, where the cache has an entry of as many files of
as many bytes. Beside the pixels under way some 50 bytes a file are held.
"""

import contextlib
import hashlib
import itertools
import json
import os
import time
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Final

import numpy as np
import PIL
from numpy.typing import NDArray

from ..errors import DataError, shown
from ..files import sha256_of
from ..values import Framing, Intake, LabeledImages, LazyPixels, Split
from .cache import (
    Cache,
    Contents,
    entries,
    entry_of,
    entry_seen,
    remember,
)
from .decoding import UNREAD, decoded_again, hashed, header_at, in_order, looked_at, status_of
from .framing import chosen_framing
from .images import Header
from .listing import FileSet
from .reading import Reading
from .storing import NAMED, Store, Taken, Tally, Tell, Warn, Work, opened

__all__ = ["FORMAT", "ingested"]

FORMAT: Final = 1
"""Counts up whenever the same files would be decoded or framed to other pixels."""
SAMPLE: Final = 256
"""So many photos, spread evenly over the files, settle the size and grey or colour by their headers."""
SETTLED: Final = 2.0
"""Seconds after which a further change of a file shows in its time, on any file system."""


def ingested(
    files: FileSet,
    reading: Reading,
    *,
    cache: Cache | None,
    tell: Tell,
    warn: Warn = lambda _sentence: None,
) -> LabeledImages:
    """Decode photos, or find what was decoded before.

    Rows stand in the order of the files. Where size or colour are left open, the headers of at most 256
    photos, spread evenly over the files, settle them (see `chosen_framing`).

    Args:
        files: the photos and what they show.
        reading: what was said of them.
        cache: where pixels are kept; None keeps none.
        tell: hears how many files of how many were read.
        warn: hears what must not be missed: no room in the cache, damage there, photos of one value.

    Raises:
        DataError: there is no photo; or the first file that is no image, unless they are to be skipped; or
            all are. Later, where pixels stay in their files, a file that vanished or changed.
        UsageError: a size that no image has.
    """
    if not len(files):
        raise DataError("there are no photos to read; name a folder or a table that has some")
    work = Work(
        files=files,
        statuses=_statuses(files.paths),
        cache=cache,
        stop=reading.bad_images == "stop",
        tell=tell,
        warn=warn,
    )
    stamp = _stamp(work, reading)
    taken = None if cache is None or stamp is None else opened(work, entry_seen(cache, stamp))
    if taken is None:
        framing = _settled(work, reading)
        key, taken = _found_by_content(work, framing)
        if taken is None:
            key, taken = _decoded(work, framing)
        # the files must have been then as they were when they were stamped
        if cache is not None and stamp is not None and key and _stamp(work, reading) == stamp:
            remember(cache, key, stamp)
    tell(len(files), len(files))
    return _labeled(work, taken)


def _labeled(work: Work, taken: Taken) -> LabeledImages:
    """Return the images that are images, with their labels, groups and parts."""
    files, contents = work.files, taken.contents
    if contents.left_out and (work.stop or not contents.images):
        place, reason = contents.left_out[0]
        raise _refused(work, f"{shown(files.paths[place])}: {reason}")
    kept = _kept(contents)
    names = files.names if len(kept) == len(files) else tuple(files.names[row] for row in kept.tolist())
    skipped = tuple((files.names[place], reason) for place, reason in contents.left_out)
    if contents.constants:
        some = ", ".join(shown(names[row]) for row in contents.constant[:NAMED])
        work.warn(f"{contents.constants:,} photos show one value all over, and stay in the set: {some}")
    return LabeledImages(
        pixels=taken.pixels,
        labels=files.labels[kept],
        class_names=files.class_names,
        names=names,
        groups=None if files.groups is None else files.groups[kept],
        group_names=files.group_names,
        split=None if files.split is None else _kept_split(files.split, kept, len(files)),
        intake=Intake(
            framing=contents.framing,
            skipped=files.left_out + skipped,
            shrunk=contents.shrunk,
            stored=taken.stored,
        ),
    )


def _kept(contents: Contents) -> NDArray[np.int64]:
    """Return the places of the images among the files."""
    return np.delete(np.arange(contents.files), [place for place, _ in contents.left_out])


def _kept_split(split: Split, kept: NDArray[np.int64], files: int) -> Split:
    rows = np.full(files, -1)
    rows[kept] = np.arange(len(kept))
    parts = {name: rows[getattr(split, name)] for name in ("train", "validation", "test")}
    return replace(split, **{name: part[part >= 0] for name, part in parts.items()})


def _statuses(paths: Sequence[Path]) -> NDArray[np.int64]:
    found = np.empty((len(paths), len(UNREAD)), np.int64)
    for row, path in enumerate(paths):
        try:
            found[row] = status_of(path.stat())
        except (OSError, ValueError):  # told when it is read
            found[row] = UNREAD
    return found


def _stamp(work: Work, reading: Reading) -> str | None:
    """Return what says that files are unchanged; None where one changed just now, or could not be read."""
    if (work.statuses[:, 0] < 0).any() or work.statuses[:, [1, 3]].max() > time.time_ns() - SETTLED * 1e9:
        return None
    asked = [FORMAT, PIL.__version__, reading.image_size, reading.fit, reading.crop, reading.channels]
    digest = hashlib.sha256(json.dumps(asked).encode())
    for path in work.files.paths:
        digest.update(os.fsencode(os.path.abspath(path)) + b"\0")  # noqa: PTH100 - Path takes 10 times as long
    digest.update(work.statuses.data)
    return digest.hexdigest()


def _key(framing: Framing, digests: bytes) -> str:
    made_by = [FORMAT, PIL.__version__, asdict(framing)]  # another decoder may round otherwise
    return sha256_of(json.dumps(made_by).encode(), digests)


def _settled(work: Work, reading: Reading) -> Framing:
    """Settle how photos are framed, by some headers where they are needed."""
    if reading.image_size and reading.channels:
        return chosen_framing((), reading)
    paths = work.files.paths
    count = len(paths)
    for places in (np.linspace(0, count - 1, min(count, SAMPLE)).astype(np.int64), np.arange(count)):
        with in_order(lambda place: header_at(paths[place]), places.tolist()) as looks:
            headers = list(itertools.islice((look for look in looks if isinstance(look, Header)), SAMPLE))
        if headers:
            return chosen_framing(headers, reading)
    raise _refused(work, str(header_at(paths[0])))


def _refused(work: Work, first: str) -> DataError:
    if work.stop:
        return DataError(f"{first} (or leave such files out by --bad-images skip)")
    return DataError(f"none of {len(work.files):,} files is an image that can be read; first: {first}")


def _found_by_content(work: Work, framing: Framing) -> tuple[str, Taken | None]:
    """Hash all files where the cache has an entry that may be theirs, and return it with its key."""
    size = int(work.statuses[:, 0].sum())
    alike = () if work.cache is None else (entry.contents for entry in entries(work.cache))
    wanted = (framing, len(work.files), size)
    if work.cache is None or all((c.framing, c.files, c.source_bytes) != wanted for c in alike):
        return "", None
    digest = hashlib.sha256()
    paths = work.files.paths
    with in_order(lambda place: hashed(paths[place]), range(len(paths)), each=work.each) as looks:
        for place, look in enumerate(looks):
            digest.update(look.digest)
            work.statuses[place] = look.status
            work.tell(place + 1, len(paths))
    key = _key(framing, digest.digest())
    return key, opened(work, entry_of(work.cache, key))


def _decoded(work: Work, framing: Framing) -> tuple[str, Taken]:
    """Read every file once; return the key of what they hold, and their images."""
    paths, tally = work.files.paths, Tally()
    with (
        contextlib.closing(Store(work, framing)) as store,
        in_order(lambda place: looked_at(paths[place], framing), range(len(paths)), each=work.each) as looks,
    ):
        for place, look in enumerate(looks):
            if look.framed is not None:
                store.add(look.framed.pixels)
            elif work.stop:
                raise _refused(work, f"{shown(paths[place])}: {look.reason}")
            tally.see(place, look)
            work.statuses[place] = look.status
            work.tell(place + 1, len(paths))
        contents = tally.contents(framing, int(work.statuses[:, 0].sum()))
        key = _key(framing, tally.digest.digest())
        taken = store.finish(key, contents)
    return key, taken or Taken(_from_files(work, contents), contents, "files")


def _from_files(work: Work, contents: Contents) -> LazyPixels:
    """Return pixels that are decoded when they are asked for; a file that is not as it was is an error."""
    paths, kept, framing = work.files.paths, _kept(contents), contents.framing
    statuses = work.statuses[:, :2].copy()

    def decoded(place: int) -> NDArray[np.uint8]:
        return decoded_again(paths[place], tuple(statuses[place].tolist()), framing)

    def read(rows: NDArray[np.int64]) -> NDArray[np.uint8]:
        images = np.empty((len(rows), *contents.shape[1:]), np.uint8)
        with in_order(decoded, kept[rows].tolist()) as looks:
            for row, pixels in enumerate(looks):
                images[row] = pixels
        return images

    return LazyPixels(contents.shape, read)

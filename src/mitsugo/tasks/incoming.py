"""Images that come after training: found, read, and brought to the model's shape."""

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from ..data.framing import decode_as
from ..data.images import file_content
from ..data.walking import photos_below
from ..errors import DataError, shown
from ..model.bundle import Model

__all__ = ["chunks_of", "files_of"]

CHUNK_BYTES: Final = 64 << 20
LARGEST_CHUNK: Final = 512
TASKS: Final = 64
"""A chunk of files is handed to the threads in about so many parts; of few files each is one."""
WILD: Final = frozenset("*?[")


def files_of(images: Sequence[Path], *, skip: bool) -> tuple[list[Path], list[tuple[str, str]]]:
    """Return the files that are named, those of folders and patterns in order of their names.

    Args:
        images: files, folders of any depth, and patterns as `lot-7/*.png`.
        skip: whether what is named as a photo and cannot be one is left out, or refused.

    Returns:
        The files, and what was left out, with the reason.

    Raises:
        DataError: a folder without photos, a pattern that no file matches.
    """
    found: list[Path] = []
    left_out: list[tuple[str, str]] = []
    for path in images:
        if path.is_dir():
            photos, unfit = photos_below(str(path.resolve()), "", skip=skip)
            if not photos:
                raise DataError(f"{shown(path)}: is a folder without photos; name one that holds some")
            found += [path / photo for photo in photos]
            left_out += [(str(path / name), why) for name, why in unfit]
        elif WILD & set(str(path)) and not path.exists():
            anchor = Path(path.anchor) if path.is_absolute() else Path()
            pattern = str(path.relative_to(path.anchor)) if path.is_absolute() else str(path)
            matches = sorted(match for match in anchor.glob(pattern) if match.is_file())
            if not matches:
                raise DataError(f"{shown(path)}: no file matches; check the pattern")
            found += matches
        else:
            found.append(path)
    return found, left_out


def chunks_of(
    model: Model, paths: Sequence[Path], left_out: list[tuple[str, str]], *, resize: bool, skip: bool
) -> Iterator[tuple[list[str], NDArray[np.uint8], list[tuple[str, ...]]]]:
    """Read images as a model takes them, so many at once that memory stays small.

    The next ones are read while whoever asks is at work on these. What is no image is raised, or where it is
    to be skipped added to `left_out`.

    Yields:
        Names, pixels uint8 (n, c, h, w), and what is known against each.

    Raises:
        DataError: a file that is no image, is damaged, or is of another size.
    """
    size = int(np.prod(model.architecture.image_shape))
    together = max(1, min(LARGEST_CHUNK, CHUNK_BYTES // size))
    read = partial(_read, model=model, resize=resize)
    pool = ThreadPoolExecutor()
    try:
        begun = _begun(pool, read, paths[:together])
        for start in range(0, len(paths), together):
            some = paths[start : start + together]
            names, pixels, notes = [], [], []
            ready, begun = begun, _begun(pool, read, paths[start + together :][:together])
            for path, found in zip(some, chain.from_iterable(ready), strict=True):
                if isinstance(found, DataError):
                    if not skip:
                        raise found
                    left_out.append((str(path), str(found).removeprefix(f"{shown(path)}: ")))
                    continue
                names.append(shown(path))
                pixels.append(found[0])
                notes.append(found[1])
            if names:
                yield names, np.stack(pixels), notes
    finally:
        pool.shutdown(cancel_futures=True)


Read = tuple[NDArray[np.uint8], tuple[str, ...]]


def _begun(
    pool: ThreadPoolExecutor, read: "partial[Read]", paths: Sequence[Path]
) -> Iterator[list[Read | DataError]]:
    """Begin to read files, of many a few a task: handing one over takes as long as reading a small one."""
    together = max(1, len(paths) // TASKS)
    tasks = [paths[start : start + together] for start in range(0, len(paths), together)]
    return pool.map(partial(_tried, read), tasks)


def _tried(read: "partial[Read]", paths: Sequence[Path]) -> list[Read | DataError]:
    found: list[Read | DataError] = []
    for path in paths:
        try:
            found.append(read(path))
        except DataError as error:
            found.append(error)
    return found


def _read(path: Path, *, model: Model, resize: bool) -> Read:
    """Return an image as the model takes it, and what is known against it."""
    return decode_as(
        file_content(path)[0], str(path), model.architecture.image_shape, model.framing, resize=resize
    )

"""What can be trained on: a source is a function that returns LabeledImages.

A new source is such a function and its line in `BUILT_IN`.
"""

import dataclasses
import difflib
import hashlib
import json
import os
import stat
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ..errors import DataError, ResourceError, UsageError, shown
from ..files import reason, sha256_of
from ..values import LabeledImages, Split
from .cache import Cache, usual_folder
from .folders import is_image_folder, listed_folder
from .idx import IdxPart, idx_header, labeled_images, read_idx_folder
from .ingest import ingested
from .reading import Reading
from .tables import TABLES, listed_table

__all__ = ["MNIST_SHA256", "SourceDescription", "check_trainable", "described", "fingerprint", "load"]

MNIST_SHA256 = {
    "train_images": "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
    "train_labels": "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
    "test_images": "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
    "test_labels": "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
}
"""SHA-256 of the contents of the original IDX files, unpacked."""

AS_IT_IS = Reading()
LIST_THEM = "`mitsugo sources` lists what can be named"
NAMES_IN_A_MESSAGE = 5
FEWEST = 5


@dataclass(frozen=True)
class SourceDescription:
    """A line of `mitsugo sources`: what is typed, what it is, and how many images ("" where it depends)."""

    name: str
    what: str
    images: str


def load(
    source: str | Path,
    reading: Reading = AS_IT_IS,
    *,
    tell: Callable[[int, int], object] = lambda _done, _total: None,
    warn: Callable[[str], object] = lambda _sentence: None,
    cache_budget: int | None = None,
) -> LabeledImages:
    """Load a source: a built-in one by its name, a folder of photos or of IDX files, or a table of photos.

    A `Path` is always a folder or a file: `Path("mnist")` or "./mnist" is the folder of that name, "mnist"
    the built-in set.

    Args:
        source: what `mitsugo sources` lists.
        reading: how photos are read; built-in sets and IDX files hold images as they are.
        tell: is told how many photos of how many were read.
        warn: is told what must not be missed.
        cache_budget: bytes that decoded photos may take on the disk; None: the usual, see `Cache`; 0 keeps
            nothing.

    Raises:
        UsageError: a name that is neither built in nor a path, or a reading of what holds no photos.
        DataError: the folder or file is missing or cannot be used.

    >>> len(load("digits"))
    1797
    """
    if isinstance(source, str) and source in BUILT_IN:
        return _as_it_is(BUILT_IN[source][0](), shown(source), reading)
    if source == "":
        raise UsageError(f"no source was named; {LIST_THEM}")
    path = Path(source)
    try:
        is_folder = stat.S_ISDIR(path.stat().st_mode)
    except (OSError, ValueError) as error:
        if isinstance(source, str) and not _could_be_path(source):
            raise UsageError(f"unknown source {shown(source)}: {_meant(source)}; {LIST_THEM}") from error
        why = reason(error) if isinstance(error, OSError) else str(error)
        raise DataError(
            f"{shown(path)}: cannot be read: {why}; name a folder of photos or of IDX files, a table, or a "
            f"set: {LIST_THEM}"
        ) from error
    if not is_folder and path.suffix.lower() not in TABLES:
        raise DataError(
            f"{shown(path)}: is no folder, and no table ({', '.join(TABLES)}); name a folder of photos or of "
            f"IDX files, or a table with the columns path and label"
        )
    if is_folder and not is_image_folder(path):
        return _as_it_is(read_idx_folder(path), shown(path), reading)
    files = listed_folder(path, reading) if is_folder else listed_table(path, reading)
    cache = None if cache_budget == 0 else Cache(folder=usual_folder(), budget=cache_budget)
    return ingested(files, reading, cache=cache, tell=tell, warn=warn)


def _as_it_is(images: LabeledImages, who: str, reading: Reading) -> LabeledImages:
    if reading not in (AS_IT_IS, dataclasses.replace(AS_IT_IS, bad_images="skip")):
        raise UsageError(
            f"SOURCE {who}: holds images of one size, not photos: --image-size, --fit, --crop, --pixels and "
            f"--group-by are for folders and tables of photos; leave them out"
        )
    return images


def described() -> tuple[SourceDescription, ...]:
    """Return what can be named as a source, built-in sets first."""
    return (
        *(description for _, description in BUILT_IN.values()),
        SourceDescription(
            "a folder of photos", "one folder a class, or train/ and test/ of such folders", ""
        ),
        SourceDescription(
            "a table of photos", ".csv or .parquet with columns path, label, and split and group if any", ""
        ),
        SourceDescription(
            "a folder of IDX files",
            "train-images-idx3-ubyte, train-labels-idx1-ubyte, t10k-… for a test part; plain or .gz",
            "",
        ),
    )


def fingerprint(images: LabeledImages) -> str:
    """Return the SHA-256 of shape, pixels, labels, class names and image names: one for equal sets only."""
    texts = [list(images.pixels.shape), list(images.class_names), list(images.names)]
    digest = hashlib.sha256(json.dumps(texts).encode())
    for start in range(0, len(images), 4096):
        digest.update(np.ascontiguousarray(images.pixels[start : start + 4096]).data)
    digest.update(images.labels.astype("<i8").data)
    return digest.hexdigest()


def check_trainable(images: LabeledImages, split: Split) -> None:
    """Stop before training where triplets could not be drawn: what is missing, and what to collect.

    Raises:
        DataError: a part of the split is empty or names an image that is not there; the training part has one
            class only, a class with fewer than two images, or fewer than five images in all.
    """
    for part in ("train", "validation", "test"):
        indices = getattr(split, part)
        if indices.size == 0:
            raise DataError(
                f"the {part} part has no images; every part needs some: collect more or split otherwise"
            )
        if indices.max() >= len(images):
            raise DataError(
                f"the {part} part names image {indices.max()}, but there are {len(images):,}; "
                f"the split was made for other images"
            )
    counts = np.bincount(images.labels[split.train], minlength=len(images.class_names))
    if np.count_nonzero(counts) < 2:
        name = images.class_names[int(counts.argmax())]
        raise DataError(
            f"the training images are all of one class ({shown(name)}): triplets need two classes or more; "
            f"collect at least two images of another class"
        )
    held_out = np.bincount(images.labels, minlength=len(counts)) > 0 if split.unseen else counts < 0
    few = np.flatnonzero((counts < 2) & ~((counts == 0) & held_out))
    if few.size:
        raise DataError(
            f"{few.size} of {len(counts)} classes have fewer than two training images: "
            f"{_named(images, counts, few)}; a positive is another image of the class: "
            f"collect two or more of each, or leave the class out"
        )
    if split.train.size < FEWEST:
        raise DataError(
            f"there are {split.train.size} training images: five neighbours vote, so collect {FEWEST} or more"
        )


def _digits() -> LabeledImages:
    """Return scikit-learn's 1,797 digits; their values 0..16 become round(v * 255 / 16), so that 8 is 128."""
    from sklearn.datasets import load_digits

    digits = load_digits()
    pixels = np.rint(digits.images * (255 / 16)).astype(np.uint8)
    return LabeledImages(
        pixels=pixels[:, None],
        labels=digits.target.astype(np.int64),
        class_names=tuple(str(digit) for digit in range(10)),
        names=tuple(f"digits/{i:04d}" for i in range(len(pixels))),
    )


def _mnist() -> LabeledImages:
    """Return the 70,000 digits of MNIST, after their bytes were compared with the originals' SHA-256."""
    who = "the packaged mnist.npz"
    try:
        import lzma
    except ImportError as error:
        raise ResourceError(
            f"{who} cannot be unpacked: this Python was built without lzma; use another"
        ) from error
    try:
        with (resources.files("mitsugo.data") / "mnist" / "mnist.npz").open("rb") as file:
            content = np.load(file, allow_pickle=False)
            arrays = {name: content[name] for name in MNIST_SHA256}
    except (
        OSError,
        EOFError,
        LookupError,
        ValueError,
        RuntimeError,
        zipfile.BadZipFile,
        lzma.LZMAError,
    ) as error:
        raise DataError(f"{who} is missing or damaged; install mitsugo again") from error
    for name, array in arrays.items():
        if sha256_of(idx_header(*array.shape), array.data) != MNIST_SHA256[name]:
            raise DataError(f"{who}: {name} is not what MNIST's authors published; install mitsugo again")
    return labeled_images(
        IdxPart(arrays["train_images"], arrays["train_labels"]),
        IdxPart(arrays["test_images"], arrays["test_labels"]),
        who,
    )


BUILT_IN: dict[str, tuple[Callable[[], LabeledImages], SourceDescription]] = {
    "digits": (_digits, SourceDescription("digits", "handwritten digits, 8x8 grey, 10 classes", "1,797")),
    "mnist": (
        _mnist,
        SourceDescription(
            "mnist", "handwritten digits, 28x28 grey, 10 classes, a test part of 10,000", "70,000"
        ),
    ),
}


def _could_be_path(source: str) -> bool:
    return source.startswith((".", "~")) or any(
        separator in source for separator in (os.sep, os.altsep or os.sep, "/")
    )


def _meant(source: str) -> str:
    close = difflib.get_close_matches(source.lower(), BUILT_IN, n=3, cutoff=0.6)
    return f"did you mean {' or '.join(close)}?" if close else "no built-in set and no folder has that name"


def _named(images: LabeledImages, counts: NDArray[np.int64], classes: NDArray[np.int64]) -> str:
    named = [f"{shown(images.class_names[c])} ({counts[c]})" for c in classes[:NAMES_IN_A_MESSAGE]]
    more = len(classes) - len(named)
    return ", ".join(named) + (f" and {more} more" if more else "")

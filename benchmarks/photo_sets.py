"""Real photos as LabeledImages, and the splits that they are measured by.

The sets lie in a sibling folder of the repository, ../shared/data, and in the package `elpv-dataset` (CC
BY-NC-SA 4.0: measured with, never shipped). A set that is absent is named and left out.
"""

import csv
import dataclasses
import importlib
import importlib.util
import tarfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from mitsugo.data.images import decode, read_image, resized
from mitsugo.data.splits import carved_split, stratified_split
from mitsugo.values import LabeledImages, Split

__all__ = [
    "KNOWN_OF",
    "SETS",
    "Omniglot",
    "PhotoSet",
    "Run",
    "few_of",
    "folder",
    "in_size",
    "read_omniglot",
    "split_of",
]

BACKGROUND, EVALUATION, RUNS = "images_background", "images_evaluation", "one_shot_runs"
FOLDS, FEWEST = 5, 5
CHOOSING = 0.15
"""So much of the training part of a set without groups is there to choose by."""
ELPV = "elpv-dataset"
DOUBT = 0.5
"""A cell with at least this probability of being defective counts as defective."""


@dataclass(frozen=True, kw_only=True, eq=False)
class PhotoSet:
    """A set of photos and what is known of it.

    Args:
        name: of the set.
        images: at the size that they came in, without a split.
        strata: int64 (n,), whose shares a random split keeps; classes, or finer.
        test_share: of a random split; sets with groups take one of five folds.
        extra: settings of a recipe that the set allows, as its text has them.
    """

    name: str
    images: LabeledImages
    strata: NDArray[np.int64]
    test_share: float = 0.25
    extra: str = ""


def folder() -> Path:
    """Return where the sets lie: beside the repository."""
    return Path(__file__).resolve().parents[2] / "shared" / "data"


class Run(NamedTuple):
    """An official run: 20 known drawings, 20 that are asked, and which known one each should find."""

    known: NDArray[np.uint8]
    queries: NDArray[np.uint8]
    true: NDArray[np.int64]


@dataclass(frozen=True, kw_only=True, eq=False)
class Omniglot:
    """The drawings, uint8 grey, ink dark.

    Args:
        background: of 964 characters; the groups are the alphabets.
        evaluation: of 659 others; likewise.
        runs: the 20 official ones.
    """

    background: LabeledImages
    evaluation: LabeledImages
    runs: tuple[Run, ...]


def split_of(photos: PhotoSet, seed: int) -> Split:
    """Return the split of a seed; validation is apart, so that everything is chosen there.

    With groups: fold `seed` of five (of another shuffle from seed 5 on), balanced by class, so that each
    image is tested once in five seeds; a fifth of the other groups is there to choose by. Without: the test
    share of each stratum, and 15 % of the others to choose by.
    """
    labels, groups = photos.images.labels, photos.images.groups
    if groups is not None:
        order = np.arange(len(labels))
        train, test = _fold(order, labels, groups, seed)
        train, validation = _fold(train, labels, groups, seed)
        how = f"fold {seed % FOLDS + 1} of {FOLDS} by group, shuffle {seed // FOLDS}"
        return Split(train=train, validation=validation, test=test, how=how)
    train, test = stratified_split(photos.strata, photos.test_share, seed)
    how = f"{photos.test_share:.0%} of each stratum to test on, drawn with seed {seed}"
    whole = Split(train=train, validation=test, test=test, how=how)
    return carved_split(dataclasses.replace(photos.images, split=whole), CHOOSING, seed)


def few_of(photos: PhotoSet, count: int) -> PhotoSet:
    """Return a small part of a set, to see that everything runs: whole groups, or a share of each stratum.

    Of each class at least some five images are left, or as many as there are.
    """
    images = photos.images
    count = max(count, FEWEST * len(images.class_names))
    if images.groups is not None:
        groups = np.random.default_rng(0).permutation(np.unique(images.groups))
        sizes = np.cumsum(np.bincount(images.groups)[groups])
        rows = np.flatnonzero(np.isin(images.groups, groups[: max(10, int((sizes <= count).sum()))]))
    elif count < len(images):
        rows = stratified_split(photos.strata, count / len(images), 0)[1]
    else:
        return photos
    return dataclasses.replace(photos, images=images.take(rows), strata=photos.strata[rows])


def in_size(images: LabeledImages, side: int) -> LabeledImages:
    """Return images brought to side x side pixels, smoothed where they shrink."""
    if images.image_shape[1:] == (side, side):
        return images
    pixels = np.stack([resized(image, side, side) for image in np.asarray(images.pixels[:])])
    return dataclasses.replace(images, pixels=pixels)


def surfaces() -> PhotoSet | str:
    """Return patches of ball-screw surfaces, with pitting or without, grouped by place; or why not."""
    table = folder() / "bsd_patches" / "table.csv"
    if not table.is_file():
        return f"bsd_patches: no {table}"
    with table.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    classes, labels = _numbered([row["label"] for row in rows])
    places, groups = _numbered([row["group"] for row in rows])
    images = LabeledImages(
        pixels=np.stack([read_image(table.parent / row["path"], 3) for row in rows]),
        labels=labels,
        class_names=classes,
        names=tuple(row["path"] for row in rows),
        groups=groups,
        group_names=places,
    )
    return PhotoSet(
        name="bsd_patches by group",
        images=images,
        strata=labels,
        extra="flip_horizontal=0.5:flip_vertical=0.5",
    )


def groceries() -> PhotoSet | str:
    """Return photos of groceries in 60 fine classes, some five of each; or why not."""
    archive = folder() / "grocery_val.tar.xz"
    if not archive.is_file():
        return f"groceries: no {archive}"
    with tarfile.open(archive) as tar:
        files = sorted(_photos(tar))
    classes, labels = _numbered([name.split("/")[-2] for name, _ in files])
    pixels = [resized(decode(content, name, 3), 348, 348) for name, content in files]
    images = LabeledImages(
        pixels=np.stack(pixels), labels=labels, class_names=classes, names=tuple(name for name, _ in files)
    )
    return PhotoSet(
        name="groceries",
        images=images,
        strata=labels,
        extra="flip_horizontal=0.5",
    )


def solar_cells(part: str) -> PhotoSet | str:
    """Return electroluminescence photos of solar cells; or why not.

    Args:
        part: "all", split at a probability of 0.5 into sound and defective; "certain", only those with a
            probability of 0 or 1; or "four", the four probabilities as classes.
    """
    if importlib.util.find_spec("elpv_dataset") is None:
        return f"elpv: the package {ELPV} is not installed: pip install {ELPV}"
    read: Callable[[], Any] = importlib.import_module("elpv_dataset.utils").load_dataset
    pixels, chances, types = read()
    levels, level = np.unique(chances, return_inverse=True)
    names = {
        "all": np.where(chances >= DOUBT, "defective", "sound"),
        "certain": np.where(chances >= DOUBT, "defective", "sound"),
        "four": np.array([f"probability {value:.2f}" for value in levels])[level],
    }[part]
    classes, labels = _numbered(names.tolist())
    images = LabeledImages(
        pixels=np.asarray(pixels, np.uint8)[:, None],
        labels=labels,
        class_names=classes,
        names=tuple(f"cell {number:04d}" for number in range(len(labels))),
    )
    strata = 2 * level.astype(np.int64) + (types == "mono")
    if part == "certain":
        rows = np.flatnonzero((chances == 0) | (chances == 1))
        images, strata = images.take(rows), strata[rows]
    return PhotoSet(
        name={"all": "elpv", "certain": "elpv, the certain ones", "four": "elpv, four classes"}[part],
        images=images,
        strata=strata,
        extra="flip_horizontal=0.5:flip_vertical=0.5",
    )


def read_omniglot(archive: Path, side: int, characters: int | None = None) -> Omniglot:
    """Return the drawings of the archive, brought to side x side pixels.

    Args:
        archive: omniglot.tar.xz.
        side: in pixels; the drawings are 105 x 105.
        characters: so many of each part, to see that everything runs; None takes all.
    """
    contents: dict[str, bytes] = {}
    with tarfile.open(archive) as tar:
        for member in tar:
            file = tar.extractfile(member) if member.isfile() else None
            if file is not None:
                contents[member.name] = file.read()
    return Omniglot(
        background=_part(contents, BACKGROUND, side, characters),
        evaluation=_part(contents, EVALUATION, side, characters),
        runs=tuple(_run(contents, f"run{number:02d}", side) for number in range(1, 21)),
    )


SETS: dict[str, Callable[[], PhotoSet | str]] = {
    "bsd_patches": surfaces,
    "elpv": lambda: solar_cells("all"),
    "elpv-certain": lambda: solar_cells("certain"),
    "elpv-four": lambda: solar_cells("four"),
    "groceries": groceries,
}
"""Each reads a set, or says in a sentence what is absent."""


KNOWN_OF = {
    "bsd_patches": "by group; HOG+LBP by group: 1-NN 81.0 %, linear SVM 90.7 %",
    "elpv": "sound or defective, 75/25; CNN 88.4 %, SVM 82.4 % (Deitsch et al., 2019); HOG+LBP 1-NN 76.7 %",
    "elpv-certain": "only cells with a probability of 0 or 1",
    "elpv-four": "the four probabilities as classes",
    "groceries": "60 classes, about five images of each: a smoke test",
}
"""What each set asks, and what others read on it."""


def _fold(
    rows: NDArray[np.int64], labels: NDArray[np.int64], groups: NDArray[np.int64], seed: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    from sklearn.model_selection import StratifiedGroupKFold

    folds = StratifiedGroupKFold(FOLDS, shuffle=True, random_state=seed // FOLDS)
    rest, fold = list(folds.split(rows, labels[rows], groups[rows]))[seed % FOLDS]
    return rows[rest], rows[fold]


def _drawing(content: bytes, name: str, side: int) -> NDArray[np.uint8]:
    return resized(decode(content, name, 1), side, side)


def _part(contents: dict[str, bytes], part: str, side: int, characters: int | None) -> LabeledImages:
    names = sorted(name for name in contents if name.startswith(f"{part}/"))
    known = sorted({PurePosixPath(name).parent.name for name in names})
    if characters is not None:
        known = [str(one) for one in np.random.default_rng(0).permutation(known)[:characters]]
    number = {name: place for place, name in enumerate(known)}
    names = [name for name in names if PurePosixPath(name).parent.name in number]
    labels = np.array([number[PurePosixPath(name).parent.name] for name in names])
    alphabets, alphabet = np.unique([name.rpartition("__")[0] for name in known], return_inverse=True)
    return LabeledImages(
        pixels=np.stack([_drawing(contents[name], name, side) for name in names]),
        labels=labels,
        class_names=tuple(known),
        names=tuple(names),
        groups=alphabet[labels].astype(np.int64),
        group_names=tuple(str(name) for name in alphabets),
    )


def _run(contents: dict[str, bytes], name: str, side: int) -> Run:
    pairs = [
        line.split() for line in contents[f"{RUNS}/{name}/class_labels.txt"].decode().splitlines() if line
    ]
    known = sorted(one for one in contents if one.startswith(f"{RUNS}/{name}/training/"))
    return Run(
        known=np.stack([_drawing(contents[one], one, side) for one in known]),
        queries=np.stack([_drawing(contents[f"{RUNS}/{one}"], one, side) for one, _ in pairs]),
        true=np.array([known.index(f"{RUNS}/{other}") for _, other in pairs]),
    )


def _photos(tar: tarfile.TarFile) -> list[tuple[str, bytes]]:
    """Return name and content of the JPEG files in an archive; nothing is unpacked to the disk."""
    found = [
        (each.name, tar.extractfile(each)) for each in tar if each.isfile() and each.name.endswith(".jpg")
    ]
    return [(name, file.read()) for name, file in found if file is not None]


def _numbered(names: list[str]) -> tuple[tuple[str, ...], NDArray[np.int64]]:
    known, numbers = np.unique(names, return_inverse=True)
    return tuple(str(name) for name in known), numbers.astype(np.int64)

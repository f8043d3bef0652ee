"""Frozen backbones: the features of every image are computed once, and a head is trained on them.

Features lie like pixels: each image is its views by their numbers' bytes, uint8 (n, views, 1, 4 w), so that
all that holds, gathers and brings pixels does so with them.
"""

import json
from dataclasses import asdict, replace
from pathlib import Path
from typing import Final

import numpy as np
import torch

from ..data.augment import augmented
from ..data.sources import fingerprint
from ..errors import ModelError, UsageError
from ..files import LARGEST, read_sealed, sha256_of, write_sealed
from ..model.architecture import VALUES_AT_ONCE
from ..model.backbones import BackboneNet, fill, usual_side
from ..model.preprocessing import Preprocessing, prepare
from ..model.tensors import weights_sha256
from ..recipes import Recipe
from ..shapes import Float32, Int64, UInt8
from ..values import LabeledImages, Pixels, Split
from .feeding import augmentation_of
from .talk import SILENT, Talk

__all__ = ["AS_SHARES", "backbone_of", "frozen_features", "pinned"]

AS_SHARES: Final = Preprocessing(0.0, 1.0)
"""What a backbone takes: x / 255. It normalises by itself, each channel by its own numbers."""
MEMBER = "features"
BYTES = 4
ROOM = 1 << 20
TOLD_EVERY = 1000


def backbone_of(recipe: Recipe) -> BackboneNet:
    """Return a recipe's backbone with its weights, for inference on the CPU; its head is empty.

    Raises:
        UsageError: timm does not name it or is not installed, the weights cannot be had, or they are others
            than the recipe means.
    """
    try:
        side = recipe.backbone_side or usual_side(recipe.backbone)
        with torch.device("meta"):
            network = BackboneNet(recipe.backbone, side, 1)
    except ModelError as error:
        raise UsageError(f"--set backbone={recipe.backbone}: {error}") from error
    network.layers = torch.nn.Sequential()
    fill(network, recipe.backbone_weights)
    found = weights_sha256(network.trunk)
    if recipe.backbone_sha256 not in {"", found}:
        raise UsageError(
            f"--set backbone_weights={recipe.backbone_weights}: these are weights {found[:12]}, but "
            f"backbone_sha256 names {recipe.backbone_sha256[:12]}; give the file that the run began with"
        )
    return network.requires_grad_(False).eval()


def pinned(recipe: Recipe) -> Recipe:
    """Return the recipe with the weights and the size that its backbone has now; others stay as they are."""
    if recipe.network != "backbone":
        return recipe
    network = backbone_of(recipe)
    return replace(recipe, backbone_sha256=weights_sha256(network.trunk), backbone_side=network.side)


def frozen_features(
    images: LabeledImages,
    split: Split,
    recipe: Recipe,
    *,
    seed: int,
    device: torch.device,
    folder: Path | None = None,
    talk: Talk = SILENT,
) -> UInt8[np.ndarray, "n v 1 w"]:
    """Return the features of the training and validation images by a recipe's frozen backbone, as bytes.

    View 0 is the image itself; the others, of training images alone, are changed as the recipe says, each by
    chance of its own that hangs on seed, view and image. What is not computed is 0: test images, and other
    views of validation images.

    Args:
        images: all of them.
        split: which of them train and validate.
        recipe: a settled one, with a frozen backbone.
        seed: of the run.
        device: where they are computed.
        folder: where features are kept from one time to the next; None keeps none.
        talk: who listens.

    Raises:
        UsageError: as `backbone_of`.
        ModelError: a feature that is not finite.
        ResourceError: the folder cannot be written.
    """
    network = backbone_of(recipe).to(device)
    shape = (len(images), recipe.views, 1, BYTES * network.width)
    path = (
        None
        if folder is None
        else folder / f".features-{_key(network, images, split, recipe, seed)[:16]}.mitsugo"
    )
    if path is not None and path.exists():
        kept = _kept(path, shape, talk)
        if kept is not None:
            return kept
    talk.say(
        f"computing once the features of {len(split.train):,} training images in {recipe.views} views and of "
        f"{len(split.validation):,} validation images, by {recipe.backbone} at {network.side} px"
    )
    features = _computed(network, images, split, recipe, seed, talk)
    held = features.view(np.uint8).reshape(shape)
    if path is not None and held.nbytes < LARGEST - ROOM:
        write_sealed(path, {MEMBER: held.tobytes()})
    return held


def _computed(
    network: BackboneNet, images: LabeledImages, split: Split, recipe: Recipe, seed: int, talk: Talk
) -> Float32[np.ndarray, "n v w"]:
    device = network.mean.device
    features = np.zeros((len(images), recipe.views, network.width), np.float32)
    every = np.union1d(split.train, split.validation)
    step = max(1, VALUES_AT_ONCE // max(images.pixels[0].size, 3 * network.side**2))
    done, total = 0, len(every) + (recipe.views - 1) * len(split.train)
    with torch.inference_mode():
        for view in range(recipe.views):
            rows = every if view == 0 else split.train
            for start in range(0, len(rows), step):
                some = rows[start : start + step]
                seen = prepare(_view(images.pixels, some, recipe, seed, view).to(device), AS_SHARES)
                features[some, view] = network.features(seen).cpu().numpy()
                if done // TOLD_EVERY < (done + len(some)) // TOLD_EVERY:
                    talk.say(f"features: {done + len(some):,} of {total:,}")
                done += len(some)
    if not np.isfinite(features).all():
        row = int(np.flatnonzero(~np.isfinite(features).all(axis=(1, 2)))[0])
        raise ModelError(
            f"the features of {images.names[row]!a} are not finite; the backbone's weights are unusable"
        )
    return features


def _view(
    pixels: Pixels, rows: Int64[np.ndarray, " m"], recipe: Recipe, seed: int, view: int
) -> torch.Tensor:
    images = torch.from_numpy(np.array(pixels[rows]))
    augmentation = augmentation_of(recipe)
    if view == 0 or augmentation.is_off:
        return images
    changed = []
    for image, row in zip(images, rows.tolist(), strict=True):  # one by one: a view hangs on no other image
        state = np.random.SeedSequence([seed, view, row]).generate_state(1, np.uint64)
        chance = torch.Generator().manual_seed(int(state[0] >> 1))
        changed.append(augmented(image[None], augmentation, chance))
    return torch.cat(changed)


def _key(network: BackboneNet, images: LabeledImages, split: Split, recipe: Recipe, seed: int) -> str:
    """Return the SHA-256 of all that features depend on, what rounds them included."""
    parts = {
        "images": fingerprint(images),
        "rows": [sha256_of(np.ascontiguousarray(part).data) for part in (split.train, split.validation)],
        "trunk": [recipe.backbone, weights_sha256(network.trunk), network.side],
        "normalisation": [network.mean.flatten().tolist(), network.std.flatten().tolist()],
        "views": [recipe.views, asdict(augmentation_of(recipe)), seed] if recipe.views > 1 else 1,
        "rounding": [torch.__version__, torch.get_num_threads(), network.mean.device.type],
    }
    return sha256_of(json.dumps(parts, sort_keys=True).encode())


def _kept(path: Path, shape: tuple[int, ...], talk: Talk) -> UInt8[np.ndarray, "n v 1 w"] | None:
    """Return features that were kept; what is damaged is told of and computed again."""
    try:
        content = read_sealed(path).get(MEMBER, b"")
        return np.frombuffer(content, np.uint8).reshape(shape)
    except (ModelError, ValueError) as error:
        talk.warn(f"{error}: its features are computed again")
        return None

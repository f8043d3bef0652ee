"""Train-time changes on whole batches: what is drawn is a few numbers an image, what is done is a few passes.

Chance and arithmetic stand apart. `drawn` takes numbers from a generator on the CPU, as many for every image
whatever is on, so that an image's change hangs on the generator and on its place in the batch alone: not on
the other images, the size of the batch, the device or the other options. `changed` does what the numbers say.

The order: flips; one bilinear resampling for slant, rotation, scale and shift together; contrast and
brightness; erasing; noise; and the clamp to 0..255.
"""

import math
from dataclasses import dataclass, fields

import torch
from jaxtyping import Bool, Float64
from torch.nn import functional

from ..errors import UsageError
from ..shapes import Float32, Tensor, UInt8

__all__ = ["Augmentation", "Changes", "augmented", "changed", "drawn"]

WHITE = 255
POOL = 1 << 16
"""So many places there are to begin an image's noise at."""
ERASED = (0.02, 0.2)
"""The smallest and the largest share of an image that is erased."""
NARROWEST = 3.0
"""An erased rectangle is at most so many times as long as it is wide."""
LIMITS = {
    "shift": (1.0, "a fraction of the side"),
    "rotation": (180.0, "degrees"),
    "scale": (3.0, "0.1 for 1.1 times as large and as small"),
    "shear": (60.0, "degrees"),
    "brightness": (1.0, "a fraction of full scale"),
    "contrast": (3.0, "0.1 for 1.1 times as much and as little"),
    "noise": (1.0, "a fraction of full scale"),
    "erase": (1.0, "a probability"),
    "flip_horizontal": (1.0, "a probability"),
    "flip_vertical": (1.0, "a probability"),
}


@dataclass(frozen=True, kw_only=True)
class Augmentation:
    """How much training images are changed; 0 is off.

    Raises:
        UsageError: a value that is not finite or beyond what can be meant; the option is named.

    >>> Augmentation(shift=0.1).is_off, Augmentation().is_off
    (False, True)
    """

    shift: float = 0.0
    """Fraction of the side: across and down each uniform in ±shift; what comes in repeats the edge."""

    rotation: float = 0.0
    """Degrees: uniform in ±rotation about the centre."""

    scale: float = 0.0
    """Factor less 1: the size's factor is uniform in its logarithm from 1 / (1 + scale) to 1 + scale."""

    shear: float = 0.0
    """Degrees: uprights lean by uniform ±shear, as in slanted writing."""

    brightness: float = 0.0
    """Fraction of full scale that is added: uniform in ±brightness."""

    contrast: float = 0.0
    """Factor less 1, about each channel's mean: as that of scale, from 1 / (1 + contrast) to 1 + contrast."""

    noise: float = 0.0
    """Fraction of full scale: the Gaussian noise of an image has a standard deviation uniform in 0..noise."""

    erase: float = 0.0
    """Probability that a rectangle of 2 to 20 % of the image, at a random place, takes the image's mean."""

    flip_horizontal: float = 0.0
    """Probability that left and right change places; not for characters."""

    flip_vertical: float = 0.0
    """Probability that top and bottom change places; not for characters."""

    def __post_init__(self) -> None:
        for name, (most, unit) in LIMITS.items():
            value = getattr(self, name)
            if not 0 <= value <= most:
                option = "--" + name.replace("_", "-")
                raise UsageError(f"{option} is {value}, expected 0 to {most:g} ({unit}); 0 leaves it out")

    @property
    def is_off(self) -> bool:
        """Whether images stay as they are."""
        return not any(getattr(self, field.name) for field in fields(self))


@dataclass(frozen=True, kw_only=True, eq=False)
class Changes:
    """What is done to each image of a batch; None where it is done to none. All on the CPU.

    Args:
        flips: (b, 2), whether left and right, top and bottom change places.
        shift: (b, 2), to the right and downwards, in fractions of width and height.
        rotation: (b,), degrees counter-clockwise.
        scale: (b,), factor of the size.
        shear: (b,), degrees that uprights lean to the right.
        contrast: (b,), factor about each channel's mean.
        brightness: (b,), what is added, in fractions of full scale.
        erase: (b, 4), the rectangle: fraction of the area (0 for none), height by width, and its place from
            0 (top, left) to below 1 (bottom, right), downwards and across.
        noise: (b, 2), the standard deviation in fractions of full scale, and from 0 to below 1 where in the
            pool its noise begins.
        seed: of the pool of noise.
    """

    flips: Bool[Tensor, "b 2"] | None = None
    shift: Float64[Tensor, "b 2"] | None = None
    rotation: Float64[Tensor, " b"] | None = None
    scale: Float64[Tensor, " b"] | None = None
    shear: Float64[Tensor, " b"] | None = None
    contrast: Float64[Tensor, " b"] | None = None
    brightness: Float64[Tensor, " b"] | None = None
    erase: Float64[Tensor, "b 4"] | None = None
    noise: Float64[Tensor, "b 2"] | None = None
    seed: int = 0


def augmented(
    pixels: UInt8[Tensor, "b c h w"], augmentation: Augmentation, generator: torch.Generator
) -> Float32[Tensor, "b c h w"]:
    """Return images that are changed at random, values 0..255, on the device of the pixels.

    Args:
        pixels: they stay as they are.
        augmentation: how much may be changed.
        generator: on the CPU; the same state gives the same bits, whatever the number of threads.

    >>> pixels = torch.tensor([[[[0, 100, 200]]]], dtype=torch.uint8)
    >>> augmented(pixels, Augmentation(flip_horizontal=1.0), torch.Generator()).tolist()
    [[[[200.0, 100.0, 0.0]]]]
    """
    return changed(pixels, drawn(len(pixels), augmentation, generator))


def drawn(count: int, augmentation: Augmentation, generator: torch.Generator) -> Changes:
    """Draw the changes of so many images; the first of them are those of a smaller batch."""
    on = augmentation
    seed = int(torch.randint(1 << 62, (1,), generator=generator))
    chance = torch.rand((count, 16), generator=generator, dtype=torch.float64)
    swing = 2 * chance - 1
    area = ERASED[0] + (ERASED[1] - ERASED[0]) * chance[:, 9]
    erase = (
        torch.where(chance[:, 8] < on.erase, area, 0),
        _factor(swing[:, 10], NARROWEST - 1),
        chance[:, 11],
        chance[:, 12],
    )
    flips = chance[:, :2] < torch.tensor((on.flip_horizontal, on.flip_vertical), dtype=torch.float64)
    return Changes(
        flips=flips if on.flip_horizontal or on.flip_vertical else None,
        shift=swing[:, 2:4] * on.shift if on.shift else None,
        rotation=swing[:, 4] * on.rotation if on.rotation else None,
        scale=_factor(swing[:, 5], on.scale) if on.scale else None,
        shear=swing[:, 6] * on.shear if on.shear else None,
        contrast=_factor(swing[:, 7], on.contrast) if on.contrast else None,
        brightness=swing[:, 13] * on.brightness if on.brightness else None,
        erase=torch.stack(erase, dim=1) if on.erase else None,
        noise=torch.stack((chance[:, 14] * on.noise, chance[:, 15]), dim=1) if on.noise else None,
        seed=seed,
    )


def changed(pixels: UInt8[Tensor, "b c h w"], changes: Changes) -> Float32[Tensor, "b c h w"]:
    """Return images changed as told, values 0..255, on the device of the pixels.

    Contrast and erasing go by the channels' means of the images as they came, which are exact whole-number
    sums, so that no rounding hangs on the number of threads.
    """
    images = _flipped(pixels, changes.flips).to(torch.float32)
    if any(part is not None for part in (changes.shift, changes.rotation, changes.scale, changes.shear)):
        images = _resampled(images, changes)
    if any(part is not None for part in (changes.contrast, changes.brightness, changes.erase)):
        _relight_and_erase(images, _means(pixels), changes)
    if changes.noise is not None:
        images += _noise(images, changes.noise, changes.seed)
    return images.clamp_(0, WHITE)


def _factor(swing: Float64[Tensor, " b"], most: float) -> Float64[Tensor, " b"]:
    return torch.exp(swing * math.log1p(most))


def _flipped(pixels: UInt8[Tensor, "b c h w"], flips: Bool[Tensor, "b 2"] | None) -> UInt8[Tensor, "b c h w"]:
    if flips is None:
        return pixels
    images = pixels.clone()
    for axis, chosen in zip((3, 2), flips.unbind(1), strict=True):
        rows = chosen.nonzero()[:, 0].to(pixels.device)
        images[rows] = images[rows].flip(axis)
    return images


def _resampled(images: Float32[Tensor, "b c h w"], changes: Changes) -> Float32[Tensor, "b c h w"]:
    """Look up, bilinearly, each pixel of the changed images where it comes from.

    Positions are counted in pixels from the centre, so that a rotation stays one where height and width
    differ; grid_sample wants them doubled and divided by the side. A position is the sum of a part that hangs
    on the column and one that hangs on the row: one pass over the grid, and no matrix product whose rounding
    hangs on its size.
    """
    b, _, h, w = images.shape
    linear, offset = _origins(changes, b, h, w)
    sides = torch.tensor((w, h), dtype=torch.float64)[:, None]
    across = linear[:, :, :1] * _centred(w) * (2 / sides)
    down = (linear[:, :, 1:] * _centred(h) + offset[:, :, None]) * (2 / sides)
    across, down = (part.to(torch.float32).to(images.device) for part in (across, down))
    grid = across[:, :, None, :] + down[:, :, :, None]
    return functional.grid_sample(
        images, grid.permute(0, 2, 3, 1), mode="bilinear", padding_mode="border", align_corners=False
    )


def _origins(
    changes: Changes, b: int, h: int, w: int
) -> tuple[Float64[Tensor, "b 2 2"], Float64[Tensor, "b 2"]]:
    """Return M and o of: what comes to position p, in pixels right of and below the centre, was at M p + o.

    An image is slanted, turned, scaled, then shifted: p = s R H q + t, so q = H⁻¹ R⁻¹ (p - t) / s. In
    float64, as sines in float32 may differ in their last bit with the length of the batch.
    """
    none = torch.zeros(b, dtype=torch.float64)
    turn = torch.deg2rad(none if changes.rotation is None else changes.rotation)
    lean = torch.tan(torch.deg2rad(none if changes.shear is None else changes.shear))
    scale = none + 1 if changes.scale is None else changes.scale
    cos, sin = torch.cos(turn) / scale, torch.sin(turn) / scale
    linear = torch.stack((cos + lean * sin, lean * cos - sin, sin, cos), dim=1).reshape(b, 2, 2)
    if changes.shift is None:
        return linear, torch.zeros(b, 2, dtype=torch.float64)
    moved = changes.shift * torch.tensor((w, h), dtype=torch.float64)
    return linear, -(linear * moved[:, None, :]).sum(2)


def _centred(side: int) -> Float64[Tensor, " side"]:
    return torch.arange(side, dtype=torch.float64) - (side - 1) / 2


def _means(pixels: UInt8[Tensor, "b c h w"]) -> Float32[Tensor, "b c 1 1"]:
    rows = pixels.sum(3, keepdim=True, dtype=torch.int32)  # two steps, as whole sums in int64 take four times
    area = pixels.shape[2] * pixels.shape[3]
    return rows.sum(2, keepdim=True, dtype=torch.int64).to(torch.float32) / area


def _relight_and_erase(
    images: Float32[Tensor, "b c h w"], means: Float32[Tensor, "b c 1 1"], changes: Changes
) -> None:
    if changes.contrast is not None:
        factor = _each(changes.contrast, images)
        images.mul_(factor).add_(means * (1 - factor))
    if changes.brightness is not None:
        added = _each(WHITE * changes.brightness, images)
        images.add_(added)
        means = means + added
    if changes.erase is not None:
        _erase(images, means, changes.erase)


def _erase(
    images: Float32[Tensor, "b c h w"], means: Float32[Tensor, "b c 1 1"], erase: Float64[Tensor, "b 4"]
) -> None:
    h, w = images.shape[2:]
    rows = (erase[:, 0] > 0).nonzero()[:, 0]
    area, ratio, downwards, sidewards = erase[rows].unbind(1)
    height = torch.sqrt(area * (h * w) * ratio).round().clamp(1, h)
    width = torch.sqrt(area * (h * w) / ratio).round().clamp(1, w)
    down = _between(downwards, height, h).to(images.device)
    across = _between(sidewards, width, w).to(images.device)
    rows = rows.to(images.device)
    inside = (down[:, :, None] & across[:, None, :])[:, None]
    images[rows] = torch.where(inside, means[rows], images[rows])


def _between(
    place: Float64[Tensor, " m"], length: Float64[Tensor, " m"], side: int
) -> Bool[Tensor, "m side"]:
    start = torch.floor(place * (side - length + 1))[:, None]
    at = torch.arange(side)
    return (at >= start) & (at < start + length[:, None])


def _noise(
    images: Float32[Tensor, "b c h w"], noise: Float64[Tensor, "b 2"], seed: int
) -> Float32[Tensor, "b c h w"]:
    """Cut each image's noise out of one pool, as normal numbers on the CPU come one at a time.

    An image's own values are independent of each other; those of two images may be the same ones elsewhere.
    """
    size = images[:1].numel()
    pool = torch.randn(POOL + size, generator=torch.Generator().manual_seed(seed)).to(images.device)
    starts = (noise[:, 1] * POOL).to(torch.int64).to(images.device)
    cut = pool.unfold(0, max(size, 1), 1)[starts].reshape(images.shape)
    return cut.mul_(_each(WHITE * noise[:, 0], images))


def _each(values: Float64[Tensor, " b"], images: Tensor) -> Float32[Tensor, "b 1 1 1"]:
    return values.to(torch.float32).to(images.device).reshape(-1, 1, 1, 1)

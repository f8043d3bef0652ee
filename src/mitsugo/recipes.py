"""Recipes: everything a run is made by, as frozen values. A recipe says what; the tasks say how."""

import dataclasses
import math
from dataclasses import dataclass
from typing import Any, Literal

import pydantic

from .errors import UsageError

__all__ = ["BATCHES_OF", "DEFAULT", "RECIPES", "Recipe", "option_of"]

Network = Literal["mlp", "convnet", "residual", "backbone", "raw-pixels"]
Batches = Literal["triplets", "pairs", "p-by-k", "shuffled", "none"]
LossName = Literal[
    "triplet",
    "contrastive",
    "triplet-all",
    "triplet-semi-hard",
    "triplet-hard",
    "triplet-hard-soft",
    "supervised-contrastive",
    "softmax",
]
BATCHES_OF: dict[str, tuple[Batches, ...]] = {
    "triplet": ("triplets",),
    "contrastive": ("pairs",),
    "softmax": ("shuffled", "p-by-k"),
}
"""The batches that a loss can use; the others take every pair and triplet of a labelled batch."""
LABELED: tuple[Batches, ...] = ("p-by-k", "shuffled")


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """How an embedding is made.

    Raises:
        UsageError: a value that cannot be meant; the option is named.
    """

    __pydantic_config__ = pydantic.ConfigDict(extra="forbid")

    name: str
    what: str
    """One sentence for people."""

    network: Network = "mlp"
    """The walk-through's MLP, a small ConvNet, a residual network, a pretrained backbone, or none at all."""

    channels: tuple[int, ...] = ()
    """Channels of the stages of a ConvNet or a residual network, which halve an image down to some 7 px."""

    blocks: tuple[int, ...] = ()
    """How many blocks each stage of a residual network has."""

    backbone: str = ""
    """The model's name in timm, as tf_efficientnet_lite0."""

    backbone_weights: str | None = None
    """Its weights, a .safetensors file with timm's names; None takes them from the hub that timm names."""

    backbone_sha256: str = ""
    """Of the weights that are meant; others are refused. Empty takes what comes."""

    backbone_side: int | None = None
    """Height and width in pixels that it sees; None: what it was trained with."""

    frozen: bool = False
    """Whether the backbone stays as it is: its features are computed once, and only a head is trained."""

    views: int = 1
    """With frozen: of each training image itself and its changed copies, drawn once, so many are seen."""

    hidden: tuple[int, ...] = (256, 256)
    """Widths of the hidden layers: the walk-through's; elsewhere, those after stages or backbone."""

    dimension: int | None = 128
    """d of the embedding: 128 to discriminate, 2 to draw it; None takes as many as an image has values."""

    normalised: bool = False
    """Whether embeddings are brought to length 1. The walk-through's are not."""

    batches: Batches = "triplets"
    """Which images stand together: drawn triplets or pairs, P classes by K images, or all, shuffled."""

    loss: LossName = "triplet"
    """The hinge on drawn triplets; on all, the semi-hard or the hardest of a batch; or one of the others."""

    distance: Literal["squared_euclidean", "euclidean", "cosine"] = "squared_euclidean"
    """What the triplet losses of a whole batch compare; drawn triplets take squared Euclidean ones."""

    margin: float = 1.0
    """How much farther the negative must be than the positive, in units of the distance."""

    temperature: float = 0.1
    """Of the supervised contrastive loss (Khosla et al., 2020)."""

    average: Literal["active", "all"] = "active"
    """What triplet-all and triplet-semi-hard are the mean over."""

    size_average: bool = True
    """Drawn triplets and pairs: the mean over the batch, as the walk-through; False sums."""

    batch_size: int = 128
    """Triplets or pairs a batch, or images; the last drawn ones of an epoch are as small as they come."""

    images_per_class: int = 4
    """K at least, of P x K batches: where the classes are fewer than batch_size / K, K grows."""

    epochs: int = 10
    """The final total. 0 leaves the network as it was drawn."""

    least_steps: int = 0
    """On few images the epochs are as many more as these steps need."""

    steps: int | None = None
    """The final total in steps where a budget of time set it: the last epoch ends there."""

    learning_rate: float = 2e-4
    """Of Adam: before the decay, or at the top of the cycle."""

    weight_decay: float = 0.0
    """Decoupled from the gradient, as in AdamW (Loshchilov and Hutter, 2019)."""

    schedule: Literal["decay", "one-cycle"] = "decay"
    """How the rate goes: in the walk-through's steps, or up in a line and down along a cosine to 0."""

    decay_every: int = 8
    """The rate of epoch e, counted from 1, is learning_rate · decay^(e // decay_every)."""

    decay: float = 0.1
    """The walk-through steps StepLR(8, 0.1) before each epoch: seven epochs at 2e-4, then 2e-5."""

    warmup: float = 0.15
    """The share of the steps in which a one-cycle rate rises."""

    precision: Literal["float32", "bfloat16", "auto"] = "float32"
    """Of the network while it trains; auto takes bfloat16 where the processor multiplies it."""

    validation_share: float = 0.0
    """Of the training images, to choose by; 0 reads losses on the test part, like the walk-through."""

    keep: Literal["last", "best"] = "last"
    """The last epoch, or the one with the best k-NN accuracy on the validation images."""

    shift: float = 0.0
    """Augmentation: as a share of the side, drawn from ±shift for each axis."""

    rotation: float = 0.0
    """Augmentation: in degrees, ±."""

    scale: float = 0.0
    """Augmentation: 0.1 makes an image up to a tenth larger or smaller."""

    shear: float = 0.0
    """Augmentation: in degrees, ±."""

    brightness: float = 0.0
    """Augmentation: as a share of the full scale, ±."""

    contrast: float = 0.0
    """Augmentation: as a factor from 1 - contrast to 1 + contrast."""

    noise: float = 0.0
    """Augmentation: the standard deviation as a share of the full scale."""

    erase: float = 0.0
    """Augmentation: the probability that a rectangle is wiped out."""

    flip_horizontal: float | None = 0.0
    """Augmentation: the probability of a mirror image; None: by whether mirror images find their class."""

    flip_vertical: float = 0.0
    """Augmentation: likewise, upside down."""

    def __post_init__(self) -> None:
        for name, (low, high) in WHOLE.items():
            value = getattr(self, name)
            if value is not None and not low <= value <= high:
                raise UsageError(f"{option_of(name)} is {value}, expected {low} to {high}")
        for name in ("margin", "learning_rate", "decay", "temperature"):
            value = getattr(self, name)
            if not (math.isfinite(value) and value > 0):
                raise UsageError(f"{option_of(name)} is {value}, expected a positive number")
        for name in ("warmup", "validation_share", "weight_decay"):
            value = getattr(self, name)
            if not 0 <= value <= MOST_SHARE:
                raise UsageError(f"{option_of(name)} is {value}, expected 0 to {MOST_SHARE}")
        fitting = BATCHES_OF.get(self.loss, ("p-by-k",))
        if self.batches not in (*fitting, "none"):
            raise UsageError(
                f"--loss {self.loss}: cannot use the batches of {self.name}, {self.batches}; "
                f"set batches to {fitting[0]}"
            )
        if self.keep == "best" and not self.validation_share and self.batches != "none":
            raise UsageError(
                "--keep best: chooses by validation images, so set --validation-share above 0; the test "
                "images choose nothing"
            )
        _check_network(self)

    @property
    def labeled(self) -> bool:
        """Whether a batch is images with their labels, not drawn triplets or pairs."""
        return self.batches in LABELED

    def rate(self, epoch: int, batch: int = 0, batches: int = 1) -> float:
        """Return the learning rate of a step.

        Args:
            epoch: counted from 1.
            batch: counted from 0.
            batches: how many an epoch has.

        >>> [RECIPES["article"].rate(epoch) for epoch in (1, 7)]
        [0.0002, 0.0002]
        >>> round(RECIPES["article"].rate(8), 8)
        2e-05
        """
        if self.schedule == "decay":
            return self.learning_rate * float(self.decay ** (epoch // self.decay_every))
        total = self.steps or self.epochs * batches
        step = (epoch - 1) * batches + batch
        rising = self.warmup * total
        if step < rising:
            return self.learning_rate * min(1.0, (step + 1) / rising)
        return self.learning_rate * 0.5 * (1 + math.cos(math.pi * (step - rising) / (total - rising)))

    def plain(self) -> dict[str, Any]:
        """Return the recipe as JSON values."""
        return {
            key: list(value) if isinstance(value, tuple) else value
            for key, value in dataclasses.asdict(self).items()
        }


STAGED = ("convnet", "residual")
"""The networks with stages."""
MOST_SHARE = 0.9
MOST_BLOCKS = 16
WIDEST = 65536
WHOLE = {
    "dimension": (1, WIDEST),
    "backbone_side": (1, 4096),
    "views": (1, 100),
    "batch_size": (1, 1 << 20),
    "images_per_class": (2, 1 << 16),
    "epochs": (0, 1_000_000),
    "least_steps": (0, 1_000_000_000),
    "steps": (1, 1_000_000_000),
    "decay_every": (1, 1_000_000),
}
"""The whole numbers, each with its least and its greatest value."""


def _check_network(recipe: Recipe) -> None:
    for name, most in (("hidden", WIDEST), ("channels", WIDEST), ("blocks", MOST_BLOCKS)):
        for width in getattr(recipe, name):
            if not 1 <= width <= most:
                raise UsageError(f"{option_of(name)} holds {width}, expected 1 to {most}")
    if recipe.network in STAGED and not recipe.channels:
        raise UsageError(
            f"--channels is empty: a {recipe.network} has stages, so set channels to [32, 64] or others"
        )
    if recipe.network not in STAGED and recipe.channels:
        raise UsageError(
            f"--channels is {list(recipe.channels)}: the network {recipe.network} has no stages, "
            f"so set channels to []"
        )
    stages = len(recipe.channels) if recipe.network == "residual" else 0
    if len(recipe.blocks) != stages:
        raise UsageError(
            f"--blocks is {list(recipe.blocks)}: the network {recipe.network} has {stages} stages of blocks, "
            f"so set blocks to {[1] * stages}"
        )
    _check_backbone(recipe)
    if recipe.network == "raw-pixels" and recipe.batches != "none":
        raise UsageError("--network raw-pixels: has no weights to train; take --recipe raw-pixels")
    if recipe.network not in {"mlp", "raw-pixels"} and recipe.batches == "shuffled" and recipe.batch_size < 2:
        raise UsageError(
            f"--batch-size is 1, expected 2 or more: a {recipe.network} compares the images of a batch"
        )


def _check_backbone(recipe: Recipe) -> None:
    if recipe.network == "backbone" and not recipe.backbone:
        raise UsageError("--backbone is empty: set backbone to a model of timm, as tf_efficientnet_lite0")
    usual = {"backbone": "", "backbone_weights": None, "backbone_sha256": "", "backbone_side": None}
    for name, value in (usual | {"frozen": False}).items():
        if recipe.network != "backbone" and getattr(recipe, name) != value:
            raise UsageError(
                f"{option_of(name)} is {getattr(recipe, name)}: the network {recipe.network} has no "
                f"backbone; take --recipe photos-pretrained, or set network to backbone"
            )
    if recipe.views != 1 and not recipe.frozen:
        raise UsageError(
            f"--views is {recipe.views}: only a frozen backbone has views that are drawn once; set it to 1"
        )


_STANDARD = Recipe(
    name="standard",
    what="the default: every triplet of each batch, a small ConvNet, augmented images, one cycle of the rate",
    network="convnet",
    channels=(32, 64, 96),
    hidden=(256,),
    batches="p-by-k",
    loss="triplet-all",
    batch_size=200,
    images_per_class=8,
    epochs=12,
    least_steps=600,
    learning_rate=2.5e-3,
    weight_decay=0.05,
    schedule="one-cycle",
    precision="auto",
    validation_share=0.1,
    keep="best",
    shift=0.036,
    rotation=5.0,
    scale=0.05,
    flip_horizontal=None,
)

_PHOTOS = dataclasses.replace(
    _STANDARD,
    name="photos",
    what="for photos of 64 to 256 px: every triplet of each batch, a residual network trained from scratch",
    network="residual",
    channels=(32, 64, 128, 256),
    blocks=(1, 1, 1, 1),
    hidden=(),
    batch_size=64,
    epochs=20,
)

RECIPES: dict[str, Recipe] = {
    recipe.name: recipe
    for recipe in (
        _STANDARD,
        dataclasses.replace(
            _STANDARD,
            name="standard-softmax",
            what="the plain baseline: the same network and images, trained by softmax cross-entropy",
            batches="shuffled",
            loss="softmax",
        ),
        _PHOTOS,
        dataclasses.replace(
            _PHOTOS,
            name="photos-pretrained",
            what="for few photos: a head on the features of a pretrained network, computed once; needs timm",
            network="backbone",
            channels=(),
            blocks=(),
            backbone="tf_efficientnet_lite0",
            frozen=True,
            views=4,
            precision="float32",
        ),
        Recipe(
            name="article",
            what="the published triplet experiment, to the letter: random triplets, an MLP, ten epochs",
        ),
        Recipe(
            name="article-siamese",
            what="its predecessor: the Siamese network with random pairs and a contrastive loss",
            batches="pairs",
            loss="contrastive",
        ),
        Recipe(
            name="raw-pixels",
            what="the baseline that learns nothing: an image's own values are its embedding",
            network="raw-pixels",
            hidden=(),
            dimension=None,
            batches="none",
            epochs=0,
        ),
    )
}

DEFAULT = "standard"


def option_of(name: str) -> str:
    """Return the option that a key is set by.

    >>> option_of("batch_size")
    '--batch-size'
    """
    return "--" + name.replace("_", "-")

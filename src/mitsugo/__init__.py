"""mitsugo teaches a computer to tell images apart: triplets in, an embedding and an honest accuracy out.

>>> import mitsugo
>>> model = mitsugo.train("digits", epochs=1)
>>> model.embed(mitsugo.load("digits").pixels[:2]).shape
(2, 128)

Names are looked up when they are first used, so that `import mitsugo` costs nothing.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from .data.augment import Augmentation, augmented
    from .data.batching import drawing, labeled_batches, p_by_k, shuffled
    from .data.sampling import (
        fixed_pairs,
        fixed_triplets,
        gathered,
        generator_of,
        index_classes,
        random_pairs,
        random_triplets,
    )
    from .data.sources import load
    from .errors import DataError, MitsugoError, ModelError, ResourceError, StoreError, UsageError
    from .estimators import TripletClassifier, TripletEmbedder
    from .model.bundle import Model
    from .model.convnet import ConvNet
    from .model.networks import EmbeddingNet, PairNet, TripletNet, initialise
    from .model.preprocessing import Preprocessing, measured, prepare
    from .model.residual import ResidualNet
    from .recipes import RECIPES, Recipe
    from .space.batch_losses import (
        batch_hard_loss,
        every_triplet_loss,
        softmax_loss,
        supervised_contrastive_loss,
    )
    from .space.losses import contrastive_loss, triplet_loss
    from .space.metrics import evaluate, evaluate_alone
    from .space.neighbors import nearest
    from .space.triplets import active_triplets
    from .tasks.calibrate import calibrate
    from .tasks.gallery import Lesson
    from .tasks.gallery import add as teach
    from .tasks.models import train_model as train
    from .tasks.taught import taught_model as open_model
    from .training import Training, fit, run
    from .values import (
        Embeddings,
        LabeledImages,
        Likeness,
        Neighbor,
        Neighbors,
        Score,
        Scores,
        Split,
        Verdict,
    )
    from .watch import CollapseWatch, Sight

_HOMES = {
    "data.augment": ("Augmentation", "augmented"),
    "data.batching": ("drawing", "labeled_batches", "p_by_k", "shuffled"),
    "data.sampling": (
        "fixed_pairs",
        "fixed_triplets",
        "gathered",
        "generator_of",
        "index_classes",
        "random_pairs",
        "random_triplets",
    ),
    "data.sources": ("load",),
    "errors": ("DataError", "MitsugoError", "ModelError", "ResourceError", "StoreError", "UsageError"),
    "estimators": ("TripletClassifier", "TripletEmbedder"),
    "model.bundle": ("Model",),
    "model.convnet": ("ConvNet",),
    "model.networks": ("EmbeddingNet", "PairNet", "TripletNet", "initialise"),
    "model.preprocessing": ("Preprocessing", "measured", "prepare"),
    "model.residual": ("ResidualNet",),
    "recipes": ("RECIPES", "Recipe"),
    "space.batch_losses": (
        "batch_hard_loss",
        "every_triplet_loss",
        "softmax_loss",
        "supervised_contrastive_loss",
    ),
    "space.losses": ("contrastive_loss", "triplet_loss"),
    "space.metrics": ("evaluate", "evaluate_alone"),
    "space.neighbors": ("nearest",),
    "space.triplets": ("active_triplets",),
    "tasks.calibrate": ("calibrate",),
    "tasks.gallery": ("Lesson", "teach"),
    "tasks.models": ("train",),
    "tasks.taught": ("open_model",),
    "training": ("Training", "fit", "run"),
    "values.embeddings": ("Embeddings", "Neighbors"),
    "values.images": ("LabeledImages", "Split"),
    "values.scores": ("Score", "Scores"),
    "values.verdicts": ("Likeness", "Neighbor", "Verdict"),
    "watch": ("CollapseWatch", "Sight"),
}
_HOME_OF = {name: home for home, names in _HOMES.items() for name in names}
_OTHER_NAMES = {"train": "train_model", "open_model": "taught_model", "teach": "add"}

__all__ = [  # noqa: RUF022 - in the order of the flow
    "load",
    "LabeledImages",
    "Split",
    "Preprocessing",
    "measured",
    "prepare",
    "index_classes",
    "generator_of",
    "random_triplets",
    "fixed_triplets",
    "random_pairs",
    "fixed_pairs",
    "gathered",
    "drawing",
    "p_by_k",
    "shuffled",
    "labeled_batches",
    "Augmentation",
    "augmented",
    "EmbeddingNet",
    "ConvNet",
    "ResidualNet",
    "TripletNet",
    "PairNet",
    "initialise",
    "triplet_loss",
    "contrastive_loss",
    "every_triplet_loss",
    "active_triplets",
    "batch_hard_loss",
    "supervised_contrastive_loss",
    "softmax_loss",
    "Training",
    "run",
    "fit",
    "CollapseWatch",
    "Sight",
    "RECIPES",
    "Recipe",
    "train",
    "TripletClassifier",
    "TripletEmbedder",
    "Model",
    "open_model",
    "calibrate",
    "teach",
    "Lesson",
    "Embeddings",
    "nearest",
    "Neighbors",
    "evaluate",
    "evaluate_alone",
    "Score",
    "Scores",
    "Verdict",
    "Likeness",
    "Neighbor",
    "MitsugoError",
    "UsageError",
    "DataError",
    "ModelError",
    "ResourceError",
    "StoreError",
]


def __getattr__(name: str) -> Any:  # noqa: ANN401 - whatever the name stands for
    if name not in _HOME_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOME_OF[name]}"), _OTHER_NAMES.get(name, name))


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])

"""A model and what was settled in, every score out: test images against the gallery, or among each other."""

from collections.abc import Sequence
from dataclasses import dataclass

from ..errors import UsageError, shown
from ..model.bundle import Model
from ..space.learning import learning_curve
from ..space.metrics import Evaluation, evaluate, evaluate_alone
from ..values import Embeddings, LabeledImages, LearningPoint
from .models import embeddings_of
from .settle import Ground

__all__ = ["Scored", "check_ng", "learnt", "scored"]

NAMES = 5


@dataclass(frozen=True, kw_only=True, eq=False)
class Scored:
    """An evaluation with what it was made from.

    Args:
        evaluation: its neighbours are rows of `gallery`.
        queries: the test images' embeddings.
        gallery: the images that they were compared with: the test images themselves where their classes were
            not trained on.
    """

    evaluation: Evaluation
    queries: Embeddings
    gallery: LabeledImages


def scored(model: Model, ground: Ground, *, seed: int, ng: Sequence[str] = ()) -> Scored:
    """Score the test part, once: against the gallery, or image by image against its other images.

    Intervals are over groups where there are groups.

    Raises:
        UsageError: too few images to vote.
    """
    test = ground.test
    queries = embeddings_of(model, test)
    if ground.split.unseen:
        evaluation = evaluate_alone(queries, seed=seed, query_groups=test.groups, ng=ng)
        return Scored(evaluation=evaluation, queries=queries, gallery=test)
    evaluation = evaluate(model.gallery, queries, seed=seed, query_groups=test.groups, ng=ng)
    return Scored(evaluation=evaluation, queries=queries, gallery=ground.gallery)


def learnt(model: Model, ground: Ground, queries: Embeddings, seed: int) -> tuple[LearningPoint, ...]:
    """Return what ever larger parts of the gallery are worth; nothing where the test classes are unseen."""
    if ground.split.unseen:
        return ()
    return learning_curve(model.gallery, queries, seed=seed, groups=ground.gallery.groups)


def check_ng(ng: Sequence[str], class_names: Sequence[str], source: str) -> None:
    """Refuse NG classes that the source does not have, and those that leave no class that is OK.

    Raises:
        UsageError: so.
    """
    for name in ng:
        if name not in class_names:
            few = ", ".join(map(shown, class_names[:NAMES])) + (" …" if len(class_names) > NAMES else "")
            raise UsageError(f"--ng {shown(name)}: SOURCE {shown(source)} has no such class; it has {few}")
    if ng and set(class_names) <= set(ng):
        raise UsageError(f"--ng {','.join(map(shown, ng))}: no class is left that is OK; leave one out")

"""A finished run in, its pictures and its report out."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import shown
from ..recipes import Recipe
from ..report.content import EpochPoint, MapPoints, Mistake, NearImage, ReportContent
from ..report.page import write_report
from ..report.projection import flatten
from ..space.metrics import Evaluation, most_confidently_wrong
from ..space.trustworthiness import trustworthiness
from ..values import Embeddings, Epoch, Gap, LabeledImages, LearningPoint
from .scoring import Scored

__all__ = ["Facts", "draw"]

PROJECTED_POINTS = 5_000
DIRECT_POINTS = 10_000
MISTAKES = 24
TRUST_NEIGHBORS = 10


@dataclass(frozen=True, kw_only=True, eq=False)
class Facts:
    """What was run: the parts of a report that are neither scores nor images."""

    recipe: Recipe
    seed: int
    history: tuple[Epoch, ...]
    description: Mapping[str, Any]
    gap: Gap | None = None
    learning: tuple[LearningPoint, ...] = ()


def draw(
    facts: Facts,
    found: Scored,
    test: LabeledImages,
    folder: Path,
) -> tuple[Path, ...]:
    """Write the PNG figures and report.html into a folder; return their paths."""
    evaluation, queries = found.evaluation, found.queries
    content = ReportContent(
        source=shown(facts.description["source"]["name"]),
        recipe=facts.recipe.name,
        dimension=queries.vectors.shape[1],
        seed=facts.seed,
        epochs=facts.recipe.epochs,
        seconds=math.fsum(epoch.seconds for epoch in facts.history),
        images=facts.description["source"]["images"],
        scores=evaluation.scores,
        class_names=test.class_names,
        history=tuple(
            EpochPoint(epoch=e.epoch, train_loss=e.train_loss, validation_loss=e.validation_loss)
            for e in facts.history
        ),
        validation_is_test=facts.description["split"]["validation_is_test"],
        unseen=facts.description["split"]["unseen"],
        gap=facts.gap,
        learning=facts.learning,
        map=_map(evaluation, queries, test, facts.seed),
        mistakes=_mistakes(evaluation, found.gallery, test),
        details=tuple(_flat(facts.description)),
    )
    return write_report(content, folder)


def _map(evaluation: Evaluation, queries: Embeddings, test: LabeledImages, seed: int) -> MapPoints:
    vectors = queries.vectors
    direct = vectors.shape[1] == 2
    shown = _sample(len(test), DIRECT_POINTS if direct else PROJECTED_POINTS, seed)
    flat = flatten(vectors[shown], seed)
    k = min(TRUST_NEIGHBORS, (len(shown) - 1) // 2)
    if direct or k < 1:
        trust, mean = np.ones(len(shown)), 1.0
    else:
        trust, mean = trustworthiness(vectors[shown], flat, k)
    return MapPoints(
        flat=flat,
        labels=test.labels[shown],
        predicted=evaluation.predicted[shown],
        trust=trust,
        names=tuple(test.names[i] for i in shown.tolist()),
        thumbnails=test.pixels[shown],
        total=len(test),
        direct=direct,
        method="" if direct else "t-SNE",
        trustworthiness=mean,
    )


def _sample(count: int, most: int, seed: int) -> NDArray[np.int64]:
    if count <= most:
        return np.arange(count)
    return np.sort(np.random.default_rng(seed).choice(count, most, replace=False))


def _mistakes(evaluation: Evaluation, gallery: LabeledImages, test: LabeledImages) -> tuple[Mistake, ...]:
    neighbors = evaluation.neighbors
    worst = most_confidently_wrong(
        test.labels, evaluation.predicted, evaluation.agreement, neighbors.distances[:, 0], MISTAKES
    )
    return tuple(
        Mistake(
            thumbnail=test.pixels[query],
            name=test.names[query],
            label=int(test.labels[query]),
            predicted=int(evaluation.predicted[query]),
            agreement=float(evaluation.agreement[query]),
            neighbors=tuple(
                NearImage(
                    thumbnail=gallery.pixels[row],
                    name=gallery.names[row],
                    label=int(gallery.labels[row]),
                    distance=float(distance),
                )
                for row, distance in zip(
                    neighbors.indices[query].tolist(), neighbors.distances[query].tolist(), strict=True
                )
            ),
        )
        for query in worst.tolist()
    )


def _flat(content: Mapping[str, Any], prefix: str = "") -> list[tuple[str, str]]:
    lines: list[tuple[str, str]] = []
    for key, value in content.items():
        if isinstance(value, Mapping):
            lines += _flat(value, f"{prefix}{key}: ")
        elif value is not None:
            text = ", ".join(map(str, value)) if isinstance(value, list) else str(value)
            lines.append((prefix + key.replace("_", " "), shown(text)))
    return lines

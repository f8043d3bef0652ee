"""A small report to test on: 24 images of three classes, two of them predicted wrongly."""

from dataclasses import replace

import numpy as np
import pytest

from mitsugo.report.content import EpochPoint, MapPoints, Mistake, NearImage, ReportContent
from mitsugo.values import Score, Scores

NAMES = ("良品", "scratch", "dent")


def score(value, low, high):
    return Score(value=value, low=low, high=high, n=24, interval="Wilson")


def image(seed, channels=1, side=8):
    return np.random.default_rng(seed).integers(0, 256, (channels, side, side), dtype=np.uint8)


@pytest.fixture
def points():
    labels = np.repeat(np.arange(3), 8)
    predicted = labels.copy()
    predicted[[0, 8]] = 2
    centres = np.array([[0, 0], [10, 0], [0, 10]])[labels]
    trust = np.ones(24)
    trust[3] = 0.5
    return MapPoints(
        flat=(centres + np.random.default_rng(0).normal(size=(24, 2))).astype(np.float32),
        labels=labels,
        predicted=predicted,
        trust=trust,
        names=tuple(f"image-{i:02d}" for i in range(24)),
        thumbnails=np.stack([image(i) for i in range(24)]),
        total=100,
        direct=False,
        method="t-SNE",
        trustworthiness=0.9791,
    )


@pytest.fixture
def mistake():
    near = tuple(
        NearImage(thumbnail=image(i), name=f"near-{i}", label=2 if i < 4 else 0, distance=0.25 * (i + 1))
        for i in range(5)
    )
    return Mistake(thumbnail=image(9), name="image-00", label=0, predicted=2, agreement=0.8, neighbors=near)


@pytest.fixture
def content(points, mistake):
    return ReportContent(
        source="parts",
        recipe="article",
        dimension=16,
        seed=7,
        epochs=3,
        seconds=38.2,
        images=1234,
        scores=Scores(
            knn_accuracy=score(22 / 24, 0.742, 0.977),
            precision_at_1=score(0.875, 0.69, 0.957),
            silhouette=score(0.5, 0.4, 0.6),
            between_within=score(3.0, 2.5, 3.5),
            confusion=np.array([[7, 0, 1], [0, 7, 1], [0, 0, 8]]),
        ),
        class_names=NAMES,
        history=tuple(EpochPoint(epoch=e, train_loss=0.1 / e, validation_loss=0.05 / e) for e in (1, 2, 3)),
        validation_is_test=True,
        map=points,
        mistakes=(mistake,),
        details=(("recipe", "margin 1"), ("model fingerprint", "sha256:abc")),
    )


@pytest.fixture
def bare(content, points):
    """Return a report without training, images on the map, mistakes or details."""
    empty = replace(
        points,
        flat=points.flat[:0],
        labels=points.labels[:0],
        predicted=points.predicted[:0],
        trust=points.trust[:0],
        names=(),
        thumbnails=points.thumbnails[:0],
    )
    perfect = replace(content.scores, confusion=np.diag([8, 8, 0]))
    return replace(
        content, epochs=0, seconds=0.0, history=(), mistakes=(), details=(), map=empty, scores=perfect
    )

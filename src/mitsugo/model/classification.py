"""Vectors in, verdicts out: a class or "unknown", OK or NG, and what to know before trusting it."""

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from ..errors import ModelError, UsageError
from ..shapes import Int64
from ..space.metrics import vote
from ..values import Caution, Pixels, Verdict
from .known import Known
from .likeness import EXEMPLARS, evidence, judged
from .preprocessing import mean_pixels
from .thresholds import Rules

__all__ = ["Queries", "inversion_warnings", "verdicts"]

TELLING = 0.2
MOST_AT_ONCE: Final = 1 << 23
"""So many neighbours are held at once."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Queries:
    """Images to be told.

    Args:
        vectors: float32 (n, d), made by the gallery's model.
        statistics: float32 (n, p); (n, 0) where the model has no gates.
        digests: uint64 (n, 2), of their pixels.
        names: n names.
        warnings: what is known against each so far.
    """

    vectors: NDArray[np.float32]
    statistics: NDArray[np.float32]
    digests: NDArray[np.uint64]
    names: Sequence[str]
    warnings: Sequence[tuple[str, ...]]

    def __len__(self) -> int:
        return len(self.vectors)

    def take(self, rows: NDArray[np.int64]) -> "Queries":
        """Return some of them."""
        return Queries(
            vectors=self.vectors[rows],
            statistics=self.statistics[rows],
            digests=self.digests[rows],
            names=[self.names[row] for row in rows.tolist()],
            warnings=[self.warnings[row] for row in rows.tolist()],
        )


def verdicts(queries: Queries, known: Known, k: int, rules: Rules | None = None) -> tuple[Verdict, ...]:
    """Return a verdict for each image.

    It is called what its k nearest gallery images vote for, or a class that was taught where that is
    likelier; "unknown" where it is stranger to every class than the calibration allows. A gallery image of
    the very same pixels does not vote.

    Args:
        queries: images.
        known: the gallery, and what is usual in it.
        k: how many vote; a smaller gallery votes as a whole, and the verdicts say so.
        rules: the thresholds; None calls nothing unknown.

    Raises:
        UsageError: k below 1, or another number of names than of vectors.
        ModelError: the gallery is empty.
    """
    if k < 1:
        raise UsageError(f"k = {k} neighbours: expected 1 or more")
    if len(queries.names) != len(queries):
        raise UsageError(f"{len(queries.names)} names for {len(queries)} images: expected one each")
    if not len(known.embeddings):
        raise ModelError("the model's gallery is empty, so nothing can vote; train on labelled images")
    twins = known.twins(queries.digests)
    copies = np.array([len(rows) for rows in twins], np.int64)
    if (copies >= len(known.embeddings)).any():
        one = queries.names[int(copies.argmax())]
        raise ModelError(f"the gallery holds nothing but the image {one} itself")
    found: dict[int, Verdict] = {}
    step = max(1, MOST_AT_ONCE // (len(known.embeddings.class_names) * max(k, known.k)))
    for count in np.unique(copies).tolist():
        same = np.flatnonzero(copies == count)
        for start in range(0, len(same), step):
            rows = same[start : start + step]
            exclude = np.array([twins[row] for row in rows.tolist()], np.int64).reshape(len(rows), count)
            found |= zip(rows.tolist(), _told(queries.take(rows), known, exclude, k, rules), strict=True)
    names = known.embeddings.names
    return tuple(
        dataclasses.replace(found[row], in_gallery=names[same[0]]) if len(same) else found[row]
        for row, same in enumerate(twins)
    )


def _told(
    queries: Queries, known: Known, exclude: Int64[np.ndarray, "n e"], k: int, rules: Rules | None
) -> list[Verdict]:
    """Return verdicts of images that each leave out as many rows of the gallery."""
    gallery = known.embeddings
    possible = len(gallery) - exclude.shape[1]
    voters = min(k, possible)
    said = f"the gallery holds {possible} images, so {voters} voted instead of {k}"
    few = () if voters == k else (Caution(said, "few", possible=possible, voters=voters, k=k),)
    near = known.near(queries.vectors, max(k, EXEMPLARS), exclude)
    indices, distances = near.of_all(voters)
    voted, agreement = vote(gallery.labels[indices], len(gallery.class_names))
    plain = [
        Verdict(
            image=name,
            label=gallery.class_names[winner],
            agreement=share,
            neighbors=evidence(known, rows, far),
            warnings=(*warned, *few),
        )
        for name, winner, share, rows, far, warned in zip(
            queries.names,
            voted.tolist(),
            agreement.tolist(),
            indices.tolist(),
            distances.tolist(),
            queries.warnings,
            strict=True,
        )
    ]
    if known.gates is None:
        return plain
    return judged(plain, queries.vectors, queries.statistics, voted, near, known, rules)


def inversion_warnings(pixels: Pixels, training_mean: float) -> list[tuple[str, ...]]:
    """Return for each image a warning where it looks inverted against the training images, or nothing.

    An image looks inverted where its mean pixel m is nearer to 1 - μ than to the training images' mean μ.
    Where 1 - μ and μ are less than 0.2 apart, brightness cannot tell, and nothing is said.

    >>> inversion_warnings(np.full((1, 1, 1, 1), 255, np.uint8), 0.13)
    [('looks inverted: its mean pixel is 1.00, that of the training images 0.13; invert it and try again',)]
    >>> inversion_warnings(np.full((1, 1, 1, 1), 255, np.uint8), 0.45)
    [()]
    """
    found: list[tuple[str, ...]] = []
    if abs(1 - 2 * training_mean) < TELLING:
        return [()] * len(pixels)
    for mean in mean_pixels(pixels):
        nearer = abs(mean - (1 - training_mean)) < abs(mean - training_mean)
        text = (
            f"looks inverted: its mean pixel is {mean:.2f}, that of the training images {training_mean:.2f}; "
            f"invert it and try again"
        )
        caution = Caution(text, "inverted", mean=f"{mean:.2f}", training=f"{training_mean:.2f}")
        found.append((caution,) if nearer else ())
    return found

"""Vectors in, verdicts out: a class or "unknown", OK or NG, and what to know before trusting it."""

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray

from ..errors import ModelError, UsageError
from ..shapes import Int64, Vectors
from ..space.classed import ClassNeighbors
from ..space.local_means import to_local_means
from ..space.metrics import vote
from ..space.promises import p_values
from ..values import UNKNOWN, Caution, Likeness, Neighbor, Pixels, Verdict
from .known import Known
from .preprocessing import mean_pixels
from .thresholds import Rules, ng_scores

__all__ = ["Queries", "inversion_warnings", "verdicts"]

TELLING = 0.2
FAVOR: Final = 4 / 3
"""A class that was taught, whose few images among thousands of others could not win a vote, wins where it is
less than so many times as far as the class that was voted for: training drew that one's images together and
not the new one's. Chosen on MNIST's training digits, four of which were taught to three models of the other
six: of 20 images, 95 % of the new digit are found, and of the known ones 0.15 % are lost."""
STRANGER: Final = 3
"""It also wins where the class that was voted for is so many times as strange; of those digits 0.02 % are."""
EXEMPLARS: Final = 3
MOST_AT_ONCE: Final = 1 << 23
"""So many neighbours are held at once."""
STALE: Final = Caution(
    "the gallery was changed after the thresholds were set: mitsugo calibrate MODEL scores them again",
    "stale",
)


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
            neighbors=_evidence(known, rows, far),
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
    return _judged(plain, queries, voted, near, known, rules)


def _judged(
    plain: list[Verdict],
    queries: Queries,
    voted: Int64[np.ndarray, " n"],
    near: ClassNeighbors,
    known: Known,
    rules: Rules | None,
) -> list[Verdict]:
    """Return the verdicts with how they stand to the classes, and what the thresholds make of them."""
    strange = known.strangeness_by(near, queries.statistics)
    each = np.arange(len(plain))
    names = known.embeddings.class_names
    winner = _favoured(queries.vectors, voted, near, strange.scaled, known)
    scores = ng_scores(strange.scaled, known.ng)
    is_ng = np.asarray(known.ng[winner])
    method = np.where(winner == voted, "k-NN vote", "likeness")
    unknown, chances = np.zeros(len(plain), np.bool_), np.full(len(plain), np.nan)
    if rules is not None:
        unknown = np.asarray((strange.by_class > rules.thresholds).all(axis=1))
        chances = p_values(strange.least, rules.scores)
    if rules is not None and rules.ng_threshold is not None and scores is not None:
        # a defect that was taught stays one: the threshold was set before anybody knew of it
        is_ng = np.greater_equal(scores, rules.ng_threshold) | (known.new & known.ng)[winner]
        # what is unknown is on no side: its winner is what it is likest
        other = (is_ng != known.ng[winner]) & ~unknown
        on_side = np.where(known.ng[None, :] == is_ng[:, None], strange.scaled, np.inf)
        winner = np.where(other, on_side.argmin(axis=1), winner)
        method = np.where(other, "threshold", method)
    others = strange.scaled.copy()
    others[each, winner] = np.inf
    runner_up = others.argmin(axis=1)
    own = np.full(strange.scaled.shape, np.nan)
    for label, scores_of in rules.own.items() if rules is not None else ():
        own[:, label] = p_values(strange.by_class[:, label], scores_of)
    told = []
    for row, verdict in enumerate(plain):
        likeness = [
            Likeness(
                label=names[label],
                scaled=float(strange.scaled[row, label]),
                p_value=None if np.isnan(own[row, label]) else float(own[row, label]),
                exemplars=_evidence(
                    known,
                    near.indices[row, label, :EXEMPLARS].tolist(),
                    near.distances[row, label, :EXEMPLARS].tolist(),
                ),
            )
            for label in (int(winner[row]), int(runner_up[row]))
            if np.isfinite(strange.scaled[row, label])
        ]
        judgement: Literal["OK", "NG", "unknown"] | None = None
        if unknown[row]:
            judgement = UNKNOWN
        elif scores is not None:
            judgement = "NG" if is_ng[row] else "OK"
        told.append(
            dataclasses.replace(
                verdict,
                label=UNKNOWN if unknown[row] else names[winner[row]],
                winner=likeness[0] if likeness else None,
                runner_up=likeness[1] if len(likeness) > 1 else None,
                unknown=bool(unknown[row]),
                judgement=judgement,
                p_value=None if rules is None else float(chances[row]),
                gate=None
                if rules is None
                else "statistics"
                if strange.statistics[row] > strange.embedded[row]
                else "embedding",
                strangeness=float(strange.least[row]),
                ng_score=None if scores is None else float(scores[row]),
                promised=None if rules is None else bool(rules.promised[winner[row]]) and not rules.stale,
                warnings=(*verdict.warnings, *_reservations(int(winner[row]), known, rules)),
                method=method[row].item(),
            )
        )
    return told


def _favoured(
    vectors: Vectors,
    voted: Int64[np.ndarray, " n"],
    near: ClassNeighbors,
    scaled: NDArray[np.float64],
    known: Known,
) -> NDArray[np.int64]:
    """Return the class that was voted for, or a taught one that is likelier."""
    doubtful = np.flatnonzero(~known.new[voted])
    if not known.new.any() or not len(doubtful):
        return voted
    gallery, asked = known.embeddings.vectors, vectors[doubtful]

    def far(labels: NDArray[np.int64] | int) -> NDArray[np.float64]:
        return to_local_means(asked, near.indices[doubtful, labels, : known.k], gallery, known.within)

    taught = np.flatnonzero(known.new)
    away = np.stack([far(label) for label in taught.tolist()])
    best = taught[away.argmin(axis=0)]
    nearer = away.min(axis=0) < FAVOR * far(voted[doubtful])
    likelier = STRANGER * scaled[doubtful, best] < scaled[doubtful, voted[doubtful]]
    winner = voted.copy()
    winner[doubtful] = np.where(nearer | likelier, best, voted[doubtful])
    return winner


def _reservations(winner: int, known: Known, rules: Rules | None) -> tuple[str, ...]:
    if rules is None:
        return ()
    words = [STALE] if rules.stale else []
    if known.new[winner] and not rules.promised[winner]:
        count = int(rules.counts[winner])
        here = f"{count} calibration images of it, {rules.needed} are needed"
        words.append(
            Caution(f"no promise for this class: {here}", "unpromised", count=count, needed=rules.needed)
        )
    return tuple(words)


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


def _evidence(known: Known, rows: Sequence[int], far: Sequence[float]) -> tuple[Neighbor, ...]:
    """Return some rows of the gallery as evidence; -1 stands for none."""
    names, classes = known.embeddings.names, known.classes
    return tuple(
        Neighbor(name=names[row], label=classes[row], distance=distance, row=row)
        for row, distance in zip(rows, far, strict=True)
        if row >= 0
    )

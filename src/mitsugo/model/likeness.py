"""How images stand to the classes: what wins, what is unknown, what is NG, and what shows it."""

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray

from ..shapes import Float32, Int64, Vectors
from ..space.classed import ClassNeighbors
from ..space.promises import p_values
from ..values import UNKNOWN, Caution, Likeness, Neighbor, Verdict
from .favor import favored, favors_of
from .known import Known
from .strangeness import Strangeness
from .thresholds import Rules, ng_scores, scoring

__all__ = ["EXEMPLARS", "evidence", "judged"]

EXEMPLARS: Final = 3
STALE: Final = Caution(
    "the gallery was changed after the thresholds were set: mitsugo calibrate MODEL scores them again",
    "stale",
)


@dataclass(frozen=True, kw_only=True, eq=False)
class _Decision:
    """What n images are called, and why.

    Args:
        winner: (n,), the class of each, or what it is likest where it is unknown.
        method: how it was found, n times.
        is_ng: (n,), whether that is NG.
        unknown: (n,), whether it is stranger to every class than the thresholds allow.
        chances: float64 (n,), p-values; NaN without thresholds.
        ng_scores: float64 (n,); None where no class is NG.
    """

    winner: NDArray[np.int64]
    method: Sequence[Literal["k-NN vote", "likeness", "threshold"]]
    is_ng: NDArray[np.bool_]
    unknown: NDArray[np.bool_]
    chances: NDArray[np.float64]
    ng_scores: NDArray[np.float64] | None

    def judgement(self, row: int) -> Literal["OK", "NG", "unknown"] | None:
        """Return what is said of a part; None where no class is NG, so that there are no sides."""
        if self.unknown[row]:
            return UNKNOWN
        if self.ng_scores is None:
            return None
        return "NG" if self.is_ng[row] else "OK"


def _decided(
    voted: Int64[np.ndarray, " n"],
    winner: Int64[np.ndarray, " n"],
    strange: Strangeness,
    known: Known,
    rules: Rules | None,
) -> _Decision:
    """Return what the thresholds make of the classes that were voted for and those that are likelier."""
    scores = ng_scores(strange.scaled, known.ng, known.new)
    method = np.where(winner == voted, "k-NN vote", "likeness")
    unknown, chances = np.zeros(len(voted), np.bool_), np.full(len(voted), np.nan)
    if rules is not None:
        too_strange = strange.by_class > rules.thresholds
        unknown = np.asarray(too_strange.all(axis=1))
        chances = p_values(strange.least, rules.scores, rules.blocks)
        # its pixels speak against the class that it was called, and there is another that they allow
        ruled_out = strange.unusual > rules.thresholds
        moved = ruled_out[np.arange(len(winner)), winner] & ~unknown
        likest = np.where(too_strange, np.inf, strange.by_class).argmin(axis=1)
        winner = np.where(moved, likest, winner)
        method = np.where(moved, "likeness", method)
    if rules is not None and rules.ng_threshold is not None and scores is not None:
        # a defect that was taught stays one: the threshold was set before anybody knew of it
        is_ng = np.greater_equal(scores, rules.ng_threshold) | (known.new & known.ng)[winner]
        # no part is OK that its pixels rule out; an NG one has a learnt class's name, where there is one
        side = np.where(is_ng[:, None], scoring(known.ng, known.new), ~known.ng & ~ruled_out)
        on_side = np.where(side, strange.scaled, np.inf)
        # what is unknown is on no side: its winner is what it is likest
        other = (is_ng != known.ng[winner]) & ~unknown & np.isfinite(on_side.min(axis=1))
        winner = np.where(other, on_side.argmin(axis=1), winner)
        method = np.where(other, "threshold", method)
    return _Decision(
        winner=winner,
        method=method.tolist(),
        is_ng=known.ng[winner],
        unknown=unknown,
        chances=chances,
        ng_scores=scores,
    )


def judged(
    plain: list[Verdict],
    queries: Vectors,
    statistics: Float32[np.ndarray, "n p"],
    voted: Int64[np.ndarray, " n"],
    near: ClassNeighbors,
    known: Known,
    rules: Rules | None,
) -> list[Verdict]:
    """Return verdicts with how they stand to the classes, and what the thresholds make of them.

    Args:
        plain: n verdicts by vote alone.
        queries: float32 (n, d), the images' embeddings.
        statistics: float32 (n, p), of the images.
        voted: (n,), the classes that were voted for.
        near: the nearest images of each class.
        known: what they are compared with, with its gates.
        rules: the thresholds; None calls nothing unknown.
    """
    strange = known.strangeness_by(near, statistics).weighed(1.0 if rules is None else rules.balance)
    favors = favors_of(None, known) if rules is None else rules.favors
    likelier = favored(queries, voted, near, strange.scaled, known, favors)
    decision = _decided(voted, likelier, strange, known, rules)
    likenesses = _likenesses(decision.winner, near, strange, known, rules)
    names = known.embeddings.class_names
    by_statistics, least = strange.by_statistics, strange.least
    told = []
    for row, (verdict, likeness) in enumerate(zip(plain, likenesses, strict=True)):
        winner, unknown = int(decision.winner[row]), bool(decision.unknown[row])
        told.append(
            dataclasses.replace(
                verdict,
                label=UNKNOWN if unknown else names[winner],
                winner=likeness[0] if likeness else None,
                runner_up=likeness[1] if len(likeness) > 1 else None,
                unknown=unknown,
                judgement=decision.judgement(row),
                p_value=None if rules is None else float(decision.chances[row]),
                gate=None if rules is None else "statistics" if by_statistics[row] else "embedding",
                strangeness=float(least[row]),
                ng_score=None if decision.ng_scores is None else float(decision.ng_scores[row]),
                promised=None if rules is None else bool(rules.promised[winner]) and not rules.stale,
                warnings=(*verdict.warnings, *_reservations(winner, known, rules)),
                method=decision.method[row],
            )
        )
    return told


def _likenesses(
    winner: Int64[np.ndarray, " n"],
    near: ClassNeighbors,
    strange: Strangeness,
    known: Known,
    rules: Rules | None,
) -> list[list[Likeness]]:
    """Return how each image stands to its winner and to the likest other class, with images of both."""
    others = strange.scaled.copy()
    others[np.arange(len(winner)), winner] = np.inf
    own = np.full(strange.scaled.shape, np.nan)
    if rules is not None:
        for label, scores_of in rules.own.items():
            own[:, label] = p_values(strange.by_class[:, label], scores_of, rules.blocks)
    names = known.embeddings.class_names
    return [
        [
            Likeness(
                label=names[label],
                scaled=float(strange.scaled[row, label]),
                p_value=None if np.isnan(own[row, label]) else float(own[row, label]),
                exemplars=evidence(
                    known,
                    near.indices[row, label, :EXEMPLARS].tolist(),
                    near.distances[row, label, :EXEMPLARS].tolist(),
                ),
            )
            for label in pair
            if np.isfinite(strange.scaled[row, label])
        ]
        for row, pair in enumerate(zip(winner.tolist(), others.argmin(axis=1).tolist(), strict=True))
    ]


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


def evidence(known: Known, rows: Sequence[int], far: Sequence[float]) -> tuple[Neighbor, ...]:
    """Return some rows of the gallery as evidence; -1 stands for none."""
    names, classes = known.embeddings.names, known.classes
    return tuple(
        Neighbor(name=names[row], label=classes[row], distance=distance, row=row)
        for row, distance in zip(rows, far, strict=True)
        if row >= 0
    )

"""The collapse watch: it looks at embeddings while they train and stops a run that learns nothing more."""

import math
from collections.abc import Callable
from dataclasses import dataclass, field

import torch

from .errors import ModelError
from .shapes import Tensor
from .space.collapse import MOST_ROWS, Condition, at_two_points, condition, resolution

__all__ = ["CollapseWatch", "Sight"]

FEWEST_ROWS = 8
"""Smaller batches are put together before they are judged: few points are soon on a line."""

POINT = 1e-6
"""Spread as a share of scale at which embeddings are equal but for float32's rounding."""
FALLEN = 1e-4
"""Spread as a share of the largest seen, or ten times that of scale, at which it has shrunk to a point."""
FALLING = 5e-4
"""Likewise, where it stays for long: a few runs of the hardest triplets pass here and come back."""
STUCK = 1e-3
"""How near the loss is to that of a single point, as a share of it; FALLEN and FALLING count only there."""

LINE = 1e-6
"""Effective rank less 1 on a line: what lies off it is a thousandth of what lies along it, or less."""
BEND = 1e-2
"""That at most, in (spread / scale)²: a small arc around 0 bends off its line by some half of it."""
ROUNDING = 1 / 8
"""That at least, in resolution² (scale / spread)²: rounding alone puts numbers off the line by 1/12 of it."""
WIDEST_LINE = 3e-3
"""And never more, however coarse the numbers are."""
SOLVED = 0.05
"""Loss as a share of that of a single point, or active share, below which a line is the answer."""

GROWN = 10.0
"""Scale over the smallest seen; with LOSS_GROWN it explodes."""
LOSS_GROWN = 100.0
"""Loss over that of a single point and over the first."""
FAR_GROWN = 1e3
"""Scale over the smallest seen; with TOO_LONG it explodes whatever the loss."""
TOO_LONG = 1e4
"""Scale beyond which rounding eats a margin of 1: 2⁻²³ (1e4)² = 12."""

PATIENCE = {"constant": 3, "shrunk": 20, "line": 3, "exploding": 3}
"""Looks in a row that must see it; one may meet an odd batch, or a head that starts at 0."""
WHAT = {
    "constant": "the embedding collapsed to a point",
    "shrunk": "the embedding collapsed to a point",
    "line": "the embedding collapsed to a line",
    "exploding": "the embedding explodes",
    "not finite": "an embedding is not finite",
}
EASIER = (
    "a smaller --learning-rate, another --loss or --margin, easier triplets than the hardest (all or "
    "semi-hard), more classes a batch, or look for images that are all alike"
)
REMEDIES = {
    "constant": EASIER,
    "shrunk": EASIER,
    "line": "a smaller --learning-rate, wider hidden layers, or a --loss over every triplet",
    "exploding": "a smaller --learning-rate, a smaller --margin or a normalised head",
    "not finite": "a smaller --learning-rate, or look for broken images or weights",
}


@dataclass(frozen=True, kw_only=True)
class Sight:
    """What a training step shows after the forward pass, before its gradient.

    Args:
        epoch: counted from 1.
        batch: counted from 0.
        outputs: of the network, each (b, d): embeddings in one tensor or several, or logits.
        loss: of this batch.
        active: how many of its terms push or pull; None where that is not known.
        valid: out of how many.
        collapsed_loss: the loss of this batch if all its embeddings were one point; seldom asked.
    """

    epoch: int
    batch: int
    outputs: tuple[Tensor, ...]
    loss: float
    active: int | None
    valid: int | None
    collapsed_loss: Callable[[], float]


@dataclass(kw_only=True)
class CollapseWatch:
    """Look at the embeddings of a run as it trains.

    Each batch is asked whether its numbers are finite and how long they are. A `Condition` is taken of the
    first 16 batches, then of every fourth up to the 64th, then of the first batch of each epoch and every so
    many after it, and of every batch while something looks wrong. It stops the run as soon as three looks in
    a row see one of these, or at once where a number is not finite, or too long for float32 to square:

    - a point: spread ≤ 1e-6 scale; or the loss is within 1e-3 of a single point's, and spread is ≤ 1e-4 of
      the largest seen or ≤ 1e-5 scale (in 20 looks: 5e-4 and 5e-5);
    - a line, in d ≥ 2: effective rank - 1 ≤ 1e-6 and ≤ 1e-2 (spread / scale)², or as little as rounding
      leaves (numbers that bfloat16 made: 2⁻¹⁷ (scale / spread)², at most 3e-3); unless a line is the answer:
      the loss is below 5 % of a single point's, fewer than 5 % of the terms are active, or every row lies at
      one of two points;
    - an explosion: scale 10 times the smallest seen, with a loss, times the active share where it is known,
      100 times both a single point's and the first; or scale above 1e4 and 1,000 times the smallest seen.

    Measured on some 200 healthy runs of random, all and the hardest triplets, pairs and softmax on digits and
    MNIST (d 2 and 128, margins 0.2 and 1, rates 2e-5 to 1e-2, two and ten classes, float32 and bfloat16):
    spread is 6 % of the largest seen or more, and 18 % of scale; with the hardest triplets at high rates it
    passes through 3e-4 and comes back within 6 looks. Effective rank - 1 is 0.2 or more with ten classes, and
    with two in a plane 1e-5 or more (bfloat16: 3 times its limit), on an arc 0.4 (spread / scale)² or more.
    Scale stays below 200; the loss, once scale has grown tenfold, within 3 times a single point's. Planted
    lines are at 4e-13 (bfloat16: 0.8 of the limit), and the hardest triplets that never came back at 2e-4.

    It draws nothing and changes nothing of the run. What it remembers need not be saved: after a resume it
    compares with what it sees from there on.

    Args:
        every: batches between looks, later on.
    """

    every: int = 20
    seen: Condition | None = None
    """What the last look saw."""
    _calls: int = 0
    _runs: dict[str, int] = field(default_factory=dict)
    _first_loss: float = math.nan
    _smallest_scale: float = math.inf
    _largest_spread: float = 0.0
    _held: list[Tensor] = field(default_factory=list)

    @torch.no_grad()
    def __call__(self, sight: Sight) -> None:
        """Look at one batch.

        Raises:
            ModelError: the embedding collapsed; what was seen, and what to try.
        """
        scale = self._scale(sight)
        doubts = {"exploding": self._explodes(sight, scale)}
        rows = self._rows(sight) if self._due(sight) else None
        if rows is not None:
            doubts |= self._collapses(sight, rows)
        self._calls += 1
        for kind, doubt in doubts.items():
            self._runs[kind] = self._runs.get(kind, 0) + 1 if doubt else 0
            if self._runs[kind] >= PATIENCE[kind]:
                raise ModelError(self._report(sight, kind))

    def _scale(self, sight: Sight) -> float:
        wide = torch.promote_types(sight.outputs[0].dtype, torch.float32)
        lengths = [torch.linalg.vector_norm(part, dtype=wide) for part in sight.outputs]
        length = math.hypot(*torch.stack(lengths).tolist())
        if not math.isfinite(length):
            self.seen = condition(torch.cat(sight.outputs))
            raise ModelError(self._report(sight, "exploding" if self.seen.finite else "not finite"))
        return length / math.sqrt(max(sum(map(len, sight.outputs)), 1))

    def _due(self, sight: Sight) -> bool:
        early = self._calls < 16 or (self._calls < 64 and self._calls % 4 == 0)
        return early or any(self._runs.values()) or sight.batch % self.every == 0

    def _explodes(self, sight: Sight, scale: float) -> bool:
        if math.isnan(self._first_loss):
            self._first_loss = sight.loss
        if scale > 0:
            self._smallest_scale = min(self._smallest_scale, scale)
        grown = scale / self._smallest_scale
        if scale > TOO_LONG and grown > FAR_GROWN:
            return True
        loss = sight.loss * _share(sight)  # a mean over a few active triplets alone says little of the rest
        loud = grown > GROWN and loss > LOSS_GROWN * self._first_loss
        return loud and loss > LOSS_GROWN * sight.collapsed_loss()

    def _rows(self, sight: Sight) -> Tensor | None:
        """Return rows to judge, of this batch or of several that are small; None while they are too few."""
        step = max(math.ceil(sum(map(len, sight.outputs)) / MOST_ROWS), 1)
        rows = torch.cat([*self._held, *(part[::step] for part in sight.outputs)])
        enough = len(rows) >= FEWEST_ROWS
        self._held = [] if enough else [rows]
        return rows if enough else None

    def _collapses(self, sight: Sight, rows: Tensor) -> dict[str, bool]:
        self.seen = seen = condition(rows)
        self._largest_spread = max(self._largest_spread, seen.spread)
        left = min(_ratio(seen.spread, self._largest_spread), 10 * _ratio(seen.spread, seen.scale))
        shrunk = left <= FALLING and _stuck(sight)
        return {
            "constant": seen.spread <= POINT * seen.scale or (shrunk and left <= FALLEN),
            "shrunk": shrunk,
            "line": rows.shape[1] >= 2 and _on_a_line(seen, rows) and not _solved(sight),
        }

    def _report(self, sight: Sight, kind: str) -> str:
        seen = self.seen or condition(torch.cat(sight.outputs))
        dimension = sight.outputs[0].shape[1]
        of = "" if sight.valid is None else f" of {sight.valid}"
        active = "" if sight.active is None else f"active {sight.active}{of}, "
        return (
            f"{WHAT[kind]} in epoch {sight.epoch}, batch {sight.batch}: "
            f"spread {seen.spread:.3g}, length {seen.scale:.3g}, "
            f"effective rank {seen.effective_rank:.3f} of {dimension}, {active}"
            f"loss {sight.loss:.4g} against {sight.collapsed_loss():.4g} of a single point; "
            f"this step was not taken. Try {REMEDIES[kind]}"
        )


def _ratio(part: float, whole: float) -> float:
    return part / whole if whole > 0 else 0.0


def _stuck(sight: Sight) -> bool:
    collapsed = sight.collapsed_loss()
    return abs(sight.loss - collapsed) <= STUCK * abs(collapsed)


def _share(sight: Sight) -> float:
    """Return which share of the terms is active; 1 where it is not known."""
    return 1.0 if sight.active is None or not sight.valid else sight.active / sight.valid


def _solved(sight: Sight) -> bool:
    return _share(sight) < SOLVED or sight.loss < SOLVED * sight.collapsed_loss()


def _on_a_line(seen: Condition, rows: Tensor) -> bool:
    beyond = seen.effective_rank - 1
    if seen.spread == 0 or beyond > WIDEST_LINE:
        return False
    share = seen.spread / seen.scale
    rounding = ROUNDING * (resolution(rows) / share) ** 2
    width = min(max(min(LINE, BEND * share**2), rounding), WIDEST_LINE)
    return beyond <= width and not at_two_points(rows)

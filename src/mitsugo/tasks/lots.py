"""What verdicts say of a lot together."""

import math
from collections import Counter
from collections.abc import Sequence
from typing import Any, Final

from ..model.bundle import Model
from ..values import Verdict
from .calibrate import calibrated_plain

__all__ = ["lot_of"]

LOOK_ALIKES: Final = 10


def lot_of(model: Model, verdicts: Sequence[Verdict]) -> dict[str, Any]:
    """Return the counts of a lot, what the calibration lets expect of it, and which images to look at.

    The look-alikes are images that passed, as OK or as a class, and came nearest to not doing so: of OK parts
    the highest NG scores, otherwise those whose runner-up class is hardly stranger than their own.

    Returns:
        images; labels and judgements with their counts; calibration, as `calibrated_plain` says it, or None;
        escapes: an upper bound on the share of NG parts that such a lot lets pass as OK, whether it is
        promised, and of how many independent NG images it is known, or None; look_alikes, names.
    """
    calibration = model.calibration
    judged = [verdict for verdict in verdicts if verdict.judgement is not None]
    return {
        "images": len(verdicts),
        "labels": dict(Counter(verdict.label for verdict in verdicts).most_common()),
        "judgements": dict(Counter(verdict.judgement for verdict in judged).most_common()),
        "unknown": sum(verdict.unknown for verdict in verdicts),
        "in_gallery": sum(verdict.in_gallery is not None for verdict in verdicts),
        "calibration": None if calibration is None else calibrated_plain(model, calibration),
        "escapes": _escapes(model),
        "look_alikes": [verdict.image for verdict in _look_alikes(verdicts)],
    }


def _escapes(model: Model) -> dict[str, Any] | None:
    """Return the upper bound on escapes: what was promised, or what the calibration images show.

    None where no threshold between OK and NG was set, or it was set for another gallery, as nothing is known.
    """
    found = None if model.calibration is None else model.calibration.inspecting
    if found is None or model.calibration is None or model.stale:
        return None
    return {
        "upper": found.promised if found.promised is not None else found.escaping.upper,
        "promised": found.promised is not None,
        "confidence": model.calibration.asked.confidence if found.promised is not None else 0.95,
        "independent_ng": found.escaping.n,
    }


def _look_alikes(verdicts: Sequence[Verdict]) -> list[Verdict]:
    passed = [verdict for verdict in verdicts if verdict.judgement in {None, "OK"} and verdict.runner_up]
    return sorted(passed, key=_margin)[:LOOK_ALIKES]


def _margin(verdict: Verdict) -> float:
    """Return how far an image is from another verdict, smaller for nearer."""
    if verdict.ng_score is not None:
        return -verdict.ng_score
    assert verdict.winner is not None
    assert verdict.runner_up is not None
    own, other = (max(one.scaled, 1e-12) for one in (verdict.winner, verdict.runner_up))
    return math.log(other / own)

"""The threshold that costs least."""

import numpy as np

from ..errors import UsageError
from ..shapes import Bool, Float

__all__ = ["cheapest_threshold"]


def cheapest_threshold(
    scores: Float[np.ndarray, " n"],
    ng: Bool[np.ndarray, " n"],
    *,
    cost_escape: float,
    cost_overkill: float,
    ng_share: float,
) -> tuple[float, float]:
    """Return the threshold of the least mean cost of a part, and that cost.

    A score of the threshold or more is NG. The mean cost is ng_share x cost_escape x (share of NG scores
    below) + (1 - ng_share) x cost_overkill x (share of OK scores not below). Thresholds half way between
    neighbouring scores are tried, and one below and one above them all; of equally cheap ones the lowest is
    taken, which lets the least escape.

    Args:
        scores: (n,), larger for what is more likely NG.
        ng: (n,), what is NG.
        cost_escape: of an NG part that is called OK.
        cost_overkill: of an OK part that is called NG.
        ng_share: the share of NG among the parts to come.

    Raises:
        UsageError: no NG score, or no OK score.

    >>> scores, ng = np.array([0.1, 0.3, 0.4, 0.8]), np.array([False, True, False, True])
    >>> costs = {"cost_escape": 100.0, "cost_overkill": 1.0}
    >>> threshold, cost = cheapest_threshold(scores, ng, ng_share=0.5, **costs)
    >>> round(threshold, 2), round(cost, 2)
    (0.2, 0.25)
    """
    if ng.all() or not ng.any():
        raise UsageError(f"{int(ng.sum())} of {len(ng)} scores are of NG parts; expected some of each")
    values = np.unique(scores)
    middles = values[:-1] + np.diff(values) / 2
    beyond = np.nextafter(values[-1], np.inf)
    candidates = np.concatenate([values[:1], middles, [beyond]])
    escaping = np.searchsorted(np.sort(scores[ng]), candidates, side="left") / ng.sum()
    rejected = 1 - np.searchsorted(np.sort(scores[~ng]), candidates, side="left") / (~ng).sum()
    costs = ng_share * cost_escape * escaping + (1 - ng_share) * cost_overkill * rejected
    best = int(np.argmin(costs))
    return float(candidates[best]), float(costs[best])

"""What an image is, with its evidence."""

from dataclasses import dataclass
from typing import Literal

__all__ = ["Neighbor", "Verdict"]


@dataclass(frozen=True, kw_only=True)
class Neighbor:
    """One gallery image that a person can look at."""

    name: str
    label: str
    distance: float


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """What an image is, with its evidence.

    Args:
        image: the image's name.
        label: the class that the neighbours voted for; a tie goes to the class of the nearest.
        agreement: the share of the neighbours that voted for `label`.
        neighbors: the nearest gallery images, nearest first.
        warnings: what a person should know before trusting this.
    """

    image: str
    label: str
    agreement: float
    neighbors: tuple[Neighbor, ...]
    warnings: tuple[str, ...] = ()
    method: Literal["k-NN vote"] = "k-NN vote"

"""What an image is, with its evidence."""

from dataclasses import dataclass
from typing import Any, Final, Literal

__all__ = ["UNKNOWN", "Caution", "Likeness", "Neighbor", "Verdict"]

UNKNOWN: Final = "unknown"
"""What stands in place of a class where an image is like none."""


class Caution(str):
    """A warning in English words that also says which one it is, so that a page can have it in others.

    Args:
        words: the warning.
        key: which one it is.
        values: what stands in it.
    """

    __slots__ = ("key", "values")
    key: str
    values: dict[str, object]

    def __new__(cls, words: str, key: str, **values: object) -> "Caution":  # noqa: PYI034, D102
        caution = super().__new__(cls, words)
        caution.key, caution.values = key, values
        return caution

    def __getnewargs_ex__(self) -> tuple[tuple[str, str], dict[str, object]]:
        """Let it be copied."""
        return (str(self), self.key), self.values


@dataclass(frozen=True, kw_only=True)
class Neighbor:
    """One gallery image that a person can look at.

    Args:
        name: the image's name.
        label: its class.
        distance: Euclidean, in the embedding.
        row: which row of the gallery it is, the model's own first, then what was taught.
    """

    name: str
    label: str
    distance: float
    row: int


@dataclass(frozen=True, kw_only=True)
class Likeness:
    """How an image stands to one class.

    Args:
        label: the class.
        scaled: the distance to its k-th nearest image, over what is usual in that class: 1 is usual.
        p_value: the share of the class's own calibration images that are as strange to it or stranger, the
            image among them; None where the class has too few for a promise of its own.
        exemplars: its images that lie nearest, nearest first.
    """

    label: str
    scaled: float
    p_value: float | None
    exemplars: tuple[Neighbor, ...]

    def plain(self) -> dict[str, Any]:
        """Return it as JSON values."""
        return vars(self) | {"exemplars": _plain(self.exemplars)}


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """What an image is, with its evidence.

    Args:
        image: the image's name.
        label: the class, or "unknown".
        agreement: the share of the voting neighbours that have the winner's class.
        neighbors: the nearest gallery images, nearest first; the first of them voted.
        winner: the class that it is called, or would be called were it not unknown.
        runner_up: the other class that it is likest; None where there is one class alone.
        unknown: whether it is like nothing that was learnt; a class may be named "unknown", too.
        judgement: "OK", "NG" or "unknown"; None where no class is NG and the image is not unknown.
        p_value: the share of known images that look as strange as this or stranger; None without calibration.
        strangeness: 1 for what few learnt images exceed; None in a model that was made without gates.
        gate: which gate finds it the stranger: "embedding" (its neighbours) or "statistics" (the plain
            image); None without calibration.
        ng_score: 0 (as its OK classes) to 1 (as its NG classes); None where no class is NG.
        promised: whether the winner's class has enough calibration images of its own, scored against the
            gallery as it is; None without calibration.
        in_gallery: the name of the gallery image that is this very image, which did not vote; or None.
        warnings: what a person should know before trusting this.
        method: what chose the class: the vote, a taught class that is likelier, or the threshold
            between OK and NG.
    """

    image: str
    label: str
    agreement: float
    neighbors: tuple[Neighbor, ...]
    winner: Likeness | None = None
    runner_up: Likeness | None = None
    unknown: bool = False
    judgement: Literal["OK", "NG", "unknown"] | None = None
    p_value: float | None = None
    strangeness: float | None = None
    gate: Literal["embedding", "statistics"] | None = None
    ng_score: float | None = None
    promised: bool | None = None
    in_gallery: str | None = None
    warnings: tuple[str, ...] = ()
    method: Literal["k-NN vote", "likeness", "threshold"] = "k-NN vote"

    def plain(self) -> dict[str, Any]:
        """Return the verdict as JSON values."""
        # not by dataclasses.asdict, which copies deeply and takes as long as the neighbours
        return vars(self) | {
            "neighbors": _plain(self.neighbors),
            "winner": None if self.winner is None else self.winner.plain(),
            "runner_up": None if self.runner_up is None else self.runner_up.plain(),
            "warnings": list(self.warnings),
        }


def _plain(neighbors: tuple[Neighbor, ...]) -> list[dict[str, Any]]:
    return [dict(vars(neighbor)) for neighbor in neighbors]

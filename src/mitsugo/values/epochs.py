"""How far training has come, and what it cost."""

from dataclasses import dataclass, field

__all__ = ["Epoch", "Position"]


@dataclass(frozen=True, kw_only=True)
class Epoch:
    """What one finished epoch was: a line of history.jsonl and a point on the curves.

    Losses are the mean of the batch means; `seconds` and `core_seconds` are of training alone. `active` of
    `valid` triplets or pairs pushed or pulled; `empty_batches` held none at all. `learning_rate` is that of
    the last step.
    """

    epoch: int
    train_loss: float
    validation_loss: float
    learning_rate: float
    seconds: float
    core_seconds: float
    images: int
    active: int = 0
    valid: int = 0
    empty_batches: int = 0
    metrics: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Position:
    """How far training has come: enough, with the weights and the optimiser, to go on to the bit.

    Args:
        epochs: finished epochs.
        batches: finished batches of the epoch that is under way.
        loss_sum: the sum of their mean losses.
        images: how many images went through the network in them.
        active: how many of their triplets or pairs pushed or pulled.
        valid: out of how many.
        empty_batches: how many of them held no triplet or pair at all.
        seconds: what they took.
        core_seconds: likewise, of all cores.
    """

    epochs: int = 0
    batches: int = 0
    loss_sum: float = 0.0
    images: int = 0
    active: int = 0
    valid: int = 0
    empty_batches: int = 0
    seconds: float = 0.0
    core_seconds: float = 0.0

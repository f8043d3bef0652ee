"""The loop: it trains, yields where it is, and leaves printing, saving and stopping to who called it."""

import math
import time
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Protocol, runtime_checkable

import torch
from torch import nn

from .errors import ModelError
from .shapes import Tensor
from .space.losses import Loss
from .values import Epoch, Position
from .watch import Sight

__all__ = ["Metric", "Progress", "Training", "fit", "run"]

Inputs = Tensor | Sequence[Tensor]
Batches = Iterable[tuple[Inputs, Any]]


@runtime_checkable
class Metric(Protocol):
    """What is watched beside the loss; reset at the start of each pass."""

    @property
    def name(self) -> str:
        """What it is called in the history."""

    def reset(self) -> None:
        """Forget the last pass."""

    def __call__(self, outputs: Any, target: Any, loss_outputs: Any) -> object:  # noqa: ANN401 - anybody's
        """Take in one batch: the network's outputs, the target if any, what the loss returned."""

    def value(self) -> float:
        """Return the value over the pass so far."""


@dataclass(frozen=True, kw_only=True)
class Training:
    """Everything that an epoch needs.

    Args:
        network: takes the inputs of a batch, one tensor or several, and returns one output or several.
        loss: takes the outputs (and the target where there is one); a tensor, or a tuple that begins with it.
        optimizer: of the network's parameters.
        learning_rate: the rate of a step: its epoch, counted from 1, and its batch, counted from 0.
        train_batches: the batches of an epoch (from 1), after skipping so many: (inputs, target or None).
        validation_batches: the batches that the network is judged by, anew at each call.
        metrics: what is watched beside the losses, in training and in validation.
        measures: what else is known of the network after each epoch, by name; goes into the epoch's metrics.
        watch: looks at the outputs of each training batch before its step; raises where it must not go on.
        report_every: at batch 0 and every so many batches Progress carries the mean loss since the last time.
    """

    network: nn.Module
    loss: Callable[..., Any]
    optimizer: torch.optim.Optimizer
    learning_rate: Callable[[int, int], float]
    train_batches: Callable[[int, int], Batches]
    validation_batches: Callable[[], Batches]
    metrics: Sequence[Metric] = ()
    measures: Callable[[], Mapping[str, float]] = dict
    watch: Callable[[Sight], None] | None = None
    report_every: int = 100


@dataclass(frozen=True, kw_only=True)
class Progress:
    """A finished batch of the epoch that is under way.

    `loss` is the mean over the batches since it was last told, or None between the times of telling.
    """

    epoch: int
    batch: int
    position: Position
    loss: float | None


@dataclass
class _Clock:
    seconds: float = 0.0
    core_seconds: float = 0.0
    _started: tuple[float, float] = field(default_factory=lambda: (time.perf_counter(), time.process_time()))

    def start(self) -> None:
        self._started = (time.perf_counter(), time.process_time())

    def stop(self) -> None:
        self.seconds += time.perf_counter() - self._started[0]
        self.core_seconds += time.process_time() - self._started[1]


def run(training: Training, epochs: int, start: Position | None = None) -> Iterator[Progress | Epoch]:
    """Train until `epochs` epochs are finished in all; yield a Progress a batch and an Epoch at each end.

    Args:
        training: the parts.
        epochs: the final total, not how many more.
        start: where to go on; its epochs only advance the schedule, as the walk-through's start_epoch does.

    Raises:
        ModelError: the loss is not finite, or the watch saw a collapse; the step is named, or the epoch after
            which validation found it.
    """
    start = start or Position()
    for epoch in range(start.epochs + 1, epochs + 1):
        done = yield from _train_epoch(training, epoch, start if epoch == start.epochs + 1 else Position())
        metrics = {f"train_{metric.name}": metric.value() for metric in training.metrics}
        validation_loss = _validate(training, epoch)
        metrics |= {f"validation_{metric.name}": metric.value() for metric in training.metrics}
        yield Epoch(
            epoch=epoch,
            train_loss=done.loss_sum / max(done.batches, 1),
            validation_loss=validation_loss,
            learning_rate=training.learning_rate(epoch, max(done.batches - 1, 0)),
            seconds=done.seconds,
            core_seconds=done.core_seconds,
            images=done.images,
            active=done.active,
            valid=done.valid,
            empty_batches=done.empty_batches,
            metrics=metrics | dict(training.measures()),
        )


def fit(
    training: Training, epochs: int, start_epoch: int = 0, tell: Callable[[str], object] = print
) -> tuple[list[float], list[float]]:
    """Train as the walk-through does: tell of batches and epochs, return both lists of losses."""
    train_losses, validation_losses = [], []
    for event in run(training, epochs, Position(epochs=start_epoch)):
        if isinstance(event, Epoch):
            train_losses.append(event.train_loss)
            validation_losses.append(event.validation_loss)
            watched = "".join(f", {name} {value:.4f}" for name, value in event.metrics.items())
            tell(
                f"epoch {event.epoch}/{epochs}: training loss {event.train_loss:.4f}, "
                f"validation loss {event.validation_loss:.4f}{watched}"
            )
        elif event.loss is not None:
            tell(f"epoch {event.epoch}, batch {event.batch}: loss {event.loss:.4f}")
    return train_losses, validation_losses


def _train_epoch(training: Training, epoch: int, start: Position) -> Generator[Progress, None, Position]:
    training.network.train()
    _reset(training.metrics)
    position = start
    clock = _Clock(start.seconds, start.core_seconds)
    since, batches_since = 0.0, 0
    clock.start()
    for batch, (inputs, target) in enumerate(training.train_batches(epoch, start.batches), start.batches):
        for group in training.optimizer.param_groups:
            group["lr"] = training.learning_rate(epoch, batch)
        training.optimizer.zero_grad(set_to_none=True)
        step = _forward(training, inputs, target)
        value = _finite(step.loss.item(), epoch, batch)
        if training.watch is not None:
            training.watch(_sight(training, step, epoch, batch, value))
        step.loss.backward()  # type: ignore[no-untyped-call]
        training.optimizer.step()
        since, batches_since = since + value, batches_since + 1
        clock.stop()
        position = Position(
            epochs=epoch - 1,
            batches=batch + 1,
            loss_sum=position.loss_sum + value,
            images=position.images + step.images,
            active=position.active + (step.active or 0),
            valid=position.valid + (step.valid or 0),
            empty_batches=position.empty_batches + (step.valid == 0),
            seconds=clock.seconds,
            core_seconds=clock.core_seconds,
        )
        told = batch % training.report_every == 0
        yield Progress(
            epoch=epoch, batch=batch, position=position, loss=since / batches_since if told else None
        )
        if told:
            since, batches_since = 0.0, 0
        clock.start()
    return position


def _finite(loss: float, epoch: int, batch: int) -> float:
    if not math.isfinite(loss):
        raise ModelError(
            f"the loss is {loss} in epoch {epoch}, batch {batch}; this step was not taken. "
            f"Try a smaller --learning-rate or look for broken images"
        )
    return loss


def _validate(training: Training, epoch: int) -> float:
    training.network.eval()
    _reset(training.metrics)
    total, batches = 0.0, 0
    with torch.no_grad():
        for inputs, target in training.validation_batches():
            total, batches = total + _forward(training, inputs, target).loss.item(), batches + 1
    if not math.isfinite(total):
        raise ModelError(
            f"the validation loss is {total} after epoch {epoch}: its steps broke the network, "
            f"which was not saved. Try a smaller --learning-rate or look for broken images"
        )
    return total / max(batches, 1)


class _Step(NamedTuple):
    """What went forward."""

    loss: Tensor
    active: int | None
    valid: int | None
    images: int
    outputs: tuple[Tensor, ...]
    target: tuple[Any, ...]


def _forward(training: Training, inputs: Inputs, target: Any) -> _Step:  # noqa: ANN401
    several = (inputs,) if isinstance(inputs, Tensor) else tuple(inputs)
    target = None if target is None or len(target) == 0 else target
    outputs = training.network(*several)
    loss_inputs = outputs if isinstance(outputs, tuple) else (outputs,)
    targets = () if target is None else (target,)
    loss_outputs = training.loss(*loss_inputs, *targets)
    for metric in training.metrics:
        metric(outputs, target, loss_outputs)
    counted = isinstance(loss_outputs, Loss)
    return _Step(
        loss=loss_outputs[0] if isinstance(loss_outputs, tuple) else loss_outputs,
        active=int(loss_outputs.active) if counted else None,
        valid=int(loss_outputs.valid) if counted else None,
        images=sum(len(images) for images in several),
        outputs=loss_inputs,
        target=targets,
    )


def _sight(training: Training, step: _Step, epoch: int, batch: int, loss: float) -> Sight:
    outputs = tuple(output.detach() for output in step.outputs)

    def collapsed_loss() -> float:
        with torch.no_grad():
            found = training.loss(*(torch.zeros_like(output) for output in outputs), *step.target)
        return float(found[0] if isinstance(found, tuple) else found)

    return Sight(
        epoch=epoch,
        batch=batch,
        outputs=outputs,
        loss=loss,
        active=step.active,
        valid=step.valid,
        collapsed_loss=collapsed_loss,
    )


def _reset(metrics: Sequence[Metric]) -> None:
    for metric in metrics:
        metric.reset()

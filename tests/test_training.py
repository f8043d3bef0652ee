"""The loop, on a network of one weight whose every step can be worked out by head."""

import math

import pytest
import torch
from torch import nn

from mitsugo.errors import ModelError
from mitsugo.training import Progress, Training, fit, run
from mitsugo.values import Epoch, Position


class Weight(nn.Module):
    """y = w x, w = 0 at first."""

    def __init__(self):
        super().__init__()
        self.w = nn.Parameter(torch.zeros(()))

    def forward(self, x):
        return self.w * x


class Sum:
    """A metric that adds what it saw up."""

    name = "sum"

    def __init__(self):
        self.total, self.resets = 0.0, 0

    def reset(self):
        self.total, self.resets = 0.0, self.resets + 1

    def __call__(self, outputs, target, loss_outputs):
        self.total += loss_outputs.item()

    def value(self):
        return self.total


def batches(values):
    return [(torch.tensor([value]), None) for value in values]


def training(train, validation=(), *, loss=None, metrics=(), report_every=100, network=None, rate=None):
    network = network or Weight()
    return Training(
        network=network,
        loss=loss or (lambda y: -y.sum()),  # gradient -x: each step adds rate * x
        optimizer=torch.optim.SGD(network.parameters(), lr=1.0),
        learning_rate=rate or (lambda epoch: 1.0),
        train_batches=lambda epoch, skip: batches(train)[skip:],
        validation_batches=lambda: batches(validation),
        metrics=metrics,
        report_every=report_every,
    )


def epochs_of(events):
    return [event for event in events if isinstance(event, Epoch)]


def test_an_epochs_loss_is_the_mean_of_its_batch_means_taken_while_training():
    # w is 0, 1, 3 when x is 1, 2, 3 comes: losses 0, -2, -9; then w = 6, validation on x = 1: -6
    (epoch,) = epochs_of(run(training([1.0, 2.0, 3.0], [1.0]), 1))
    assert epoch.train_loss == pytest.approx(-11 / 3)
    assert epoch.validation_loss == pytest.approx(-6.0)
    assert epoch.images == 3


def test_each_epoch_runs_at_its_own_rate():
    parts = training([1.0], rate=lambda epoch: 10.0**-epoch)
    assert [epoch.learning_rate for epoch in epochs_of(run(parts, 3))] == [0.1, 0.01, 0.001]
    assert parts.network.w.item() == pytest.approx(0.111)


def test_start_epoch_advances_the_schedule_and_the_total_stays_final():
    parts = training([1.0], rate=lambda epoch: 10.0**-epoch)
    assert [epoch.epoch for epoch in epochs_of(run(parts, 3, Position(epochs=2)))] == [3]
    assert parts.network.w.item() == pytest.approx(0.001)


def test_the_told_loss_is_the_mean_since_the_last_telling():
    events = [e for e in run(training([1.0] * 5, report_every=2), 1) if isinstance(e, Progress)]
    # losses are 0, -1, -2, -3, -4
    assert [event.loss for event in events] == [0.0, None, -1.5, None, -3.5]
    assert [event.batch for event in events] == [0, 1, 2, 3, 4]


def test_going_on_from_any_batch_ends_where_an_uninterrupted_run_does():
    whole = training([1.0, 2.0, 3.0], [1.0])
    expected = epochs_of(run(whole, 2))
    for stop_after in range(1, 6):
        parts = training([1.0, 2.0, 3.0], [1.0])
        position = None
        for done, event in enumerate((e for e in run(parts, 2) if isinstance(e, Progress)), 1):
            position = event.position
            if done == stop_after:
                break
        rest = epochs_of(run(parts, 2, position))
        assert [e.train_loss for e in rest] == [e.train_loss for e in expected][-len(rest) :]
        assert parts.network.w.item() == whole.network.w.item()


def test_a_tuples_first_item_is_the_loss_and_a_target_is_handed_on():
    network = Weight()
    parts = Training(
        network=network,
        loss=lambda y, target: ((y - target).pow(2).sum(), "anything"),
        optimizer=torch.optim.SGD(network.parameters(), lr=0.5),
        learning_rate=lambda epoch: 0.5,
        train_batches=lambda epoch, skip: [(torch.tensor([1.0]), torch.tensor([3.0]))],
        validation_batches=lambda: [(torch.tensor([1.0]), torch.tensor([3.0]))],
    )
    (epoch,) = epochs_of(run(parts, 1))
    assert (epoch.train_loss, epoch.validation_loss) == (9.0, 0.0)


def test_several_inputs_and_an_empty_target_as_a_data_loader_hands_them_out():
    class Difference(nn.Module):
        def __init__(self):
            super().__init__()
            self.w = nn.Parameter(torch.ones(()))

        def forward(self, one, other):
            return self.w * one, other

    network = Difference()
    parts = Training(
        network=network,
        loss=lambda one, other: (one - other).sum(),
        optimizer=torch.optim.SGD(network.parameters(), lr=0.0),
        learning_rate=lambda epoch: 0.0,
        train_batches=lambda epoch, skip: [([torch.tensor([5.0]), torch.tensor([2.0])], [])],
        validation_batches=list,
    )
    (epoch,) = epochs_of(run(parts, 1))
    assert (epoch.train_loss, epoch.images, epoch.validation_loss) == (3.0, 2, 0.0)


def test_metrics_are_reset_at_each_pass_and_told_in_the_epoch():
    metric = Sum()
    (one, two) = epochs_of(run(training([1.0, 2.0], [1.0], metrics=[metric]), 2))
    assert metric.resets == 4
    assert one.metrics == {"train_sum": -2.0, "validation_sum": -3.0}
    assert two.metrics == {"train_sum": -3.0 - 8.0, "validation_sum": -6.0}


def test_training_mode_and_evaluation_mode():
    modes = []

    class Moody(Weight):
        def forward(self, x):
            modes.append(self.training)
            return super().forward(x)

    list(run(training([1.0], [1.0], network=Moody()), 1))
    assert modes == [True, False]


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_loss_that_is_not_finite_stops_before_the_step_is_taken(value):
    parts = training([1.0, value])
    with pytest.raises(
        ModelError, match=r"the loss is (nan|-?inf) in epoch 1, batch 1; this step was not taken"
    ):
        list(run(parts, 1))
    assert parts.network.w.item() == 1.0


def test_fit_returns_both_lists_and_tells_as_it_goes():
    told = []
    lists = fit(training([1.0, 2.0, 3.0], [1.0]), 1, tell=told.append)
    assert lists == (pytest.approx([-11 / 3]), pytest.approx([-6.0]))
    assert told == [
        "epoch 1, batch 0: loss 0.0000",
        "epoch 1/1: training loss -3.6667, validation loss -6.0000",
    ]


def test_zero_epochs_train_nothing():
    parts = training([1.0])
    assert list(run(parts, 0)) == []
    assert parts.network.w.item() == 0.0

"""The loop, on a network of one weight whose every step can be worked out by head."""

import dataclasses
import math

import pytest
import torch
from torch import nn

from mitsugo.errors import ModelError
from mitsugo.space.losses import LOSSES, Loss
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
        learning_rate=rate or (lambda epoch, batch: 1.0),
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
    parts = training([1.0], rate=lambda epoch, batch: 10.0**-epoch)
    assert [epoch.learning_rate for epoch in epochs_of(run(parts, 3))] == [0.1, 0.01, 0.001]
    assert parts.network.w.item() == pytest.approx(0.111)


def test_start_epoch_advances_the_schedule_and_the_total_stays_final():
    parts = training([1.0], rate=lambda epoch, batch: 10.0**-epoch)
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
        learning_rate=lambda epoch, batch: 0.5,
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
        learning_rate=lambda epoch, batch: 0.0,
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


def counting(*said):
    """A loss that says of each batch in turn how many of how many terms were active; the gradient is -x."""
    turns = iter(said)

    def loss(y, *target):
        active, valid = next(turns)
        return Loss(-y.sum(), torch.tensor(active), torch.tensor(valid))

    return loss


def test_the_rate_of_a_step_hangs_on_epoch_and_batch():
    parts = training([1.0, 1.0], rate=lambda epoch, batch: 10.0 ** -(2 * epoch + batch))
    told = epochs_of(run(parts, 2))
    assert parts.network.w.item() == pytest.approx(0.011 + 0.00011)
    assert [epoch.learning_rate for epoch in told] == [1e-3, 1e-5]  # that of the last step
    assert parts.optimizer.param_groups[0]["lr"] == 1e-5


def test_all_groups_of_parameters_take_the_rate():
    one, other = Weight(), Weight()
    optimizer = torch.optim.SGD([{"params": one.parameters()}, {"params": other.parameters()}], lr=9.0)
    both = nn.ModuleList([one, other])
    both.forward = lambda x: one(x) + other(x)
    list(run(dataclasses.replace(training([1.0]), network=both, optimizer=optimizer), 1))
    assert (one.w.item(), other.w.item()) == (1.0, 1.0)


def test_an_epoch_without_batches_tells_the_rate_of_its_first():
    (epoch,) = epochs_of(run(training([], rate=lambda epoch, batch: epoch + batch / 8), 1))
    assert (epoch.learning_rate, epoch.train_loss, epoch.images) == (1.0, 0.0, 0)


def test_the_terms_that_were_active_are_counted_and_batches_without_any():
    parts = training([1.0, 1.0, 1.0], [1.0], loss=counting((3, 8), (0, 0), (0, 5), (7, 7)))
    (epoch,) = epochs_of(run(parts, 1))
    # the last one is the validation batch, which is not counted
    assert (epoch.active, epoch.valid, epoch.empty_batches) == (3, 13, 1)


def test_each_epoch_counts_anew():
    parts = training([1.0], loss=counting((3, 8), (0, 0)))
    assert [(e.active, e.valid, e.empty_batches) for e in epochs_of(run(parts, 2))] == [(3, 8, 0), (0, 0, 1)]


@pytest.mark.parametrize("loss", [lambda y: -y.sum(), lambda y: (-y.sum(), torch.tensor(1), torch.tensor(0))])
def test_a_loss_of_ones_own_counts_nothing(loss):
    (epoch,) = epochs_of(run(training([1.0], loss=loss), 1))
    assert (epoch.active, epoch.valid, epoch.empty_batches) == (0, 0, 0)


def test_the_counts_go_on_where_a_run_was_stopped():
    said = ((3, 8), (0, 0), (2, 5))
    events = run(training([1.0, 1.0, 1.0], loss=counting(*said)), 1)
    stopped = [next(events) for _ in range(2)][-1].position
    assert (stopped.active, stopped.valid, stopped.empty_batches, stopped.images) == (3, 8, 1, 2)
    resumed = training([1.0, 1.0, 1.0], loss=counting(*said[2:]))
    (epoch,) = epochs_of(run(resumed, 1, stopped))
    assert (epoch.active, epoch.valid, epoch.empty_batches, epoch.images) == (5, 13, 1, 3)


def test_the_rates_go_on_where_a_run_was_stopped():
    asked = []

    def rate(epoch, batch):
        asked.append((epoch, batch))
        return 1.0

    list(run(training([1.0] * 3, rate=rate), 2, Position(epochs=1, batches=2)))
    assert asked == [(2, 2), (2, 2)]  # the step, and the epoch that tells of it


def test_the_watch_sees_each_training_batch_before_its_step():
    sights, weights = [], []
    parts = training([1.0, 2.0], [5.0], loss=counting(*[(2, 6)] * 6))

    def watch(sight):
        sights.append(sight)
        weights.append(parts.network.w.item())

    list(run(dataclasses.replace(parts, watch=watch), 2))
    # the weight is 0, 1, 3, 4 when x is 1, 2, 1, 2 comes; the loss is -w x
    assert weights == [0.0, 1.0, 3.0, 4.0]
    assert [(s.epoch, s.batch, s.loss) for s in sights] == [(1, 0, 0), (1, 1, -2), (2, 0, -3), (2, 1, -8)]
    assert [s.outputs[0].tolist() for s in sights] == [[0.0], [2.0], [3.0], [8.0]]
    assert {(s.active, s.valid, len(s.outputs)) for s in sights} == {(2, 6, 1)}
    assert not any(s.outputs[0].requires_grad for s in sights)


def test_a_watch_may_stop_a_run_before_the_step_is_taken():
    def watch(sight):
        if sight.batch == 1:
            raise ModelError("seen enough")

    parts = dataclasses.replace(training([1.0, 2.0, 3.0]), watch=watch)
    events = run(parts, 1)
    assert isinstance(next(events), Progress)
    with pytest.raises(ModelError, match="seen enough"):
        next(events)
    assert parts.network.w.item() == 1.0


def test_a_loss_that_is_not_finite_is_named_before_the_watch_is_asked():
    seen = []
    with pytest.raises(ModelError, match="the loss is nan in epoch 1, batch 0; this step was not taken"):
        list(run(dataclasses.replace(training([math.nan]), watch=seen.append), 1))
    assert seen == []


@pytest.mark.parametrize("as_tuple", [False, True])
def test_a_watch_may_ask_for_the_loss_of_a_single_point(as_tuple):
    """Of outputs that are all 0 the loss (y - target)² is target²; asking changes nothing of the run."""
    asked = []

    def loss(y, target):
        found = (y - target).square().sum()
        return (found, "more") if as_tuple else found

    def once(ask):
        network = Weight()
        parts = Training(
            network=network,
            loss=loss,
            optimizer=torch.optim.SGD(network.parameters(), lr=0.0),
            learning_rate=lambda epoch, batch: 0.25,
            train_batches=lambda epoch, skip: [(torch.tensor([1.0]), torch.tensor([t])) for t in (3.0, 5.0)],
            validation_batches=list,
            watch=(lambda sight: asked.append((sight.active, sight.collapsed_loss()))) if ask else None,
        )
        return epochs_of(run(parts, 1))[0].train_loss, network.w.item()

    assert once(ask=True) == once(ask=False)
    assert asked == [(None, 9.0), (None, 25.0)]


def test_a_watch_sees_all_outputs_of_a_network():
    class Both(Weight):
        def forward(self, x):
            return self.w + x, self.w - x

    seen = []
    parts = training([2.0], network=Both(), loss=lambda one, other: (one + other).sum())
    list(run(dataclasses.replace(parts, watch=seen.append), 1))
    assert [part.tolist() for part in seen[0].outputs] == [[2.0], [-2.0]]


def test_measures_are_taken_after_each_epoch_and_told_beside_the_metrics():
    parts = training([1.0, 2.0], [1.0], metrics=[Sum()])
    modes = []

    def measures():
        modes.append(parts.network.training)
        return {"weight": parts.network.w.item()}

    told = epochs_of(run(dataclasses.replace(parts, measures=measures), 2))
    assert [epoch.metrics["weight"] for epoch in told] == [3.0, 6.0]
    assert told[0].metrics == {"train_sum": -2.0, "validation_sum": -3.0, "weight": 3.0}
    assert modes == [False, False]


def test_fit_tells_of_measures_too():
    told = []
    fit(dataclasses.replace(training([1.0]), measures=lambda: {"weight": 0.5}), 1, tell=told.append)
    assert told[-1] == "epoch 1/1: training loss 0.0000, validation loss 0.0000, weight 0.5000"


def test_validation_that_is_not_finite_names_its_epoch():
    with pytest.raises(
        ModelError, match="the validation loss is nan after epoch 1: its steps broke the network"
    ):
        list(run(training([1.0], [math.nan]), 1))


def test_every_triplet_of_labelled_batches_can_be_trained_and_watched():
    """Two classes of two points on a line: 4 anchors with a positive and 2 negatives each."""
    network = nn.Linear(1, 1, bias=False)
    with torch.no_grad():
        network.weight.fill_(1)
    batch = (torch.tensor([[0.0], [1.0], [1.5], [9.0]]), torch.tensor([0, 0, 1, 1]))
    seen = []
    parts = Training(
        network=network,
        loss=LOSSES["triplet-all"],
        optimizer=torch.optim.SGD(network.parameters(), lr=0.0),
        learning_rate=lambda epoch, step: 0.0,
        train_batches=lambda epoch, skip: [batch],
        validation_batches=lambda: [batch],
        watch=seen.append,
    )
    (epoch,) = epochs_of(run(parts, 1))
    points = [(0.0, 0), (1.0, 0), (1.5, 1), (9.0, 1)]
    hinges = [
        (a - p) ** 2 - (a - n) ** 2 + 1
        for i, (a, of_a) in enumerate(points)
        for j, (p, of_p) in enumerate(points)
        for n, of_n in points
        if i != j and of_a == of_p != of_n
    ]
    active = [hinge for hinge in hinges if hinge > 0]
    assert (epoch.active, epoch.valid) == (len(active), len(hinges))
    assert epoch.train_loss == epoch.validation_loss == pytest.approx(sum(active) / len(active))
    assert seen[0].collapsed_loss() == 1.0  # the margin

"""Which epoch is kept and which k is chosen, by validation images alone."""

import numpy as np
import pytest
import torch
from torch import nn

from mitsugo.data.augment import Augmentation
from mitsugo.model.preprocessing import Preprocessing
from mitsugo.recipes import RECIPES
from mitsugo.settings import changed
from mitsugo.tasks import judging
from mitsugo.tasks.feeding import Feed
from mitsugo.tasks.judging import ACCURACY, CANDIDATES, Judge, Kept, chosen_k, gap_of
from mitsugo.values import Epoch, Gap, LabeledImages, Split


class Brightness(nn.Module):
    """The value of an image is its embedding: a line that one can look at."""

    def __init__(self):
        super().__init__()
        self.factor = nn.Parameter(torch.ones(1))

    def forward(self, images):
        return self.factor * images[:, :, 0, 0]


def judge_of(train, validation, factor=1.0, *, unseen=False):
    """Judge images of one pixel, told as (value, class); a test image stands by that must not count."""
    told = [*train, *validation, (255, 0)]
    numbers = np.arange(len(told))
    edges = len(train), len(train) + len(validation)
    images = LabeledImages(
        pixels=np.array([value for value, _ in told], np.uint8).reshape(-1, 1, 1, 1),
        labels=np.array([label for _, label in told], np.int64),
        class_names=("a", "b"),
        names=tuple(map(str, numbers)),
        split=Split(
            train=numbers[: edges[0]],
            validation=numbers[slice(*edges)],
            test=numbers[edges[1] :],
            how="as told",
            validation_unseen=unseen,
        ),
    )
    recipe = changed(RECIPES["standard"], batch_size=4, images_per_class=2)
    feed = Feed(images, images.split, recipe, Preprocessing(0.0, 1.0), Augmentation(), 0, torch.device("cpu"))
    network = Brightness()
    network.factor.data.fill_(factor)
    return Judge(network, feed, 2)


ODD_ONES_OUT = (
    [(10, 0), (12, 1), (14, 0), (16, 0), (18, 0), (100, 1), (102, 0), (104, 1), (106, 1), (108, 1)],
    [(12, 0), (13, 0), (102, 1), (103, 1)],
)
"""In each heap of five one bears the label of the other, and queries lie beside it."""


def by_loops(train, validation, k):
    """Return the k-NN accuracy: neighbours by (distance, place), a tie for the class of the nearest."""
    right = 0
    for value, label in validation:
        near = sorted(range(len(train)), key=lambda row: (abs(train[row][0] - value), row))[:k]
        labels = [train[row][1] for row in near]
        votes = {c: labels.count(c) for c in labels}
        right += max(labels, key=lambda c: (votes[c], -labels.index(c))) == label
    return right / len(validation)


def test_accuracies_are_those_of_the_definition():
    """At k = 1 the odd ones mislead at least the queries on them; by five or three they are outvoted."""
    found = judge_of(*ODD_ONES_OUT).accuracies((1, 3, 5, 9))
    assert found[3] == found[5] == 1.0
    assert found[1] <= 0.5
    assert found[9] == by_loops(*ODD_ONES_OUT, 9)


def test_accuracies_of_random_images_are_those_of_loops():
    """Training images at multiples of four, the others one further: no two distances are equal."""
    chance = np.random.default_rng(0)
    classes = chance.integers(0, 2, 60).tolist()
    train = [
        (4 * place, label)
        for place, label in zip(chance.permutation(63)[:40].tolist(), classes[:40], strict=True)
    ]
    places = chance.permutation(63)[:20].tolist()
    validation = [(4 * place + 1, label) for place, label in zip(places, classes[40:], strict=True)]
    ks = (1, 3, 5, 9, 15, 25)
    found = judge_of(train, validation).accuracies(ks)
    assert found == {k: by_loops(train, validation, k) for k in ks}
    assert len(set(found.values())) > 1


def test_the_epochs_accuracy_is_that_of_five():
    judge = judge_of(*ODD_ONES_OUT)
    assert judge() == {ACCURACY: judge.accuracies((5,))[5]} == {"validation_accuracy": 1.0}


def test_the_network_is_judged_as_it_stands_and_left_as_it_was():
    judge = judge_of(*ODD_ONES_OUT)
    network = judge._network
    for training in (True, False):
        network.train(training)
        state = torch.random.get_rng_state()
        assert judge() == {ACCURACY: 1.0}
        assert network.training is training
        assert torch.equal(torch.random.get_rng_state(), state)
    assert network.factor.grad is None
    network.factor.data.fill_(0.0)  # all at one point: the vote goes to the first five of the gallery
    assert judge() == {ACCURACY: 0.5}


def test_a_part_tells_epochs_apart_and_it_is_the_same_each_time(monkeypatch):
    monkeypatch.setattr(judging, "MOST_QUERIES", 3)
    monkeypatch.setattr(judging, "MOST_GALLERY", 6)
    one, other = judge_of(*ODD_ONES_OUT), judge_of(*ODD_ONES_OUT)
    for judge in (one, other):
        assert (len(judge._queries), len(judge._gallery)) == (3, 6)
        assert set(judge._queries) <= set(range(10, 14))
        assert set(judge._gallery) <= set(range(10))
    assert one._queries.tolist() == other._queries.tolist()
    assert one._gallery.tolist() == other._gallery.tolist()


def test_more_images_than_go_through_at_once_are_embedded_in_parts(monkeypatch):
    whole = judge_of(*ODD_ONES_OUT).accuracies(CANDIDATES)
    monkeypatch.setattr(judging, "TOGETHER", 3)
    assert judge_of(*ODD_ONES_OUT).accuracies(CANDIDATES) == whole


def test_only_ks_that_the_gallery_has_images_for():
    assert list(judge_of(*ODD_ONES_OUT).accuracies(CANDIDATES)) == [1, 3, 5, 9]
    assert list(judge_of(*ODD_ONES_OUT).accuracies((25,))) == [10]


class Told:
    """A judge that was told what to find."""

    def __init__(self, **accuracies):
        self.accuracy = {int(k[1:]): value for k, value in accuracies.items()}

    def accuracies(self, candidates):
        assert candidates == CANDIDATES
        return self.accuracy


@pytest.mark.parametrize(
    ("accuracies", "k"),
    [
        ({"k1": 0.9, "k3": 0.8, "k5": 0.8}, 1),
        ({"k1": 0.8, "k3": 0.8, "k5": 0.8, "k9": 0.8}, 5),
        ({"k1": 0.8, "k3": 0.9, "k5": 0.8, "k9": 0.9}, 3),
        ({"k1": 0.9, "k3": 0.8, "k5": 0.8, "k9": 0.9, "k15": 0.9}, 1),
        ({"k1": 0.1, "k3": 0.1, "k5": 0.1, "k9": 0.1, "k15": 0.1, "k25": 0.2}, 25),
    ],
)
def test_the_best_k_is_chosen_and_of_equal_ones_the_nearest_to_five(monkeypatch, accuracies, k):
    judge = judge_of(*ODD_ONES_OUT)
    monkeypatch.setattr(judge, "accuracies", Told(**accuracies).accuracies)
    assert chosen_k(judge) == k


def test_by_hand_three_and_five_are_best_and_five_is_taken():
    assert chosen_k(judge_of(*ODD_ONES_OUT)) == 5


def test_without_images_to_choose_by_five_vote():
    assert chosen_k(None) == 5


def epoch(number, accuracy=None):
    return Epoch(
        epoch=number,
        train_loss=0.1,
        validation_loss=0.1,
        learning_rate=0.1,
        seconds=0.1,
        core_seconds=0.1,
        images=1,
        metrics={} if accuracy is None else {ACCURACY: accuracy},
    )


def seen(kept, *accuracies):
    """Let a network whose weight is the epoch's number be seen after each epoch; return it."""
    network = nn.Linear(1, 1, bias=False)
    for number, accuracy in enumerate(accuracies, 1):
        network.weight.data.fill_(number)
        kept.see(epoch(number, accuracy), network)
    return network


@pytest.mark.parametrize(
    ("accuracies", "best"),
    [
        ((0.1, 0.3, 0.2), 2),
        ((0.3, 0.2, 0.3), 3),
        ((0.3, 0.3, 0.1), 2),
        ((0.0,), 1),
        ((0.5, 0.4, 0.3), 1),
    ],
)
def test_the_best_epoch_is_kept_and_of_equal_ones_the_later(accuracies, best):
    kept = Kept(best=True)
    network = seen(kept, *accuracies)
    assert (kept.epoch, kept.accuracy) == (best, max(accuracies))
    kept.put_back(network)
    assert network.weight.item() == best


def test_the_last_epoch_is_kept_where_nothing_is_chosen():
    kept = Kept(best=False)
    network = seen(kept, None, None, None)
    assert (kept.epoch, kept.weights) == (3, None)
    kept.put_back(network)
    assert network.weight.item() == 3


def test_what_a_history_remembers_is_what_was_seen():
    accuracies = (0.2, 0.4, 0.4, 0.3)
    whole = Kept(best=True)
    seen(whole, *accuracies)
    for stop in range(5):
        resumed = Kept(best=True)
        resumed.remember([epoch(number, accuracy) for number, accuracy in enumerate(accuracies[:stop], 1)])
        assert resumed.weights is None, "they come from the checkpoint"
        for number, accuracy in enumerate(accuracies[stop:], stop + 1):
            resumed.see(epoch(number, accuracy), nn.Linear(1, 1))
        assert (resumed.epoch, resumed.accuracy) == (whole.epoch, whole.accuracy) == (3, 0.4)


def test_the_weights_are_a_copy_that_goes_on_training_does_not_touch():
    kept = Kept(best=True)
    network = seen(kept, 0.5)
    network.weight.data.fill_(9)
    assert kept.weights["weight"].item() == 1


def test_the_gap_is_between_training_images_among_themselves_and_validation_images():
    """Two heaps; of the validation images one in four lies in the other's."""
    train = [(value, 0) for value in range(10, 16)] + [(value, 1) for value in range(100, 106)]
    judge = judge_of(train, [(12, 0), (13, 1), (102, 1), (103, 1)])
    assert gap_of(judge) == Gap(training=1.0, validation=0.75)
    assert gap_of(None) is None
    assert gap_of(judge_of(train, [*train[:3], *train[-3:]], unseen=True)) is None, "other classes"


def test_validation_classes_that_do_not_train_are_asked_among_themselves():
    """Of the training images those of the other class are nearest."""
    train = [(value, 0) for value in range(8)] + [(value, 1) for value in range(20, 28)]
    validation = [(value, 0) for value in range(100, 106)] + [(value, 1) for value in range(200, 206)]
    judge = judge_of(train, validation, unseen=True)
    assert judge.accuracies((1, 5, 11)) == {1: 1.0, 5: 1.0, 11: 0.0}, "of six of a class five are others"
    assert judge_of(train, validation).accuracies((5,)) == {5: 0.5}

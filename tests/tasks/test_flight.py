"""The flight check: what is counted and timed before the first step, and that it touches nothing."""

import copy
import itertools

import numpy as np
import pytest
import torch

from mitsugo.data.duplicates import Twins
from mitsugo.data.guard import findings
from mitsugo.errors import ModelError
from mitsugo.model.preprocessing import Preprocessing
from mitsugo.recipes import RECIPES
from mitsugo.settings import changed
from mitsugo.tasks import flight as flight_module
from mitsugo.tasks import train as train_module
from mitsugo.tasks.experiment import assemble
from mitsugo.tasks.flight import checked, fitted, peak_memory, step_seconds, told
from mitsugo.tasks.settle import Ground
from mitsugo.tasks.train import train
from mitsugo.training import Progress
from mitsugo.values import LabeledImages, Position, Split

PLAIN = Preprocessing(0.5, 0.25)
CHOSEN = {"batch_size": 8, "images_per_class": 2, "precision": "float32", "flip_horizontal": 0.0}
TRAINED_ON_ALL = {"validation_share": 0.0, "keep": "last"}


def apart(count):
    """No two images are alike."""
    return Twins(equal=np.arange(count), look=np.arange(count), near=np.empty((0, 2), np.int64))


def ground_of(sizes, recipe="standard", names=None, **changes):
    """So many training images of each class, and two test images of the first two."""
    labels = np.repeat(np.arange(len(sizes)), sizes)
    count = len(labels)
    images = LabeledImages(
        pixels=np.random.default_rng(0).integers(0, 256, (count + 2, 1, 4, 4), dtype=np.uint8),
        labels=np.concatenate((labels, [0, 1])),
        class_names=tuple(names or "abcdefgh"[: len(sizes)]),
        names=tuple(map(str, range(count + 2))),
    )
    test = np.array([count, count + 1])
    split = Split(train=np.arange(count), validation=test, test=test, how="by number")
    narrow = {"channels": (4,)} if recipe.startswith("standard") else {}
    made = changed(RECIPES[recipe], **{"hidden": (4,), **narrow, **CHOSEN, **TRAINED_ON_ALL, **changes})
    found = findings(images, apart(count + 2), split)
    return Ground(images=images, split=split, found=found, why="", preprocessing=PLAIN, recipe=made)


def test_counts_by_hand():
    """Sixteen images of four classes in batches of 4 x 2: 8 anchors, 1 positive and 6 negatives each."""
    flight = checked(ground_of([4, 4, 4, 4], epochs=5))
    assert flight.plain() == {
        "images_per_class": {"a": 4, "b": 4, "c": 4, "d": 4},
        "never_drawn": (),
        "drawn_often": {},
        "batches": 2,
        "triplets": 8 * 1 * 6,
    }


def test_the_expected_triplets_are_those_that_a_batch_holds():
    ground = ground_of([9, 7, 8], batch_size=12)
    training = assembled(ground).training
    (inputs,), labels = next(iter(training.train_batches(1, 0)))
    loss = training.loss(training.network(inputs), labels)
    assert loss.valid.item() == checked(ground).triplets == 12 * 3 * 8


@pytest.mark.parametrize(
    ("recipe", "triplets", "batches"),
    [("article", 5, 4), ("article-siamese", 5, 4), ("standard-softmax", 5, 4)],
)
def test_drawn_triplets_pairs_and_images_are_as_many_as_a_batch_takes(recipe, triplets, batches):
    ground = ground_of([8, 8], recipe, batch_size=5)
    flight = checked(ground)
    assert (flight.triplets, flight.batches) == (triplets, batches)
    assert checked(ground_of([8, 8], recipe, batch_size=99)).triplets == 16


def test_small_classes_that_are_drawn_again_are_told_of():
    """Ten batches of the largest class: nine, two by two, and its last; the smallest has two images."""
    flight = checked(ground_of([20, 20, 2, 12]))
    assert flight.batches == 10
    assert flight.drawn_often == {"c": 10.0}


class Heard:
    def __init__(self):
        self.said, self.warned = [], []

    def say(self, sentence):
        self.said.append(sentence)

    def warn(self, sentence):
        self.warned.append(sentence)

    def progress(self, progress, epochs):
        raise AssertionError(progress)

    def reading(self, done, total):
        pass

    def epoch(self, epoch, epochs):
        raise AssertionError(epoch)


def heard(ground, seconds=0.25, monkeypatch=None):
    talk = Heard()
    told(checked(ground), ground.recipe, seconds, talk)
    return talk


def test_a_person_is_told_what_will_be_trained(monkeypatch):
    monkeypatch.setattr(flight_module, "peak_memory", lambda: 1_234_400_000)
    talk = heard(ground_of([4, 5, 4, 4], epochs=5))
    assert talk.said == [
        "flight check: 4 classes of 4 to 5 training images; 3 batches an epoch, about 48 triplets each",
        (
            "flight check: 15 steps of 250.0 ms, about 4 s of training in float32; 1,234 MB of memory "
            "at most so far"
        ),
    ]
    assert talk.warned == []
    assert heard(ground_of([4, 4], steps=3)).said[1].startswith("flight check: 3 steps of 250.0 ms, about 1")
    for recipe, what in (("article-siamese", "8 pairs"), ("standard-softmax", "8 images")):
        assert heard(ground_of([8, 8], recipe)).said[0].endswith(f"about {what} each")


def test_classes_that_no_image_shows_are_warned_of_by_name():
    ground = ground_of([4, 4, 0, 4, 0], names=("a", "b", "c\nd", "e", "f"))
    flight = checked(ground)
    assert flight.never_drawn == ("c\nd", "f")
    assert flight.images_per_class["f"] == 0
    talk = heard(ground)
    assert talk.warned == [r"classes without a training image, never drawn: 'c\nd', f"]
    assert "3 classes of 4 to 4 training images" in talk.said[0]


def test_many_names_are_counted():
    names = [f"n{number}" for number in range(9)]
    talk = heard(ground_of([4, 4, *[0] * 7], names=names))
    assert talk.warned == ["classes without a training image, never drawn: n2, n3, n4, n5, n6 and 2 more"]
    talk = heard(ground_of([20, 20, *[2] * 7], names=names, batch_size=18))
    *_, often = talk.said
    assert "small classes are drawn again to stand beside the others: n2 10 times" in often
    assert often.endswith("and 2 more")


def assembled(ground):
    return assemble(
        ground.images,
        ground.split,
        ground.recipe,
        seed=0,
        preprocessing=ground.preprocessing,
        device=torch.device("cpu"),
    )


def state(training):
    return copy.deepcopy(
        [training.network.state_dict(), training.optimizer.state_dict(), training.network.training]
    )


@pytest.mark.parametrize("recipe", ["standard", "standard-softmax", "article", "article-siamese"])
@pytest.mark.parametrize("changes", [{}, {"steps": 1}, {"epochs": 0}, {"learning_rate": 1e38}], ids=str)
def test_the_steps_that_are_tried_leave_everything_as_it_was(recipe, changes):
    """Though there is but one step to take, or none, or one that would break the network."""
    training = assembled(ground_of([6, 6, 6], recipe, **{"epochs": 2, **changes})).training
    before, chance = state(training), torch.random.get_rng_state()
    batches = [[labels, *parts] for parts, labels in training.train_batches(1, 0)]
    assert 0 < step_seconds(training, 10) < 60
    after = state(training)
    torch.testing.assert_close(after, before, rtol=0, atol=0)
    assert torch.equal(torch.random.get_rng_state(), chance)
    again = [[labels, *parts] for parts, labels in training.train_batches(1, 0)]
    torch.testing.assert_close(again, batches, rtol=0, atol=0)


def test_a_loss_that_is_not_finite_from_the_start_is_found_before_the_first_step():
    training = assembled(ground_of([6, 6], "article", margin=1e39)).training
    with pytest.raises(ModelError, match="the loss is inf in epoch 1, batch 0"):
        step_seconds(training, 1)


def test_the_median_of_the_steps_after_the_first_three(monkeypatch):
    """Epochs of three batches; the clock of each begins at 0, or goes on where the last one stood."""
    took = [[50, 40, 30], [1, 2, 9], [4, 3, 1000]]

    def run(training, epochs):
        for epoch, seconds in enumerate(took, 1):
            for batch, total in enumerate(itertools.accumulate(seconds)):
                position = Position(epochs=epoch - 1, batches=batch + 1, seconds=float(total))
                yield Progress(epoch=epoch, batch=batch, position=position, loss=None)

    monkeypatch.setattr(flight_module, "run", run)
    training = assembled(ground_of([16, 16], "article")).training
    assert step_seconds(training, 5) == 3
    assert step_seconds(training, 2) == 1.5
    assert step_seconds(training, 5, patience=100.0) == 1
    assert step_seconds(training, 5, patience=121.5) == 1.5


@pytest.mark.usefixtures("plain_pictures")
def test_trying_steps_changes_no_bit_of_a_run(tmp_path, small_options, monkeypatch):
    hashes = set()
    for number in (0, 1, 30):

        def tried(training, _steps, _patience, number=number):
            return step_seconds(training, number) if number else 0.1

        monkeypatch.setattr(train_module, "step_seconds", tried)
        hashes.add(train(small_options(tmp_path / str(number))).summary["weights_sha256"])
    assert len(hashes) == 1


@pytest.mark.parametrize(
    ("seconds", "budget", "steps", "epochs"),
    [
        (0.01, 1.0, 97, 49),
        (0.01, 0.02, 1, 1),
        (0.01, 1e-9, 1, 1),
        (0.5, 120.0, 232, 116),
        (97.0, 200.0, 2, 1),
    ],
)
def test_a_budget_by_hand(seconds, budget, steps, epochs):
    """Three hundredths of it are left for what a busy machine takes; an epoch has two batches."""
    ground = ground_of([4, 4, 4, 4])
    recipe = fitted(ground.recipe, checked(ground), seconds, budget)
    assert (recipe.steps, recipe.epochs) == (steps, epochs)


def test_the_memory_of_this_process_is_told_in_bytes(monkeypatch):
    assert 50e6 < peak_memory() < 100e9
    monkeypatch.setattr(flight_module.sys, "platform", "darwin")
    assert peak_memory() == flight_module.resource.getrusage(flight_module.resource.RUSAGE_SELF).ru_maxrss

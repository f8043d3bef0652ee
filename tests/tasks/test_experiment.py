"""A recipe, images and a split become a network and what trains it."""

import os

import numpy as np
import pytest
import torch

from mitsugo.data.sources import load
from mitsugo.data.splits import article_split
from mitsugo.errors import UsageError
from mitsugo.model.preprocessing import Preprocessing, prepare
from mitsugo.recipes import RECIPES, changed
from mitsugo.tasks.experiment import assemble, chosen_device, normalisation_of
from mitsugo.values import LabeledImages, Split

PLAIN = Preprocessing(0.0, 1 / 255)
CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def images():
    """Image i is the value i everywhere; twelve train, four test; classes 0, 1, 0, 1, …."""
    numbers = np.arange(16)
    return LabeledImages(
        pixels=np.broadcast_to(numbers.astype(np.uint8)[:, None, None, None], (16, 1, 2, 2)).copy(),
        labels=numbers % 2,
        class_names=("even", "odd"),
        names=tuple(map(str, range(16))),
        split=Split(train=numbers[:12], validation=numbers[12:], test=numbers[12:], how="by number"),
    )


def experiment(images, recipe="article", seed=0, **changes):
    recipe = changed(RECIPES[recipe], **{"batch_size": 5, **changes})
    return assemble(images, images.split, recipe, seed=seed, preprocessing=PLAIN, device=CPU)


def numbers_of(batches):
    """Return the numbers of the images of each batch, a row an item: (anchor, positive, negative)."""
    return [
        np.stack([part[:, 0, 0, 0].numpy() for part in inputs], 1).round().astype(int)
        for inputs, _ in batches
    ]


def test_every_training_image_is_an_anchor_once_an_epoch_in_an_order_of_its_own(images):
    training = experiment(images).training
    orders = []
    for epoch in (1, 2):
        batches = numbers_of(training.train_batches(epoch, 0))
        assert [len(batch) for batch in batches] == [5, 5, 2]
        triplets = np.concatenate(batches)
        assert sorted(triplets[:, 0]) == list(range(12))
        assert (triplets < 12).all(), "no test image trains"
        assert (triplets[:, 0] != triplets[:, 1]).all()
        assert (triplets[:, 0] % 2 == triplets[:, 1] % 2).all()
        assert (triplets[:, 0] % 2 != triplets[:, 2] % 2).all()
        orders.append(triplets.tolist())
    assert orders[0] != orders[1]


@pytest.mark.parametrize("recipe", ["article", "article-siamese"])
def test_an_epoch_is_the_same_whatever_came_before_and_whatever_is_skipped(images, recipe):
    training = experiment(images, recipe).training
    whole = numbers_of(training.train_batches(3, 0))
    list(training.train_batches(1, 0))
    again = numbers_of(experiment(images, recipe).training.train_batches(3, 2))
    assert [batch.tolist() for batch in again] == [batch.tolist() for batch in whole[2:]]


def test_another_seed_gives_other_triplets_and_another_network(images):
    one, other = experiment(images, seed=0), experiment(images, seed=1)
    drawn = [np.concatenate(numbers_of(e.training.train_batches(1, 0))).tolist() for e in (one, other)]
    assert drawn[0] != drawn[1]
    assert not torch.equal(next(one.network.parameters()), next(other.network.parameters()))


@pytest.mark.parametrize("recipe", ["article", "article-siamese"])
def test_validation_is_the_same_test_images_each_time_and_for_every_seed(images, recipe):
    times = [
        numbers_of(experiment(images, recipe, seed=seed).training.validation_batches()) for seed in (0, 0, 7)
    ]
    assert all(np.concatenate(batches).min() >= 12 for batches in times)
    assert len(np.concatenate(times[0])) == 4
    for batches in times[1:]:
        assert [batch.tolist() for batch in batches] == [batch.tolist() for batch in times[0]]


@pytest.mark.parametrize(("recipe", "images_a_step"), [("article", 3), ("article-siamese", 2)])
def test_network_and_loss_fit_the_batches(images, recipe, images_a_step):
    training = experiment(images, recipe, dimension=7).training
    inputs, target = next(iter(training.train_batches(1, 0)))
    assert len(inputs) == images_a_step
    outputs = training.network(*inputs)
    assert [output.shape for output in outputs] == [(5, 7)] * images_a_step
    loss = training.loss(*outputs, *(() if target is None else (target,)))
    assert (loss[0] if isinstance(loss, tuple) else loss).item() > 0


def test_margin_and_sum_reach_the_loss(images):
    recipe = changed(RECIPES["article"], batch_size=5, margin=3.0)
    same = torch.zeros(4, 2)
    for average, expected in ((True, 3.0), (False, 12.0)):
        training = assemble(
            images,
            images.split,
            changed(recipe, size_average=average),
            seed=0,
            preprocessing=PLAIN,
            device=CPU,
        ).training
        loss = training.loss(same, same, same)
        assert (loss[0] if isinstance(loss, tuple) else loss).item() == expected


def test_raw_pixels_has_nothing_to_train_and_as_many_dimensions_as_values(images):
    made = assemble(images, images.split, RECIPES["raw-pixels"], seed=0, preprocessing=PLAIN, device=CPU)
    assert made.training is None
    assert made.architecture.dimension == 4
    pixels = torch.tensor(images.pixels[:3])
    assert made.network(prepare(pixels, PLAIN))[:, 0].tolist() == pytest.approx([0, 1, 2], abs=1e-4)


def test_mnist_takes_the_published_constants_and_others_are_measured(images):
    assert normalisation_of("mnist", images, images.split) == Preprocessing(0.1307, 0.3081)
    measured = normalisation_of("digits", images, images.split)
    train = np.arange(12) / 255
    assert measured.mean == pytest.approx(train.mean())
    assert measured.std == pytest.approx(train.std())


def test_digits_are_split_by_the_seed():
    digits = load("digits")
    one, same, other = (article_split(digits, seed).test.tolist() for seed in (0, 0, 1))
    assert one == same
    assert one != other


@pytest.mark.parametrize("name", ["nonsense", "", "meta", "cuda:99", "cuda:x", "mps", "cpu:-3", "cpü"])
def test_a_device_that_is_not_there_is_refused(name):
    with pytest.raises(UsageError, match="--device .*: there is none on this machine, expected cpu, cuda"):
        chosen_device(name)


def test_without_a_name_the_device_is_cuda_where_there_is_one(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert chosen_device(None) == CPU
    made, flags = [], []
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch, "empty", lambda count, device: made.append(device))
    monkeypatch.setattr(torch, "use_deterministic_algorithms", lambda *, mode: flags.append(mode))
    monkeypatch.delenv("CUBLAS_WORKSPACE_CONFIG", raising=False)
    assert chosen_device(None).type == "cuda"
    assert (made, flags) == ([torch.device("cuda")], [True])
    assert os.environ.pop("CUBLAS_WORKSPACE_CONFIG") == ":4096:8"

"""The batches of each epoch: what is in them, and that nothing but seed, epoch and batch decides it."""

import numpy as np
import pytest
import torch

from mitsugo.data.augment import Augmentation
from mitsugo.data.sampling import index_classes
from mitsugo.model.preprocessing import Preprocessing
from mitsugo.recipes import RECIPES
from mitsugo.settings import changed
from mitsugo.tasks.feeding import Feed, batches_of, planned_batches
from mitsugo.values import LabeledImages, Split

PLAIN = Preprocessing(0.0, 1 / 255)
CPU = torch.device("cpu")
SIZES = {0: 12, 1: 6, 2: 6}
LABELS = np.array([label for label, size in SIZES.items() for _ in range(size)] + [0, 0, 1, 1, 2, 2, 0, 1])
TRAIN, VALIDATION, TEST = np.arange(24), np.arange(24, 30), np.arange(30, 32)


@pytest.fixture(scope="module")
def images():
    """Image i is the value 7 i everywhere; 24 train, six are to choose by, two are looked at once."""
    values = (7 * np.arange(32)).astype(np.uint8)
    return LabeledImages(
        pixels=np.broadcast_to(values[:, None, None, None], (32, 1, 3, 3)).copy(),
        labels=LABELS,
        class_names=("a", "b", "c"),
        names=tuple(map(str, range(32))),
        split=Split(train=TRAIN, validation=VALIDATION, test=TEST, how="by number"),
    )


def recipe_of(name="standard", **changes):
    return changed(RECIPES[name], **{"batch_size": 6, "images_per_class": 2, **changes})


def feed(images, recipe=None, seed=0, **augmentation):
    recipe = recipe or recipe_of()
    return Feed(images, images.split, recipe, PLAIN, Augmentation(**augmentation), seed, CPU)


def numbers(batches):
    """Return which images stand in each batch, read from their values, with their labels."""
    read = []
    for (inputs,), labels in batches:
        which = (inputs[:, 0, 0, 0] / 7).round().long()
        assert LABELS[which.numpy()].tolist() == labels.tolist()
        read.append(which.tolist())
    return read


def values(batches):
    return [[part.tolist() for part in inputs] for inputs, _ in batches]


def test_p_by_k_batches_hold_k_images_of_each_of_p_classes(images):
    fed = feed(images)
    for epoch in (1, 2):
        batches = numbers(fed.train(epoch, 0))
        assert len(batches) == fed.batches
        for batch in batches:
            classes, counts = np.unique(LABELS[batch], return_counts=True)
            assert (len(classes), set(counts.tolist())) == (3, {2})
        drawn = [number for batch in batches for number in batch]
        assert set(drawn) == set(TRAIN.tolist()), "every training image, and no other"
    assert fed.batches == 6, "the twelve images of the largest class, two by two"


def test_shuffled_batches_hold_every_image_once_and_fill_the_last_with_others(images):
    fed = feed(images, recipe_of("standard-softmax", batch_size=10))
    batches = numbers(fed.train(1, 0))
    assert [len(batch) for batch in batches] == [10, 10, 10]
    drawn = [number for batch in batches for number in batch]
    assert sorted(drawn[:24]) == TRAIN.tolist()
    assert len(set(drawn[20:])) == 10, "none comes twice to one batch"


RECIPES_OF = {
    "p-by-k": recipe_of(),
    "shuffled": recipe_of("standard-softmax"),
    "triplets": recipe_of("article", images_per_class=None),
    "pairs": recipe_of("article-siamese", images_per_class=None),
}


@pytest.mark.parametrize("name", RECIPES_OF)
def test_an_epoch_is_the_same_to_the_bit_whatever_came_before_and_whatever_is_skipped(images, name):
    changes = {"shift": 0.3, "rotation": 20.0, "noise": 0.2, "flip_horizontal": 0.5, "erase": 0.5}
    fed = feed(images, RECIPES_OF[name], **changes)
    whole = values(fed.train(3, 0))
    list(fed.train(1, 0))
    for skip in range(len(whole) + 1):
        assert values(feed(images, RECIPES_OF[name], **changes).train(3, skip)) == whole[skip:]
    assert len(whole) == fed.batches


def test_each_batch_epoch_and_seed_has_chance_of_its_own(images):
    """All images alike, so that the noise alone tells them apart."""
    alike = LabeledImages(
        pixels=np.full_like(images.pixels, 128),
        labels=images.labels,
        class_names=images.class_names,
        names=images.names,
        split=images.split,
    )
    batches = [
        values(feed(alike, seed=seed, noise=0.3).train(epoch, 0)) for seed, epoch in ((0, 1), (0, 2), (1, 1))
    ]
    different = {str(batch) for epoch in batches for batch in epoch}
    assert len(different) == 3 * 6


def test_training_images_are_changed_and_validation_images_never(images):
    for name, recipe in RECIPES_OF.items():
        plain, noisy = feed(images, recipe), feed(images, recipe, brightness=0.5)
        assert values(plain.train(1, 0)) != values(noisy.train(1, 0)), name
        assert values(plain.validation()) == values(noisy.validation()), name


@pytest.mark.parametrize("name", RECIPES_OF)
def test_validation_is_the_same_validation_images_each_time_and_for_every_seed(images, name):
    fed, other = feed(images, RECIPES_OF[name]), feed(images, RECIPES_OF[name], seed=9)
    first = values(fed.validation())
    assert first == values(fed.validation()) == values(other.validation())
    shown = {round(pixel[0][0][0] / 7) for batch in first for part in batch for pixel in part}
    assert shown == set(VALIDATION.tolist())


@pytest.mark.parametrize("name", RECIPES_OF)
def test_the_last_epoch_ends_where_the_steps_do(images, name):
    recipe = RECIPES_OF[name]
    whole = values(feed(images, recipe).train(2, 0))
    batches = len(whole)
    fed = feed(images, changed(recipe, steps=batches + 2))
    assert fed.batches == batches
    assert len(list(fed.train(1, 0))) == batches
    assert values(fed.train(2, 0)) == whole[:2]
    assert values(fed.train(2, 1)) == whole[1:2]
    assert values(fed.train(2, 2)) == values(fed.train(3, 0)) == []


def test_the_plan_of_the_batches_by_hand(images):
    """Classes of 12, 6 and 6 images, two at a time: 6, 3 and 3 parts, so six batches of three classes."""
    index = index_classes(LABELS[TRAIN])
    plan = planned_batches(recipe_of(), index)
    assert (plan.classes_per_batch, plan.images_per_class, plan.batches) == (3, 2, 6)
    assert plan.draws.tolist() == [12, 12, 12]
    assert [batches_of(recipe, index) for recipe in RECIPES_OF.values()] == [6, 4, 4, 4]
    assert batches_of(recipe_of("article", batch_size=23, images_per_class=None), index) == 2


def test_the_pixels_of_the_source_are_left_alone(images):
    before = images.pixels.copy()
    list(feed(images, noise=0.5, erase=1.0).train(1, 0))
    assert np.array_equal(images.pixels, before)


FROZEN = {
    "backbone": "test_resnet",
    "batch_size": 6,
    "images_per_class": 2,
    "flip_horizontal": 0.0,
}


def frozen_feed(images, views, seed=0, **changes):
    """Feed two features of each image: its number and the number of the view."""
    recipe = changed(RECIPES["photos-pretrained"], **FROZEN, views=views, **changes)
    numbers = np.stack(np.broadcast_arrays(np.arange(32.0)[:, None], np.arange(views)[None]), axis=2)
    held = numbers.astype(np.float32).view(np.uint8).reshape(32, views, 1, 8)
    features = LabeledImages(
        pixels=held,
        labels=images.labels,
        class_names=images.class_names,
        names=images.names,
        split=images.split,
    )
    return Feed(features, images.split, recipe, PLAIN, Augmentation(shift=0.5), seed, CPU)


KINDS = [
    {},
    {"batches": "shuffled", "loss": "softmax"},
    {"batches": "triplets", "loss": "triplet"},
    {"batches": "pairs", "loss": "contrastive"},
]


@pytest.mark.parametrize("changes", KINDS)
def test_features_come_in_any_of_their_views_and_are_not_changed(images, changes):
    fed = frozen_feed(images, 4, **changes)
    drawn = np.concatenate([part.numpy() for inputs, _ in fed.train(1, 0) for part in inputs])
    assert set(drawn[:, 0].astype(int)) == set(TRAIN.tolist())
    assert set(drawn[:, 1].astype(int)) == {0, 1, 2, 3}
    chosen = np.concatenate([part.numpy() for inputs, _ in fed.validation() for part in inputs])
    assert set(chosen[:, 0].astype(int)) == set(VALIDATION.tolist())
    assert not chosen[:, 1].any(), "validation images as they are"


@pytest.mark.parametrize("changes", KINDS)
def test_views_hang_on_seed_epoch_and_batch_alone(images, changes):
    whole = values(frozen_feed(images, 3, **changes).train(2, 0))
    for skip in range(len(whole) + 1):
        assert values(frozen_feed(images, 3, **changes).train(2, skip)) == whole[skip:]
    assert values(frozen_feed(images, 3, seed=1, **changes).train(2, 0)) != whole
    alone = frozen_feed(images, 1, **changes)
    assert not np.concatenate([part.numpy() for inputs, _ in alone.train(1, 0) for part in inputs])[
        :, 1
    ].any()


def test_labels_stay_with_their_features(images):
    for (inputs,), labels in frozen_feed(images, 3).train(1, 0):
        assert LABELS[inputs[:, 0].long().numpy()].tolist() == labels.tolist()

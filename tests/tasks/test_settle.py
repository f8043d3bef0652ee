"""What a recipe leaves open is settled by the images and the machine, once."""

import dataclasses

import numpy as np
import pytest
import torch

from mitsugo.data.sources import load
from mitsugo.errors import DataError, UsageError
from mitsugo.model import precision
from mitsugo.recipes import RECIPES
from mitsugo.settings import changed
from mitsugo.tasks.parting import BY_CLASS, parted
from mitsugo.tasks.settle import keeps_class_mirrored, settle
from mitsugo.values import LabeledImages, Split

CPU = torch.device("cpu")
STANDARD = changed(
    RECIPES["standard"],
    batch_size=200,
    images_per_class=8,
    epochs=12,
    least_steps=600,
    validation_share=0.1,
    keep="best",
    precision="auto",
)
"""With numbers that a person can reckon with."""


@pytest.fixture(scope="module")
def digits():
    return load("digits")


def made(sizes, drawn=None, split=None):
    """Images of noise, so many of each class; `drawn` draws one image of a class instead."""
    chance = np.random.default_rng(0)
    labels = np.repeat(np.arange(len(sizes)), sizes)
    drawn = drawn or (lambda label, chance: chance.integers(0, 256, (1, 6, 6)))
    pixels = np.stack([drawn(label, chance) for label in labels.tolist()]).astype(np.uint8)
    return LabeledImages(
        pixels=pixels,
        labels=labels,
        class_names=tuple(map(str, range(len(sizes)))),
        names=tuple(map(str, range(len(labels)))),
        split=split,
    )


def settled(images, recipe=STANDARD, source="", seed=0):
    return settle(source, images, recipe, seed=seed, device=CPU)


def split_of(images, seed=0):
    return parted(images, BY_CLASS, STANDARD.validation_share, seed).split


def on_processor(monkeypatch, *, with_bfloat16):
    monkeypatch.setattr(precision, "supported", lambda device: with_bfloat16)


def test_digits_get_a_part_to_choose_by_and_no_mirror_images(digits, monkeypatch):
    on_processor(monkeypatch, with_bfloat16=False)
    ground = settled(digits)
    parts = ground.split.train, ground.split.validation, ground.split.test
    assert [len(part) for part in parts] == [1293, 145, 359]
    assert np.array_equal(np.sort(np.concatenate(parts)), np.arange(1797))
    assert not ground.split.validation_is_test
    assert (len(ground.gallery), len(ground.test)) == (1293 + 145, 359)
    assert not set(ground.gallery.names) & set(ground.test.names)
    expected = dataclasses.replace(STANDARD, flip_horizontal=0.0, precision="float32", epochs=86)
    assert ground.recipe == expected, "600 steps at least are 86 epochs of 7 batches"
    mean = digits.pixels[ground.split.train].mean() / 255
    assert ground.preprocessing.mean == pytest.approx(mean), "of the training images alone"


@pytest.mark.parametrize("name", [name for name, recipe in RECIPES.items() if not recipe.backbone])
@pytest.mark.parametrize("with_bfloat16", [False, True])
def test_settling_what_was_settled_changes_nothing(digits, monkeypatch, name, with_bfloat16):
    on_processor(monkeypatch, with_bfloat16=with_bfloat16)
    for images in (digits, made([4, 4]), made([30, 30], symmetric)):
        once = settled(images, RECIPES[name], seed=3)
        twice = settled(images, once.recipe, seed=3)
        assert twice.recipe == once.recipe
        for part in ("train", "validation", "test"):
            assert np.array_equal(getattr(once.split, part), getattr(twice.split, part))
        assert twice.preprocessing == once.preprocessing


def test_the_articles_recipes_are_left_as_they_are(digits):
    for name in ("article", "article-siamese", "raw-pixels"):
        ground = settled(digits, RECIPES[name])
        assert ground.recipe == RECIPES[name]
        assert ground.split.validation_is_test
        assert (len(ground.split.train), len(ground.gallery)) == (1438, 1438)


def test_the_seed_decides_which_images_choose(digits):
    one, same, other = (split_of(digits, seed).validation.tolist() for seed in (0, 0, 1))
    assert one == same
    assert one != other


def test_too_few_images_to_choose_by_leave_the_walk_throughs_split():
    """Three training images a class: none can be spared."""
    ground = settled(made([4, 4]), dataclasses.replace(STANDARD, precision="float32"))
    assert ground.split.validation_is_test
    assert len(ground.split.train) == len(ground.gallery) == 6
    assert (ground.recipe.validation_share, ground.recipe.keep) == (0.0, "last")
    assert "nothing is chosen by it" in ground.split.how


def test_one_class_alone_to_choose_by_is_too_few():
    ground = settled(made([20, 3]))
    assert ground.split.validation_is_test
    assert ground.recipe.keep == "last"


def test_a_sources_own_validation_part_is_taken():
    order = np.random.default_rng(1).permutation(40)
    split = Split(train=order[:24], validation=order[24:32], test=order[32:], how="its own")
    ground = settled(made([20, 20], split=split))
    assert np.array_equal(ground.split.validation, split.validation)
    assert len(ground.gallery) == 32
    assert ground.recipe.keep == "best"


@pytest.mark.parametrize(
    ("changes", "epochs"),
    [
        ({"least_steps": 0}, 12),
        ({"least_steps": 84}, 12),
        ({"least_steps": 85}, 13),
        ({"epochs": 3}, 3),
        ({"epochs": 0}, 0),
        ({"steps": 1}, 1),
        ({"steps": 7}, 1),
        ({"steps": 8}, 2),
        ({"steps": 700, "epochs": 5}, 100),
    ],
)
def test_epochs_by_hand(digits, changes, epochs):
    """1,293 images are seven batches of ten classes by twenty."""
    assert settled(digits, changed(STANDARD, **changes)).recipe.epochs == epochs


def test_the_numbers_are_those_of_the_processor(digits, monkeypatch):
    for with_bfloat16, numbers in ((False, "float32"), (True, "bfloat16")):
        on_processor(monkeypatch, with_bfloat16=with_bfloat16)
        assert settled(digits).recipe.precision == numbers
    on_processor(monkeypatch, with_bfloat16=False)
    with pytest.raises(UsageError, match="--precision bfloat16: this processor has no bfloat16"):
        settled(digits, changed(STANDARD, precision="bfloat16"))


def test_what_cannot_be_trained_on_stops_at_once():
    with pytest.raises(DataError, match="all of one class"):
        settled(made([8]))


def symmetric(label, chance):
    """A bar across, at the height of its class, of any length about the middle: its mirror image is it."""
    image = chance.integers(0, 40, (1, 6, 6))
    half = 1 + chance.integers(0, 3)
    image[0, 1 + 2 * label, 3 - half : 3 + half] += 180
    return image


def handed(label, chance):
    """A bar at the left or at the right: its mirror image is one of the other class."""
    image = chance.integers(0, 40, (1, 6, 6))
    image[0, :, 1 if label == 0 else 4] += 180
    return image


def test_mirror_images_train_where_they_show_their_class(digits):
    split = split_of(digits, 0)
    assert not keeps_class_mirrored(digits, split)
    for drawn, keeps in ((symmetric, True), (handed, False)):
        images = made([30, 30], drawn)
        assert keeps_class_mirrored(images, split_of(images, 0)) is keeps
        flip = settled(images).recipe.flip_horizontal
        assert flip == (0.5 if keeps else 0.0)


def test_who_says_what_to_mirror_is_believed(digits):
    assert settled(digits, changed(STANDARD, flip_horizontal=0.25)).recipe.flip_horizontal == 0.25
    images = made([30, 30], symmetric)
    assert settled(images, changed(STANDARD, flip_horizontal=0.0)).recipe.flip_horizontal == 0.0


def test_the_test_images_have_no_say(digits):
    """Whatever they show: what is settled is the same."""
    before = settled(digits)
    pixels = digits.pixels.copy()
    pixels[before.split.test] = 255 - pixels[before.split.test]
    after = settled(dataclasses.replace(digits, pixels=pixels))
    assert (after.recipe, after.preprocessing) == (before.recipe, before.preprocessing)

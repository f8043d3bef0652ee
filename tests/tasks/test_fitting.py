"""Small images keep the ConvNet, larger ones get a residual network, and it is said why."""

import dataclasses

import pytest

from mitsugo.recipes import RECIPES
from mitsugo.settings import changed
from mitsugo.tasks.fitting import fitting

STANDARD, PHOTOS = RECIPES["standard"], RECIPES["photos"]


@pytest.mark.parametrize("image_shape", [(1, 28, 28), (3, 64, 64), (1, 8, 64)])
@pytest.mark.parametrize("recipe", [STANDARD, RECIPES["standard-softmax"]])
def test_small_images_keep_the_very_same_recipe(image_shape, recipe):
    found, why = fitting(recipe, image_shape, 70_000, {"timm"})
    assert found is recipe
    assert why == f"a small ConvNet: the images are {image_shape[2]} x {image_shape[1]} pixels, at most 64"


@pytest.mark.parametrize(
    ("n_images", "installed", "blocks", "hint"),
    [
        (400, (), 1, "; with so few, --recipe photos-pretrained may tell more apart, which needs timm"),
        (4_999, {"timm"}, 1, "; with so few, --recipe photos-pretrained may tell more apart"),
        (5_000, (), 1, ""),
        (19_999, {"timm"}, 1, ""),
        (20_000, {"timm"}, 2, ""),
    ],
)
def test_photos_take_a_residual_network_and_it_is_said_why(n_images, installed, blocks, hint):
    found, why = fitting(STANDARD, (3, 128, 65), n_images, installed)
    stages = len(PHOTOS.channels)
    expected = dataclasses.replace(PHOTOS, name="standard", what=STANDARD.what, blocks=(blocks,) * stages)
    assert found == expected
    count = blocks * stages
    assert why == (
        f"a residual network of {count} blocks: the images are 65 x 128 pixels, over 64, and "
        f"{n_images:,} in all{hint}"
    )
    assert fitting(found, (3, 128, 65), n_images, installed)[0] is found, "what was fitted stays"


def test_what_was_said_of_a_standard_stays():
    said = changed(STANDARD, batch_size=48, epochs=3, learning_rate=1e-3)
    found, _ = fitting(said, (3, 128, 128), 100, ())
    assert (found.batch_size, found.epochs, found.least_steps, found.learning_rate) == (48, 3, 0, 1e-3)
    assert (found.network, found.hidden, found.channels) == ("residual", PHOTOS.hidden, PHOTOS.channels)
    softmax, _ = fitting(RECIPES["standard-softmax"], (3, 128, 128), 100, ())
    assert (softmax.network, softmax.loss, softmax.batches) == ("residual", "softmax", "shuffled")


@pytest.mark.parametrize(
    "recipe",
    [
        RECIPES["article"],
        RECIPES["raw-pixels"],
        PHOTOS,
        RECIPES["photos-pretrained"],
        changed(STANDARD, channels=[8, 16]),
        changed(STANDARD, network="mlp", channels=[]),
        changed(STANDARD, name="mine"),
    ],
)
def test_a_recipe_that_names_its_network_keeps_it(recipe):
    found, why = fitting(recipe, (3, 300, 300), 100, ())
    assert found is recipe
    assert why == ""

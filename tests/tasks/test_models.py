"""`mitsugo.train`: from images to a model without a run folder."""

import dataclasses

import numpy as np
import pytest

import mitsugo
from mitsugo.errors import DataError, UsageError
from mitsugo.model.tensors import weights_sha256
from mitsugo.tasks.models import train_model


def test_a_model_in_hand_has_the_weights_of_the_run(tiny, tiny_run, digits_run):
    for source, run, changes in (
        (str(tiny), tiny_run, {"epochs": 3, "batch_size": 8, "dimension": 3}),
        ("digits", digits_run, {"epochs": 2}),
    ):
        model = train_model(source, **changes)
        assert weights_sha256(model.network) == run.summary["weights_sha256"]
        assert model.fingerprint == run.summary["fingerprint"]


def test_images_and_a_recipe_in_hand(tiny):
    images = mitsugo.load(tiny)
    recipe = dataclasses.replace(mitsugo.RECIPES["article-siamese"], epochs=1, size_average=False)
    model = mitsugo.train(images, recipe, seed=4)
    assert model.recipe["size_average"] is False
    assert np.array_equal(
        model.embed(images.pixels), mitsugo.train(tiny, recipe, seed=4).embed(images.pixels)
    )


def test_a_recipe_that_trains_nothing(tiny):
    assert train_model(tiny, "raw-pixels").embed(mitsugo.load(tiny).pixels).shape == (40, 16)


def test_what_cannot_be_meant_is_refused(tiny, tmp_path, write_idx):
    with pytest.raises(UsageError, match="--recipe nonsense"):
        train_model(tiny, "nonsense")
    with pytest.raises(UsageError, match="--epochs is -1"):
        train_model(tiny, epochs=-1)
    with pytest.raises(DataError, match="all of one class"):
        train_model(write_idx(tmp_path / "one", classes=1))

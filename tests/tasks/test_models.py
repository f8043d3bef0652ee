"""`mitsugo.train`: from images to a model without a run folder."""

import dataclasses

import numpy as np
import pytest

import mitsugo
from mitsugo.data.splits import article_split
from mitsugo.errors import DataError, UsageError
from mitsugo.model.tensors import weights_sha256
from mitsugo.tasks.models import embeddings_of, train_model
from mitsugo.tasks.train import train


def test_a_model_in_hand_has_the_weights_of_the_run(tiny, tiny_run, digits_run):
    for source, run, changes in (
        (str(tiny), tiny_run, {"epochs": 3, "batch_size": 8, "dimension": 3}),
        ("digits", digits_run, {"epochs": 2}),
    ):
        model = train_model(source, "article", **changes)
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
        train_model(tiny, "article", epochs=-1)
    with pytest.raises(DataError, match="all of one class"):
        train_model(write_idx(tmp_path / "one", classes=1))


def test_the_default_recipe_is_standard(small, small_options, tmp_path):
    """With what it chose on images of the training part: the k that votes, and the epoch that is kept."""
    changes = {"epochs": 3, "batch_size": 16, "dimension": 3}
    shrunk = {"channels": [4, 8], "hidden": [8], "images_per_class": 2}
    heard = []

    class Talk:
        def say(self, sentence):
            raise AssertionError(sentence)

        warn = say

        def progress(self, progress, epochs):
            heard.append((progress.epoch, progress.batch, epochs))

        def reading(self, done, total):
            pass

        def epoch(self, epoch, epochs):
            heard.append((epoch.epoch, None, epochs))

    model = mitsugo.train(small, seed=4, talk=Talk(), **changes, **shrunk)
    assert model.recipe["name"] == "standard"
    assert heard == [(epoch, batch, 3) for epoch in (1, 2, 3) for batch in (0, 1, 2, 3, 4, None)]
    run = train(small_options(tmp_path / "run"))
    assert weights_sha256(model.network) == run.summary["weights_sha256"]
    assert model.k == run.summary["k"]
    assert len(model.gallery) == 80, "all images that are not test images"


def test_digits_are_told_apart_after_an_epoch():
    model = mitsugo.train("digits", epochs=1)
    assert (model.recipe["name"], model.architecture.name) == ("standard", "convnet")
    images = mitsugo.load("digits")
    test = images.take(article_split(images, 0).test)
    assert not set(test.names) & set(model.gallery.names)
    scores = mitsugo.evaluate(model.gallery, embeddings_of(model, test), seed=0).scores
    assert scores.knn_accuracy.value > 0.93
    assert scores.knn_accuracy.n == 359

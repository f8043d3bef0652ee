"""The same seed gives the same bits, twenty times over, and on the real MNIST."""

import dataclasses

import pytest

from mitsugo.recipes import RECIPES
from mitsugo.tasks.models import train_model
from mitsugo.tasks.train import TrainOptions, train

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("recipe", ["article", "standard", "standard-softmax"])
def test_twenty_trainings_give_one_fingerprint(recipe):
    assert len({train_model("digits", recipe, epochs=2, seed=3).fingerprint for _ in range(20)}) == 1


@pytest.mark.parametrize("recipe", ["article", "article-siamese"])
def test_ten_epochs_and_ten_more_are_twenty_epochs(tmp_path, recipe):
    straight = train(TrainOptions(source="digits", recipe=recipe, epochs=20, out=tmp_path / "straight"))
    train(TrainOptions(source="digits", recipe=recipe, out=tmp_path / "run"))
    again = train(TrainOptions(source="digits", recipe=recipe, epochs=20, out=tmp_path / "run", resume=True))
    assert again.summary["weights_sha256"] == straight.summary["weights_sha256"]
    assert again.summary["scores"] == straight.summary["scores"]


@pytest.mark.parametrize("recipe", ["article", "standard"])
def test_an_epoch_of_mnist_twice(recipe):
    """All 60,000 images, on as many threads as there are."""
    models = [train_model("mnist", recipe, epochs=1) for _ in range(2)]
    assert models[0].fingerprint == models[1].fingerprint


def test_mnist_after_an_epoch(tmp_path):
    """96.5 % after epoch 1, as the walk-through's own loop reads, within half a point."""
    run = train(TrainOptions(source="mnist", recipe="article", epochs=1, out=tmp_path / "run"))
    assert run.summary["scores"]["knn_accuracy"]["value"] == pytest.approx(0.965, abs=0.005)
    assert run.summary["images_seen"] == 180_000


def test_the_default_on_digits_is_worth_its_steps(tmp_path):
    """The whole default, and the same by a recipe that says nothing new."""
    run = train(TrainOptions(source="digits", out=tmp_path / "run"))
    assert run.summary["recipe"] == "standard"
    assert run.summary["scores"]["knn_accuracy"]["value"] > 0.98
    model = train_model("digits", dataclasses.replace(RECIPES["standard"], name="another"))
    assert model.fingerprint == run.summary["fingerprint"]


def test_a_budget_is_kept_within_a_third(tmp_path):
    """Seconds of training alone; what other processes take of the machine is why the band is wide."""
    run = train(TrainOptions(source="digits", budget="6s", out=tmp_path / "run"))
    assert 4 < run.summary["seconds"] < 8

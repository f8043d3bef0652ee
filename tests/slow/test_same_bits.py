"""The same seed gives the same bits, twenty times over, and on the real MNIST."""

import pytest

from mitsugo.tasks.models import train_model
from mitsugo.tasks.train import TrainOptions, train

pytestmark = pytest.mark.slow


def test_twenty_trainings_give_one_fingerprint():
    assert len({train_model("digits", epochs=2, seed=3).fingerprint for _ in range(20)}) == 1


@pytest.mark.parametrize("recipe", ["article", "article-siamese"])
def test_ten_epochs_and_ten_more_are_twenty_epochs(tmp_path, recipe):
    straight = train(TrainOptions(source="digits", recipe=recipe, epochs=20, out=tmp_path / "straight"))
    train(TrainOptions(source="digits", recipe=recipe, out=tmp_path / "run"))
    again = train(TrainOptions(source="digits", recipe=recipe, epochs=20, out=tmp_path / "run", resume=True))
    assert again.summary["weights_sha256"] == straight.summary["weights_sha256"]
    assert again.summary["scores"] == straight.summary["scores"]


def test_an_epoch_of_mnist_twice():
    """All 60,000 anchors, on as many threads as there are; and what an epoch of the article is worth."""
    models = [train_model("mnist", epochs=1) for _ in range(2)]
    assert models[0].fingerprint == models[1].fingerprint


def test_mnist_after_an_epoch(tmp_path):
    """96.5 % after epoch 1, as the walk-through's own loop reads, within half a point."""
    run = train(TrainOptions(source="mnist", epochs=1, out=tmp_path / "run"))
    assert run.summary["scores"]["knn_accuracy"]["value"] == pytest.approx(0.965, abs=0.005)
    assert run.summary["images_seen"] == 180_000

"""The walk-through runs, and is the recipe's experiment."""

import re
import runpy
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

import mitsugo
from mitsugo.model.preprocessing import Preprocessing
from mitsugo.tasks.experiment import assemble
from mitsugo.values import Epoch

FOLDER = Path(__file__).parents[2] / "docs" / "walkthrough"
SCRIPT = FOLDER / "walkthrough.py"
IMAGES = 300
EPOCHS = 2


@pytest.fixture(scope="module")
def mnist():
    """The first images of both parts of MNIST."""
    whole = mitsugo.load("mnist")
    some = whole.take(np.concatenate([whole.split.train[:IMAGES], whole.split.test[:IMAGES]]))
    return some, np.arange(IMAGES), np.arange(IMAGES, 2 * IMAGES)


@pytest.fixture
def said(monkeypatch, capsys, tmp_path):
    """What the script prints."""
    options = ["--images", str(IMAGES), "--epochs", str(EPOCHS), "--dimension", "2"]
    monkeypatch.setattr(sys, "argv", [str(SCRIPT), *options, "--scatter", str(tmp_path / "scatter.png")])
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    with torch.random.fork_rng():
        runpy.run_path(str(SCRIPT), run_name="__main__")
    torch.set_num_threads(threads)
    assert (tmp_path / "scatter.png").read_bytes().startswith(b"\x89PNG")
    return capsys.readouterr().out


def test_its_losses_are_the_recipes_but_for_rounding(said, mnist):
    images, train, test = mnist
    experiment = assemble(
        images,
        mitsugo.Split(train=train, validation=test, test=test, how="the first ones"),
        mitsugo.Recipe(name="two", what="two dimensions", dimension=2),
        seed=0,
        preprocessing=Preprocessing(mean=0.1307, std=0.3081),
        device=torch.device("cpu"),
    )
    epochs = [event for event in mitsugo.run(experiment.training, EPOCHS) if isinstance(event, Epoch)]
    found = re.findall(r"training loss (\d\.\d{4}), validation loss (\d\.\d{4})", said)
    assert np.array(found, dtype=float) == pytest.approx(
        np.array([(epoch.train_loss, epoch.validation_loss) for epoch in epochs]), abs=1e-4
    )


def test_it_ends_with_the_accuracy_and_its_interval(said):
    last = said.splitlines()[-1]
    share, low, high, n = map(float, re.findall(r"(?<![-\d.])\d+\.?\d*(?!-)", last))
    assert 0 < low < share < high < 1
    assert n == IMAGES
    assert last.startswith("5-NN accuracy ")


def test_it_is_about_sixty_lines_of_public_names():
    text = SCRIPT.read_text()
    assert 50 < len([line for line in text.splitlines() if line.strip()]) < 65
    used = set(re.findall(r"\bmitsugo\.(\w+)", text))
    assert used <= set(mitsugo.__all__)
    assert not re.search(r"^(from|import) mitsugo\.", text, re.MULTILINE)


@pytest.mark.parametrize("page", ["README.md", "README.ja.md"])
def test_the_table_names_everything_that_is_used(page):
    told = set(re.findall(r"[A-Za-z_]\w+", (FOLDER / page).read_text()))
    assert set(re.findall(r"\bmitsugo\.(\w+)", SCRIPT.read_text())) - {"Embeddings", "LabeledImages"} <= told
    theirs = (
        "TripletMNIST EmbeddingNet TripletNet get_embedding TripletLoss margin size_average fit train_epoch"
    )
    more = "test_epoch metrics StepLR start_epoch extract_embeddings plot_embeddings log_interval cuda"
    assert {*theirs.split(), *more.split()} <= told


def test_both_languages_tell_the_same_deviations():
    counts = [
        len(re.findall(r"^\d+\. \*\*", (FOLDER / page).read_text(), re.MULTILINE))
        for page in ("README.md", "README.ja.md")
    ]
    assert counts == [14, 14]

"""A training of the default recipe: what it settles, chooses, counts and tells."""

import dataclasses
import json
import re
from pathlib import Path

import pytest
import torch

from mitsugo.errors import ModelError
from mitsugo.model.bundle import Model
from mitsugo.model.tensors import weights_sha256
from mitsugo.recipes import RECIPES
from mitsugo.space.losses import Loss
from mitsugo.tasks import experiment as experiment_module
from mitsugo.tasks.train import TrainOptions, train


@pytest.fixture(scope="module")
def small_run(tmp_path_factory, small_options):
    """A finished run of the default recipe; to be looked at, but not changed."""
    return train(small_options(tmp_path_factory.mktemp("runs") / "small"))


def described(run):
    return json.loads((run / "run.json").read_bytes())


def test_a_run_of_the_default_recipe_says_what_it_chose_and_by_which_images(small_run):
    run = described(small_run.run)
    assert [run["split"][part] for part in ("train", "validation", "test")] == [72, 8, 8]
    assert run["split"]["validation_is_test"] is False
    assert "10% of each class of the training part" in run["split"]["how"]
    accuracies = [epoch["metrics"]["validation_accuracy"] for epoch in small_run.summary["history"]]
    assert all(accuracy * 8 % 1 == 0 for accuracy in accuracies)
    last_best = max(range(3), key=lambda number: (accuracies[number], number)) + 1
    assert small_run.summary["kept_epoch"] == last_best
    model = Model.load(small_run.bundle)
    assert model.k == small_run.summary["k"]
    assert len(model.gallery) == 80
    assert weights_sha256(model.network) == small_run.summary["weights_sha256"]


def test_run_json_holds_nothing_that_is_still_open(small_run):
    run = described(small_run.run)
    assert run["recipe"]["precision"] == run["precision"] in {"float32", "bfloat16"}
    assert run["recipe"]["flip_horizontal"] in {0.0, 0.5}
    assert run["recipe"]["least_steps"] == 0, "the epochs were named"
    assert (run["budget"], run["recipe"]["steps"]) == (None, None)
    assert run["asked"]["hidden"] == [8]
    assert run["flight"] == {
        "images_per_class": {"0": 18, "1": 18, "2": 18, "3": 18},
        "never_drawn": [],
        "drawn_often": {},
        "batches": 5,
        "triplets": 16 * 3 * 12,
    }


def test_every_key_of_run_json_is_in_the_reference(small_run):
    page = (Path(__file__).parents[2] / "docs" / "reference" / "files.md").read_text()
    (section,) = [part for part in page.split("\n## ") if part.startswith("run.json")]
    told = {
        key for row in re.findall(r"^\| (`[^|]*)\|", section, re.MULTILINE) for key in row.split("`")[1::2]
    }
    assert told == described(small_run.run).keys()


def test_the_counts_of_an_epoch_are_those_of_its_batches(small_run):
    for epoch in small_run.summary["history"]:
        assert epoch["images"] == 5 * 16
        assert epoch["valid"] == 5 * 16 * 3 * 12
        assert 0 < epoch["active"] <= epoch["valid"]
        assert epoch["empty_batches"] == 0


@pytest.mark.usefixtures("plain_pictures")
def test_few_images_are_trained_on_for_at_least_so_many_steps(tmp_path, small_options):
    """21 steps are five epochs of five batches."""
    run = train(small_options(tmp_path / "run", "least_steps=21", epochs=None, learning_rate=1e-5))
    least = max(RECIPES["standard"].epochs, 5)
    assert run.summary["epochs"] == len(run.summary["history"]) == least


@pytest.mark.usefixtures("plain_pictures")
def test_no_epochs_of_one_cycle_leave_the_network_as_it_was_drawn(tmp_path, small_options):
    run = train(small_options(tmp_path / "run", epochs=0))
    assert (run.summary["history"], run.summary["kept_epoch"], run.summary["seconds"]) == ([], 0, 0)
    again = train(small_options(tmp_path / "run", epochs=0, resume=True))
    assert again.summary == run.summary


@pytest.mark.usefixtures("plain_pictures")
@pytest.mark.parametrize("recipe", ["standard", "standard-softmax"])
def test_too_few_images_to_choose_by_end_with_the_last_epoch_and_five_votes(
    tmp_path, small_options, write_idx, recipe
):
    source = write_idx(tmp_path / "few", train=12)
    run = train(small_options(tmp_path / "run", source=str(source), recipe=recipe))
    assert (run.summary["kept_epoch"], run.summary["k"]) == (3, 5)
    assert all(epoch["metrics"] == {} for epoch in run.summary["history"])
    assert described(run.run)["split"]["validation_is_test"] is True


@pytest.mark.usefixtures("plain_pictures")
def test_a_collapse_stops_the_run_and_leaves_no_model(tmp_path, small_options):
    options = small_options(tmp_path / "run", epochs=20, learning_rate=100.0, precision="float32")
    with pytest.raises(ModelError, match="the embedding explodes in epoch .* Try a smaller --learning-rate"):
        train(options)
    assert not (tmp_path / "run" / "model.mitsugo").exists()
    assert not (tmp_path / "run" / "scores.json").exists()


@pytest.mark.usefixtures("plain_pictures")
def test_batches_that_teach_nothing_are_counted_and_told(tmp_path, small_options, monkeypatch, hearing):
    def silent(embeddings, labels):
        nothing = torch.zeros((), dtype=torch.int64)
        return Loss(value=(0 * embeddings).sum(), active=nothing, valid=nothing)

    monkeypatch.setattr(experiment_module, "LOSSES", {"triplet-all": silent})
    monkeypatch.setattr(experiment_module, "CollapseWatch", lambda: None)
    talk = hearing()
    run = train(small_options(tmp_path / "run", epochs=2), talk)
    assert [epoch["empty_batches"] for epoch in run.summary["history"]] == [5, 5]
    assert "10 batches held no triplet at all and taught nothing" in talk.warned


@pytest.mark.usefixtures("plain_pictures")
def test_the_flight_check_speaks_before_the_first_step(tmp_path, small_options, hearing):
    talk = hearing()
    train(small_options(tmp_path / "run", epochs=1), talk)
    opening, counts, time_to_go, *_ = talk.said
    assert opening.startswith("standard on ")
    assert opening.endswith("4 classes; 1 epoch, seed 4, cpu, 1 thread")
    assert counts == (
        "flight check: 4 classes of 18 to 18 training images; 5 batches an epoch, about 576 triplets each"
    )
    assert time_to_go.startswith("flight check: 5 steps of ")
    assert talk.warned == []


@pytest.mark.usefixtures("plain_pictures")
def test_the_articles_network_with_every_triplet(tmp_path):
    options = TrainOptions(
        source="digits", recipe="article", loss="triplet-all", epochs=2, out=tmp_path / "run"
    )
    run = train(options)
    assert run.summary["recipe"] == "article"
    assert (run.summary["kept_epoch"], run.summary["k"]) == (2, 5)
    assert run.summary["scores"]["knn_accuracy"]["value"] > 0.93
    assert run.summary["history"][0]["images"] < 2 * 1438, "an image goes through the network once"
    again = train(dataclasses.replace(options, resume=True, epochs=3))
    assert again.summary["epochs"] == 3

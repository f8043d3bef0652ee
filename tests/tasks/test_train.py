"""A training from its options to a finished run folder."""

import json
import random
import time
from pathlib import Path

import numpy as np
import pytest
import torch

from mitsugo.errors import DataError, ModelError, UsageError
from mitsugo.model.bundle import Model
from mitsugo.model.tensors import weights_sha256
from mitsugo.report import figures
from mitsugo.runs import PICTURES
from mitsugo.tasks.train import TrainOptions, train


def test_a_run_leaves_its_files_and_nothing_else(tiny_run):
    expected = {
        "run.json",
        "history.jsonl",
        "history.csv",
        "checkpoint.mitsugo",
        "model.mitsugo",
        "scores.json",
        ".lock",
    }
    assert {file.name for file in tiny_run.run.iterdir()} == expected | set(PICTURES)
    for name in PICTURES[:-1]:
        assert (tiny_run.run / name).read_bytes().startswith(b"\x89PNG")
    assert tiny_run.report.read_text(encoding="utf-8").startswith("<!doctype html>")


def test_the_summary_is_scores_json_and_the_history_is_history_jsonl(tiny_run):
    assert json.loads((tiny_run.run / "scores.json").read_bytes()) == tiny_run.summary
    lines = (tiny_run.run / "history.jsonl").read_text().splitlines()
    assert [json.loads(line) for line in lines] == tiny_run.summary["history"]
    assert [epoch["epoch"] for epoch in tiny_run.summary["history"]] == [1, 2, 3]


def test_the_losses_of_the_tiny_run_are_worth_training_on(tiny_run):
    """Where a loss is nothing, no weight moves, and no test of this folder would tell two runs apart."""
    losses = [epoch["train_loss"] for epoch in tiny_run.summary["history"]]
    assert min(losses) > 0.01
    assert len(set(losses)) == 3


def test_an_epoch_shows_three_images_an_anchor(tiny_run):
    assert [epoch["images"] for epoch in tiny_run.summary["history"]] == [3 * 32] * 3
    assert tiny_run.summary["images_seen"] == 3 * 3 * 32
    assert tiny_run.summary["seconds"] == sum(e["seconds"] for e in tiny_run.summary["history"])


def test_the_scores_are_what_the_definition_says(tiny_run, digits_run):
    for run in (tiny_run, digits_run):
        confusion = np.array(run.summary["confusion"])
        accuracy = run.summary["scores"]["knn_accuracy"]
        assert accuracy["n"] == confusion.sum()
        assert accuracy["value"] == pytest.approx(np.trace(confusion) / confusion.sum())
        assert accuracy["low"] < accuracy["value"] <= accuracy["high"]


def test_two_epochs_on_digits_learn(digits_run):
    assert digits_run.summary["scores"]["knn_accuracy"]["value"] > 0.93
    assert digits_run.summary["scores"]["knn_accuracy"]["n"] == 359


def test_the_bundle_holds_the_weights_of_the_summary_and_the_training_images(tiny_run):
    model = Model.load(tiny_run.bundle)
    assert weights_sha256(model.network) == tiny_run.summary["weights_sha256"]
    assert model.fingerprint == tiny_run.summary["fingerprint"]
    assert model.gallery.names[0] == "train/00000"
    assert len(model.gallery) == 32


def test_run_json_says_what_was_run(tiny_run, tiny):
    described = json.loads((tiny_run.run / "run.json").read_bytes())
    assert (described["source"]["name"], described["source"]["images"]) == (str(tiny), 40)
    assert [described["split"][part] for part in ("train", "validation", "test")] == [32, 8, 8]
    assert described["split"]["validation_is_test"] is True
    assert described["recipe"]["name"] == "article"
    assert [described["recipe"][key] for key in ("epochs", "batch_size", "dimension")] == [3, 8, 3]
    assert (described["seed"], described["start_epoch"], described["device"]) == (0, 0, "cpu")
    assert described["threads"] == torch.get_num_threads()


@pytest.mark.usefixtures("plain_pictures")
def test_the_same_seed_gives_the_same_bits_and_another_seed_others(tmp_path, tiny_run, tiny_options):
    hashes = []
    for number, seed in enumerate((0, 0, 1)):
        random.seed(number)
        np.random.seed(number)  # noqa: NPY002 - the global state is what must not matter
        torch.manual_seed(number)
        state = torch.random.get_rng_state()
        again = train(tiny_options(tmp_path / str(number), seed=seed))
        hashes.append(again.summary["weights_sha256"])
        assert torch.equal(torch.random.get_rng_state(), state), "the global generator was drawn from"
    assert hashes[:2] == [tiny_run.summary["weights_sha256"]] * 2
    assert hashes[2] != hashes[0]


@pytest.mark.usefixtures("plain_pictures")
def test_a_clock_that_jumps_back_changes_nothing(tmp_path, tiny_run, tiny_options, monkeypatch):
    ticks = iter(range(10**9, 0, -1000))
    monkeypatch.setattr(time, "time", lambda: float(next(ticks)))
    again = train(tiny_options(tmp_path / "run"))
    assert again.summary["weights_sha256"] == tiny_run.summary["weights_sha256"]


@pytest.mark.usefixtures("plain_pictures")
@pytest.mark.parametrize("recipe", ["article", "article-siamese"])
def test_no_epochs_leave_the_network_as_it_was_drawn(tmp_path, tiny_options, recipe):
    untrained = train(tiny_options(tmp_path / "run", recipe=recipe, epochs=0))
    assert untrained.summary["history"] == []
    assert (untrained.summary["seconds"], untrained.summary["images_seen"]) == (0, 0)
    assert not (untrained.run / "history.jsonl").exists()


def test_raw_pixels_trains_nothing_and_is_scored_and_drawn(tmp_path, tiny):
    run = train(TrainOptions(source=str(tiny), recipe="raw-pixels", out=tmp_path / "run"))
    assert (run.summary["dimension"], run.summary["epochs"]) == (16, 0)
    assert run.report.exists()
    again = train(TrainOptions(source=str(tiny), recipe="raw-pixels", out=tmp_path / "run", resume=True))
    assert again.summary == run.summary


def test_a_siamese_run_in_two_dimensions(tmp_path, tiny_options):
    run = train(tiny_options(tmp_path / "run", recipe="article-siamese", dimension=2))
    assert run.summary["dimension"] == 2
    assert [epoch["images"] for epoch in run.summary["history"]] == [2 * 32] * 3
    assert run.report.exists()


@pytest.mark.usefixtures("plain_pictures")
def test_start_epoch_advances_the_schedule(tmp_path, tiny_options):
    run = train(tiny_options(tmp_path / "run", epochs=9, start_epoch=6))
    rates = [epoch["learning_rate"] for epoch in run.summary["history"]]
    assert [epoch["epoch"] for epoch in run.summary["history"]] == [7, 8, 9]
    assert rates == pytest.approx([2e-4, 2e-5, 2e-5])


@pytest.mark.usefixtures("plain_pictures")
def test_the_usual_folder_is_named_after_source_and_recipe(tmp_path, tiny, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert train(TrainOptions(source=str(tiny), recipe="article", epochs=0)).run == Path("runs/tiny-article")


@pytest.mark.usefixtures("plain_pictures")
def test_a_source_named_by_a_dot_gives_its_own_name(tmp_path, write_idx, monkeypatch):
    monkeypatch.chdir(write_idx(tmp_path / "parts"))
    run = train(TrainOptions(source=".", recipe="article-siamese", epochs=0)).run
    assert run == Path("runs/parts-article-siamese")


@pytest.mark.usefixtures("plain_pictures")
@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"learning_rate": 1e38}, "the validation loss is nan after epoch 1: .* a smaller --learning-rate"),
        (
            {"learning_rate": 1e38, "batch_size": 16},
            "the loss is (nan|inf) in epoch 1, batch 1; this step",
        ),
        ({"margin": 1e39}, "the loss is inf in epoch 1, batch 0; this step was not taken"),
    ],
)
def test_a_loss_that_is_not_finite_leaves_no_model(tmp_path, tiny_options, change, message):
    options = tiny_options(tmp_path / "run", **{"batch_size": 32, "epochs": 1, **change})
    with pytest.raises(ModelError, match=message):
        train(options)
    assert {file.name for file in options.out.iterdir()} <= {"run.json", ".lock"}


@pytest.mark.parametrize(
    ("counts", "message"),
    [
        ({"classes": 1}, "the training images are all of one class"),
        ({"train": 5}, r"3 of 4 classes have fewer than two training images: 1 \(1\), 2 \(1\), 3 \(1\)"),
    ],
)
def test_classes_that_no_triplet_can_be_drawn_from_stop_at_once(tmp_path, write_idx, counts, message):
    source = write_idx(tmp_path / "source", **counts)
    with pytest.raises(DataError, match=message):
        train(TrainOptions(source=str(source), out=tmp_path / "run"))
    assert {file.name for file in (tmp_path / "run").iterdir()} == {".lock"}


@pytest.mark.usefixtures("plain_pictures")
def test_overwriting_begins_anew_and_keeps_the_old_run_until_it_can(tmp_path, tiny_options, monkeypatch):
    old = train(tiny_options(tmp_path / "run"))
    with pytest.raises(UsageError, match="--device cuda:99: there is none on this machine"):
        train(tiny_options(tmp_path / "run", overwrite=True, device="cuda:99"))
    assert old.bundle.exists()
    new = train(tiny_options(tmp_path / "run", overwrite=True, seed=1, epochs=1))
    assert new.summary["weights_sha256"] != old.summary["weights_sha256"]
    assert len((new.run / "history.jsonl").read_text().splitlines()) == 1


@pytest.mark.usefixtures("plain_pictures")
def test_overwriting_replaces_a_run_whose_run_json_is_damaged(tmp_path, tiny_options):
    train(tiny_options(tmp_path / "run", epochs=1))
    (tmp_path / "run" / "run.json").write_text("{")
    assert train(tiny_options(tmp_path / "run", epochs=1, overwrite=True)).report.exists()


def test_the_figures_are_drawn_of_the_run_that_was_made(tmp_path, tiny_options, monkeypatch):
    told = {}

    def loss_curves(history, *, validation_is_test):
        told["history"] = [(point.epoch, point.train_loss) for point in history]
        return b"curves"

    monkeypatch.setattr(figures, "loss_curves", loss_curves)
    run = train(tiny_options(tmp_path / "run"))
    assert told["history"] == [(e["epoch"], e["train_loss"]) for e in run.summary["history"]]
    assert (run.run / "loss_curves.png").read_bytes() == b"curves"

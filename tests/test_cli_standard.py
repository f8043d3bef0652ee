"""The command line with the default recipe: losses, settings, files, budgets, the sheet of augmentation."""

import json

import pytest
from PIL import Image

pytestmark = pytest.mark.usefixtures("one_thread", "plain_pictures")

SMALL = ("--set", "channels=[4]", "--set", "hidden=[8]", "--set", "images_per_class=2", "--batch-size", 8)


@pytest.fixture
def trained(command, tmp_path):
    """Run `mitsugo train` to its end, quietly; return its document and run.json."""

    def run(*arguments):
        out = ("--out", tmp_path / "run", "--json", "--quiet")
        outcome = command("train", *arguments, *out)
        assert (outcome.code, outcome.err) == (0, "")
        return json.loads(outcome.out), json.loads((tmp_path / "run" / "run.json").read_bytes())

    return run


def test_the_default_recipe_is_standard(tiny, trained):
    document, run = trained(tiny, "--epochs", 2, *SMALL)
    assert (document["recipe"], document["epochs"]) == ("standard", 2)
    assert {"kept_epoch", "k", "weights_sha256"} <= document.keys()
    assert run["recipe"]["channels"] == [4]
    again, _ = trained(tiny, "--epochs", 2, *SMALL, "--resume")
    assert again == document


def test_digits_are_learnt_by_the_default_in_one_epoch(trained):
    document, run = trained("digits", "--epochs", 1)
    assert document["scores"]["knn_accuracy"]["value"] > 0.93
    assert run["precision"] in {"float32", "bfloat16"}


def test_the_article_with_every_triplet_and_in_bfloat16_or_not(trained):
    arguments = ("--recipe", "article", "--loss", "triplet-all", "--precision", "auto", "--epochs", 1)
    document, run = trained("digits", *arguments)
    assert document["recipe"] == "article"
    assert (run["recipe"]["loss"], run["recipe"]["batches"]) == ("triplet-all", "p-by-k")
    assert document["history"][0]["valid"] > 100_000
    assert document["scores"]["knn_accuracy"]["value"] > 0.9


def test_a_budget_is_stored_as_steps(tiny, trained):
    document, run = trained(tiny, "--budget", "0.1s", *SMALL)
    steps = run["recipe"]["steps"]
    assert run["budget"] == 0.1
    assert steps >= 1
    assert document["images_seen"] == 8 * steps


def test_a_file_is_a_recipe_and_gives_the_run_its_name(tmp_path, tiny, command, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "parts.toml").write_text(
        'what = "ours"\nbatch_size = 8\nimages_per_class = 2\nchannels = [4]\nhidden = [4]\n'
    )
    outcome = command("train", tiny, "--recipe", "parts.toml", "--epochs", 1, "--quiet", "--json")
    assert (outcome.code, outcome.err) == (0, "")
    document = json.loads(outcome.out)
    assert (document["recipe"], document["run"]) == ("parts", "runs/tiny-parts")
    told = command("recipes", "parts.toml", "--json")
    assert json.loads(told.out)["what"] == "ours"


def test_the_flight_check_is_told_before_the_first_line_of_training(tmp_path, tiny, command):
    outcome = command("train", tiny, "--epochs", 1, *SMALL, "--out", tmp_path / "run")
    lines = outcome.err.splitlines()
    assert "flight check: 4 classes of 7 to 7 training images" in lines[1]
    assert "flight check: 4 steps of" in lines[2]
    assert lines[3].startswith("epoch 1/1  batch    0  loss ")


def test_the_sheet_of_augmentation_is_drawn_and_nothing_trained(tmp_path, command, monkeypatch):
    monkeypatch.chdir(tmp_path)
    outcome = command("train", "digits", "--show-augmentation", "sheet.png")
    assert (outcome.code, outcome.err) == (0, "")
    assert outcome.out == "what training sees: sheet.png\n"
    assert [file.name for file in tmp_path.iterdir()] == ["sheet.png"]
    with Image.open("sheet.png") as sheet:
        assert sheet.format == "PNG"
    as_json = command("train", "digits", "--set", "erase=0.5", "--show-augmentation", "sheet.png", "--json")
    document = json.loads(as_json.out)
    assert document["file"] == "sheet.png"
    assert document["augmentation"]["erase"] == 0.5


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--learning-rate", 10, "--loss", "triplet-hard"), "the embedding "),
        (("--recipe", "article", "--learning-rate", 10), "the embedding explodes in epoch 1, batch "),
        (("--margin", "1e39"), "the loss is inf in epoch 1, batch 0"),
    ],
    ids=["hard", "article", "inf"],
)
def test_a_collapse_ends_with_4_and_one_line(tmp_path, refused, arguments, words):
    numbers = ("--precision", "float32", "--epochs", 4, "--out", tmp_path / "run")
    line = refused(4, "train", "digits", *arguments, *numbers)
    assert words in line
    assert "Try a smaller --learning-rate" in line
    assert not (tmp_path / "run" / "model.mitsugo").exists()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--set", "depth=3"), "depth is no key of a recipe"),
        (("--set", "rotatoin=3"), "did you mean rotation?"),
        (("--set", "margin"), "--set margin: margin sets nothing, expected key=value"),
        (("--set", "rotation=720"), "--rotation is 720"),
        (("--budget", "0s"), "--budget 0s: is no time"),
        (("--budget", "10x"), "--budget 10x: is no time"),
        (("--budget", "1m", "--epochs", "3"), "--budget 1m: gives the number of steps"),
        (("--loss", "triplet-al"), "loss: input should be"),
        (("--precision", "half"), "precision: input should be"),
        (("--recipe", "gone.toml"), "--recipe gone.toml: cannot be read: no such file"),
        (("--recipe", "article", "--set", "keep=best"), "--keep best: chooses by validation images"),
    ],
    ids=str,
)
def test_what_cannot_be_meant_ends_with_2_and_leaves_nothing(
    tmp_path, monkeypatch, refused, arguments, words
):
    monkeypatch.chdir(tmp_path)
    assert words in refused(2, "train", "digits", *arguments)
    assert words in refused(2, "train", "digits", *arguments, "--show-augmentation", "sheet.png")
    assert list(tmp_path.iterdir()) == []

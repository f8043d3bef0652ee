"""The command line: exactly one JSON document, talk on stderr, the right exit code."""

import io
import json
import os
import re
import sys
from pathlib import Path

import numpy as np
import pytest

from mitsugo import __version__, cli
from mitsugo.errors import Interrupted
from mitsugo.recipes import RECIPES
from mitsugo.tasks import train as train_module
from mitsugo.tasks.train import TrainOptions

pytestmark = pytest.mark.usefixtures("one_thread")

SAMPLE = Path(__file__).parents[1] / "docs" / "sample-digit.png"
SCORES = {
    "knn_accuracy", "precision_at_1", "silhouette", "between_within", "recall_at_2",
    "recall_at_4", "recall_at_8", "r_precision", "map_at_r",
}  # fmt: skip


@pytest.fixture
def answered(command):
    """Run a command with --json --quiet, or as it is; return its one JSON document."""

    def run(*arguments):
        outcome = command(*arguments)
        assert (outcome.code, outcome.err) == (0, "")
        assert outcome.out.count("\n") == 1
        return json.loads(outcome.out)

    return run


def test_train_answers_with_the_run_its_scores_and_its_history(tmp_path, tiny, answered):
    run = tmp_path / "run"
    small = ("--recipe", "article", "--epochs", 2, "--batch-size", 8)
    document = answered("train", tiny, "--out", run, *small, "--json", "--quiet")
    assert document["run"] == str(run)
    assert document["bundle"] == str(run / "model.mitsugo")
    assert document["report"] == str(run / "report.html")
    assert (document["recipe"], document["epochs"], document["seed"]) == ("article", 2, 0)
    assert set(document["scores"]) == SCORES
    for score in document["scores"].values():
        assert set(score) == {"value", "low", "high", "n", "interval", "groups"}
    assert [epoch["epoch"] for epoch in document["history"]] == [1, 2]
    assert {"epoch", "train_loss", "validation_loss", "seconds"} <= set(document["history"][0])
    assert document["seconds"] == pytest.approx(sum(epoch["seconds"] for epoch in document["history"]))
    resumed = answered("train", tiny, "--out", run, "--resume", "--json", "--quiet")
    assert resumed == document, "a finished run answers as it did"


def test_evaluate_answers_with_the_scores(digits_run, answered):
    document = answered("evaluate", digits_run.run, "digits", "--json", "--quiet")
    assert document["scores"] == digits_run.summary["scores"]
    assert document["confusion"] == digits_run.summary["confusion"]
    assert (document["model"], document["source"]) == (str(digits_run.run), "digits")


def test_embed_answers_with_what_it_wrote(tmp_path, tiny_run, tiny, answered):
    out = tmp_path / "tiny.npz"
    document = answered("embed", tiny_run.bundle, tiny, "--out", out, "--json", "--quiet")
    fingerprint = tiny_run.summary["fingerprint"]
    assert document == {
        "model": str(tiny_run.bundle),
        "source": str(tiny),
        "out": str(out),
        "images": 40,
        "dimension": 3,
        "fingerprint": fingerprint,
    }
    assert np.load(out, allow_pickle=False)["vectors"].shape == (40, 3)


def test_inspect_answers_with_a_verdict_an_image(digits_run, answered):
    document = answered("inspect", digits_run.run, SAMPLE, SAMPLE, "--resize", "-k", 3, "--json")
    one, other = document["verdicts"]
    assert one == other
    assert set(one) == {
        "image", "label", "agreement", "neighbors", "winner", "runner_up", "unknown", "judgement", "p_value",
        "strangeness", "gate", "ng_score", "promised", "in_gallery", "warnings", "method",
    }  # fmt: skip
    assert set(one["winner"]) == {"label", "scaled", "p_value", "exemplars"}
    assert document["lot"]["images"] == 2
    assert [set(neighbor) for neighbor in one["neighbors"]] == [{"name", "label", "distance", "row"}] * 3


def test_compare_answers_with_rows_and_pairs(tiny, answered):
    arguments = ("--recipes", "raw-pixels,article", "--seeds", 2, "--epochs", 1, "--json", "--quiet")
    document = answered("compare", tiny, *arguments)
    assert [row["name"] for row in document["recipes"]] == ["raw-pixels", "article"]
    (pair,) = document["pairs"]
    assert {"one", "other", "difference", "low", "high", "p_holm", "verdict"} <= set(pair)
    assert document["seeds"] == 2


def test_recipes_and_sources_are_listed_and_told(answered, command):
    assert set(answered("recipes", "--json")) == set(RECIPES)
    assert answered("recipes", "article", "--json") == RECIPES["article"].plain()
    assert {"mnist", "digits", "a folder of IDX files"} <= set(answered("sources", "--json"))
    assert "article-siamese" in command("recipes").out
    assert re.search(r"^learning_rate +0\.0002$", command("recipes", "article").out, re.MULTILINE)
    assert command("sources").out.startswith("digits ")


def test_without_json_a_person_is_answered(tmp_path, tiny, tiny_run, command):
    trained = command("train", tiny, "--recipe", "article", "--out", tmp_path / "run", "--epochs", 1)
    assert trained.code == 0
    assert "5-NN accuracy" in trained.out
    assert str(tmp_path / "run" / "report.html") in trained.out
    assert "epoch 1/1  training loss" in trained.err
    assert "\r" not in trained.err
    assert "\x1b" not in trained.err
    evaluated = command("evaluate", tiny_run.run, tiny)
    assert evaluated.out.startswith(f"{tiny_run.run} on {tiny}\n5-NN accuracy")
    embedded = command("embed", tiny_run.run, tiny, "--out", tmp_path / "x.npz")
    assert embedded.out == f"40 images in 3-d: {tmp_path / 'x.npz'}\n"
    compared = command("compare", tiny, "--recipes", "article:epochs=0,raw-pixels", "--seeds", 1)
    assert "cannot tell" in compared.out


def test_every_option_of_train_reaches_the_task(monkeypatch, tmp_path, command):
    seen = []

    def task(options, talk):
        seen.append(options)
        raise Interrupted("seen", 15)

    monkeypatch.setattr(train_module, "train", task)
    words = "--recipe r --epochs 1 --dimension 2 --margin 3 --batch-size 4 --learning-rate 5 --seed 6"
    more = "--device d --start-epoch 7 --resume --overwrite --quiet --json --out o"
    new = "--loss l --precision p --set a=1 --set b=[2] --budget 8s --threads 9"
    assert command("train", "s", *words.split(), *more.split(), *new.split()).code == 143
    assert command("train", "s").code == 143
    assert seen == [
        TrainOptions(
            source="s", out=Path("o"), recipe="r", epochs=1, dimension=2, margin=3.0, batch_size=4,
            learning_rate=5.0, seed=6, device="d", start_epoch=7, resume=True, overwrite=True,
            loss="l", precision="p", settings=("a=1", "b=[2]"), budget="8s", threads=9,
        ),
        TrainOptions(source="s"),
    ]  # fmt: skip


def test_version_and_help(command):
    assert command("--version").out == f"mitsugo {__version__}\n"
    for arguments in ((), ("--help",), ("-h",), ("--debug",)):
        assert "Teach a computer" in command(*arguments).out
    for name in ("train", "compare", "evaluate", "embed", "inspect", "recipes", "sources"):
        assert command(name, "--help").out.startswith("Usage: ")


class Narrow(io.TextIOWrapper):
    """A stdout that knows the letters of western Europe."""

    def __init__(self):
        super().__init__(io.BytesIO(), encoding="latin-1", write_through=True)


def test_letters_that_stdout_does_not_know_are_escaped(monkeypatch, tmp_path, tiny_run, tiny):
    out = tmp_path / "品.npz"
    for flags in (["--json"], []):
        monkeypatch.setattr(sys, "stdout", Narrow())
        assert cli.run(["embed", str(tiny_run.run), str(tiny), "--out", str(out), "--quiet", *flags]) == 0
        said = sys.stdout.buffer.getvalue().decode("ascii")
        assert r"\u54c1.npz" in said
        if flags:
            assert json.loads(said)["out"] == str(out)


def test_a_reader_that_went_away_ends_with_5(monkeypatch, capfd):
    reading, writing = os.pipe()
    os.close(reading)
    with os.fdopen(writing, "w") as pipe:
        monkeypatch.setattr(sys, "stdout", pipe)
        assert cli.run(["sources"]) == 5
    assert capfd.readouterr().err == "mitsugo: stdout: whoever read it went away; the work itself is done\n"


def test_a_full_disk_behind_stdout_ends_with_5(monkeypatch, capfd):
    with Path("/dev/full").open("w", buffering=1) as full:
        monkeypatch.setattr(sys, "stdout", full)
        assert cli.run(["sources"]) == 5
        monkeypatch.undo()
        os.dup2(os.open(os.devnull, os.O_WRONLY), full.fileno())
    assert (
        capfd.readouterr().err
        == "mitsugo: stdout: cannot be written: the disk is full; the work itself is done\n"
    )


def test_main_ends_the_process_with_the_code(monkeypatch, capsys):
    monkeypatch.setattr(cli.signal, "signal", lambda number, handler: None)
    with pytest.raises(SystemExit) as ended:
        cli.main(["nonsense"])
    assert ended.value.code == 2
    monkeypatch.setattr(sys, "argv", ["mitsugo", "--version"])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    assert ended.value.code == 0
    assert capsys.readouterr().out == f"mitsugo {__version__}\n"

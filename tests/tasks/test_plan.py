"""What was asked for and what the run folder holds become one plan."""

import os
from pathlib import Path

import pytest
import torch

from mitsugo.errors import ModelError, UsageError
from mitsugo.tasks.plan import TrainOptions, planned, resumed, versions

RUN = Path("runs/a")


def options(**given):
    return TrainOptions(source="digits", **given)


def description(**changes):
    plan = planned(options(epochs=5, seed=3))
    held = {
        "source": {},
        "versions": {},
        "recipe": plan.recipe.plain(),
        "seed": plan.seed,
        "device": "cpu",
        "start_epoch": 0,
        "threads": 2,
    }
    return {**held, **changes}


def test_what_was_not_said_is_the_articles():
    plan = planned(options())
    assert (plan.recipe.name, plan.recipe.epochs, plan.seed, plan.start_epoch) == ("article", 10, 0, 0)
    assert plan.threads == torch.get_num_threads()


def test_what_was_said_changes_the_recipe():
    plan = planned(options(recipe="article-siamese", epochs=2, dimension=2, margin=0.5, batch_size=7, seed=9))
    assert plan.recipe.name == "article-siamese"
    assert (plan.recipe.epochs, plan.recipe.dimension, plan.recipe.margin, plan.recipe.batch_size) == (
        2,
        2,
        0.5,
        7,
    )
    assert plan.seed == 9


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"seed": -1}, r"--seed -1: expected 0 to 2\^63 - 1"),
        ({"seed": 1 << 63}, "--seed 9223372036854775808"),
        ({"start_epoch": -1}, "--start-epoch -1: expected 0 to 10"),
        ({"start_epoch": 11}, "--start-epoch 11: expected 0 to 10"),
        ({"epochs": 2, "start_epoch": 3}, "--start-epoch 3: expected 0 to 2"),
        ({"recipe": "raw-pixels", "epochs": 3}, "--epochs: the recipe raw-pixels trains nothing"),
    ],
)
def test_what_cannot_be_meant(given, message):
    with pytest.raises(UsageError, match=message):
        planned(options(**given))


def test_a_run_is_gone_on_with_as_it_began():
    plan = resumed(options(), description(), RUN)
    assert (plan.recipe.epochs, plan.seed, plan.device, plan.threads) == (5, 3, "cpu", 2)
    assert plan.recipe.hidden == (256, 256)
    assert resumed(options(epochs=8, seed=3, margin=1.0), description(), RUN).recipe.epochs == 8


def test_a_total_can_only_grow():
    with pytest.raises(
        UsageError, match="--epochs 4: the run in runs/a is planned for 5; a total can only grow"
    ):
        resumed(options(epochs=4), description(), RUN)


def test_a_folder_of_any_bytes_stays_one_line():
    with pytest.raises(UsageError) as refusal:
        resumed(options(seed=4), description(), Path(os.fsdecode(b"a\nb\xff")))
    assert str(refusal.value).isprintable()


@pytest.mark.parametrize(
    "changes",
    [
        {"recipe": None},
        {"recipe": {"name": "article"}},
        {"recipe": {**planned(options()).recipe.plain(), "new": 1}},
        {"recipe": {**planned(options()).recipe.plain(), "epochs": -1}},
        {"threads": 0},
        {"threads": 100_000},
        {"threads": None},
    ],
)
def test_a_run_json_of_another_version_is_refused(changes):
    with pytest.raises(ModelError, match=r"runs/a/run.json: was doctored, or written by another version"):
        resumed(options(), description(**changes), RUN)


@pytest.mark.parametrize(
    "missing", ["source", "versions", "recipe", "seed", "device", "start_epoch", "threads"]
)
def test_a_run_json_without_its_parts_is_refused(missing):
    held = description()
    del held[missing]
    with pytest.raises(ModelError, match="was doctored, or written by another version"):
        resumed(options(), held, RUN)


def test_versions_are_those_of_what_the_bits_depend_on():
    assert set(versions()) == {"mitsugo", "python", "torch", "numpy"}

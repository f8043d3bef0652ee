"""What was asked for and what the run folder holds become one plan."""

import os
from pathlib import Path

import pytest
import torch

from mitsugo.errors import ModelError, UsageError
from mitsugo.recipes import RECIPES
from mitsugo.tasks.plan import TrainOptions, planned, resumed, versions
from mitsugo.tasks.sourcing import AS_IT_IS

RUN = Path("runs/a")


def options(**given):
    return TrainOptions(source="digits", **given)


def description(**changes):
    plan = planned(options(recipe="article", epochs=5, seed=3))
    held = {
        "source": AS_IT_IS.plain(),
        "versions": {},
        "recipe": plan.recipe.plain(),
        "seed": plan.seed,
        "device": "cpu",
        "start_epoch": 0,
        "threads": 2,
        "budget": None,
        "asked": {"epochs": 5},
    }
    return {**held, **changes}


def test_what_was_not_said_is_the_default_recipes():
    plan = planned(options())
    assert plan.recipe == RECIPES["standard"]
    assert (plan.seed, plan.start_epoch, plan.budget, plan.asked) == (0, 0, None, {})
    assert plan.threads == torch.get_num_threads()
    assert planned(options(recipe="article")).recipe.epochs == 10


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
        ({"recipe": "article", "start_epoch": -1}, "--start-epoch -1: expected 0 to 10"),
        ({"recipe": "article", "start_epoch": 11}, "--start-epoch 11: expected 0 to 10"),
        ({"epochs": 2, "start_epoch": 3}, "--start-epoch 3: expected 0 to 2"),
        ({"recipe": "raw-pixels", "epochs": 3}, "--epochs: the recipe raw-pixels trains nothing"),
        ({"recipe": "raw-pixels", "budget": "1m"}, "--budget 1m: .* goes with a recipe that trains"),
        ({"budget": "1m", "epochs": 3}, "--budget 1m: gives the number of steps, so it goes .* without --ep"),
        ({"budget": "1m", "settings": ("epochs=3",)}, "--budget 1m: .* without --epochs"),
        ({"budget": "1m", "settings": ("steps=3",)}, "--budget 1m: .* without .*--set steps=N"),
        ({"budget": "1m", "start_epoch": 1}, "--budget 1m: .* without .*--start-epoch"),
        ({"budget": "0s"}, "--budget 0s: is no time; expected seconds, minutes or hours as 90s, 2m or 1h"),
        ({"budget": "-1s"}, "--budget -1s: is no time"),
        ({"budget": "10x"}, "--budget 10x: is no time"),
        ({"budget": "2ms"}, "--budget 2ms: is no time"),
        ({"budget": "nan"}, "--budget nan: is no time"),
        ({"budget": "infh"}, "--budget infh: is no time"),
        ({"budget": ""}, "--budget : is no time"),
        ({"settings": ("margin",)}, "--set margin: margin sets nothing, expected key=value"),
        ({"settings": ("depth=3",)}, "depth is no key of a recipe"),
        ({"settings": ("margin=[1]",)}, "margin: input should be a valid number"),
        ({"loss": "triplets"}, "loss: input should be 'triplet', 'contrastive'"),
        ({"precision": "float16"}, "precision: input should be 'float32', 'bfloat16' or 'auto'"),
        (
            {"recipe": "article", "loss": "triplet-all", "settings": ("batches=triplets",)},
            "--loss triplet-all",
        ),
    ],
)
def test_what_cannot_be_meant(given, message):
    with pytest.raises(UsageError, match=message):
        planned(options(**given))


def test_any_key_of_a_recipe_can_be_set():
    given = ("hidden=[64, 32]", "normalised=true", "batch-size=50", "margin=0.25", "distance=cosine")
    plan = planned(options(settings=given, loss="triplet-hard", precision="float32", margin=0.5))
    recipe = plan.recipe
    assert (recipe.hidden, recipe.normalised, recipe.batch_size) == ((64, 32), True, 50)
    assert (recipe.distance, recipe.loss, recipe.precision) == ("cosine", "triplet-hard", "float32")
    assert recipe.margin == 0.5, "an option of its own says more than --set"
    assert plan.asked["hidden"] == [64, 32]


def test_a_recipe_that_is_given_a_loss_of_labelled_batches_gets_them():
    recipe = planned(options(recipe="article", loss="triplet-all", epochs=3)).recipe
    assert (recipe.network, recipe.batches, recipe.loss, recipe.epochs) == ("mlp", "p-by-k", "triplet-all", 3)
    assert planned(options(recipe="article", loss="softmax")).recipe.batches == "shuffled"


def test_a_budget_is_told_in_seconds_minutes_or_hours():
    assert [planned(options(budget=text)).budget for text in ("90", "90s", "1.5m", "2h", "1e3s")] == [
        90,
        90,
        90,
        7200,
        1000,
    ]


def test_a_file_is_a_recipe(tmp_path):
    file = tmp_path / "mine.toml"
    file.write_text('base = "article"\nmargin = 0.5\nhidden = [8]\n')
    plan = planned(options(recipe=str(file), epochs=2))
    assert (plan.recipe.name, plan.recipe.margin, plan.recipe.hidden) == ("mine", 0.5, (8,))
    assert plan.recipe.epochs == plan.asked["epochs"] == 2
    assert plan.asked["hidden"] == [8]


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


def test_a_total_may_be_named_again_and_the_newest_counts():
    held = description(recipe={**planned(options(recipe="article")).recipe.plain(), "epochs": 9})
    plan = resumed(options(epochs=5), held, RUN)
    assert plan.recipe.epochs == 9, "asked for 5, settled as 9"
    longer = resumed(options(epochs=12), held, RUN)
    assert (longer.recipe.epochs, longer.asked["epochs"]) == (12, 12)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"schedule": "one-cycle"},
            "--epochs 6: the one cycle of rates of the run in runs/a was laid over 5",
        ),
        ({"steps": 50}, "--epochs 6: the run in runs/a ends after 50 steps; a longer run is another run"),
    ],
)
def test_what_was_laid_over_its_steps_is_not_made_longer(changes, message):
    held = description(recipe={**planned(options(recipe="article", epochs=5)).recipe.plain(), **changes})
    assert resumed(options(epochs=5), held, RUN).recipe.epochs == 5
    with pytest.raises(UsageError, match=message):
        resumed(options(epochs=6), held, RUN)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"loss": "softmax"}, "--loss softmax: the run in runs/a began with triplet"),
        ({"precision": "bfloat16"}, "--precision bfloat16: .* began with float32"),
        ({"settings": ("hidden=[9]",)}, r"--hidden \[9\]: .* began with \[256, 256\]"),
        ({"budget": "2m"}, r"--budget 120\.0: .* began with None"),
        ({"recipe": "standard"}, "--recipe standard: .* began with article"),
    ],
)
def test_another_setting_is_refused_by_its_name(given, message):
    with pytest.raises(UsageError, match=message):
        resumed(options(**given), description(), RUN)


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
        {"asked": None},
        {"threads": 0},
        {"threads": 100_000},
        {"threads": None},
    ],
)
def test_a_run_json_of_another_version_is_refused(changes):
    with pytest.raises(ModelError, match=r"runs/a/run.json: was doctored, or written by another version"):
        resumed(options(), description(**changes), RUN)


@pytest.mark.parametrize(
    "missing",
    ["source", "versions", "recipe", "seed", "device", "start_epoch", "threads", "budget", "asked"],
)
def test_a_run_json_without_its_parts_is_refused(missing):
    held = description()
    del held[missing]
    with pytest.raises(ModelError, match="was doctored, or written by another version"):
        resumed(options(), held, RUN)


def test_versions_are_those_of_what_the_bits_depend_on():
    assert set(versions()) == {"mitsugo", "python", "torch", "numpy"}

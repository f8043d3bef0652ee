"""Recipes: rates by hand, and every value that cannot be meant."""

import dataclasses
import math

import pytest

from mitsugo.errors import UsageError
from mitsugo.recipes import BATCHES_OF, DEFAULT, RECIPES, Recipe
from mitsugo.settings import changed
from mitsugo.space.losses import LOSSES


def cycle(**changes):
    """One cycle of rates up to 1, over 8 steps: 2 epochs of 4 batches."""
    fields = {
        "name": "cycle",
        "what": "a rate that goes up and down",
        "schedule": "one-cycle",
        "learning_rate": 1.0,
        "warmup": 0.25,
        "epochs": 2,
    }
    return Recipe(**(fields | changes))


def rates(recipe, batches=4):
    total = recipe.steps or recipe.epochs * batches
    return [recipe.rate(1 + step // batches, step % batches, batches) for step in range(total)]


def test_the_article_runs_seven_epochs_at_2e_4_and_three_at_2e_5():
    found = [RECIPES["article"].rate(epoch) for epoch in range(1, 11)]
    assert found == pytest.approx([2e-4] * 7 + [2e-5] * 3)
    assert RECIPES["article"].rate(16) == pytest.approx(2e-6)


def test_the_articles_rate_is_the_same_in_all_batches_of_an_epoch():
    assert {RECIPES["article"].rate(8, batch, 469) for batch in (0, 1, 468)} == {RECIPES["article"].rate(8)}


def test_a_cycle_rises_in_a_line_and_falls_along_half_a_cosine():
    half = math.sqrt(3) / 2
    # 2 of 8 steps rise; then the cosine of 0, 30, 60, 90, 120, 150 degrees, brought between 1 and 0
    falling = [0.5 * (1 + c) for c in (1, half, 0.5, 0, -0.5, -half)]
    assert rates(cycle()) == pytest.approx([0.5, 1.0, *falling])


def test_a_cycle_without_warm_up_begins_at_its_top():
    assert rates(cycle(warmup=0.0, epochs=1)) == pytest.approx(
        [1, 0.5 + math.sqrt(2) / 4, 0.5, 0.5 - math.sqrt(2) / 4]
    )


def test_steps_that_a_budget_set_are_the_whole_cycle():
    # 1.5 of 6 steps rise: two thirds, then the top, half a step early; 4.5 steps fall
    falling = [0.5 * (1 + math.cos(math.pi * step / 4.5)) for step in (0.5, 1.5, 2.5, 3.5)]
    assert rates(cycle(steps=6)) == pytest.approx([2 / 3, 1.0, *falling])


@pytest.mark.parametrize("name", ["standard", "standard-softmax"])
def test_the_standards_cycle_goes_up_once_and_down_to_nearly_nothing(name):
    recipe = RECIPES[name]
    found = rates(recipe, batches=300)
    top = found.index(max(found))
    assert max(found) == recipe.learning_rate
    assert top == 0.15 * 12 * 300 - 1
    assert found[: top + 1] == sorted(found[: top + 1])
    assert found[top:] == sorted(found[top:], reverse=True)
    assert 0 < found[-1] < 1e-5 * recipe.learning_rate


def test_the_article_is_to_the_letter():
    article = RECIPES["article"].plain()
    expected = {
        "network": "mlp",
        "hidden": [256, 256],
        "dimension": 128,
        "normalised": False,
        "batches": "triplets",
        "loss": "triplet",
        "margin": 1.0,
        "size_average": True,
        "batch_size": 128,
        "epochs": 10,
        "least_steps": 0,
        "steps": None,
        "schedule": "decay",
        "precision": "float32",
        "validation_share": 0.0,
        "keep": "last",
    }
    assert {key: article[key] for key in expected} == expected
    changes = ("shift", "rotation", "scale", "shear", "brightness", "contrast", "noise", "erase")
    assert {article[key] for key in (*changes, "flip_horizontal", "flip_vertical")} == {0.0}


def test_the_siamese_differs_from_the_article_by_its_pairs_alone():
    one, other = (RECIPES[name].plain() for name in ("article", "article-siamese"))
    differing = {key for key in one if one[key] != other[key]} - {"name", "what"}
    assert differing == {"batches", "loss"}
    assert (other["batches"], other["loss"]) == ("pairs", "contrastive")


def test_the_baseline_differs_from_the_standard_by_its_loss_alone():
    one, other = (RECIPES[name].plain() for name in ("standard", "standard-softmax"))
    assert {key for key in one if one[key] != other[key]} == {"name", "what", "batches", "loss"}


def test_the_recipes_for_photos_differ_from_the_standard_where_they_say():
    standard, photos, pretrained = (
        RECIPES[name].plain() for name in ("standard", "photos", "photos-pretrained")
    )
    size = {"batch_size", "epochs"}
    assert {key for key in standard if standard[key] != photos[key]} == {"name", "what", *NETWORK, *size}
    trunk = {"backbone", "frozen", "views", "precision"}
    differing = {key for key in photos if photos[key] != pretrained[key]}
    assert differing == {"name", "what", "network", "channels", "blocks"} | trunk
    assert (photos["network"], pretrained["network"], pretrained["frozen"]) == ("residual", "backbone", True)


def test_the_default_is_the_standard_and_every_recipe_has_its_own_name():
    assert DEFAULT == "standard"
    assert {name: recipe.name for name, recipe in RECIPES.items()} == {name: name for name in RECIPES}


def test_every_loss_of_the_family_has_batches_that_a_recipe_takes_and_no_other_loss_is_known():
    for loss in LOSSES:
        for batches in BATCHES_OF.get(loss, ("p-by-k",)):
            recipe = Recipe(name="one", what="of each", loss=loss, batches=batches)
            assert recipe.labeled == (batches in {"p-by-k", "shuffled"})
    literal = Recipe.__annotations__["loss"].__args__
    assert set(literal) == set(LOSSES)


NETWORK = {"network", "channels", "blocks", "hidden"}
SOFTMAX = {"loss": "softmax", "batches": "shuffled"}
CONVNET = {"network": "convnet", "channels": (8,)}
RESIDUAL = {"network": "residual", "channels": (8, 16), "blocks": (1, 1)}
BACKBONE = {"network": "backbone", "backbone": "test_resnet"}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"epochs": -1}, "--epochs is -1, expected 0 to 1000000"),
        ({"dimension": 0}, "--dimension is 0, expected 1 to 65536"),
        ({"dimension": 65537}, "--dimension is 65537, expected 1 to 65536"),
        ({"batch_size": 0}, "--batch-size is 0, expected 1 to 1048576"),
        ({"images_per_class": 1}, "--images-per-class is 1, expected 2 to 65536"),
        ({"least_steps": -1}, "--least-steps is -1, expected 0 to 1000000000"),
        ({"steps": 0}, "--steps is 0, expected 1 to 1000000000"),
        ({"decay_every": 0}, "--decay-every is 0, expected 1 to 1000000"),
        ({"margin": 0.0}, "--margin is 0.0, expected a positive number"),
        ({"margin": math.nan}, "--margin is nan, expected a positive number"),
        ({"learning_rate": math.inf}, "--learning-rate is inf, expected a positive number"),
        ({"decay": -0.5}, "--decay is -0.5, expected a positive number"),
        ({"temperature": 0.0}, "--temperature is 0.0, expected a positive number"),
        ({"warmup": 0.95}, "--warmup is 0.95, expected 0 to 0.9"),
        ({"warmup": math.nan}, "--warmup is nan, expected 0 to 0.9"),
        ({"validation_share": -0.1}, "--validation-share is -0.1, expected 0 to 0.9"),
        (
            {"loss": "triplet-all"},
            "--loss triplet-all: cannot use the batches of toy, triplets; set batches to p-by-k",
        ),
        (
            {"loss": "softmax"},
            "--loss softmax: cannot use the batches of toy, triplets; set batches to shuffled",
        ),
        (
            {"batches": "pairs"},
            "--loss triplet: cannot use the batches of toy, pairs; set batches to triplets",
        ),
        (
            {"keep": "best"},
            "--keep best: chooses by validation images, so set --validation-share above 0; .* choose nothing",
        ),
        ({"hidden": (256, 0)}, "--hidden holds 0, expected 1 to 65536"),
        (CONVNET | {"channels": (65537,)}, "--channels holds 65537, expected 1 to 65536"),
        (
            {"network": "convnet"},
            r"--channels is empty: a convnet has stages, so set channels to \[32, 64\] or others",
        ),
        (
            {"channels": (8, 9)},
            r"--channels is \[8, 9\]: the network mlp has no stages, so set channels to \[\]",
        ),
        (
            {"network": "raw-pixels"},
            "--network raw-pixels: has no weights to train; take --recipe raw-pixels",
        ),
        (
            CONVNET | SOFTMAX | {"batch_size": 1},
            "--batch-size is 1, expected 2 or more: a convnet compares the images of a batch",
        ),
        (
            BACKBONE | SOFTMAX | {"batch_size": 1},
            "--batch-size is 1, expected 2 or more: a backbone compares the images of a batch",
        ),
        (
            RESIDUAL | {"channels": (), "blocks": ()},
            r"--channels is empty: a residual has stages, so set channels to \[32, 64\] or others",
        ),
        (
            RESIDUAL | {"blocks": (1,)},
            r"--blocks is \[1\]: the network residual has 2 stages of blocks, so set blocks to \[1, 1\]",
        ),
        (
            CONVNET | {"blocks": (1,)},
            r"--blocks is \[1\]: the network convnet has 0 stages of blocks, so set blocks to \[\]",
        ),
        (RESIDUAL | {"blocks": (1, 17)}, "--blocks holds 17, expected 1 to 16"),
        (RESIDUAL | {"blocks": (0, 1)}, "--blocks holds 0, expected 1 to 16"),
        (
            BACKBONE | {"backbone": ""},
            "--backbone is empty: set backbone to a model of timm, as tf_efficientnet_lite0",
        ),
        (
            {"backbone": "test_resnet"},
            "--backbone is test_resnet: the network mlp has no backbone; take --recipe photos-pretrained, .*",
        ),
        ({"backbone_weights": "a"}, "--backbone-weights is a: the network mlp has no backbone; .*"),
        ({"backbone_sha256": "a"}, "--backbone-sha256 is a: the network mlp has no backbone; .*"),
        ({"backbone_side": 9}, "--backbone-side is 9: the network mlp has no backbone; .*"),
        ({"frozen": True}, "--frozen is True: the network mlp has no backbone; .*"),
        (BACKBONE | {"channels": (8,)}, r"--channels is \[8\]: the network backbone has no stages, .*"),
        (BACKBONE | {"backbone_side": 4097}, "--backbone-side is 4097, expected 1 to 4096"),
        (BACKBONE | {"views": 0}, "--views is 0, expected 1 to 100"),
        (
            BACKBONE | {"views": 2},
            "--views is 2: only a frozen backbone has views that are drawn once; set it to 1",
        ),
    ],
)
def test_values_that_cannot_be_meant(change, message):
    with pytest.raises(UsageError, match=f"^{message}$"):
        Recipe(**({"name": "toy", "what": "to be refused"} | change))


@pytest.mark.parametrize(
    "change",
    [
        {"epochs": 0},
        {"dimension": 65536, "hidden": (65536,)},
        {"validation_share": 0.9, "keep": "best", "warmup": 0.0},
        SOFTMAX | {"batch_size": 1},
        CONVNET | SOFTMAX | {"batch_size": 2},
        {"loss": "softmax", "batches": "p-by-k"},
        {"batches": "none", "keep": "best"},
        {"steps": 1, "least_steps": 0, "images_per_class": 2},
        RESIDUAL | {"blocks": (1, 16)},
        BACKBONE | {"backbone_side": 4096, "frozen": True, "views": 100, "backbone_weights": "a.safetensors"},
    ],
)
def test_values_at_the_edge_of_what_can_be_meant(change):
    recipe = Recipe(**({"name": "toy", "what": "to be taken"} | change))
    assert {key: getattr(recipe, key) for key in change} == change


def test_a_recipe_is_told_as_json_values():
    plain = RECIPES["standard"].plain()
    assert list(plain) == [field.name for field in dataclasses.fields(Recipe)]
    assert (plain["channels"], plain["hidden"], plain["flip_horizontal"]) == ([32, 64, 96], [256], None)
    assert changed(RECIPES["standard"], margin=0.5).plain() == plain | {"margin": 0.5}

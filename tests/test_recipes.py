import pytest

from mitsugo.errors import UsageError
from mitsugo.recipes import RECIPES, changed, named, parsed


def test_the_article_runs_seven_epochs_at_2e_4_and_three_at_2e_5():
    rates = [RECIPES["article"].rate(epoch) for epoch in range(1, 11)]
    assert rates == pytest.approx([2e-4] * 7 + [2e-5] * 3)
    assert RECIPES["article"].rate(16) == pytest.approx(2e-6)


def test_the_article_is_to_the_letter():
    article = RECIPES["article"].plain()
    assert {key: article[key] for key in ("hidden", "dimension", "margin", "batch_size", "epochs")} == {
        "hidden": [256, 256],
        "dimension": 128,
        "margin": 1.0,
        "batch_size": 128,
        "epochs": 10,
    }


def test_an_unknown_recipe_suggests_the_nearest():
    with pytest.raises(UsageError, match="--recipe artcle: .* did you mean article"):
        named("artcle")
    with pytest.raises(UsageError, match="`mitsugo recipes` lists them"):
        named("qqq")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"epochs": -1}, "--epochs is -1, expected 0 to"),
        ({"dimension": 0}, "--dimension is 0, expected 1 to"),
        ({"batch_size": 0}, "--batch-size is 0"),
        ({"margin": 0.0}, "--margin is 0.0, expected a positive number"),
        ({"margin": float("nan")}, "--margin is nan, expected a positive number"),
        ({"learning_rate": float("inf")}, "--learning-rate is inf"),
    ],
)
def test_values_that_cannot_be_meant(change, message):
    with pytest.raises(UsageError, match=message):
        changed(RECIPES["article"], **change)


def test_what_was_not_said_stays():
    assert changed(RECIPES["article"], epochs=None, margin=None) == RECIPES["article"]


def test_a_recipe_that_trains_nothing_has_nothing_to_change():
    with pytest.raises(UsageError, match="--epochs: the recipe raw-pixels trains nothing"):
        changed(RECIPES["raw-pixels"], epochs=3)


def test_settings_in_a_text():
    recipe = parsed("article:epochs=0:margin=0.5:batch-size=32")
    assert (recipe.epochs, recipe.margin, recipe.batch_size) == (0, 0.5, 32)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("article:depth=3", "depth=3 sets nothing known"),
        ("article:epochs=many", "epochs is 'many', expected a number"),
        ("article:epochs", "epochs is '', expected a number"),
        ("art:epochs=3", "there is no such recipe"),
    ],
)
def test_settings_that_cannot_be_meant(text, message):
    with pytest.raises(UsageError, match=message):
        parsed(text)

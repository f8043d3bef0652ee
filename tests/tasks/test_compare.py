"""Recipes against each other: one table, and what can be told from it."""

import pytest

from mitsugo.errors import DataError, UsageError
from mitsugo.tasks.compare import compare
from mitsugo.terminal import compared


class Heard:
    """Hears which trial is on."""

    def __init__(self):
        self.said, self.epochs, self.batches = [], 0, 0

    def say(self, sentence):
        self.said.append(sentence)

    def warn(self, sentence):
        raise AssertionError(sentence)

    def progress(self, progress, epochs):
        self.batches += 1

    def reading(self, done, total):
        pass

    def epoch(self, epoch, epochs):
        self.epochs += 1


@pytest.fixture(scope="module")
def decided():
    """The article, the article untrained, and raw pixels, on digits."""
    return compare(
        "digits", ["article:epochs=0:dimension=2", "article:dimension=2", "raw-pixels"], seeds=3, epochs=4
    )


def test_the_article_is_better_than_an_untrained_network(decided):
    (pair,) = [p for p in decided["pairs"] if p["one"].startswith("article:dim")]
    assert pair["other"] == "article:epochs=0:dimension=2"
    assert pair["verdict"] == "better"
    assert pair["difference"] > 0.05
    assert 0 < pair["low"] < pair["difference"] < pair["high"]
    assert pair["p_holm"] < 0.05


def test_a_difference_is_that_of_the_accuracies_over_the_seeds(decided):
    accuracy = {row["name"]: row["knn_accuracy"] for row in decided["recipes"]}
    assert len(decided["pairs"]) == 3
    for pair in decided["pairs"]:
        one, other = accuracy[pair["one"]], accuracy[pair["other"]]
        assert pair["difference"] == pytest.approx(one["value"] - other["value"])
    for score in accuracy.values():
        assert score["value"] == pytest.approx(sum(score["by_seed"]) / 3)
        assert score["n"] == decided["test_images"] == 359
        assert score["low"] < score["value"] < score["high"]


def test_the_rows_say_what_was_spent(decided):
    untrained, article, raw = decided["recipes"]
    assert [row["epochs"] for row in (untrained, article, raw)] == [0, 4, 0]
    assert [row["images_seen"] for row in (untrained, article, raw)] == [0, 4 * 3 * 1438, 0]
    assert untrained["core_seconds"] == raw["core_seconds"] == 0 < article["core_seconds"]
    assert len(set(raw["knn_accuracy"]["by_seed"])) == 1, "raw pixels do not depend on the seed"


def test_the_table_is_aligned_and_says_what_can_be_told(decided):
    header, *rows, empty, first, second, third, _, how = compared(decided).splitlines()
    assert len(rows) == 3
    assert empty == ""
    for column in ("5-NN, %", "silhouette", "epochs", "core-s"):
        at = header.index(column)
        for row in rows:
            assert row[at - 2 : at] == "  "
            assert row[at] != " "
    assert "article:dimension=2 - article:epochs=0:dimension=2: " in first
    assert first.endswith("article:dimension=2 is better")
    assert "points, p = " in second
    assert third.startswith("raw-pixels - article:dimension=2: ")
    assert "Intervals are 95 %" in how


def test_the_articles_and_the_default_recipe_with_its_baseline_on_digits():
    recipes = ["article", "standard", "standard-softmax"]
    comparison = compare("digits", recipes, seeds=1, epochs=1)
    assert [row["name"] for row in comparison["recipes"]] == recipes
    assert [row["epochs"] for row in comparison["recipes"]] == [1, 1, 1], (
        "--epochs is not raised to any steps"
    )
    assert comparison["test_images"] == 359
    assert {row["knn_accuracy"]["n"] for row in comparison["recipes"]} == {359}
    assert [(pair["one"], pair["other"]) for pair in comparison["pairs"]] == [
        ("standard", "article"),
        ("standard-softmax", "article"),
        ("standard-softmax", "standard"),
    ]
    seen = {row["name"]: row["images_seen"] for row in comparison["recipes"]}
    assert seen["article"] == 3 * 1438, "three images an anchor"
    assert 1293 <= seen["standard"] < 3 * 1293
    for row in comparison["recipes"]:
        assert row["knn_accuracy"]["value"] > 0.85


def test_a_setting_behind_a_colon_reaches_the_recipe(tiny):
    shrunk = "standard:channels=[4]:hidden=[4]:batch-size=8:images-per-class=2"
    comparison = compare(str(tiny), [f"{shrunk}:epochs=2", "raw-pixels"], seeds=1, epochs=1)
    assert [row["epochs"] for row in comparison["recipes"]] == [2, 0]


def test_a_recipe_against_itself_under_other_seeds_cannot_be_told():
    comparison = compare("digits", ["article", "article"], seeds=2, epochs=1)
    (pair,) = comparison["pairs"]
    assert (pair["one"], pair["other"]) == ("article (other seeds)", "article")
    assert pair["verdict"] == "cannot tell"
    assert "points, p = " in compared(comparison)
    assert ": cannot tell" in compared(comparison)


def test_the_same_recipe_again_gets_other_seeds_and_another_name(tiny):
    heard = Heard()
    comparison = compare(str(tiny), ["article"] * 3, seeds=2, epochs=1, talk=heard)
    assert [row["name"] for row in comparison["recipes"]] == [
        "article",
        "article (other seeds)",
        "article (3)",
    ]
    assert [pair["verdict"] for pair in comparison["pairs"]] == ["cannot tell"] * 3
    seeds_of = {"article": (0, 1), "article (other seeds)": (2, 3), "article (3)": (4, 5)}
    assert heard.said == [f"{name}, seed {seed}" for name, seeds in seeds_of.items() for seed in seeds]
    assert (heard.epochs, heard.batches) == (6, 6)


def test_one_seed_cannot_tell(tiny):
    comparison = compare(str(tiny), ["article", "article:epochs=0"], seeds=1, epochs=1)
    (pair,) = comparison["pairs"]
    assert pair["verdict"] == "cannot tell"
    assert [row["epochs"] for row in comparison["recipes"]] == [1, 0]


def test_the_same_comparison_gives_the_same_numbers(tiny):
    def numbers():
        comparison = compare(str(tiny), ["article", "article-siamese"], seeds=2, epochs=1)
        rows = [row["knn_accuracy"] for row in comparison["recipes"]]
        return rows, comparison["pairs"]

    assert numbers() == numbers()


def test_spaces_around_names_are_nothing(tiny):
    comparison = compare(str(tiny), [" article:epochs=0", "raw-pixels "], seeds=1)
    assert [row["name"] for row in comparison["recipes"]] == ["article:epochs=0", "raw-pixels"]


@pytest.mark.parametrize(
    ("recipes", "options", "message"),
    [
        (["article"], {}, "--recipes article: names 1, expected two or more"),
        (["article", "artcle"], {}, "there is no such recipe.* did you mean article"),
        (["article", ""], {}, "there is no such recipe"),
        (["article", "article:depth=2"], {}, "depth is no key of a recipe"),
        (["article", "raw-pixels"], {"seeds": 0}, "--seeds 0: expected 1 or more"),
        (["article", "raw-pixels"], {"epochs": -1}, "--epochs is -1, expected 0 to"),
        (["article", "raw-pixels"], {"device": "nonsense"}, "--device nonsense"),
    ],
)
def test_what_cannot_be_compared(tiny, recipes, options, message):
    with pytest.raises(UsageError, match=message):
        compare(str(tiny), recipes, **options)


def test_one_class_only_stops_at_once(tmp_path, write_idx):
    with pytest.raises(DataError, match="the training images are all of one class"):
        compare(str(write_idx(tmp_path / "one", classes=1)), ["article", "raw-pixels"])

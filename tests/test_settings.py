"""Which recipe is meant: names, TOML files, changes; whatever cannot be meant is one line."""

import pytest

from mitsugo.errors import UsageError
from mitsugo.recipes import RECIPES
from mitsugo.settings import changed, named, parsed, read, remade, setting

STANDARD = RECIPES["standard"]
ARTICLE = RECIPES["article"]


@pytest.fixture
def toml(tmp_path):
    """Write a recipe file."""

    def write(text, name="mine.toml"):
        path = tmp_path / name
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return path

    return write


def test_a_recipe_is_found_by_its_name():
    assert {name: named(name) for name in RECIPES} == RECIPES


def test_an_unknown_recipe_suggests_the_nearest():
    with pytest.raises(UsageError, match="^--recipe artcle: .*; did you mean article\\?$"):
        named("artcle")
    listed = (
        "expected one of standard, standard-softmax, photos, photos-pretrained, article, article-siamese, "
        "raw-pixels or a .toml file"
    )
    with pytest.raises(UsageError, match=f"^--recipe qqq: there is no such recipe, {listed}; .*lists them$"):
        named("qqq")


def test_a_file_changes_the_recipe_that_it_is_based_on(toml):
    path = toml('base = "article"\nhidden = [64]\nmargin = 2\nsize_average = false\nwhat = "a smaller one"')
    recipe = named(str(path))
    assert recipe.plain() == ARTICLE.plain() | {
        "name": "mine",
        "what": "a smaller one",
        "hidden": [64],
        "margin": 2.0,
        "size_average": False,
    }
    assert recipe == read(path)


def test_a_file_without_a_base_changes_the_default_and_may_name_itself(toml):
    assert read(toml('name = "bottles"\nrotation = 180.0')).plain() == STANDARD.plain() | {
        "name": "bottles",
        "rotation": 180.0,
    }
    assert read(toml("", "瓶.toml")).plain() == STANDARD.plain() | {"name": "瓶"}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("batchsize = 3", "batchsize is no key of a recipe; did you mean batch_size?"),
        ("zzz = 3", "zzz is no key of a recipe; `mitsugo recipes standard` shows every key"),
        (
            '"two\\nlines" = 3',
            "'two\\nlines' is no key of a recipe; `mitsugo recipes standard` shows every key",
        ),
        ("[augmentation]\nshift = 0.1", "augmentation is no key of a recipe; did you mean rotation?"),
        ('epochs = "3"', "epochs: input should be a valid integer"),
        ("epochs = 3.0", "epochs: input should be a valid integer"),
        ("epochs = true", "epochs: input should be a valid integer"),
        ("epochs = nan", "epochs: input should be a valid integer"),
        ("epochs = 2020-01-01", "epochs: input should be a valid integer"),
        ('margin = "wide"', "margin: input should be a valid number"),
        ('normalised = "no"', "normalised: input should be a valid boolean"),
        ("hidden = 256", "hidden: input should be a valid array"),
        ("hidden = [256.5]", "hidden: input should be a valid integer"),
        ("what = 3", "what: input should be a valid string"),
        (
            'network = "cnn"',
            "network: input should be 'mlp', 'convnet', 'residual', 'backbone' or 'raw-pixels'",
        ),
        ('base = "artcle"', f"base is 'artcle', expected one of {', '.join(RECIPES)}"),
        ("base = []", f"base is [], expected one of {', '.join(RECIPES)}"),
    ],
)
def test_a_key_or_a_value_that_a_recipe_does_not_have(toml, text, message):
    path = toml(text)
    with pytest.raises(UsageError) as refusal:
        read(path)
    assert str(refusal.value) == f"--recipe {path}: {message}"


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"epochs: 3", "expected '=' after a key"),
        (b"epochs = 3\nepochs = 4", "cannot overwrite a value"),
        (b"\xff", "'utf-8' codec"),
        (b"epochs = " + b"9" * 5000, "exceeds the limit"),
        (b"epochs = " + b"[" * 100_000, "recursion|nest"),
    ],
)
def test_a_file_that_is_no_toml(toml, content, why):
    with pytest.raises(UsageError, match=rf"(?i)^--recipe .*mine\.toml: is no TOML: .*({why})") as refusal:
        read(toml(content))
    assert str(refusal.value).isprintable()


def test_a_file_that_cannot_be_read(tmp_path):
    with pytest.raises(UsageError, match=r"^--recipe .*no\.toml: cannot be read: no such file or directory$"):
        named(str(tmp_path / "no.toml"))
    (tmp_path / "folder.toml").mkdir()
    with pytest.raises(UsageError, match=r"folder\.toml: cannot be read: is a directory$"):
        named(str(tmp_path / "folder.toml"))


def test_the_recipes_own_word_is_kept(toml):
    with pytest.raises(UsageError, match="^--margin is -1.0, expected a positive number$"):
        read(toml("margin = -1.0"))


def test_what_was_not_said_stays():
    assert changed(ARTICLE, epochs=None, margin=None) is ARTICLE


def test_what_was_said_is_changed_and_nothing_else():
    assert changed(ARTICLE, margin=0.5, hidden=[8]).plain() == ARTICLE.plain() | {
        "margin": 0.5,
        "hidden": [8],
    }


@pytest.mark.parametrize(
    ("base", "loss", "batches"),
    [
        (ARTICLE, "triplet-all", "p-by-k"),
        (ARTICLE, "triplet-semi-hard", "p-by-k"),
        (ARTICLE, "triplet-hard", "p-by-k"),
        (ARTICLE, "triplet-hard-soft", "p-by-k"),
        (ARTICLE, "supervised-contrastive", "p-by-k"),
        (ARTICLE, "softmax", "shuffled"),
        (ARTICLE, "contrastive", "pairs"),
        (ARTICLE, "triplet", "triplets"),
        (STANDARD, "triplet", "triplets"),
        (STANDARD, "contrastive", "pairs"),
        (STANDARD, "softmax", "p-by-k"),  # which it can use, so they stay
        (STANDARD, "triplet-semi-hard", "p-by-k"),
        (RECIPES["standard-softmax"], "triplet-all", "p-by-k"),
    ],
)
def test_a_loss_brings_the_batches_along_that_it_needs(base, loss, batches):
    assert changed(base, loss=loss).plain() == base.plain() | {"loss": loss, "batches": batches}


def test_batches_that_were_said_are_not_overruled():
    assert changed(ARTICLE, loss="softmax", batches="p-by-k").batches == "p-by-k"
    with pytest.raises(UsageError, match="--loss triplet-all: cannot use the batches of article, pairs"):
        changed(ARTICLE, loss="triplet-all", batches="pairs")


def test_who_names_the_epochs_means_them():
    assert STANDARD.least_steps > 0
    assert changed(STANDARD, epochs=3).plain() == STANDARD.plain() | {"epochs": 3, "least_steps": 0}
    assert changed(STANDARD, epochs=3, least_steps=50).least_steps == 50
    assert changed(STANDARD, margin=0.5).least_steps == STANDARD.least_steps


def test_a_recipe_that_trains_nothing_has_nothing_to_change():
    with pytest.raises(UsageError, match="^--epochs: the recipe raw-pixels trains nothing; leave it out$"):
        changed(RECIPES["raw-pixels"], epochs=3, margin=2.0)
    assert changed(RECIPES["raw-pixels"], epochs=None) is RECIPES["raw-pixels"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"loss": "hinge"}, "article: loss: input should be 'triplet', .* or 'softmax'"),
        ({"loss": ["triplet"]}, "article: loss: input should be 'triplet', .* or 'softmax'"),
        ({"epoch": 3}, r"article: epoch is no key of a recipe; did you mean epochs\?"),
        ({"epochs": 2.5}, "article: epochs: input should be a valid integer"),
        ({"epochs": -2}, "--epochs is -2, expected 0 to 1000000"),
    ],
)
def test_changes_that_cannot_be_meant(change, message):
    with pytest.raises(UsageError, match=f"^{message}$"):
        changed(ARTICLE, **change)


def test_settings_in_a_text():
    assert parsed("standard") is STANDARD
    recipe = parsed("article:epochs=0:margin=0.5:batch-size=32:hidden=[8, 9]:loss=triplet-all")
    assert recipe.plain() == ARTICLE.plain() | {
        "epochs": 0,
        "margin": 0.5,
        "batch_size": 32,
        "hidden": [8, 9],
        "loss": "triplet-all",
        "batches": "p-by-k",
    }


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "article:depth=3",
            "article: depth is no key of a recipe; `mitsugo recipes standard` shows every key",
        ),
        ("article:epochs=many", "article: epochs: input should be a valid integer"),
        ("article:epochs=true", "article: epochs: input should be a valid integer"),
        ("article:epochs=", "article: epochs: input should be a valid integer"),
        ("article:epochs", "--recipes article:epochs: epochs sets nothing, expected key=value"),
        ("article:=3", "--recipes article:=3: =3 sets nothing, expected key=value"),
        ("article:", "--recipes article:: {2}sets nothing, expected key=value"),
        ("art:epochs=3", "--recipe art: there is no such recipe, .*"),
    ],
)
def test_settings_that_cannot_be_meant(text, message):
    with pytest.raises(UsageError, match=f"^{message}$"):
        parsed(text)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("key=3", 3),
        ("key=0.5", 0.5),
        ("key=false", False),
        ('key="3"', "3"),
        ("key=[1, 2]", [1, 2]),
        ("key=word", "word"),
        ("key=two words = one", "two words = one"),
        ("key=", ""),
        ("key=" + "9" * 5000, "9" * 5000),
        ("key=" + "[" * 100_000, "[" * 100_000),
    ],
)
def test_a_value_is_read_as_toml_and_else_is_a_word(text, value):
    found = setting(text, "--set")
    assert found == ("key", value)
    assert type(found[1]) is type(value)


def test_a_key_may_be_written_as_an_option():
    assert setting("batch-size=3", "--set") == ("batch_size", 3)


@pytest.mark.parametrize("name", list(RECIPES))
def test_a_recipe_is_made_again_of_its_own_values(name):
    assert remade(RECIPES[name].plain(), "run.json") == RECIPES[name]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"name": None}, "run.json: name: input should be a valid string"),
        ({"depth": 3}, "run.json: depth is no key of a recipe; .*"),
        ({"name": "caf\udce9"}, "run.json: invalid json: lone leading surrogate .*"),
    ],
)
def test_a_recipe_is_not_made_of_others(change, message):
    with pytest.raises(UsageError, match=f"^{message}$") as refusal:
        remade(ARTICLE.plain() | change, "run.json")
    assert str(refusal.value).isprintable()
    with pytest.raises(UsageError, match=r"^run\.json: what: field required$"):
        remade({"name": "alone"}, "run.json")

"""What training sees, drawn on a sheet; nothing is trained."""

import numpy as np
import pytest
from PIL import Image

from mitsugo.errors import DataError, ResourceError, UsageError
from mitsugo.recipes import RECIPES
from mitsugo.tasks import show as show_module
from mitsugo.tasks.plan import TrainOptions
from mitsugo.tasks.show import show_augmentation


@pytest.fixture
def sheet(monkeypatch):
    """Keep what would be drawn."""
    drawn = []

    def draw(originals, variants, labels, path, title):
        drawn.append((originals, variants, labels, title))

    monkeypatch.setattr(show_module, "draw_augmentation", draw)
    return drawn


def test_a_png_is_written_and_nothing_else(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    document = show_augmentation(TrainOptions(source="digits"), tmp_path / "sheet.png")
    assert [file.name for file in tmp_path.iterdir()] == ["sheet.png"]
    with Image.open(tmp_path / "sheet.png") as image:
        assert image.format == "PNG"
        assert min(image.size) > 100
    assert document["recipe"] == "standard"
    assert document["file"] == str(tmp_path / "sheet.png")
    assert document["augmentation"]["rotation"] == RECIPES["standard"].rotation > 0
    assert document["augmentation"]["flip_horizontal"] == 0.0, "mirrored digits are no digits"


def test_a_row_a_class_and_eight_variants_of_its_first_training_image(tmp_path, sheet):
    show_augmentation(TrainOptions(source="digits"), tmp_path / "sheet.png")
    ((originals, variants, labels, title),) = sheet
    assert labels == list("0123456789")
    assert (originals.shape, variants.shape) == ((10, 1, 8, 8), (10, 8, 1, 8, 8))
    assert title == "standard: what training sees"
    for original, row in zip(originals, variants, strict=True):
        assert len({variant.tobytes() for variant in (original, *row)}) == 9
        near = np.abs(row.astype(int) - original).mean(axis=(1, 2, 3))
        assert near.max() < 90, "they still look like it"


def test_the_seed_and_the_options_decide(tmp_path, sheet):
    for given in ({}, {}, {"seed": 1}, {"settings": ("rotation=0",)}):
        show_augmentation(TrainOptions(source="digits", **given), tmp_path / "sheet.png")
    one, same, seed, still = (variants for _, variants, _, _ in sheet)
    assert np.array_equal(one, same)
    assert not np.array_equal(one, seed)
    assert not np.array_equal(one, still)


@pytest.mark.parametrize("recipe", ["article", "raw-pixels"])
def test_a_recipe_that_changes_nothing_shows_what_there_is(tmp_path, sheet, recipe):
    show_augmentation(TrainOptions(source="digits", recipe=recipe), tmp_path / "sheet.png")
    ((originals, variants, _, title),) = sheet
    assert (variants == originals[:, None]).all()
    assert title == f"{recipe}: what training sees"


def test_ten_classes_at_most(tmp_path, sheet, write_idx):
    source = write_idx(tmp_path / "many", train=60, test=30, classes=15)
    show_augmentation(TrainOptions(source=str(source)), tmp_path / "sheet.png")
    assert sheet[0][2] == [str(label) for label in range(10)]


def test_what_cannot_be_meant_read_or_written(tmp_path):
    out = tmp_path / "sheet.png"
    with pytest.raises(UsageError, match="--rotation is 200"):
        show_augmentation(TrainOptions(source="digits", settings=("rotation=200",)), out)
    with pytest.raises(DataError, match="cannot be read"):
        show_augmentation(TrainOptions(source=str(tmp_path / "gone")), out)
    with pytest.raises(ResourceError, match="cannot be written"):
        show_augmentation(TrainOptions(source="digits"), tmp_path / "gone" / "sheet.png")
    assert list(tmp_path.iterdir()) == []

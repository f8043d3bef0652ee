import io
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from mitsugo.report.figures import confusion, loss_curves, mistakes, scatter
from mitsugo.report.scattering import _caption

HOSTILE = ("_$\\frac{x$", "<script>alert(1)</script>", "🚗\n" + "傷" * 60)


def size(png):
    return Image.open(io.BytesIO(png)).size


def pixels(png):
    return np.asarray(Image.open(io.BytesIO(png)).convert("RGB"))


def has(png, color):
    wanted = [int(color[i : i + 2], 16) for i in (1, 3, 5)]
    return bool((pixels(png) == wanted).all(axis=2).any())


def test_loss_curves_are_drawn_at_their_size_in_their_colours(content):
    png = loss_curves(content.history, validation_is_test=True)
    assert size(png) == (960, 600)
    assert has(png, "#0072b2")
    assert has(png, "#c24f00")
    only_training = [replace(point, validation_loss=None) for point in content.history]
    assert not has(loss_curves(only_training, validation_is_test=False), "#c24f00")


def test_without_epochs_the_figure_says_so():
    nothing = loss_curves([], validation_is_test=False)
    assert size(nothing) == (960, 600)
    assert (pixels(nothing)[250:350] < 128).any()
    assert not has(nothing, "#0072b2")


def test_the_scatter_is_as_wide_as_its_legend_needs(points):
    one_column = scatter(points, ("a", "b", "c"))
    assert size(one_column) == (1350, 1170)
    many = replace(points, labels=np.arange(24), predicted=np.arange(24))
    assert size(scatter(many, tuple(map(str, range(24))))) == (1350, 1170)
    sixty = replace(
        points,
        flat=np.random.default_rng(0).normal(size=(60, 2)).astype(np.float32),
        labels=np.arange(60),
        predicted=np.arange(60),
        trust=np.ones(60),
        names=tuple(map(str, range(60))),
        thumbnails=np.zeros((60, 1, 2, 2), np.uint8),
    )
    assert size(scatter(sixty, tuple(f"部品 {i}" for i in range(60)))) == (1635, 1170)


def test_only_a_direct_scatter_has_numbers_on_its_axes(points):
    beside = slice(100, 1000), slice(10, 80)
    for direct in (False, True):
        png = scatter(replace(points, direct=direct), ("a", "b", "c"))
        assert bool((pixels(png)[beside] < 128).any()) is direct


def test_the_caption_says_how_many_and_how_true(points):
    assert _caption(points, 3).startswith(
        "Projected by t-SNE; 24 of 100 images shown.\nTrustworthiness 0.979 "
    )
    assert _caption(replace(points, direct=True), 3).endswith("as they are; 24 of 100 images shown.")


def test_the_scatter_says_when_there_is_nothing(bare):
    assert size(scatter(bare.map, bare.class_names)) == (1350, 1170)


@pytest.mark.parametrize(("classes", "wide"), [(1, 780), (3, 780), (10, 1110), (60, 2625), (300, 2625)])
def test_the_confusion_matrix_grows_with_the_classes(classes, wide):
    counts = np.diag(np.full(classes, 1000))
    assert size(confusion(counts, tuple(map(str, range(classes)))))[0] == wide


def test_cells_are_tinted_by_what_they_mean():
    png = confusion(np.array([[4, 0], [2, 0]]), ("a", "b"))
    assert has(png, "#7cc4a4")  # all of the first row is right
    assert has(png, "#ee9a6d")  # all of the second is wrong


def test_at_most_ten_mistakes_are_drawn(content, mistake):
    heights = [size(mistakes([mistake] * n, content.class_names))[1] for n in (0, 1, 10, 11)]
    assert heights == [352, 352, 2377, 2377]


def test_colour_photos_of_any_shape_are_drawn(content, mistake):
    photo = np.zeros((3, 50, 100), np.uint8)
    photo[0] = 255
    assert has(mistakes([replace(mistake, thumbnail=photo)], content.class_names), "#ff0000")


def test_hostile_names_are_drawn_as_they_are(content, mistake):
    named = replace(mistake, name="$\\bad{\n\udc80")
    for png in (
        scatter(content.map, HOSTILE),
        confusion(content.scores.confusion, HOSTILE),
        mistakes([named], HOSTILE),
    ):
        assert png.startswith(b"\x89PNG")


def test_the_same_values_give_the_same_bytes(content):
    def drawn():
        return (
            loss_curves(content.history, validation_is_test=False),
            scatter(content.map, content.class_names),
            confusion(content.scores.confusion, content.class_names),
            mistakes(content.mistakes, content.class_names),
        )

    assert drawn() == drawn()


def test_of_many_classes_the_scatter_names_sixty(points):
    many = replace(
        points,
        flat=np.random.default_rng(0).normal(size=(90, 2)).astype(np.float32),
        labels=np.arange(90),
        predicted=np.arange(90),
        trust=np.ones(90),
        names=tuple(map(str, range(90))),
        thumbnails=np.zeros((90, 1, 2, 2), np.uint8),
    )
    assert size(scatter(many, tuple(map(str, range(90))))) == (1635, 1170)
    assert "24 of 100 images shown, 60 of 90 classes named" in _caption(points, 90)

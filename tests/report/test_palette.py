import itertools

import pytest

from mitsugo.report.palette import (
    CURVES,
    GROUND,
    HEAT_KINDS,
    TEXT,
    class_colors,
    class_marks,
    heat_colors,
)


def luminance(color):
    """Return the relative luminance of WCAG 2.2."""
    parts = [int(color[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one, other):
    darker, lighter = sorted([luminance(one), luminance(other)])
    return (lighter + 0.05) / (darker + 0.05)


@pytest.mark.parametrize("ground", ["light", "dark"])
@pytest.mark.parametrize("kind", HEAT_KINDS)
def test_text_reads_on_every_tint(kind, ground):
    tints = heat_colors(kind, ground)
    assert len(set(tints)) == 7
    assert tints[0] == GROUND[ground]
    assert min(contrast(tint, TEXT[ground]) for tint in tints) >= 4.5


@pytest.mark.parametrize("ground", ["light", "dark"])
def test_the_curves_stand_out_from_the_ground(ground):
    assert min(contrast(color, GROUND[ground]) for color in CURVES[ground]) >= 3


@pytest.mark.parametrize("ground", ["light", "dark"])
def test_24_classes_have_colours_of_their_own_that_are_not_the_ground(ground):
    colors = class_colors(24, ground)
    assert len({*colors, GROUND[ground]}) == 25
    assert class_colors(25, ground)[24] == colors[0]


def test_colour_and_mark_tell_88_classes_apart():
    together = list(zip(class_colors(88), class_marks(88), strict=True))
    assert all(one != other for one, other in itertools.combinations(together, 2))

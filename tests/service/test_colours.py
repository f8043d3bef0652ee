"""What is written on the page can be read: 4.5:1 or better, in light and in dark."""

import re
from pathlib import Path

import pytest

STYLE = (Path(__file__).parents[2] / "src/mitsugo/service/static/page.css").read_text("utf-8")
ROOTS = [
    dict(re.findall(r"--([\w-]+): (#[0-9a-f]{6})", block))
    for block in re.findall(r":root \{(.*?)\}", STYLE, re.DOTALL)
]
INKS = ("text", "quiet", "accent", "ok", "ng", "amber")
PAIRS = [
    *((ink, ground) for ink in INKS for ground in ("ground", "card")),
    *((ink, f"{kind}-ground") for kind in ("ok", "ng", "amber") for ink in ("text", kind)),
    ("quiet", "amber-ground"),  # the figures of the gate
    ("on", "accent"),  # the button that is meant to be pressed
]


def luminance(colour: str) -> float:
    """Return the relative luminance of WCAG 2.2."""
    parts = [int(colour[place : place + 2], 16) / 255 for place in (1, 3, 5)]
    red, green, blue = (
        part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts
    )
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(one: str, other: str) -> float:
    high, low = sorted((luminance(one), luminance(other)), reverse=True)
    return (high + 0.05) / (low + 0.05)


def test_black_on_white_is_21_to_1():
    assert contrast("#000000", "#ffffff") == pytest.approx(21)


@pytest.mark.parametrize(("ink", "ground"), PAIRS)
@pytest.mark.parametrize("system", [0, 1], ids=["light", "dark"])
def test_ink_reads_on_its_ground(system, ink, ground):
    colours = ROOTS[0] | ROOTS[system]
    assert contrast(colours[ink], colours[ground]) >= 4.5


@pytest.mark.parametrize("system", [0, 1], ids=["light", "dark"])
def test_the_edge_of_a_button_can_be_seen(system):
    """3:1, as WCAG asks of what shows where to press."""
    colours = ROOTS[0] | ROOTS[system]
    assert contrast(colours["line"], colours["ground"]) >= 3

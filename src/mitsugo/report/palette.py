"""Colours and marks: the same ones in the figures and on the page.

The classes take the palette of Okabe and Ito (Color Universal Design, 2008), which those who see red and
green alike can tell apart. From the ninth class on it comes again darker, then lighter, then from the start;
marks and the names at the classes' centres tell the rest apart.
"""

from typing import Literal

__all__ = [
    "CURVES",
    "GROUND",
    "HEAT_KINDS",
    "HEAT_LEVELS",
    "TEXT",
    "Ground",
    "HeatKind",
    "class_colors",
    "class_marks",
    "heat_colors",
    "heat_level",
]

Ground = Literal["light", "dark"]
HeatKind = Literal["right", "wrong"]
Colour = tuple[int, int, int]

GROUND: dict[Ground, str] = {"light": "#ffffff", "dark": "#14171a"}
TEXT: dict[Ground, str] = {"light": "#1b1f23", "dark": "#eceff1"}

BLACK, GREY, WHITE = (0, 0, 0), (128, 128, 128), (255, 255, 255)
OKABE_ITO = ("#0072b2", "#e69f00", "#009e73", "#cc79a7", "#56b4e9", "#d55e00", "#000000", "#f0e442")
MARKS = ("o", "s", "^", "D", "v", "P", "X", "<", ">", "p", "h")

CURVES: dict[Ground, tuple[str, str]] = {"light": ("#0072b2", "#c24f00"), "dark": ("#6ab7ff", "#ff9e5e")}

HEAT_LEVELS = 6
HEAT_KINDS: tuple[HeatKind, HeatKind] = ("right", "wrong")
HEAT_FULL: dict[Ground, dict[HeatKind, str]] = {
    "light": {"right": "#7cc4a4", "wrong": "#ee9a6d"},
    "dark": {"right": "#17654b", "wrong": "#8a3f16"},
}


def class_colors(count: int, ground: Ground = "light") -> tuple[str, ...]:
    """Return a colour for each of `count` classes, as #rrggbb.

    >>> class_colors(1)
    ('#0072b2',)
    """
    return tuple(_class_color(index, ground) for index in range(count))


def class_marks(count: int) -> tuple[str, ...]:
    """Return matplotlib's name of a mark for each class; colour and mark together differ up to 88 classes.

    >>> class_marks(3)
    ('o', 's', '^')
    """
    palette = len(OKABE_ITO)
    return tuple(MARKS[(index + index // palette) % len(MARKS)] for index in range(count))


def heat_level(kind: HeatKind, share: float) -> int:
    """Return 0 to 6: how strongly a cell that holds `share` of its row is tinted; 0 only for nothing.

    What is right grows evenly, what is wrong with the fourth root: one in a hundred is to be seen.

    >>> [heat_level("right", share) for share in (0.0, 0.01, 0.5, 1.0)]
    [0, 1, 3, 6]
    >>> [heat_level("wrong", share) for share in (0.0, 0.001, 0.01, 0.5, 1.0)]
    [0, 1, 2, 5, 6]
    """
    strength = share if kind == "right" else share**0.25
    return max(round(strength * HEAT_LEVELS), 1) if share > 0 else 0


def heat_colors(kind: HeatKind, ground: Ground) -> tuple[str, ...]:
    """Return the tints of the levels 0 to 6; the ground's text reads on each with 4.5:1 or better."""
    full, none = _numbers(HEAT_FULL[ground][kind]), _numbers(GROUND[ground])
    return tuple(_mixed(none, full, level / HEAT_LEVELS) for level in range(HEAT_LEVELS + 1))


def _class_color(index: int, ground: Ground) -> str:
    color = _numbers(OKABE_ITO[index % len(OKABE_ITO)])
    turn = index // len(OKABE_ITO) % 3
    if color == BLACK:
        color = GREY if turn else (BLACK if ground == "light" else WHITE)
    away, near = (BLACK, WHITE) if ground == "light" else (WHITE, BLACK)
    return _mixed(color, (color, away, near)[turn], 0.45)


def _numbers(color: str) -> Colour:
    return int(color[1:3], 16), int(color[3:5], 16), int(color[5:7], 16)


def _mixed(one: Colour, other: Colour, share: float) -> str:
    return "#" + "".join(f"{round(a + (b - a) * share):02x}" for a, b in zip(one, other, strict=True))

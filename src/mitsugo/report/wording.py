"""Numbers and names as people read them."""

import math

__all__ = ["legible", "percent", "significant"]

SHOWN_THOUGH_UNPRINTABLE = {"\u3000", "\u200d"}  # the ideographic space, and the joiner inside emoji


def legible(text: str) -> str:
    r"""Return `text` with every character that cannot be shown written as its escape.

    Names come from files and folders: they may hold line breaks, bytes that are no text, or marks that
    turn the direction of writing.

    >>> legible("傷 A\n")
    '傷 A\\n'
    """
    return "".join(
        letter if letter.isprintable() or letter in SHOWN_THOUGH_UNPRINTABLE else ascii(letter)[1:-1]
        for letter in text
    )


def percent(share: float) -> str:
    """Return a share in per cent, with one decimal.

    >>> percent(0.98)
    '98.0'
    """
    return f"{100 * share:.1f}"


def significant(value: float, digits: int = 3) -> str:
    """Return a number with as many significant digits, without powers of ten where they can be done without.

    >>> significant(0.32), significant(1234.5), significant(0.0), significant(2e-9)
    ('0.320', '1,234', '0', '2.00e-09')
    """
    if value == 0:
        return "0"
    place = math.floor(math.log10(abs(value)))
    if not -5 < place < 15:
        return f"{value:.{digits - 1}e}"
    return f"{value:,.{max(digits - 1 - place, 0)}f}"

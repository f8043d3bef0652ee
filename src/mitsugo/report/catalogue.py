"""Every text of the page, in each of its languages."""

import json
from functools import cache
from pathlib import Path

from markupsafe import Markup, escape

__all__ = ["LANGUAGES", "attribute", "catalogue", "text", "texts_for_scripts"]

LANGUAGES = ("en", "ja")
FOLDER = Path(__file__).parent / "texts"


@cache
def catalogue(language: str) -> dict[str, str]:
    """Return the texts of a language by their keys."""
    texts: dict[str, str] = json.loads((FOLDER / f"{language}.json").read_text(encoding="utf-8"))
    return texts


def text(key: str, **values: object) -> Markup:
    """Return a text in all languages, of which the page shows one; values are escaped.

    >>> text("score.silhouette")
    Markup('<span class="en" lang="en">silhouette</span><span class="ja" lang="ja">シルエット</span>')
    """
    span = Markup('<span class="{0}" lang="{0}">{1}</span>')
    return Markup("").join(
        span.format(name, escape(catalogue(name)[key]).format(**values)) for name in LANGUAGES
    )


def attribute(name: str, key: str, **values: object) -> Markup:
    """Return an attribute in English, and beside it what the page's script puts there for a language.

    >>> attribute("aria-label", "map.in")
    Markup('aria-label="Zoom in" data-aria-label-en="Zoom in" data-aria-label-ja="拡大"')
    """
    texts = {language: catalogue(language)[key].format(**values) for language in LANGUAGES}
    pairs = [(name, texts[LANGUAGES[0]])]
    pairs += [(f"data-{name}-{language}", written) for language, written in texts.items()]
    return Markup(" ").join(Markup('{}="{}"').format(*pair) for pair in pairs)


def texts_for_scripts(*keys: str) -> dict[str, dict[str, str]]:
    """Return the texts that the page's scripts write, by language and key."""
    return {language: {key: catalogue(language)[key] for key in keys} for language in LANGUAGES}

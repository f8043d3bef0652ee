"""Pages in both languages from one template: self-contained, and no script runs but the one that is ours."""

import base64
import hashlib
import json
from functools import cache, partial
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup, escape

from .catalogue import LANGUAGES
from .palette import GROUND, TEXT, Ground
from .wording import legible, percent, significant

__all__ = ["attribute", "cell_of", "rendered", "text"]

HERE = Path(__file__).parent
FORMULAS = tuple("=+-@＝＋－＠")
"""A cell that begins so is a formula to a spreadsheet, in full width to a Japanese one."""


def rendered(page: str, **values: object) -> str:
    """Return the page `page` as one HTML text that opens from disk, without a network.

    Both languages and both grounds are in it; its policy lets no script run but the one that changes the
    language, and nothing be loaded from anywhere.
    """
    script = _asset("language.js")
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    return (
        _environment(page)
        .get_template(f"{page}.html.j2")
        .render(
            **values,
            style=_colors() + _asset("report.css") + _asset(f"{page}.css"),
            script=script,
            policy=f"default-src 'none'; script-src 'sha256-{digest}'; style-src 'unsafe-inline'; "
            f"img-src data:; base-uri 'none'; form-action 'none'",
        )
    )


def cell_of(written: str) -> str:
    """Return a text as a cell that no spreadsheet takes for a formula: with an apostrophe before it.

    >>> cell_of("=1+1"), cell_of("傷"), cell_of("-3")
    ("'=1+1", '傷', "'-3")
    """
    plain = legible(written)
    return "'" + plain if plain.startswith(FORMULAS) else plain


def text(page: str, key: str, **values: object) -> Markup:
    """Return a text of a page in all languages, as `catalogue.text` does for the report's."""
    span = Markup('<span class="{0}" lang="{0}">{1}</span>')
    return Markup("").join(
        span.format(name, escape(_texts(page, name)[key]).format(**values)) for name in LANGUAGES
    )


def attribute(page: str, name: str, key: str, **values: object) -> Markup:
    """Return an attribute in English, and beside it what the page's script puts there for a language."""
    texts = {language: _texts(page, language)[key].format(**values) for language in LANGUAGES}
    pairs = [(name, texts[LANGUAGES[0]])]
    pairs += [(f"data-{name}-{language}", written) for language, written in texts.items()]
    return Markup(" ").join(Markup('{}="{}"').format(*pair) for pair in pairs)


@cache
def _texts(page: str, language: str) -> dict[str, str]:
    texts: dict[str, str] = json.loads(
        (HERE / "texts" / f"{page}.{language}.json").read_text(encoding="utf-8")
    )
    return texts


@cache
def _environment(page: str) -> Environment:
    environment = Environment(
        loader=FileSystemLoader(HERE / "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.globals |= {"attribute": partial(attribute, page), "text": partial(text, page)}
    environment.filters |= {"legible": legible, "percent": percent, "significant": significant}
    return environment


@cache
def _asset(name: str) -> str:
    return (HERE / "assets" / name).read_text(encoding="utf-8")


def _colors() -> str:
    """Return both grounds of palette.py as CSS."""

    def of(ground: Ground) -> str:
        return f":root {{--ground: {GROUND[ground]}; --text: {TEXT[ground]}}}"

    return f"{of('light')}\n@media (prefers-color-scheme: dark) {{{of('dark')}}}\n"

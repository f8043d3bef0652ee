"""One self-contained report.html, and the figures beside it."""

import base64
import hashlib
from functools import cache
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from ..files import write_bytes
from ..values import ClassScore
from . import figures
from .catalogue import attribute, text, texts_for_scripts
from .content import ReportContent
from .curves import plot_of
from .palette import CURVES, GROUND, HEAT_KINDS, HEAT_LEVELS, TEXT, Ground, heat_colors
from .sprites import data_uri, sprite_of
from .tables import confused_pairs, most_confused
from .views import legend_of, lying, map_data, matrix_of, mistake_view
from .wording import legible, percent, significant

__all__ = ["render", "write_report"]

HERE = Path(__file__).parent
SHARES = ("knn_accuracy", "precision_at_1", "balanced_accuracy", "recall_at_2", "recall_at_4", "recall_at_8")
"""The scores that are shares of images; others are plain numbers."""
HEADLINES = ("balanced_accuracy", "precision_at_1", "map_at_r", "silhouette", "between_within")
"""Beside the accuracy these are seen at once, the others where they are explained."""
LONGEST_UPRIGHT, MOST_UPRIGHT = 5, 12  # letters of a class name, and classes, over the columns of the matrix
MOST_PAIRS = 8
SCRIPT_TEXTS = ("map.predicted", "map.true", "map.trust", "map.visible")


def render(content: ReportContent) -> str:
    """Return the report as one HTML page that opens from disk, without a network.

    Both languages and both grounds are in it. Its policy lets no script run but the ones whose SHA-256 it
    names, and nothing be loaded from anywhere.
    """
    counts, names, points = content.scores.confusion, content.class_names, content.map
    scripts = _scripts()
    return _environment().get_template("report.html.j2").render(
        content=content,
        class_names=[legible(name) for name in names],
        numbers=content.scores.numbers(),
        shares=SHARES,
        headlines=HEADLINES,
        classes=_classes(content),
        total=int(counts.sum()),
        rows=matrix_of(counts, names),
        pairs=confused_pairs(counts, MOST_PAIRS),
        turned=len(names) > MOST_UPRIGHT or any(len(name) > LONGEST_UPRIGHT for name in names),
        plot=plot_of(content.history) if content.history else None,
        mistakes=[mistake_view(mistake, names) for mistake in content.mistakes],
        lies=int(lying(points).sum()),
        wrong=int((points.labels != points.predicted).sum()),
        licences=_asset("LICENSES.md"),
        style=_style_variables() + _asset("report.css"),
        scripts=scripts,
        policy=_policy(scripts),
        **_map_parts(content),
    )  # fmt: skip


def write_report(content: ReportContent, folder: Path) -> tuple[Path, ...]:
    """Write the figures and report.html into a folder, and return where they lie.

    Raises:
        ResourceError: the disk is full, or the folder cannot be written; every file is whole or as it was.
    """
    files = {
        "loss_curves.png": figures.loss_curves(
            content.history, validation_is_test=content.validation_is_test
        ),
        "embedding.png": figures.scatter(content.map, content.class_names),
        "confusion.png": figures.confusion(content.scores.confusion, content.class_names),
        "mistakes.png": figures.mistakes(content.mistakes, content.class_names),
        "report.html": render(content).encode(),
    }
    for name, written in files.items():
        write_bytes(folder / name, written)
    return tuple(folder / name for name in files)


def _classes(content: ReportContent) -> list[ClassScore]:
    """Return how each class fares, or those that the matrix shows."""
    if not content.scores.per_class:
        return []
    return [content.scores.per_class[row] for row in most_confused(content.scores.confusion).tolist()]


def _map_parts(content: ReportContent) -> dict[str, object]:
    if not len(content.map):
        return {"still": "", "sprite": None, "legend": (), "data": {}}
    sprite = sprite_of(content.map.thumbnails)
    return {
        "still": data_uri("image/png", figures.scatter(content.map, content.class_names)),
        "sprite": sprite,
        "legend": legend_of(content.map, content.class_names),
        "data": map_data(content, sprite) | {"texts": texts_for_scripts(*SCRIPT_TEXTS)},
    }


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=FileSystemLoader(HERE / "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.globals |= {"attribute": attribute, "text": text}
    environment.filters |= {"legible": legible, "percent": percent, "significant": significant}
    return environment


@cache
def _asset(name: str) -> str:
    return (HERE / "assets" / name).read_text(encoding="utf-8")


def _scripts() -> dict[str, str]:
    return {
        "language": _asset("language.js"),
        "regl": _asset("regl.min.js"),
        "publisher": _asset("pub-sub-es.js") + "\nglobalThis.createPubSub = createPubSub;\n",
        "scatterplot": _asset("regl-scatterplot.min.js"),
        "map": _asset("map.js"),
    }


def _policy(scripts: dict[str, str]) -> str:
    """Return a Content Security Policy: our own scripts, inlined images, and nothing from elsewhere.

    regl builds functions out of text, which is why eval is allowed.
    """
    digests = [hashlib.sha256(script.encode()).digest() for script in scripts.values()]
    sources = " ".join(f"'sha256-{base64.b64encode(digest).decode()}'" for digest in digests)
    return (
        f"default-src 'none'; script-src 'unsafe-eval' {sources}; style-src 'unsafe-inline'; "
        f"img-src data:; base-uri 'none'; form-action 'none'"
    )


def _style_variables() -> str:
    """Return the grounds, tints and curves of palette.py as CSS."""
    dark = f"@media (prefers-color-scheme: dark) {{:root {{{_variables('dark')}}}}}"
    tints = [f"{kind}-{level}" for kind in HEAT_KINDS for level in range(HEAT_LEVELS + 1)]
    classes = [f".{tint} {{background: var(--{tint})}}" for tint in tints]
    return "\n".join([f":root {{{_variables('light')}}}", dark, *classes, ""])


def _variables(ground: Ground) -> str:
    train, validation = CURVES[ground]
    colors = {"ground": GROUND[ground], "text": TEXT[ground], "train": train, "validation": validation}
    for kind in HEAT_KINDS:
        colors |= {f"{kind}-{level}": color for level, color in enumerate(heat_colors(kind, ground))}
    return " ".join(f"--{name}: {color};" for name, color in colors.items())

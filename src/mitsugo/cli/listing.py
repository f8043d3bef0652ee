"""Commands that list what there is."""

from typing import Annotated

import typer

from .. import terminal
from .application import answer, app
from .options import Json

__all__ = ["cache", "recipes", "sources"]


@app.command()
def cache(
    action: Annotated[str, typer.Argument(metavar="list|clear", help="List what it holds, or empty it.")],
    json_: Json = False,
) -> None:
    """List the decoded photos that are kept on the disk, or remove them; they are made again when needed."""
    from ..tasks.caching import cache as task

    document = task(action)
    answer(document, json_, lambda: terminal.cached(document))


@app.command()
def recipes(
    name: Annotated[str | None, typer.Argument(help="One recipe, in full.")] = None, json_: Json = False
) -> None:
    """List the recipes, or say what one holds."""
    from ..recipes import RECIPES
    from ..settings import named

    if name is None:
        listed = {recipe.name: recipe.what for recipe in RECIPES.values()}
        answer(listed, json_, lambda: terminal.pairs(listed))
    else:
        held = named(name).plain()
        answer(held, json_, lambda: terminal.pairs(held))


@app.command()
def sources(json_: Json = False) -> None:
    """List what can be named as SOURCE."""
    from ..data.sources import described

    listed = {source.name: source.what for source in described()}
    answer(listed, json_, lambda: terminal.pairs(listed))

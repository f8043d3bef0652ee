"""The application that the commands hang on, and how an answer is printed."""

import json
import os
import sys
from collections.abc import Callable
from typing import Annotated, Any

import typer
import typer.core

from .. import __version__
from ..errors import ResourceError
from ..files import reason

__all__ = ["answer", "app"]

ORDER = (
    "train", "compare", "evaluate", "embed", "calibrate", "inspect", "gallery", "suspects", "triplets",
    "cache", "serve", "recipes", "sources",
)  # fmt: skip
"""As a person meets the commands."""


class _Ordered(typer.core.TyperGroup):
    """Commands in the order of the work."""

    def list_commands(self, ctx: Any) -> list[str]:  # noqa: ANN401, ARG002 - as typer calls it
        return sorted(self.commands, key=ORDER.index)


app = typer.Typer(
    name="mitsugo",
    cls=_Ordered,
    help="Teach a computer to tell images apart: triplets in, an embedding and an honest accuracy out.",
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _version(asked: bool) -> bool:
    if asked:
        typer.echo(f"mitsugo {__version__}")
        raise typer.Exit
    return asked


@app.callback(epilog="With --debug an error shows its traceback. Exit codes: docs/reference/errors.md.")
def _main(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    pass


def answer(document: Any, as_json: bool, text: Callable[[], str]) -> None:  # noqa: ANN401 - JSON
    """Print a command's answer on stdout: one JSON document, or text.

    Raises:
        ResourceError: stdout cannot be written.
    """
    said = json.dumps(document, ensure_ascii=False, allow_nan=False) if as_json else text()
    try:
        try:
            typer.echo(said)
        except UnicodeEncodeError:  # a terminal without these letters, or a name that is no text at all
            typer.echo(json.dumps(document, allow_nan=False) if as_json else _escaped(said))
    except BrokenPipeError as error:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # or Python complains at its end
        raise ResourceError("stdout: whoever read it went away; the work itself is done") from error
    except OSError as error:
        raise ResourceError(f"stdout: cannot be written: {reason(error)}; the work itself is done") from error


def _escaped(said: str) -> str:
    return said.encode("ascii", "backslashreplace").decode()

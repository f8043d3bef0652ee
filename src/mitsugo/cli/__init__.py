"""The command line: a thin door. Parse, one task, print; data on stdout, talk on stderr."""

import logging
import os
import signal
import sys
from types import FrameType

import typer
import typer.exceptions

from ..errors import MitsugoError, ResourceError, UsageError
from ..tasks.stopping import SIGNALS
from . import exporting, inspecting, learning, listing, serving, teaching
from .application import app

__all__ = ["app", "exporting", "inspecting", "learning", "listing", "main", "run", "serving", "teaching"]


def main(arguments: list[str] | None = None) -> None:
    """Run the command line and end the process with its exit code."""
    for library in ("matplotlib", "fontTools"):  # what they find worth telling is no news to our users
        logging.getLogger(library).addHandler(logging.NullHandler())
    for number in SIGNALS:
        signal.signal(number, _ended)
    sys.exit(run(sys.argv[1:] if arguments is None else arguments))


def _ended(number: int, _frame: FrameType | None) -> None:
    """End at once: outside the tasks there is nothing to save, and a stopped import leaves wreckage."""
    os.write(sys.stderr.fileno(), f"mitsugo: stopped by {signal.Signals(number).name}\n".encode())
    os._exit(128 + number)


def run(arguments: list[str]) -> int:
    """Run the command line; return the exit code, print an error as one line on stderr.

    Exit codes: 0 done, 2 usage, 3 data, 4 model or bundle, 5 machine, 6 gallery store, 130 and 143 signals.
    """
    debug = "--debug" in arguments
    try:
        code = app([word for word in arguments if word != "--debug"] or ["--help"], standalone_mode=False)
    except Exception as error:
        if debug:
            raise
        return _failed(*_told(error))
    return code if isinstance(code, int) else 0


def _told(error: Exception) -> tuple[str, int]:
    message = " ".join(str(error).split())
    if isinstance(error, MitsugoError):
        return message, error.exit_code
    if isinstance(error, typer.exceptions.TyperException):
        message = " ".join(error.format_message().split())
        return f"{message.rstrip('.')}; see --help", UsageError.exit_code
    out_of_memory = "can't allocate memory" in message or "out of memory" in message.lower()
    if isinstance(error, MemoryError) or out_of_memory:
        return "the memory is full; free some, or train with a smaller --batch-size", ResourceError.exit_code
    return f"this is a fault of mitsugo: {type(error).__name__}: {message}; --debug shows where", 1


def _failed(message: str, code: int) -> int:
    typer.echo(f"mitsugo: {message}", err=True)
    return code

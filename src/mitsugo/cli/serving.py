"""The command that serves a model over HTTP."""

from pathlib import Path
from typing import Annotated

import typer

from .. import terminal
from ..errors import ResourceError
from .application import app
from .options import Device, ModelPath, Quiet

__all__ = ["serve"]


@app.command()
def serve(
    model: ModelPath,
    host: Annotated[
        str, typer.Option(help="The address to listen at; beyond this machine only with --token-file.")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="The port to listen at.", min=0, max=65535)] = 8000,
    token_file: Annotated[
        Path | None, typer.Option(help="A file with the token that whoever asks must name.")
    ] = None,
    tls_cert: Annotated[Path | None, typer.Option(help="A certificate, PEM; with --tls-key.")] = None,
    tls_key: Annotated[Path | None, typer.Option(help="The certificate's key, PEM.")] = None,
    gate: Annotated[
        str | None,
        typer.Option(metavar="GOLDEN", help="Labelled images that teaching must not make wrong."),
    ] = None,
    allow_host: Annotated[
        list[str] | None,
        typer.Option("--allow-host", metavar="NAME", help="A name that this machine is called by."),
    ] = None,
    rate: Annotated[
        int, typer.Option(help="Requests a minute that one address may send; 0: any.", min=0)
    ] = 0,
    device: Device = None,
    quiet: Quiet = False,
) -> None:
    """Serve a model over HTTP, with a page to inspect and teach in a browser."""
    try:
        from ..service.serving import Wanted
        from ..service.serving import serve as task
    except ModuleNotFoundError as error:
        raise ResourceError(
            f"serve needs {error.name}, which is not installed: pip install 'mitsugo[service]'"
        ) from error
    wanted = Wanted(
        host=host, port=port, token_file=token_file, tls_cert=tls_cert, tls_key=tls_key, gate=gate,
        allow_hosts=tuple(allow_host or ()), rate=rate, device=device,
    )  # fmt: skip
    with terminal.talking(quiet=quiet) as talk:
        task(model, wanted, talk)

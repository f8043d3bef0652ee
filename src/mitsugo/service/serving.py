"""From a model's path to a service that answers, until a signal comes."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from ..tasks.live import Live
from ..tasks.talk import Talk
from .app import Options, create_app
from .guard import GuardOptions
from .limits import Limits
from .server import Address
from .server import serve as served
from .sessions import token_of

__all__ = ["Wanted", "serve"]

WITHOUT_SECRET: Final = (
    "/static/map-frame.js",
    "/static/map-frame.css",
    "/static/map-events.js",
    "/static/vendor/regl.min.js",
    "/static/vendor/regl-scatterplot.min.js",
)
"""Code that the map's frame loads: it is a sandbox without an origin, so it can name no token."""


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """How a model is to be served.

    Args:
        host: the address to listen at.
        port: the port.
        token_file: a file with the token that whoever asks must name.
        tls_cert: a certificate, PEM.
        tls_key: its key.
        gate: a source of labelled images that teaching must not make wrong.
        allow_hosts: names that this machine is called by, beside its own.
        rate: requests a minute that one address may send; 0: any.
        device: cpu, cuda or cuda:N.
    """

    host: str = "127.0.0.1"
    port: int = 8000
    token_file: Path | None = None
    tls_cert: Path | None = None
    tls_key: Path | None = None
    gate: str | None = None
    allow_hosts: tuple[str, ...] = ()
    rate: int = 0
    device: str | None = None


def serve(model_path: Path, wanted: Wanted, talk: Talk) -> None:
    """Serve a model until SIGTERM or SIGINT; what was accepted is finished first.

    Raises:
        UsageError: an option that cannot be meant, or an open address without a token.
        ModelError, StoreError, DataError: a model, a gallery or golden images that cannot be used.
        ResourceError: the port is taken.
    """
    token = None if wanted.token_file is None else token_of(wanted.token_file)
    limits = Limits(rate=wanted.rate)
    live = Live(model_path, device=wanted.device, gate=wanted.gate, talk=talk)
    try:
        guard = GuardOptions(
            token=token,
            hosts=(wanted.host, *wanted.allow_hosts),
            tls=wanted.tls_cert is not None,
            open_paths=WITHOUT_SECRET,
            limits=limits,
        )
        app = create_app(live, replace(Options(), limits=limits, guard=guard))
        address = Address(
            host=wanted.host,
            port=wanted.port,
            tls_cert=wanted.tls_cert,
            tls_key=wanted.tls_key,
            has_token=token is not None,
        )
        served(app, address, limits=limits, ready_to_stop=app.stopping)
    finally:
        live.close()

"""The app on a port: bound or refused in one line, in plain log lines, stopped without losing an answer.

The first SIGTERM or SIGINT: readiness goes, no new connection is taken, accepted requests are finished, and
`serve` returns. A second one, or the end of `drain_seconds`, drops them: whose answer has not begun is told
to come again. A third ends the process on the spot.
"""

import asyncio
import contextlib
import errno
import ipaddress
import logging
import os
import signal
import socket
import ssl
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

import uvicorn
from starlette.types import ASGIApp

from ..errors import Interrupted, ResourceError, UsageError, shown
from ..files import open_regular, reason
from .deadlines import DeadlineProtocol
from .limits import Limits

__all__ = ["Address", "Server", "bound", "serve", "tls_context"]

LOG = logging.getLogger("mitsugo.service")
SIGNALS = (signal.SIGINT, signal.SIGTERM)
BACKLOG = 512
"""Connections that the system holds for us before we take them."""


@dataclass(frozen=True, kw_only=True)
class Address:
    """Where a service can be reached, and by whom."""

    host: str = "127.0.0.1"
    """A name or an address of this machine; one that others can reach only with a token."""
    port: int = 8000
    """0 lets the system choose one; the log says which."""
    tls_cert: Path | None = None
    """A certificate and the chain above it, in PEM."""
    tls_key: Path | None = None
    """Its private key, without a password."""
    has_token: bool = False
    """Whether the app asks for a token."""


def serve(
    app: ASGIApp,
    address: Address,
    *,
    limits: Limits,
    ready_to_stop: Callable[[], None] | None = None,
) -> None:
    """Serve an app until a signal comes, and return once all that was accepted is answered.

    Args:
        app: an ASGI app, already behind its guard.
        address: where.
        limits: deadlines and numbers of connections.
        ready_to_stop: called when the first signal has come; from then on the app is not ready.

    Raises:
        UsageError: the address or the TLS files cannot be meant, or others would be let in without a token.
        ResourceError: the port is taken, or the app did not start.
        Interrupted: a second signal came, and requests were dropped.
    """
    tls = tls_context(address.tls_cert, address.tls_key)
    with bound(address.host, address.port, has_token=address.has_token) as listener, _logging_to_stderr():
        server = Server(app, listener, limits, tls=tls, ready_to_stop=ready_to_stop)
        asyncio.run(server.serve())
        if server.dropped_by:
            raise Interrupted("stopped at once, requests were dropped", server.dropped_by)


class Server(uvicorn.Server):
    """uvicorn's server with our connections, on a socket that is bound already."""

    def __init__(
        self,
        app: ASGIApp,
        listener: socket.socket,
        limits: Limits,
        *,
        tls: ssl.SSLContext | None = None,
        ready_to_stop: Callable[[], None] | None = None,
    ) -> None:
        super().__init__(_config(app, limits))
        self._listener = listener
        self._limits = limits
        self._tls = tls
        self._ready_to_stop = ready_to_stop
        self._signals = 0
        self.dropped_by = 0

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:  # noqa: ARG002 - uvicorn's
        """Start the app, then take connections.

        Raises:
            ResourceError: the app did not start; the log says why.
        """
        await self.lifespan.startup()
        if self.lifespan.should_exit:
            raise ResourceError("the service did not start; the lines above say why")
        loop = asyncio.get_running_loop()
        handshake = self._limits.header_seconds if self._tls else None
        listening = await loop.create_server(
            self._protocol,
            sock=self._listener,
            ssl=self._tls,
            backlog=BACKLOG,
            ssl_handshake_timeout=handshake,
        )
        self.servers = [listening]
        self.started = True
        LOG.info("serving on %s; Ctrl+C stops", _address(self._listener, tls=self._tls is not None))

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Stop taking connections, and finish what was accepted."""
        LOG.info("stopping: finishing %d requests", len(self.server_state.tasks))
        if self._ready_to_stop is not None:
            self._ready_to_stop()
        await super().shutdown(sockets)
        if self.force_exit:  # uvicorn would leave the app's own processes and threads to chance
            await self.lifespan.shutdown()
        LOG.info("stopped")

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Take the signals while serving; afterwards they do what they did before."""
        try:
            before = {number: signal.signal(number, self.handle_exit) for number in SIGNALS}
        except ValueError:  # not in the main thread, where no signal comes
            yield
            return
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:  # noqa: ARG002 - the system's
        """Stop: gently, at once, or on the spot."""
        self._signals += 1
        self.should_exit = True
        if self._signals == 2:
            self.force_exit = True
            self.dropped_by = sig
            asyncio.get_running_loop().call_soon_threadsafe(self._drop)
        elif self._signals > 2:
            os._exit(128 + sig)

    def _drop(self) -> None:
        for task in self.server_state.tasks:
            task.cancel()

    def _protocol(self) -> DeadlineProtocol:
        return DeadlineProtocol(self.config, self.server_state, self.lifespan.state, limits=self._limits)


def bound(host: str, port: int, *, has_token: bool) -> socket.socket:
    """Return a socket that is bound to an address of this machine.

    Raises:
        UsageError: there is no such address here, or it is open to others and no token is asked for.
        ResourceError: the port is taken, or not ours to take.
    """
    try:
        family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    except (OSError, ValueError, OverflowError) as error:
        raise UsageError(f"--host {shown(host)} --port {port}: is no address of this machine") from error
    if not has_token and not ipaddress.ip_address(str(address[0]).partition("%")[0]).is_loopback:
        raise UsageError(
            f"--host {shown(host)}: others could ask without a token; name a file that holds one with "
            f"--token-file, or serve this machine alone with --host 127.0.0.1"
        )
    # said to be TCP: only then asyncio sends small answers at once, where they would wait 40 ms for an ACK
    listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        if os.name != "nt":
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
        listener.listen(BACKLOG)
    except OSError as error:
        listener.close()
        raise _cannot_bind(host, port, error) from error
    return listener


def tls_context(certificate: Path | None, key: Path | None) -> ssl.SSLContext | None:
    """Return what TLS needs, or None where neither file is named.

    Raises:
        UsageError: one of the two is missing, cannot be read, or does not fit the other.
    """
    if certificate is None and key is None:
        return None
    if certificate is None or key is None:
        raise UsageError("TLS needs both --tls-cert and --tls-key")
    for path in (certificate, key):
        open_regular(path, UsageError).close()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    try:
        context.load_cert_chain(certificate, key, password=lambda: "")
    except OSError as error:
        words = getattr(error, "reason", None) or reason(error)
        raise UsageError(
            f"{shown(certificate)}, {shown(key)}: cannot be used for TLS: "
            f"{str(words).lower().replace('_', ' ')}; "
            f"expected a certificate and its own key, without a password, in PEM"
        ) from error
    return context


def _config(app: ASGIApp, limits: Limits) -> uvicorn.Config:
    return uvicorn.Config(
        app,
        loop="asyncio",
        ws="none",
        lifespan="on",
        log_config=None,
        access_log=False,
        proxy_headers=False,
        server_header=False,
        timeout_keep_alive=max(1, round(limits.idle_seconds)),
        timeout_graceful_shutdown=max(1, round(limits.drain_seconds)),
    )


def _cannot_bind(host: str, port: int, error: OSError) -> Exception:
    who = f"--host {shown(host)} --port {port}"
    if error.errno == errno.EADDRINUSE:
        return ResourceError(f"{who}: another program has this port; choose another with --port")
    if error.errno in {errno.EACCES, errno.EPERM}:
        return ResourceError(f"{who}: only an administrator may take this port; choose one above 1023")
    if error.errno == errno.EADDRNOTAVAIL:
        return UsageError(f"{who}: is no address of this machine")
    return ResourceError(f"{who}: cannot be taken: {reason(error)}")


def _address(listener: socket.socket, *, tls: bool) -> str:
    host, port = listener.getsockname()[:2]
    return f"{'https' if tls else 'http'}://{f'[{host}]' if ':' in host else host}:{port}"


def _is_no_cut(record: logging.LogRecord) -> bool:
    """Return False for what uvicorn tells as a fault where a stop cut off a task, as it must."""
    return not (record.exc_info and isinstance(record.exc_info[1], asyncio.CancelledError))


@contextlib.contextmanager
def _logging_to_stderr() -> Iterator[None]:
    """Write our log, and the warnings of the libraries below, to stderr in plain lines while serving."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
    handler.addFilter(_is_no_cut)
    levels = {
        "mitsugo.service": logging.INFO,
        "uvicorn.error": logging.WARNING,
        "python_multipart": logging.ERROR,  # it warns of every malformed body, in its sender's words
        "asyncio": logging.ERROR,
    }
    before = {}
    for name, level in levels.items():
        logger = logging.getLogger(name)
        before[name] = (logger.level, logger.propagate)
        logger.addHandler(handler)
        logger.setLevel(level)
        logger.propagate = False
    try:
        yield
    finally:
        for name, (level, propagate) in before.items():
            logger = logging.getLogger(name)
            logger.removeHandler(handler)
            logger.setLevel(level)
            logger.propagate = propagate

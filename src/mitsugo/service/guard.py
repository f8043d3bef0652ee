"""The gate in front of the app: every request passes it, and every answer.

In this order: an id; the method; the path; the name by which we were called; how often this client asked;
the origin; the token. Only then the app, and while it reads, the bytes of the body are counted. GET
/health/live is the one address that asks for no token, and is not counted.
"""

import asyncio
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from .asking import (
    check_host,
    check_method,
    check_origin,
    check_path,
    chosen_request_id,
    declared_length,
    raw_path,
    without_odd_ranges,
)
from .limits import Limits
from .policies import add_policies
from .problems import Problem, problem_of
from .rates import Rates, client_key
from .sessions import Doorkeeper

__all__ = ["GuardOptions", "guarded"]

LOG = logging.getLogger("mitsugo.service")
ALIVE = "/health/live"
UPLOAD = "multipart/form-data"
STOPPING = "the service is stopping; try again"


@dataclass(frozen=True, kw_only=True)
class GuardOptions:
    """What the gate is told."""

    token: str | None = None
    """What whoever asks must know; None: everybody on this machine may ask."""
    hosts: tuple[str, ...] = ()
    """Names and addresses by which the service is called, besides those of the machine for itself."""
    tls: bool = False
    """The service speaks TLS: cookies are sent under TLS only, and origins must be https."""
    open_paths: tuple[str, ...] = ()
    """Addresses to GET without a token: code without a secret, which the map's sandboxed frame loads."""
    limits: Limits = field(default_factory=Limits)
    """How long bodies may be, and how often a client may ask."""


def guarded(app: ASGIApp, options: GuardOptions, *, clock: Callable[[], float] = time.monotonic) -> "Guard":
    """Return the app behind the gate.

    Args:
        app: an ASGI app whose errors are, or become, problems.
        options: what the gate is told.
        clock: seconds, ever growing.
    """
    return Guard(app, options, clock)


class Guard:
    """An ASGI app around another one; see the top of this page."""

    def __init__(self, app: ASGIApp, options: GuardOptions, clock: Callable[[], float]) -> None:
        self._app = app
        self._options = options
        self._clock = clock
        self._rates = Rates(options.limits.rate)
        self._held = Held(options.limits.held_bytes)
        token = options.token
        self._door = None if token is None else Doorkeeper(token, tls=options.tls, clock=clock)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request; anything but HTTP is refused."""
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
        elif scope["type"] == "http":
            await self._answer(scope, receive, send)
        else:
            await send({"type": "websocket.close", "code": 1008})

    async def _answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers, began = Headers(scope=scope), self._clock()
        request_id = chosen_request_id(headers)
        scope = without_odd_ranges({**scope, "state": {**scope.get("state", {}), "request_id": request_id}})
        body = Body(receive, self._held, headers)
        shared = scope["path"] in self._options.open_paths
        answer = Answer(send, body, scope["path"], request_id, shared=shared)
        try:
            self._check(scope, headers)
            body.expect(headers, self._options.limits)
            await self._admitted(scope, headers)(scope, body.receive, answer.send)
        except Problem as problem:
            await answer.problem(problem, scope)
        except asyncio.CancelledError:  # only a stop that waits no longer cancels us
            if answer.status:
                raise
            await answer.problem(Problem(503, STOPPING, headers={"Retry-After": "5"}), scope)
        except Exception as error:
            LOG.exception("%s failed", request_id)
            await answer.problem(problem_of(error), scope)
        finally:
            body.release()
            self._tell(scope, answer.status, self._clock() - began, request_id)

    def _check(self, scope: Scope, headers: Headers) -> None:
        """Refuse what is refused whoever asks."""
        check_method(scope)
        check_path(raw_path(scope))
        check_host(scope, headers, self._options.hosts)
        if scope["path"] != ALIVE:
            client = client_key((scope.get("client") or ("",))[0])
            if wait := self._rates.wait(client, self._clock()):
                detail = f"more than {self._options.limits.rate} requests in a minute; wait {wait} s"
                raise Problem(429, detail, headers={"Retry-After": str(wait)})
        check_origin(scope, headers, tls=self._options.tls)

    def _admitted(self, scope: Scope, headers: Headers) -> ASGIApp:
        """Return who answers: the app, or the door for whoever has no token yet."""
        if self._door is None:
            return self._app
        asked = (scope["method"], scope["path"])
        if asked == ("POST", "/login"):
            return self._door.login
        is_open = asked[1] == ALIVE or asked[1] in self._options.open_paths
        if (asked[0] in {"GET", "HEAD"} and is_open) or self._door.admits(headers):
            return self._app
        if asked == ("GET", "/"):
            return self._door.page()
        raise Problem(401, "a token is needed", headers={"WWW-Authenticate": "Bearer"})

    def _tell(self, scope: Scope, status: int, seconds: float, request_id: str) -> None:
        """Write one line into the log, never with a query: queries hold what people look for."""
        client = (scope.get("client") or ("-",))[0]
        path = raw_path(scope)[:200].decode("ascii", errors="replace")
        LOG.info("%s %s %s %d %.0f ms %s", client, scope["method"], path, status, seconds * 1e3, request_id)


class Held:
    """How many bytes of bodies are in memory, over all requests."""

    def __init__(self, most: int) -> None:
        self.most = most
        self.now = 0


class Body:
    """A body that is counted while it arrives."""

    def __init__(self, receive: Receive, held: Held, headers: Headers) -> None:
        self._receive = receive
        self._held = held
        self._most = 0
        self._size = 0
        self.unread = "transfer-encoding" in headers or headers.get("content-length", "0") != "0"

    def expect(self, headers: Headers, limits: Limits) -> None:
        """Refuse a body that says itself that it is too long.

        Raises:
            Problem: 413, or 400 where it is not said how long it is.
        """
        is_upload = headers.get("content-type", "").lower().startswith(UPLOAD)
        self._most = limits.body_bytes if is_upload else limits.text_bytes
        if (declared_length(headers) or 0) > self._most:
            raise self._too_long()

    async def receive(self) -> Message:
        """Pass the next message on.

        Raises:
            Problem: 413 once the body is longer than it may be, 503 where all of them together are.
        """
        message = await self._receive()
        if message["type"] == "http.request":
            length = len(message.get("body", b""))
            self._size += length
            self._held.now += length
            if self._size > self._most:
                raise self._too_long()
            if self._held.now > self._held.most:
                raise Problem(503, "too much is being sent at once; try again", headers={"Retry-After": "1"})
            self.unread = bool(message.get("more_body", False))
        return message

    def release(self) -> None:
        """Count it no more: the request is answered."""
        self._held.now -= self._size
        self._size = 0

    def _too_long(self) -> Problem:
        return Problem(413, f"the body is longer than {self._most:,} bytes; send less at once")


class Answer:
    """An answer on its way out, with the headers that every answer has."""

    def __init__(self, send: Send, body: Body, path: str, request_id: str, *, shared: bool) -> None:
        self._send = send
        self._body = body
        self._path = path
        self._request_id = request_id
        self._shared = shared
        self.status = 0
        self._is_whole = False

    async def send(self, message: Message) -> None:
        """Pass a message on; a client whose body was not read to its end cannot go on with a next request."""
        if message["type"] == "http.response.start":
            self.status = message["status"]
            headers = MutableHeaders(raw=list(message.get("headers", [])))
            headers["X-Request-ID"] = self._request_id
            add_policies(headers, self._path, shared=self._shared)
            if self._body.unread:
                headers["Connection"] = "close"
            message = {**message, "headers": headers.raw}
        elif message["type"] == "http.response.body":
            self._is_whole = not message.get("more_body", False)
        await self._send(message)

    async def problem(self, problem: Problem, scope: Scope) -> None:
        """End with a problem, if nothing was sent yet.

        Raises:
            Problem: the answer had begun; whoever serves us must cut the connection.
        """
        if not self.status:
            await problem.response(self._request_id)(scope, self._body.receive, self.send)
        elif not self._is_whole:
            raise problem

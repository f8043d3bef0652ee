"""The service as an ASGI application: `create_app` puts its parts together; each route calls one task.

Limits are in `limits.Limits`; who may ask, and from where, in `guard`; what is sent, in `uploads`.
"""

import asyncio
import contextlib
import os
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Final

from fastapi import FastAPI
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from .. import __version__
from ..tasks.live import Live
from . import routes_answers, routes_gallery, routes_page, routes_status
from .answering import Answers
from .counting import Counts, Metrics
from .decoding import Decoders, Shape
from .guard import GuardOptions, guarded
from .limits import Limits
from .parts import Parts
from .problems import install
from .sights import Sights

__all__ = ["Options", "Service", "create_app"]

OTHER: Final = "other"


@dataclass(frozen=True, kw_only=True)
class Options:
    """How the service is run.

    Args:
        limits: what a request may take.
        guard: who may ask, and from where.
        decoders: processes that decode uploads.
        sights: whether pictures and the map are prepared.
    """

    limits: Limits = field(default_factory=Limits)
    guard: GuardOptions = field(default_factory=GuardOptions)
    decoders: int = max(1, min(4, (os.cpu_count() or 2) - 1))
    sights: bool = True


class Service:
    """An ASGI application, guarded; `stopping` lets it say that it is not ready any more."""

    def __init__(self, app: ASGIApp, parts: Parts) -> None:
        self._app = app
        self.parts = parts

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        await self._app(scope, receive, send)

    def stopping(self) -> None:
        """Take no more requests for ready."""
        self.parts.ready = False


def create_app(live: Live, options: Options | None = None) -> Service:
    """Return the service of a live model: an ASGI application, guarded.

    Args:
        live: the open model; the application does not close it.
        options: how it is run; None takes the usual: loopback, without a token.
    """
    chosen = Options() if options is None else options
    parts = _parts(live, chosen)
    app = FastAPI(
        title="mitsugo",
        version=__version__,
        summary="What images show: a class, OK or NG, or unknown, with the images that speak for it.",
        docs_url=None,
        redoc_url=None,
        lifespan=lambda _: _running(parts),
    )
    app.state.parts = parts
    install(app)
    app.add_middleware(_Counted, metrics=parts.metrics)
    for routes in (routes_answers, routes_gallery, routes_status, routes_page):
        app.include_router(routes.router)
    routes_page.mount(app)
    return Service(guarded(app, chosen.guard), parts)


def _parts(live: Live, options: Options) -> Parts:
    model, limits, metrics = live.snapshot.model, options.limits, Metrics()
    return Parts(
        live=live,
        limits=limits,
        metrics=metrics,
        counts=Counts(),
        sights=Sights(live) if options.sights else None,
        decoders=Decoders(
            Shape(image_shape=model.architecture.image_shape, framing=model.framing),
            workers=options.decoders,
            seconds=limits.decode_seconds,
            memory=limits.decode_bytes,
        ),
        answers=Answers(live.classify, most_waiting=limits.queue, seen=metrics.together.observe),
    )


@contextlib.asynccontextmanager
async def _running(parts: Parts) -> AsyncIterator[None]:
    """Run what answers while the application runs."""
    await parts.decoders.start()
    answering = asyncio.create_task(parts.answers.run())
    if parts.sights is not None:
        parts.sights.begin()
    parts.ready = True
    try:
        yield
    finally:
        parts.ready = False
        if parts.sights is not None:
            parts.sights.close()
        answering.cancel()
        await answering
        parts.answers.close()
        parts.decoders.close()


class _Counted:
    """Counts what is answered, by route; around the app, without what frameworks put around a request."""

    def __init__(self, app: ASGIApp, metrics: Metrics) -> None:
        self._app, self._metrics = app, metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        start, status = time.perf_counter(), 500

        async def counted(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            await self._app(scope, receive, counted)
        finally:
            route = getattr(scope.get("route"), "path", OTHER)
            self._metrics.requests.labels(route, str(status)).inc()
            self._metrics.seconds.labels(route).observe(time.perf_counter() - start)

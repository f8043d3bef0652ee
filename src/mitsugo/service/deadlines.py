"""Deadlines below the app: a connection that makes no whole request in time is closed, however it trickles.

    headers    from the first moment of a connection, or the first byte of a next request
    body       from the headers to the last byte of the body
    answer     from the whole request to an answer that the client has taken
    idle       between requests; uvicorn's own

uvicorn has only the last of these. The others hang on what the HTTP parser waits for, which h11 tells and the
faster httptools does not: so h11 it is. What it costs, a fraction of a millisecond, no image notices.
"""

import asyncio
from collections.abc import Callable
from typing import Any, Literal

import h11
from uvicorn.config import Config
from uvicorn.protocols.http.h11_impl import H11Protocol
from uvicorn.server import ServerState

from .limits import Limits
from .problems import MEDIA_TYPE, Problem, new_request_id

__all__ = ["DeadlineProtocol"]

HEADER_BYTES = 16 << 10
"""Bytes of the headers of a request; browsers send two or three thousand."""
LINGER_SECONDS = 0.5
"""For so long a body that nobody wants is still taken: closed at once, the answer would be lost."""
FLUSH_SECONDS = 5.0
"""For so long a closed connection may take to send what is left."""

FREE_CHUNKS = 1000
CHUNK_BYTES = 256
"""Beyond so many, the chunks of a body must hold so many bytes on average: each costs h11 25 microseconds."""

Phase = Literal["headers", "body", "answer"]


class DeadlineProtocol(H11Protocol):
    """One connection. Beyond `limits.connections`, the one that has kept us waiting longest is closed."""

    def __init__(
        self,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
        *,
        limits: Limits,
    ) -> None:
        super().__init__(config, server_state, app_state, _loop)
        self.conn = MeteredConnection(HEADER_BYTES)
        self._limits = limits
        self._seconds: dict[Phase, float] = {
            "headers": limits.header_seconds,
            "body": limits.body_seconds,
            "answer": limits.taking_seconds,
        }
        self._phase: Phase | None = None
        self._phase_of: object = None
        self._timer: asyncio.TimerHandle | None = None
        self._patient: PatientTransport | None = None
        self.waits_since: float | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn's
        """Begin: the headers are awaited from now on."""
        self._patient = PatientTransport(transport, self.loop, self._is_being_sent_to)
        super().connection_made(self._patient)
        if len(self.connections) > self._limits.connections and not self._make_room():
            self._refuse(Problem(503, "too many connections; try again", headers={"Retry-After": "5"}))
        self._watch()

    def connection_lost(self, exc: Exception | None) -> None:
        """End: no timer outlives its connection."""
        self._set_timer(None)
        if self._patient is not None:
            self._patient.lost()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Take bytes, or drop them where the answer is given already."""
        if not self.transport.is_closing():
            super().data_received(data)

    def handle_events(self) -> None:
        """Do what the bytes ask for, then see what is awaited next."""
        super().handle_events()
        self._watch()

    def on_response_complete(self) -> None:
        """Go on to the next request, if there is to be one."""
        super().on_response_complete()
        self._watch()

    def send_400_response(self, msg: str) -> None:  # noqa: ARG002 - the words are ours
        """Answer what is no HTTP at all."""
        if isinstance(self.conn, MeteredConnection) and self.conn.is_minced:
            self._refuse(Problem(413, "the body comes in too many tiny chunks"))
        else:
            self._refuse(Problem(400, "the request is no HTTP, or its headers are too long"))

    def close_now(self) -> None:
        """Close without waiting for anything more."""
        if self._patient is not None:
            self._patient.close_now()

    def _watch(self) -> None:
        """Set the timer for what is awaited now; one that runs for it already goes on."""
        phase = self._awaited()
        if self.conn.their_state is not h11.IDLE:
            self.waits_since = None
        elif self.waits_since is None:
            self.waits_since = self.loop.time()
        if phase != self._phase or self.cycle is not self._phase_of:
            self._phase_of = self.cycle
            self._set_timer(phase)

    def _awaited(self) -> Phase | None:
        if self.transport.is_closing():
            return None
        if self.conn.their_state is h11.IDLE:
            has_begun = bool(self.conn.trailing_data[0])
            return "headers" if has_begun or self.timeout_keep_alive_task is None else None
        if self._is_being_sent_to():
            return "body"
        return "answer" if self.cycle is not None and not self.cycle.response_complete else None

    def _set_timer(self, phase: Phase | None) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._phase = phase
        self._timer = None if phase is None else self.loop.call_later(self._seconds[phase], self._late)

    def _late(self) -> None:
        """Answer 408 where something was sent and nothing was answered yet, and close."""
        begun = bool(self.conn.trailing_data[0]) or self._phase == "body"
        if self._phase != "answer" and begun:
            self._refuse(Problem(408, f"the {self._phase} did not arrive in time"))
        self._forget_request()
        self.close_now()

    def _refuse(self, problem: Problem) -> None:
        """Answer in the app's place, if it has not begun to, and close."""
        if self.conn.our_state in {h11.IDLE, h11.SEND_RESPONSE}:
            request_id = new_request_id()
            content = problem.content(request_id)
            headers = {
                "Content-Type": MEDIA_TYPE,
                "Content-Length": str(len(content)),
                "Connection": "close",
                "X-Content-Type-Options": "nosniff",
                "X-Request-ID": request_id,
                **(problem.headers or {}),
            }
            response = h11.Response(status_code=problem.status_code, headers=list(headers.items()))
            for event in (response, h11.Data(data=content), h11.EndOfMessage()):
                self.transport.write(self.conn.send(event) or b"")
        self._forget_request()
        self.transport.close()

    def _forget_request(self) -> None:
        """Tell the app, if it is at work, that nobody listens any more."""
        if self.cycle is not None and not self.cycle.response_complete:
            self.cycle.disconnected = True
            self.cycle.message_event.set()
            self.flow.resume_writing()

    def _make_room(self) -> bool:
        """Close the other connection that has been waiting longest for a request, if there is one."""
        others = [other for other in self.connections if isinstance(other, DeadlineProtocol)]
        waiting = [(other.waits_since, id(other), other) for other in others if other.waits_since is not None]
        if not waiting:
            return False
        min(waiting)[-1].close_now()
        return True

    def _is_being_sent_to(self) -> bool:
        return self.conn.their_state in {h11.SEND_BODY, h11.ERROR}


class MeteredConnection(h11.Connection):
    """h11's parser, which refuses a body that is cut into tiny chunks.

    Args:
        header_bytes: bytes of the headers of a request.
    """

    def __init__(self, header_bytes: int) -> None:
        super().__init__(h11.SERVER, header_bytes)
        self._chunks = 0
        self._bytes = 0
        self.is_minced = False

    def next_event(self) -> Any:  # noqa: ANN401 - beartype cannot read the types that h11 uses as signs
        """Return the next event.

        Raises:
            RemoteProtocolError: what came is no HTTP, or its chunks are tiny.
        """
        event = super().next_event()
        if isinstance(event, h11.Request):
            self._chunks, self._bytes = 0, 0
        elif isinstance(event, h11.Data):
            self._chunks += event.chunk_start
            self._bytes += len(event.data)
            self.is_minced = self._chunks > FREE_CHUNKS + self._bytes // CHUNK_BYTES
            if self.is_minced:
                raise h11.RemoteProtocolError("tiny chunks")
        return event


class PatientTransport(asyncio.Transport):
    """A connection's transport whose closing neither loses the answer nor takes for ever.

    Args:
        inner: the real one.
        loop: whose time it is.
        is_being_sent_to: whether the client may still be sending.
    """

    def __init__(
        self,
        inner: asyncio.Transport,
        loop: asyncio.AbstractEventLoop,
        is_being_sent_to: Callable[[], bool],
    ) -> None:
        super().__init__()
        self._inner = inner
        self._loop = loop
        self._is_being_sent_to = is_being_sent_to
        self._is_closing = False
        self._timer: asyncio.TimerHandle | None = None

    def close(self) -> None:
        """Send what is left, let the client finish its sentence, and close."""
        if self._is_closing:
            return
        self._is_closing = True
        if self._is_being_sent_to():
            self._inner.resume_reading()
            self._timer = self._loop.call_later(LINGER_SECONDS, self.close_now)
        else:
            self.close_now()

    def close_now(self) -> None:
        """Send what is left and close; cut the connection if the client does not take it."""
        self._is_closing = True
        self.lost()
        self._inner.close()
        self._timer = self._loop.call_later(FLUSH_SECONDS, self._inner.abort)

    def lost(self) -> None:
        """Let no timer outlive the connection."""
        if self._timer is not None:
            self._timer.cancel()

    def is_closing(self) -> bool:
        """Return whether nothing more is taken."""
        return self._is_closing or self._inner.is_closing()

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Send bytes."""
        self._inner.write(data)

    def get_extra_info(self, name: str, default: object = None) -> object:
        """Return what the real transport knows."""
        return self._inner.get_extra_info(name, default)

    def pause_reading(self) -> None:
        """Take no more bytes for a while."""
        self._inner.pause_reading()

    def resume_reading(self) -> None:
        """Take bytes again."""
        self._inner.resume_reading()

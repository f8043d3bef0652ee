"""What the tests of the service's transport share: a tiny app, requests by hand, a server in a thread."""

import asyncio
import contextlib
import io
import json
import shutil
import socket
import threading
import time
from dataclasses import dataclass, field
from typing import Annotated

import pytest
from fastapi import FastAPI, Query, Request
from PIL import Image
from starlette.responses import FileResponse, PlainTextResponse, StreamingResponse

from mitsugo.service.guard import GuardOptions, guarded
from mitsugo.service.limits import Limits
from mitsugo.service.problems import install
from mitsugo.service.server import Server, bound
from mitsugo.service.uploads import read_form

OPTIONS = [
    "--no-sandbox", "--disable-gpu", "--use-gl=angle", "--use-angle=swiftshader",
    "--enable-unsafe-swiftshader", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync", "--use-fake-device-for-media-stream",
    "--use-fake-ui-for-media-stream",
]  # fmt: skip
TOKEN = "a-token-of-24-characters"  # noqa: S105 - opens nothing
PLAIN = (
    ("GET", "/"),
    ("GET", "/health/live"),
    ("GET", "/health/ready"),
    ("GET", "/metrics"),
    ("GET", "/docs"),
    ("GET", "/map-frame"),
    ("GET", "/v1/model"),
    ("DELETE", "/v1/gallery"),
)
"""Routes that only tell that they were reached."""
ROUTES = (*PLAIN, ("GET", "/openapi.json"), ("GET", "/static/page.js"), ("POST", "/v1/classify"))


@dataclass
class Answer:
    """What came back."""

    status: int
    headers: dict[str, str]
    content: bytes
    sent: list[bytes] = field(default_factory=list)

    @property
    def plain(self):
        return json.loads(self.content)


@dataclass
class Went:
    """What happened inside the tiny app."""

    reached: int = 0
    hold: threading.Event = field(default_factory=threading.Event)


def tiny_app(file, limits):
    """Return an app with a route of every kind; POST /v1/classify tells what images came."""
    app = FastAPI(docs_url=None, redoc_url=None)
    install(app)
    app.state.went = Went()

    async def reached():
        app.state.went.reached += 1
        return {"reached": True}

    for method, path in PLAIN:
        app.add_api_route(path, reached, methods=[method], operation_id=path)

    @app.post("/v1/classify")
    async def classify(request: Request):
        form = await read_form(request, limits)
        app.state.went.reached += 1
        return {"images": [[each.name, len(each.content)] for each in form.images], "fields": form.fields}

    @app.post("/v1/echo")
    async def echo(request: Request):
        return {"length": len(await request.body())}

    @app.get("/v1/number")
    async def number(k: Annotated[int, Query(ge=1)]):
        return {"k": k}

    add_odd_routes(app, file)
    return app


def add_odd_routes(app, file):
    """Add routes that take long, raise, or send much."""

    @app.get("/v1/slow")
    async def slow():
        app.state.went.reached += 1
        while not app.state.went.hold.is_set():  # noqa: ASYNC110 - another thread sets it
            await asyncio.sleep(0.01)
        return {"slow": True}

    @app.get("/v1/begun")
    async def begun():
        async def pieces():
            yield b"begun"
            await asyncio.Event().wait()

        return StreamingResponse(pieces())

    @app.get("/v1/raise")
    async def raises():
        raise app.state.error

    @app.get("/static/page.js")
    async def static():
        app.state.went.reached += 1
        return FileResponse(file)

    @app.get("/v1/late")
    async def late():
        return PlainTextResponse("x" * 1_000_000)


@pytest.fixture
def make_app(tmp_path):
    """Make the tiny app."""

    def make(limits=None):
        file = tmp_path / "page.js"
        file.write_bytes(bytes(range(100)))
        return tiny_app(file, limits or Limits())

    return make


@pytest.fixture
def gate(make_app):
    """Put the tiny app behind the gate; return both."""

    def make(clock=time.monotonic, **options):
        app = make_app(options.get("limits"))
        return app, guarded(app, GuardOptions(**options), clock=clock)

    return make


async def _asked(app, scope, chunks, *, gone):
    """Run a request; `gone` lets the client go away after its last chunk."""
    messages = [{"type": "http.request", "body": chunk, "more_body": True} for chunk in chunks]
    if messages and not gone:
        messages[-1]["more_body"] = False
    sent, waiting = [], iter(messages or [{"type": "http.request", "body": b"", "more_body": False}])

    async def receive():
        message = next(waiting, None)
        if message is None and not gone:
            await asyncio.Event().wait()
        return message or {"type": "http.disconnect"}

    async def send(message):
        sent.append(message)

    await app(scope, receive, send)
    return sent, len(list(waiting))


def ask(
    app, method, path, *, headers=(), chunks=(), gone=False, client="127.0.0.1", server="127.0.0.1", query=b""
):
    """Ask an ASGI app, with exactly these headers and chunks, and return what it answered."""
    pairs = [*headers]
    if not any(name.lower() == "host" for name, _ in pairs):
        pairs.append(("Host", "localhost:8000"))
    raw = path if isinstance(path, bytes) else path.encode()
    scope = {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": method,
        "path": raw.decode("latin-1"),
        "raw_path": raw,
        "root_path": "",
        "query_string": query,
        "scheme": "http",
        "headers": [(name.lower().encode(), value.encode("latin-1")) for name, value in pairs],
        "client": (client, 50_000),
        "server": (server, 8000),
    }
    sent, unread = asyncio.run(_asked(app, scope, list(chunks), gone=gone))
    start = next(message for message in sent if message["type"] == "http.response.start")
    content = b"".join(message.get("body", b"") for message in sent)
    answered = {name.decode().lower(): value.decode("latin-1") for name, value in start["headers"]}
    answer = Answer(start["status"], answered, content)
    answer.unread = unread
    return answer


@pytest.fixture
def asked():
    """Ask an ASGI app by hand."""
    return ask


@contextlib.contextmanager
def running(app, limits, *, ready_to_stop=None, tls=None):
    """Serve an app from a thread; yield the server, whose `port` is open."""
    with bound("127.0.0.1", 0, has_token=False) as listener:
        port = listener.getsockname()[1]
        server = Server(app, listener, limits, tls=tls, ready_to_stop=ready_to_stop)
        thread = threading.Thread(target=lambda: asyncio.run(server.serve()))
        thread.start()
        try:
            wait_for(lambda: server.started)
            server.port = port
            yield server
        finally:
            server.should_exit = True
            thread.join(timeout=60)
            assert not thread.is_alive()


def wait_for(condition, seconds=10.0):
    """Wait until something is so, and fail if it never is."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it never came to be"
        time.sleep(0.01)


@pytest.fixture
def served(make_app):
    """Serve the tiny app behind the gate with these limits; a context manager."""

    @contextlib.contextmanager
    def serve(options=None, **limits):
        numbers = Limits(**limits)
        app = make_app(numbers)
        with running(guarded(app, GuardOptions(limits=numbers, **(options or {}))), numbers) as server:
            server.app = app
            yield server
            app.state.went.hold.set()

    return serve


@pytest.fixture
def until():
    return wait_for


def talk(port, *pieces, pause=0.0, seconds=10.0):
    """Send bytes to a port and return all that comes back until the connection is closed."""
    with socket.create_connection(("127.0.0.1", port), timeout=seconds) as wire:
        with contextlib.suppress(ConnectionError):
            for piece in pieces:
                wire.sendall(piece)
                time.sleep(pause)
        return everything(wire)


def everything(wire):
    """Return all that still comes from a socket until it is closed."""
    got = b""
    with contextlib.suppress(ConnectionError):
        while piece := wire.recv(65536):
            got += piece
    return got


@pytest.fixture
def said():
    """Send bytes to a port by hand."""
    return talk


def photo(kind="PNG", side=8):
    file = io.BytesIO()
    Image.new("RGB", (side, side), (1, 2, 3)).save(file, kind)
    return file.getvalue()


@pytest.fixture
def png():
    """An image file of 8 x 8 pixels."""
    return photo()


def multipart(*parts, boundary="edge", end=True):
    """Return a multipart body; a part is (name, content) or (name, file name, content)."""
    body = b""
    for name, *middle, content in parts:
        filename = f'; filename="{middle[0]}"' if middle else ""
        body += f'--{boundary}\r\nContent-Disposition: form-data; name="{name}"{filename}\r\n\r\n'.encode()
        body += content + b"\r\n"
    return body + (f"--{boundary}--\r\n".encode() if end else b"")


@pytest.fixture
def form_body():
    """Make a multipart body."""
    return multipart


@pytest.fixture(scope="module")
def browser():
    """Start the Chromium of this machine."""
    sync_api = pytest.importorskip("playwright.sync_api")
    chromium = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if chromium is None:
        pytest.skip("needs a browser: chromium")
    with sync_api.sync_playwright() as playwright:
        running = playwright.chromium.launch(executable_path=chromium, args=OPTIONS)
        yield running
        running.close()

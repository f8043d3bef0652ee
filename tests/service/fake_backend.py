"""The service's HTTP contract without a model: what a green image is, is good; what is red, is a scratch.

It lets the page be seen and tested in a second. Run it by `python tests/service/fake_backend.py 8123`.
"""

import io
import json
import math
import random
import sys
import threading
from datetime import UTC, datetime
from email import message_from_bytes
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

from PIL import Image, UnidentifiedImageError

STATIC = Path(__file__).parents[2] / "src/mitsugo/service/static"
VENDOR = Path(__file__).parents[2] / "src/mitsugo/report/assets"
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:; "
    "connect-src 'self'; frame-src 'self'; media-src 'self' blob:; font-src 'self'; "
    "base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
)
FRAME_POLICY = (
    "default-src 'none'; script-src 'self' 'unsafe-eval'; style-src 'self'; base-uri 'none'; "
    "form-action 'none'; frame-ancestors 'self'; sandbox allow-scripts"
)
KINDS = {".html": "text/html", ".css": "text/css", ".js": "text/javascript", ".json": "application/json"}
MODEL = "a1b2c3d4" * 8
COLOURS = {"good": (40, 160, 70), "scratch": (190, 50, 40), "stain": (60, 80, 190)}
GOLDEN = 200


class RefusalError(Exception):
    """An answer that is a problem."""

    def __init__(self, status: int, detail: str, **headers: str) -> None:
        super().__init__(detail)
        self.status, self.detail, self.headers = status, detail, headers


class Fake:
    """What the service knows, and switches by which a test makes it fail.

    Args:
        points: on the map.
        gate: whether golden parts are set; teaching the class "risky" then breaks three of them.
        calibrated: whether p-values are told.
    """

    def __init__(self, points: int = 3000, *, gate: bool = True, calibrated: bool = True) -> None:
        self.points, self.gate, self.calibrated = points, gate, calibrated
        self.classes: dict[str, bool] = {"good": False, "scratch": True}
        self.taught: list[dict[str, Any]] = []
        self.entries: list[dict[str, Any]] = []
        self.removed: dict[int, list[dict[str, Any]]] = {}
        self.revision, self.requests = 1, 0
        self.judged = {"OK": 0, "NG": 0, "unknown": 0}
        self.said = {"right": 0, "wrong": 0}
        self.answers: dict[str, Any] = {}
        self.failures: list[tuple[str, int]] = []  # (path, status), each used up once
        self.seen: list[tuple[str, str, str, str]] = []  # method, path, Idempotency-Key, X-Requested-With
        self.map_waits = 0
        self.lock = threading.Lock()

    def head(self) -> dict[str, Any]:
        return {"model": MODEL, "revision": self.revision}

    # ---- what is asked

    def classify(self, images: list[tuple[str, bytes]]) -> dict[str, Any]:
        told = []
        for name, content in images:
            verdict = self.verdict(name, content)
            self.judged[verdict["judgement"]] += 1
            told.append({"image": name, "verdict": verdict})
        return {**self.head(), "stale": bool(self.taught), "results": told}

    def verdict(self, name: str, content: bytes) -> dict[str, Any]:
        red, green, blue = mean_colour(content)
        label = "good" if green > max(red, blue) else "scratch" if red > max(green, blue) else "stain"
        unknown = label not in self.classes
        winner = "scratch" if unknown else label
        others = [one for one in self.classes if one != winner]
        judgement = "unknown" if unknown else "NG" if self.classes[label] else "OK"
        return {
            "image": name,
            "label": "unknown" if unknown else label,
            "agreement": 0.8,
            "neighbors": neighbours(winner),
            "winner": likeness(winner, 3.1 if unknown else 1.02),
            "runner_up": likeness(others[0], 4.25) if others else None,
            "unknown": unknown,
            "judgement": judgement,
            "p_value": None if not self.calibrated else 0.0033 if unknown else 0.63,
            "strangeness": 2.31 if unknown else 0.44,
            "gate": None if not self.calibrated else "statistics" if unknown else "embedding",
            "ng_score": 0.93 if judgement == "NG" else 0.12,
            "promised": None if not self.calibrated else True,
            "in_gallery": next((one["image"] for one in self.taught if one["content"] == content), None),
            "warnings": ["looks inverted: its mean pixel is 0.91, that of ..."] if "inverted" in name else [],
            "method": "k-NN vote",
        }

    def found(self, label: str) -> dict[str, Any] | None:
        if not self.gate:
            return None
        broken = [f"golden/good-{n:03}.png" for n in (17, 58, 131)] if label == "risky" else []
        return {
            "images": GOLDEN,
            "before": 198,
            "after": 198 - len(broken),
            "broken": broken,
            "mended": [],
        }

    def teach(self, images: list[tuple[str, bytes]], fields: dict[str, str]) -> dict[str, Any]:
        label = fields["label"]
        new = label not in self.classes
        ng = fields.get("ng") == "true" if new else self.classes[label]
        for name, content in images:
            mean_colour(content)
            if any(one["content"] == content and one["label"] == label for one in self.taught):
                raise RefusalError(409, f"{name}: the class holds this very image already")
        found = self.found(label)
        dry = fields.get("dry_run") == "true"
        if found and found["broken"] and not dry and fields.get("accept") != "true":
            raise RefusalError(409, f"{len(found['broken'])} of {GOLDEN} golden images would become wrong")
        batch = None
        if not dry:
            self.classes[label] = ng
            rows = [
                {"image": name, "label": label, "source": "page", "row": 5000 + len(self.taught) + place,
                 "content": content}
                for place, (name, content) in enumerate(images)
            ]  # fmt: skip
            self.taught += rows
            batch = self.write("add", fields, images=len(images), classes=[label], rows=rows)
        return {
            **self.head(), "batch": batch, "images": len(images), "label": label, "new": new, "ng": ng,
            "stale": True, "taught": len(self.taught), "gate": found,
        }  # fmt: skip

    def write(self, kind: str, fields: dict[str, Any], **more: Any) -> int:
        rows = more.pop("rows", [])
        number = len(self.entries) + 1
        entry = {
            "number": number, "kind": kind, "at": datetime.now(UTC).isoformat(), "who": fields.get("who", ""),
            "note": fields.get("note", ""), "images": 0, "classes": [], "undone": None, "undoes": None,
            "right": None, "label": None,
        }  # fmt: skip
        self.entries.append(entry | more)
        self.removed[number] = rows
        if kind != "feedback":
            self.revision += 1
        return number

    def remove(self, wanted: dict[str, Any]) -> dict[str, Any]:
        names, label = wanted.get("names", []), wanted.get("label")
        gone = [one for one in self.taught if one["image"] in names or one["label"] == label]
        if not gone:
            raise RefusalError(404, "no taught image has this name")
        self.taught = [one for one in self.taught if one not in gone]
        classes = sorted({one["label"] for one in gone})
        batch = self.write("remove", {}, images=len(gone), classes=classes, rows=gone)
        return {**self.head(), "batch": batch, "taught": len(self.taught), "stale": bool(self.taught)}

    def undo(self, wanted: dict[str, Any]) -> dict[str, Any]:
        standing = [one for one in self.entries if one["kind"] in {"add", "remove"} and one["undone"] is None]
        if wanted["batch"] is not None:
            standing = [one for one in standing if one["number"] == wanted["batch"]]
        if not standing:
            raise RefusalError(409, "nothing is left to take back")
        entry = standing[-1]
        rows = self.removed[entry["number"]]
        if entry["kind"] == "add":
            self.taught = [one for one in self.taught if one not in rows]
        else:
            self.taught += rows
        held = {one["label"] for one in self.taught}
        self.classes = {name: ng for name, ng in self.classes.items() if name in {"good", "scratch"} | held}
        number = self.write("undo", {}, images=len(rows), classes=entry["classes"], undoes=entry["number"])
        entry["undone"] = number
        return {
            **self.head(), "batch": number, "undoes": entry["number"], "changed": len(rows),
            "taught": len(self.taught), "stale": bool(self.taught),
        }  # fmt: skip

    def feedback(self, images: list[tuple[str, bytes]], fields: dict[str, str]) -> dict[str, Any]:
        right, teach = fields["right"] == "true", fields["teach"] == "true"
        done = self.teach(images, {**fields, "dry_run": "false"}) if teach else {"batch": None, "gate": None}
        self.said["right" if right else "wrong"] += 1
        number = self.write("feedback", fields, images=1, right=right, label=fields["label"])
        kept = {"batch": done["batch"], "gate": done["gate"], "taught": len(self.taught), "stale": True}
        return {**self.head(), "feedback": number, **kept}

    def map(self) -> dict[str, Any]:
        if self.map_waits:
            self.map_waits -= 1
            raise RefusalError(503, "the map is still computed", **{"Retry-After": "1"})
        chance = random.Random(0)
        names = list(self.classes)
        kinds = [place % len(names) for place in range(self.points)]
        turn = [2 * math.pi * kind / len(names) for kind in range(len(names))]
        points = [
            [chance.gauss(0.55 * math.cos(turn[k]), 0.16), chance.gauss(0.55 * math.sin(turn[k]), 0.16)]
            for k in kinds
        ]
        clipped = [[round(max(-1, min(1, value)), 4) for value in point] for point in points]
        return {
            **self.head(), "points": clipped, "classes": kinds, "class_names": names,
            "ng": list(self.classes.values()), "rows": list(range(self.points)),
            "names": [f"{names[kind]}/{place:05}.png" for place, kind in enumerate(kinds)],
            "shown": self.points, "of": max(self.points, 70_000) if self.points else 0,
        }  # fmt: skip

    def counts(self) -> dict[str, Any]:
        return {
            **self.head(), "since": "2026-01-05T00:00:00+09:00", "judged": self.judged, "labels": {},
            "images": sum(self.judged.values()), "feedback": self.said,
        }  # fmt: skip

    def about(self) -> dict[str, Any]:
        classes = [{"name": name, "ng": ng} for name, ng in self.classes.items()]
        calibration = {"independent": 299} if self.calibrated else None
        return {
            **self.head(), "class_names": classes, "calibration": calibration, "stale": bool(self.taught),
            "gate": self.gate,
        }  # fmt: skip

    def gallery(self) -> dict[str, Any]:
        images = [{key: value for key, value in one.items() if key != "content"} for one in self.taught]
        counted = {
            name: {"images": sum(one["label"] == name for one in images), "ng": ng}
            for name, ng in self.classes.items()
        }
        return {**self.head(), "images": images, "classes": counted}


def mean_colour(content: bytes) -> tuple[float, ...]:
    try:
        with Image.open(io.BytesIO(content)) as image:
            pixel = image.convert("RGB").resize((1, 1)).getpixel((0, 0))
    except UnidentifiedImageError:
        raise RefusalError(415, "cannot identify the image") from None
    assert isinstance(pixel, tuple)
    return pixel


def neighbours(label: str) -> list[dict[str, Any]]:
    """Return five images of a class; of each class the last has no picture."""
    first = 10 * (list(COLOURS).index(label) if label in COLOURS else 3)
    return [
        {"name": f"{label}/part-{n:04}.png", "label": label, "distance": 0.1 + 0.031 * n, "row": first + n}
        for n in range(5)
    ]


def likeness(label: str, scaled: float) -> dict[str, Any]:
    return {"label": label, "scaled": scaled, "p_value": None, "exemplars": neighbours(label)}


def drawn(row: int) -> bytes:
    """Return a picture of a part: a plate with a mark, other for each row."""
    if row < 1000 and row % 10 == 4:
        raise RefusalError(404, "there is no picture of this row")
    colour = list(COLOURS.values())[row // 10 % 3]
    chance = random.Random(row)
    image = Image.new("RGB", (96, 96), (150, 155, 160))
    for _ in range(90):
        left, top = chance.randrange(90), chance.randrange(90)
        image.paste(colour, (left, top, left + chance.randrange(2, 12), top + 3))
    return as_png(image)


def as_png(image: Image.Image) -> bytes:
    written = io.BytesIO()
    image.save(written, "PNG")
    return written.getvalue()


def parts_of(kind: str, body: bytes) -> tuple[list[tuple[str, bytes]], dict[str, str]]:
    message = message_from_bytes(b"Content-Type: " + kind.encode() + b"\r\n\r\n" + body)
    images, fields = [], {}
    for part in message.get_payload():
        name = part.get_param("name", header="content-disposition")
        content = part.get_payload(decode=True)
        if name == "image":
            raw = part.get_filename() or ""
            images.append((raw.encode("utf-8", "surrogateescape").decode("utf-8", "replace"), content))
        else:
            fields[name] = content.decode()
    return images, fields


class Handler(BaseHTTPRequestHandler):
    """One request; `fake` is set on the subclass that a server uses."""

    fake: Fake
    protocol_version = "HTTP/1.1"

    def log_message(self, *_: Any) -> None:
        """Say nothing: a test's output is its own."""

    def send(self, status: int, kind: str, content: bytes, **headers: str) -> None:
        self.send_response(status)
        told = {
            "Content-Type": kind, "Content-Length": str(len(content)), "Content-Security-Policy": POLICY,
            "X-Content-Type-Options": "nosniff", "Cache-Control": "no-store",
            "X-Request-ID": f"fake-{self.fake.requests:04}", "Cross-Origin-Resource-Policy": "same-origin",
        } | headers  # fmt: skip
        for name, value in told.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(content)

    def send_json(self, status: int, value: dict[str, Any], **headers: str) -> None:
        self.send(status, "application/json", json.dumps(value).encode(), **headers)

    def handle_method(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        path = urlsplit(self.path).path
        try:
            with self.fake.lock:
                self.note(path)
                self.answer(path, body)
        except RefusalError as refusal:
            told = {
                "type": "about:blank", "title": "problem", "status": refusal.status, "detail": refusal.detail,
                "request_id": f"fake-{self.fake.requests:04}",
            }  # fmt: skip
            content = json.dumps(told).encode()
            self.send(refusal.status, "application/problem+json", content, **refusal.headers)

    do_GET = do_POST = do_DELETE = handle_method  # noqa: N815 - named by http.server

    def note(self, path: str) -> None:
        fake = self.fake
        fake.requests += 1
        key, sent = self.headers.get("Idempotency-Key", ""), self.headers.get("X-Requested-With", "")
        fake.seen.append((self.command, path, key, sent))
        if self.command != "GET" and sent != "mitsugo":
            raise RefusalError(403, "X-Requested-With is missing")
        for failure in fake.failures:
            if failure[0] == path:
                fake.failures.remove(failure)
                raise RefusalError(failure[1], "this was asked for by a test")

    def answer(self, path: str, body: bytes) -> None:
        if self.command == "GET":
            return self.get(path)
        key = self.headers.get("Idempotency-Key")
        if key in self.fake.answers:
            return self.send_json(200, self.fake.answers[key])
        status, value = self.change(path, body)
        if key:
            self.fake.answers[key] = value
        return self.send_json(status, value)

    def change(self, path: str, body: bytes) -> tuple[int, dict[str, Any]]:
        fake, kind = self.fake, self.headers.get("Content-Type", "")
        if kind.startswith("application/json"):
            wanted = json.loads(body)
            return 200, fake.remove(wanted) if self.command == "DELETE" else fake.undo(wanted)
        images, fields = parts_of(kind, body)
        if path == "/v1/classify":
            return 200, fake.classify(images)
        if path == "/v1/map":
            return 200, {**fake.head(), "results": [{"image": images[0][0], "point": [0.2, 0.1]}]}
        if path == "/v1/gallery":
            return 201, fake.teach(images, fields)
        if path == "/v1/feedback":
            return 201, fake.feedback(images, fields)
        raise RefusalError(404, "no such route")

    def get(self, path: str) -> None:
        fake = self.fake
        routes = {
            "/v1/map": fake.map,
            "/v1/counts": fake.counts,
            "/v1/model": fake.about,
            "/v1/gallery": fake.gallery,
            "/v1/log": lambda: {**fake.head(), "entries": fake.entries[::-1][: self.limit()]},
        }
        if path in routes:
            return self.send_json(200, routes[path]())
        if path.startswith("/v1/pictures/"):
            return self.send(200, "image/png", drawn(int(path.rsplit("/", 1)[1])))
        return self.get_file(path)

    def limit(self) -> int:
        return int(parse_qs(urlsplit(self.path).query).get("limit", ["100"])[0])

    def get_file(self, path: str) -> None:
        policy, sharing = POLICY, "same-origin"
        if path == "/":
            file = STATIC / "index.html"
        elif path == "/map-frame":
            file, policy = STATIC / "map-frame.html", FRAME_POLICY
        elif path.startswith("/static/vendor/"):
            # the frame has no origin of its own, so to it every file is another's
            file, sharing = VENDOR / path.removeprefix("/static/vendor/"), "cross-origin"
        elif path.startswith("/static/"):
            file, sharing = STATIC / path.removeprefix("/static/"), "cross-origin"
        else:
            raise RefusalError(404, "no such route")
        if not file.is_file():
            raise RefusalError(404, "no such file")
        if sharing == "same-origin" and "token=fake" not in self.headers.get("Cookie", "") and path != "/":
            raise RefusalError(401, "no token")  # the frame's page has the cookie, its scripts have not
        headers = {
            "Content-Security-Policy": policy,
            "Cross-Origin-Resource-Policy": sharing,
            "X-Frame-Options": "SAMEORIGIN" if path == "/map-frame" else "DENY",
            "Cross-Origin-Opener-Policy": "same-origin",
            "Permissions-Policy": "camera=(self), microphone=()",
        }
        if path == "/":
            headers["Set-Cookie"] = "token=fake; HttpOnly; SameSite=Strict; Path=/"
        self.send(200, f"{KINDS[file.suffix]}; charset=utf-8", file.read_bytes(), **headers)


class Server(ThreadingHTTPServer):
    """A server to whom a browser that leaves early is no error."""

    def handle_error(self, request: Any, client_address: Any) -> None:
        if not isinstance(sys.exc_info()[1], ConnectionError):
            super().handle_error(request, client_address)


def serving(fake: Fake, port: int = 0) -> ThreadingHTTPServer:
    """Return a server of this fake; the caller runs and closes it."""
    handler = type("FakeHandler", (Handler,), {"fake": fake})
    server = Server(("127.0.0.1", port), handler)
    server.daemon_threads = True
    return server


if __name__ == "__main__":
    serving(Fake(int(sys.argv[2]) if len(sys.argv) > 2 else 3000), int(sys.argv[1])).serve_forever()

"""Errors as problems: the right status, our own words, and never a path, a version or a traceback."""

import errno
import json
import re
import sqlite3

import pytest
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException

from mitsugo.errors import (
    DataError,
    Interrupted,
    MitsugoError,
    ModelError,
    ResourceError,
    StoreError,
    UsageError,
)
from mitsugo.service.problems import Problem, problem_of, scrubbed

LEAK = re.compile(
    r"[/\\]|Traceback|File \"|\bline \d+|0x[0-9a-f]{4}|\d+\.\d+\.\d+|site-packages|\.py\b|\.mitsugo|"
    r"(?i:python|starlette|fastapi|uvicorn|h11|sqlite|torch|pillow|pydantic)"
)
"""What no detail may hold."""


def caused(error, cause):
    error.__cause__ = cause
    return error


def of_sqlite(code):
    error = sqlite3.OperationalError("/srv/secret.db is locked")
    error.sqlite_errorcode = code
    return error


PRIVATE = "/srv/line 3/model.mitsugo: is damaged at 0x7f3a12345678 in torch/nn.py, 2.13.0; see C:\\data\\log"
ERRORS = [
    (DataError("a.png: is truncated; copy it again"), 422, "a.png: is truncated; copy it again"),
    (DataError(PRIVATE), 422, "a file: is damaged at … in …, …; see …"),
    (UsageError("--k is 0, expected 1 or more"), 422, "--k is 0, expected 1 or more"),
    (
        StoreError("/srv/g/my gallery.mitsugo: holds no image of class dent"),
        409,
        "a file: holds no image of class dent",
    ),
    (StoreError("x.mitsugo-gallery: has no batch 7"), 409, "… has no batch 7"),
    (
        caused(StoreError("/srv/g: the disk is full"), of_sqlite(13)),
        507,
        "the disk is full; nothing was changed",
    ),
    (caused(StoreError("/srv/g: is locked"), of_sqlite(5)), 503, None),
    (caused(StoreError("/srv/g: is locked"), of_sqlite(6 | 1 << 8)), 503, None),
    (ModelError(PRIVATE), 503, None),
    (ResourceError(PRIVATE), 503, None),
    (
        caused(ResourceError(PRIVATE), OSError(errno.ENOSPC, "x")),
        507,
        "the disk is full; nothing was changed",
    ),
    (caused(ResourceError(PRIVATE), OSError(errno.EACCES, "x")), 503, None),
    (Interrupted(PRIVATE, 15), 503, None),
    (MitsugoError(PRIVATE), 500, None),
    (RuntimeError(PRIVATE), 500, None),
    (HTTPException(404, PRIVATE), 404, "there is nothing at this address"),
    (HTTPException(405, PRIVATE, {"Allow": "GET"}), 405, "this address does not take this method"),
    (HTTPException(418, PRIVATE), 418, None),
    (HTTPException(302, PRIVATE), 500, None),
    (RequestValidationError([]), 422, "the request: is not fit"),
    (RequestValidationError([{"type": "json_invalid", "msg": PRIVATE}]), 400, "the body is no JSON document"),
    (
        RequestValidationError([{"type": "x", "loc": ("query", "k"), "msg": "Should be 1 or more"}]),
        422,
        "query k: should be 1 or more",
    ),
    (Problem(413, "too long"), 413, "too long"),
]


@pytest.mark.parametrize(("error", "status", "detail"), ERRORS, ids=lambda value: repr(value)[:40])
def test_every_error_has_its_status_and_says_nothing_that_is_not_ours(error, status, detail):
    problem = problem_of(error)
    assert problem.status_code == status
    assert detail in {None, problem.detail}
    assert not LEAK.search(problem.detail.replace("--", ""))
    assert len(problem.detail) <= 500
    assert ("Retry-After" in problem.headers) == (status == 503)


def test_a_problem_is_the_document_that_was_promised():
    problem = Problem(409, "would break golden images", extra={"gate": {"broken": ["a.png"]}, "status": 1})
    answer = problem.response("r-1")
    assert answer.headers["content-type"] == "application/problem+json"
    assert json.loads(answer.body) == {
        "type": "about:blank",
        "title": "Conflict",
        "status": 409,
        "detail": "would break golden images",
        "request_id": "r-1",
        "gate": {"broken": ["a.png"]},
    }
    assert answer.status_code == 409


def test_a_name_that_is_no_text_does_not_break_the_answer():
    assert json.loads(Problem(422, "a\udcff.png").content("r"))["detail"] == "a?.png"


@pytest.mark.parametrize(
    ("message", "left"),
    [
        ("", ""),
        ("first\nTraceback (most recent call last):\n  File", "first"),
        ("see ../../etc/passwd now", "see … now"),
        ("see \\\\host\\share\\a.png now", "see … now"),
        ("see ~/runs/a now", "see … now"),
        ("see file:///srv/a now", "see file:… now"),
        ("'/srv/a b'", "'… b'"),
        ("at 0xdeadbeef", "at …"),
        ("torch 2.13.0+cpu", "torch …"),
        ("12.5 mm and 3 of 4", "12.5 mm and 3 of 4"),
        ("x" * 600, "x" * 500),
    ],
)
def test_paths_versions_and_addresses_are_scrubbed(message, left):
    assert scrubbed(message) == left


def test_the_app_answers_every_error_with_a_problem_of_its_request(gate, asked):
    app, guarded = gate()
    for error, status, _ in ERRORS:
        app.state.error = error
        answer = asked(guarded, "GET", "/v1/raise", headers=[("X-Request-ID", "r-7")])
        assert (answer.status, answer.plain["status"]) == (status, status)
        assert answer.headers["content-type"] == "application/problem+json"
        assert answer.headers["x-request-id"] == answer.plain["request_id"] == "r-7"
        assert set(answer.plain) == {"type", "title", "status", "detail", "request_id"}
        assert not LEAK.search(answer.plain["detail"].replace("--", ""))


@pytest.mark.parametrize(
    ("method", "path", "query", "status", "detail"),
    [
        ("GET", "/nowhere", b"", 404, "there is nothing at this address"),
        ("POST", "/v1/model", b"", 405, "this address does not take this method"),
        ("GET", "/v1/number", b"", 422, "query k: field required"),
        ("GET", "/v1/number", b"k=0", 422, "query k: input should be greater than or equal to 1"),
        (
            "GET",
            "/v1/number",
            b"k=../../etc",
            422,
            "query k: input should be a valid integer, unable to parse string as an integer",
        ),
    ],
)
def test_what_the_router_refuses_is_a_problem_too(gate, asked, method, path, query, status, detail):
    answer = asked(gate()[1], method, path, query=query)
    assert (answer.status, answer.plain["detail"]) == (status, detail)


def test_what_the_log_gets_and_the_answer_does_not(gate, asked, caplog):
    app, guarded = gate()
    for error in (ModelError(PRIVATE), RuntimeError(PRIVATE)):
        app.state.error = error
        caplog.clear()
        answer = asked(guarded, "GET", "/v1/raise", headers=[("X-Request-ID", "r-8")])
        assert "model.mitsugo" not in answer.content.decode()
        assert "r-8" in caplog.text
        assert PRIVATE in caplog.text

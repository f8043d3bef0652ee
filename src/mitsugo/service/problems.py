"""What went wrong, as RFC 9457 problem details: the one shape of every answer that is an error.

    {"type": "about:blank", "title": ..., "status": ..., "detail": ..., "request_id": ...}

    ours                       answered with
    DataError, UsageError      422, in the error's own words
    StoreError                 409, in the error's own words; a busy gallery 503, a full disk 507
    ModelError, ResourceError  503, a full disk 507; the words are the operator's and go to the log
    anything else              500; the log holds what it was, under the request's id

A detail never holds a path, a version, an address in memory or a traceback: own words are taken as they are,
those of other modules are scrubbed.
"""

import json
import logging
import re
import secrets
import sqlite3
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

from fastapi.exceptions import RequestValidationError
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Scope

from ..errors import DataError, Interrupted, MitsugoError, ModelError, ResourceError, StoreError, UsageError
from ..files import FULL

__all__ = ["MEDIA_TYPE", "Problem", "install", "problem_of", "request_id_of", "scrubbed"]

LOG = logging.getLogger("mitsugo.service")
MEDIA_TYPE = "application/problem+json"
LONGEST = 500
"""Characters of a detail; what is longer was made so by the request."""
WORDS = {
    400: "the request is malformed",
    401: "a token is needed",
    403: "this is not allowed",
    404: "there is nothing at this address",
    405: "this address does not take this method",
    406: "this cannot be answered in the asked-for form",
    413: "the request is too large",
    415: "this content type is not taken here",
    416: "the asked-for range is not there",
    422: "the request cannot be meant",
    503: "the service cannot answer now; try again",
}
"""What is said where a library, and none of ours, refused a request: never the library's own words."""
UNEXPECTED = "something went wrong inside the service; its log tells what, under this request's id"
DISK_FULL = "the disk is full; nothing was changed"
PRIMARY_CODE = 0xFF
"""The part of an error code of SQLite that says of which kind it is."""
BUSY = {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED}
SLASH = re.compile(r"[/\\]")
SCRUBBED = tuple(
    re.compile(pattern)
    for pattern in (
        r"(?:\b[A-Za-z]:(?=[/\\])|[\w.~%+-]*)[/\\][^\s:;,'\"()<>]*",  # a path
        r"[^\s'\"]+\.(?:mitsugo|sqlite|db|py)\b\S*",  # a file of ours, without its folder
        r"\bv?\d+\.\d+\.\d+[\w.+-]*",  # a version
        r"\b0x[0-9A-Fa-f]{4,}\b",  # an address in memory
    )
)


class Problem(HTTPException):
    """An answer that is an error.

    Args:
        status: the HTTP status, 400 to 599.
        detail: one line in our own words, for whoever asked; it is not scrubbed.
        headers: more headers of the answer.
        extra: more members of the document, such as the images that a gate saw broken.
    """

    def __init__(
        self,
        status: int,
        detail: str,
        *,
        headers: Mapping[str, str] | None = None,
        extra: Mapping[str, object] | None = None,
    ) -> None:
        super().__init__(status, detail, dict(headers or {}))
        self.extra = dict(extra or {})

    def content(self, request_id: str) -> bytes:
        """Return the document, in UTF-8."""
        plain = {
            **self.extra,
            "type": "about:blank",
            "title": HTTPStatus(self.status_code).phrase,
            "status": self.status_code,
            "detail": self.detail[:LONGEST],
            "request_id": request_id,
        }
        return json.dumps(plain, ensure_ascii=False).encode("utf-8", errors="replace")

    def response(self, request_id: str) -> Response:
        """Return the whole answer."""
        return Response(self.content(request_id), self.status_code, self.headers, MEDIA_TYPE)


def install(app: Starlette) -> None:
    """Answer every error of an app with a problem."""
    for kind in (HTTPException, MitsugoError, RequestValidationError, Exception):
        app.add_exception_handler(kind, _answered)


def problem_of(error: Exception) -> Problem:
    """Return what is answered where this error ends a request."""
    match error:
        case Problem():
            return error
        case HTTPException():
            status = error.status_code if 400 <= error.status_code < 600 else 500
            return Problem(status, WORDS.get(status, UNEXPECTED), headers=error.headers)
        case RequestValidationError():
            return _of_validation(error)
        case MitsugoError():
            return _of_ours(error)
    return Problem(500, UNEXPECTED)


def request_id_of(scope: Scope) -> str:
    """Return the id that the guard gave this request, or a new one where there was no guard."""
    return str(scope.get("state", {}).get("request_id") or new_request_id())


def new_request_id() -> str:
    """Return 32 hexadecimal digits that nobody can guess."""
    return secrets.token_hex(16)


def scrubbed(message: str) -> str:
    """Return the first line of a message without paths, file names, versions and addresses in memory.

    >>> scrubbed("/srv/parts/model.mitsugo: is damaged; see /srv/log (1.2.3)")
    'a file: is damaged; see … (…)'
    >>> scrubbed("bolt 7.png: is truncated; copy it again")
    'bolt 7.png: is truncated; copy it again'
    """
    line = (message.splitlines() or [""])[0]
    who, colon, what = line.partition(": ")
    if colon and SLASH.search(who):
        line = f"a file: {what}"
    for pattern in SCRUBBED:
        line = pattern.sub("…", line)
    return line[:LONGEST]


async def _answered(request: Request, error: Exception) -> Response:
    problem, request_id = problem_of(error), request_id_of(request.scope)
    if problem.status_code >= 500 and isinstance(error, MitsugoError):
        LOG.error("%s %s", request_id, error)
    return problem.response(request_id)


def _of_validation(error: RequestValidationError) -> Problem:
    """Tell the first thing that does not fit, by its place; broken JSON is malformed and not only unfit."""
    first: Mapping[str, Any] = next(iter(error.errors()), {})
    if str(first.get("type", "")).startswith("json"):
        return Problem(400, "the body is no JSON document")
    place = " ".join(str(step)[:64] for step in first.get("loc", ())[:4])
    return Problem(422, scrubbed(f"{place or 'the request'}: {str(first.get('msg', 'is not fit')).lower()}"))


def _of_ours(error: MitsugoError) -> Problem:
    match error:
        case DataError() | UsageError():
            return Problem(422, scrubbed(str(error)))
        case StoreError() | ResourceError() if _has_full_disk(error):
            return Problem(507, DISK_FULL)
        case StoreError() if getattr(error.__cause__, "sqlite_errorcode", 0) & PRIMARY_CODE in BUSY:
            return _unavailable("the gallery is being written to")
        case StoreError():
            return Problem(409, scrubbed(str(error)))
    kinds = {
        ModelError: "the model cannot be used now",
        ResourceError: "the machine cannot do this now",
        Interrupted: "the service is stopping",
    }
    what = next((words for kind, words in kinds.items() if isinstance(error, kind)), None)
    return Problem(500, UNEXPECTED) if what is None else _unavailable(what)


def _has_full_disk(error: Exception) -> bool:
    cause = error.__cause__
    if isinstance(cause, sqlite3.Error):
        return getattr(cause, "sqlite_errorcode", 0) & PRIMARY_CODE == sqlite3.SQLITE_FULL
    return (isinstance(cause, OSError) and cause.errno in FULL) or "disk is full" in str(error)


def _unavailable(what: str) -> Problem:
    return Problem(503, f"{what}; try again, or see the service's log", headers={"Retry-After": "5"})

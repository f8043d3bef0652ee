"""What a request must be like before anything of ours looks at it: plain functions that refuse."""

import ipaddress
import re
from urllib.parse import unquote, urlsplit

from starlette.datastructures import Headers
from starlette.types import Scope

from .problems import Problem, new_request_id

__all__ = [
    "check_host",
    "check_method",
    "check_origin",
    "check_path",
    "chosen_request_id",
    "declared_length",
    "raw_path",
    "without_odd_ranges",
]

REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")
METHODS = ("GET", "HEAD", "POST", "DELETE")
UNSAFE = ("POST", "DELETE")
LONGEST_PATH = 1024
DECODINGS = 3
"""A path that is still encoded after so many decodings hides something."""
HOST = re.compile(r"(\[[0-9a-f:.]{2,45}\]|[a-z0-9._-]{1,253})(?::[0-9]{1,5})?")
LOOPBACK = ("localhost", "127.0.0.1", "::1")
RANGE = re.compile(r"bytes=(?:[0-9]{1,15}-[0-9]{0,15}|-[0-9]{1,15})")


def chosen_request_id(headers: Headers) -> str:
    """Return the client's own id of a request if it is one short plain token, else a new one."""
    own = headers.getlist("x-request-id")
    return own[0] if len(own) == 1 and REQUEST_ID.fullmatch(own[0]) else new_request_id()


def raw_path(scope: Scope) -> bytes:
    """Return the path as it was sent, still encoded and without the query."""
    sent = scope.get("raw_path")
    return sent if isinstance(sent, bytes) else str(scope["path"]).encode()


def check_method(scope: Scope) -> None:
    """Refuse what none of our addresses takes: TRACE, CONNECT, OPTIONS, made-up ones.

    Raises:
        Problem: 405.
    """
    if scope["method"] not in METHODS:
        allowed = {"Allow": ", ".join(METHODS)}
        raise Problem(405, "this method is not taken here", headers=allowed)


def check_path(path: bytes) -> None:
    r"""Refuse a path that tries to be another one once it is decoded, however often that is done.

    Raises:
        Problem: 400, or 414 where it is too long.

    >>> check_path(b"/v1/pictures/7")
    >>> check_path(b"/static/%252e%252e/secret")
    Traceback (most recent call last):
    ...
    mitsugo.service.problems.Problem: 400: the address is malformed
    """
    if len(path) > LONGEST_PATH:
        raise Problem(414, f"the address is longer than {LONGEST_PATH:,} characters")
    decoded = path.decode("latin-1")
    slashes = decoded.count("/")
    for _ in range(DECODINGS):
        before, decoded = decoded, unquote(decoded)
    if decoded != before or decoded.count("/") != slashes or not _is_plain(decoded):
        raise Problem(400, "the address is malformed")


def check_host(scope: Scope, headers: Headers, allowed: tuple[str, ...]) -> None:
    """Refuse a request by a name that is not ours: a page elsewhere may have bound its name to our address.

    Taken are the names of this machine for itself, those allowed, and the very address that the connection
    came in on, which no name can be bound to.

    Raises:
        Problem: 403.
    """
    named = headers.getlist("host")
    found = HOST.fullmatch(named[0].lower()) if len(named) == 1 else None
    host = found[1].strip("[]") if found else ""
    if host not in (*LOOPBACK, *(name.lower() for name in allowed)) and not _is_own_address(scope, host):
        raise Problem(403, "this service does not go by that name; whoever runs it can add it (--allow-host)")


def check_origin(scope: Scope, headers: Headers, *, tls: bool) -> None:
    """Refuse what a page of another origin makes a browser send: any change, and any look at the data.

    Raises:
        Problem: 403.
    """
    is_unsafe = scope["method"] in UNSAFE
    if not is_unsafe and not str(scope["path"]).startswith("/v1"):
        return
    site = headers.get("sec-fetch-site", "same-origin")
    if site not in {"same-origin", "none"}:
        raise Problem(403, "the request comes from another site")
    origin = headers.get("origin")
    if is_unsafe and origin is not None and not _is_same(origin, headers.get("host", ""), tls=tls):
        raise Problem(403, "the request comes from another site")


def declared_length(headers: Headers) -> int | None:
    """Return how long the body says it is: 0 where there is none, None where it comes in chunks.

    Raises:
        Problem: 400, the length is no number, or there are several.
    """
    if "transfer-encoding" in headers:
        return None
    lengths = headers.getlist("content-length")
    if not lengths:
        return 0
    if len(lengths) > 1 or not re.fullmatch(r"[0-9]{1,15}", lengths[0]):
        raise Problem(400, "the length of the body is malformed")
    return int(lengths[0])


def without_odd_ranges(scope: Scope) -> Scope:
    """Return the scope without a Range header that asks for more than one plain range.

    A server may answer with the whole thing, and a list of a thousand ranges deserves no more.
    """
    ranges = [value for name, value in scope["headers"] if name == b"range"]
    if not ranges or (len(ranges) == 1 and RANGE.fullmatch(ranges[0].decode("latin-1"))):
        return scope
    kept = [(name, value) for name, value in scope["headers"] if name not in {b"range", b"if-range"}]
    return {**scope, "headers": kept}


def _is_plain(path: str) -> bool:
    if not path.startswith("/"):
        return False
    segments = path[1:].split("/")
    if "" in segments[:-1]:
        return False
    if any(letter in "\\:\x7f" or letter < " " for letter in path):
        return False
    return not any(segment.strip(". ") == "" for segment in segments if segment)


def _is_own_address(scope: Scope, host: str) -> bool:
    server = scope.get("server")
    try:
        return server is not None and ipaddress.ip_address(host) == ipaddress.ip_address(server[0])
    except ValueError:
        return False


def _is_same(origin: str, host: str, *, tls: bool) -> bool:
    """Compare names and ports; a proxy in front may speak TLS where we do not, never the other way round."""
    try:
        parsed = urlsplit(origin)
    except ValueError:
        return False
    schemes = {"https"} if tls else {"http", "https"}
    return parsed.scheme in schemes and bool(host) and parsed.netloc.lower() == host.lower()

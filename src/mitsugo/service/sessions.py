"""Who may come in: the token of machines, the session of browsers, and the small page that asks for it.

A session is 256 random bits in a cookie that scripts cannot read and other sites cannot send. The server
keeps only its hash, in memory: a restart, or a new token, ends every session.
"""

import base64
import hashlib
import hmac
import math
import secrets
import stat
import warnings
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from urllib.parse import parse_qs

from starlette.datastructures import Headers
from starlette.requests import ClientDisconnect, Request
from starlette.responses import HTMLResponse, RedirectResponse, Response
from starlette.types import Receive, Scope, Send

from ..errors import UsageError, shown
from ..files import open_regular, reason
from .policies import NOTHING, policy
from .problems import Problem

__all__ = ["Doorkeeper", "token_of"]

SHORTEST = 16
"""Characters of a token; 16 random ones cannot be guessed, however often one tries."""
LONGEST = 1024
SESSIONS = 256
"""Browsers at one time; the one that came first must log in again."""
SESSION_SECONDS = 12 * 3600.0
"""A shift, and some."""
FORM_BYTES = 4 << 10
STYLE = (
    "body{font-family:system-ui,sans-serif;max-width:26rem;margin:12vh auto;padding:0 1rem;line-height:1.7}"
    "input,button{font:inherit;padding:.5rem;width:100%;box-sizing:border-box;margin:.3rem 0}"
    "p.wrong{color:#b00020}"
)
PAGE = """<!doctype html>
<html lang="ja"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>mitsugo</title><style>{style}</style></head><body>
<h1>mitsugo</h1>{wrong}
<p>ようこそ。はじめるには、管理者から受け取ったトークンを入力してください。</p>
<p lang="en">Welcome. To begin, enter the token that you were given.</p>
<form method="post" action="/login">
<label for="token">トークン <span lang="en">Token</span></label>
<input id="token" name="token" type="password" autocomplete="current-password" required autofocus>
<button type="submit">はじめる <span lang="en">Start</span></button>
</form></body></html>
"""
WRONG = (
    '<p class="wrong" role="alert">トークンが違うようです。もう一度お試しください。<br>'
    '<span lang="en">That is not the token. Please try again.</span></p>'
)
STYLE_HASH = base64.b64encode(hashlib.sha256(STYLE.encode()).digest()).decode()
LOGIN_POLICY = policy({**NOTHING, "style-src": f"'sha256-{STYLE_HASH}'", "form-action": "'self'"})


def token_of(path: Path) -> str:
    """Read a token file: one line of at least 16 printable ASCII characters without spaces.

    A file that everybody on the machine can read is taken, with a warning.

    Raises:
        UsageError: the file cannot be read, or holds no such line.
    """
    try:
        with open_regular(path, UsageError) as file:
            content = file.read(LONGEST + 3)
    except OSError as error:
        raise UsageError(f"{shown(path)}: cannot be read: {reason(error)}") from error
    token = content.decode("ascii", errors="replace").strip()
    if not token:
        raise UsageError(f"{shown(path)}: is empty, expected a token of at least {SHORTEST} characters")
    if not SHORTEST <= len(token) <= LONGEST or not all("!" <= letter <= "~" for letter in token):
        raise UsageError(
            f"{shown(path)}: holds no token, expected {SHORTEST} to {LONGEST} plain characters on one line; "
            f'make one with: python -c "import secrets; print(secrets.token_urlsafe(32))"'
        )
    if path.stat().st_mode & stat.S_IROTH:
        warnings.warn(f"{shown(path)}: everybody on this machine can read it; chmod 600", stacklevel=2)
    return token


class Doorkeeper:
    """Knows the token and the sessions.

    Args:
        token: what machines send as `Authorization: Bearer ...`, and people enter once.
        tls: cookies are sent under TLS only.
        clock: seconds, ever growing.
    """

    def __init__(self, token: str, *, tls: bool, clock: Callable[[], float]) -> None:
        self._token = _hashed(token.encode())
        # ports of one host share their cookies: two services must not log each other's people out
        self._cookie = f"{'__Host-' if tls else ''}mitsugo-{secrets.token_hex(4)}"
        self._tls = tls
        self._clock = clock
        self._sessions: OrderedDict[bytes, float] = OrderedDict()

    def admits(self, headers: Headers) -> bool:
        """Return whether a request has the token or a session; where it names a token, that must be right."""
        named = headers.getlist("authorization")
        if named:
            scheme, _, token = named[0].partition(" ")
            is_right = self._is_token(token.strip().encode("latin-1"))
            return is_right and scheme.lower() == "bearer" and len(named) == 1
        return self._has_session(headers)

    async def login(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer the form of the login page: 303 to the page and a cookie, or 401 and the form again.

        Raises:
            Problem: (400, 413, 415) it is no such form.
        """
        token = await _sent_token(Request(scope, receive))
        answer = self._admitted() if self._is_token(token.encode()) else self.page(wrong=True)
        await answer(scope, receive, send)

    def page(self, *, wrong: bool = False) -> Response:
        """Return the page that asks for the token."""
        content = PAGE.format(style=STYLE, wrong=WRONG if wrong else "")
        headers = {
            "Content-Security-Policy": LOGIN_POLICY,
            "Cache-Control": "no-store",
            "WWW-Authenticate": "Bearer",
        }
        return HTMLResponse(content, 401, headers)

    def _is_token(self, token: bytes) -> bool:
        return hmac.compare_digest(_hashed(token), self._token)

    def _has_session(self, headers: Headers) -> bool:
        """Look a session up by its hash, so that the time it takes tells nothing of the session itself."""
        sent = [cookie.strip() for line in headers.getlist("cookie") for cookie in line.split(";")]
        own = [cookie.partition("=")[2] for cookie in sent if cookie.startswith(f"{self._cookie}=")]
        return len(own) == 1 and self._sessions.get(_hashed(own[0].encode()), -math.inf) > self._clock()

    def _admitted(self) -> Response:
        session = secrets.token_urlsafe(32)
        self._sessions[_hashed(session.encode())] = self._clock() + SESSION_SECONDS
        while len(self._sessions) > SESSIONS:
            self._sessions.popitem(last=False)
        answer = RedirectResponse("/", 303, {"Cache-Control": "no-store"})
        answer.set_cookie(
            self._cookie,
            session,
            max_age=int(SESSION_SECONDS),
            secure=self._tls,
            httponly=True,
            samesite="strict",
        )
        return answer


async def _sent_token(request: Request) -> str:
    if (
        request.headers.get("content-type", "").partition(";")[0].strip()
        != "application/x-www-form-urlencoded"
    ):
        raise Problem(415, "expected a body of application/x-www-form-urlencoded")
    body = b""
    try:
        async for chunk in request.stream():
            body += chunk
            if len(body) > FORM_BYTES:
                raise Problem(413, f"the form is longer than {FORM_BYTES:,} bytes")
    except ClientDisconnect as error:
        raise Problem(400, "the client went away before its request was whole") from error
    try:
        form = parse_qs(body.decode("ascii"), max_num_fields=8)
    except ValueError as error:
        raise Problem(400, "the form is malformed") from error
    return form.get("token", [""])[0].strip()


def _hashed(secret: bytes) -> bytes:
    """Return 32 bytes that stand for a secret of any length."""
    return hashlib.sha256(secret).digest()

"""The headers that tell browsers what our answers may do, and what others may do with them.

Nothing is loaded from anywhere else, nothing is framed by anyone else, and no other origin reads an answer:
there are no CORS headers at all. The map's frame is the one exception inside: its library builds code at run
time, so the frame is a sandbox without an origin of its own.
"""

from starlette.datastructures import MutableHeaders

__all__ = ["add_policies", "policy"]

NOTHING = {
    "default-src": "'none'",
    "base-uri": "'none'",
    "frame-ancestors": "'none'",
    "form-action": "'none'",
}
PAGE = {
    **NOTHING,
    "script-src": "'self'",
    "style-src": "'self'",
    "img-src": "'self' data: blob:",
    "connect-src": "'self'",
    "frame-src": "'self'",
    "media-src": "'self' blob:",
    "form-action": "'self'",
}
FRAME = {
    **NOTHING,
    "script-src": "'self' 'unsafe-eval'",
    "style-src": "'self'",
    "img-src": "'self' data: blob:",
    "frame-ancestors": "'self'",
    "sandbox": "allow-scripts",
}
DOCS = {**PAGE, "style-src": "'self' 'unsafe-inline'"}
SPECIAL = {"/map-frame": FRAME, "/docs": DOCS}
DENIED = ("microphone", "geolocation", "payment", "usb", "serial", "midi", "display-capture")
ALWAYS = {
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",  # no-referrer would hide our own login form's origin from the guard
    "Cross-Origin-Opener-Policy": "same-origin",
    "Permissions-Policy": ", ".join(["camera=(self)", *(f"{name}=()" for name in DENIED)]),
}


def policy(directives: dict[str, str]) -> str:
    """Return a Content-Security-Policy in one line.

    >>> policy({"default-src": "'none'", "sandbox": "allow-scripts"})
    "default-src 'none'; sandbox allow-scripts"
    """
    return "; ".join(f"{name} {value}" for name, value in directives.items())


def add_policies(headers: MutableHeaders, path: str, *, shared: bool) -> None:
    """Add the headers to an answer; one that the answer has already stands.

    Args:
        headers: the answer's.
        path: what was asked for.
        shared: the answer is code that asks for no token, and that the map's frame, of no origin, may load.
    """
    framed = path in SPECIAL and "sandbox" in SPECIAL[path]
    for name, value in ALWAYS.items():
        headers.setdefault(name, value)
    headers.setdefault("Content-Security-Policy", policy(SPECIAL.get(path, PAGE)))
    headers.setdefault("X-Frame-Options", "SAMEORIGIN" if framed else "DENY")
    headers.setdefault("Cross-Origin-Resource-Policy", "cross-origin" if shared else "same-origin")
    if path.startswith("/v1/"):
        headers.setdefault("Cache-Control", "no-store")

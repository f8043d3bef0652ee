"""A multipart body -> images and form fields, in memory and within limits that hold while the bytes arrive.

Nothing is written to disk, so that a client that goes away leaves nothing behind. What each part may be:

    with a filename     an image, named "image"; its first bytes must be those of JPEG, PNG, BMP, TIFF or WebP
    without             a form field of UTF-8 text; each name once

    400    malformed: no or an absurd boundary, broken headers of a part, no end, something after the end
    413    too large or too many
    415    another content type, or an image of another format
    422    no image, an empty one, a name that cannot be meant
"""

import re
from dataclasses import dataclass

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header
from starlette.requests import ClientDisconnect, Request

from .limits import Limits
from .problems import Problem

__all__ = ["Form", "Upload", "read_form"]

IMAGE = "image"
"""The name of every part that holds an image."""
BOUNDARY = re.compile(rb"[A-Za-z0-9'()+_,./:=? -]{0,69}[A-Za-z0-9'()+_,./:=?-]")
"""RFC 2046, section 5.1.1."""
PART_HEADER_BYTES = 4 << 10
"""Bytes of the headers of one part: a long file name in UTF-8, and what browsers say of it."""
EPILOGUE_BYTES = 2
"""What may follow the end: a line break."""
LONGEST_NAME = 255
SIGNATURE_BYTES = 18
"""So many first bytes tell every format."""
SIGNATURES = (
    re.compile(rb"\xff\xd8\xff"),
    re.compile(rb"\x89PNG\r\n\x1a\n"),
    re.compile(rb"BM.{12}[\x0c\x28\x34\x38\x40\x6c\x7c]\0\0\0", re.DOTALL),  # the size of its second header
    re.compile(rb"II[*+]\0|MM\0[*+]"),
    re.compile(rb"RIFF.{4}WEBP", re.DOTALL),
)


@dataclass(frozen=True)
class Upload:
    """An image file that was sent: what it is called, without folders, and its bytes."""

    name: str
    content: bytes


@dataclass(frozen=True)
class Form:
    """What a multipart body held, in the order in which it came."""

    images: tuple[Upload, ...]
    fields: dict[str, str]


async def read_form(request: Request, limits: Limits) -> Form:
    """Read the images and the fields of a request.

    Raises:
        Problem: (400, 413, 415, 422) see the top of this page; raised at the first byte that is too many.
    """
    boundary = _boundary(request.headers.get("content-type", ""))
    parts = _Parts(boundary, limits)
    received = 0
    try:
        async for chunk in request.stream():
            received += len(chunk)
            if received > limits.body_bytes:
                raise Problem(413, f"the body is longer than {limits.body_bytes:,} bytes; send fewer images")
            parts.write(chunk)
    except ClientDisconnect as error:
        raise Problem(400, "the client went away before its request was whole") from error
    return parts.form()


def is_image(first: bytes) -> bool:
    r"""Return whether these are the first bytes of a format that is taken here.

    >>> is_image(b"\x89PNG\r\n\x1a\n"), is_image(b"<svg xmlns=")
    (True, False)
    """
    return any(signature.match(first) for signature in SIGNATURES)


def plain_name(filename: str, number: int) -> str:
    r"""Return what a file is called without its folders, in characters that can be shown.

    >>> plain_name("C:\\fotos\\..\\ネジ 7.png", 1), plain_name("../", 2)
    ('ネジ 7.png', 'image-2')
    """
    last = re.split(r"[/\\]", filename)[-1]
    shown = "".join(letter if letter.isprintable() else "�" for letter in last)[-LONGEST_NAME:].strip()
    return shown if shown.strip(".") else f"{IMAGE}-{number}"


def _boundary(content_type: str) -> bytes:
    kind, options = parse_options_header(content_type[:1000])
    if kind != b"multipart/form-data":
        raise Problem(415, "expected a body of multipart/form-data")
    boundary = options.get(b"boundary", b"")
    if not BOUNDARY.fullmatch(boundary):
        raise Problem(400, "the multipart boundary is missing, or is none of 1 to 70 plain characters")
    return boundary


class _Parts:
    """The parts of one body as they arrive."""

    def __init__(self, boundary: bytes, limits: Limits) -> None:
        self._limits = limits
        self._boundary = boundary
        self._images: list[Upload] = []
        self._fields: dict[str, str] = {}
        self._part = _Part()
        self._begun = 0
        self._ended = False
        self._tail = b""
        self._parser = MultipartParser(
            boundary,
            {
                "on_part_begin": self._begin,
                "on_header_field": self._header_name,
                "on_header_value": self._header_value,
                "on_header_end": self._header_end,
                "on_headers_finished": self._headers_end,
                "on_part_data": self._data,
                "on_part_end": self._end,
                "on_end": self._finish,
            },
        )

    def write(self, chunk: bytes) -> None:
        """Take the next bytes."""
        if self._ended and chunk.strip(b"\r\n"):
            raise Problem(400, "something follows the end of the multipart body")
        self._tail = (self._tail + chunk[-200:])[-200:]
        try:
            self._parser.write(chunk)
        except FormParserError as error:
            raise Problem(400, "the multipart body is malformed") from error

    def form(self) -> Form:
        """Return all of it, once the last byte was taken."""
        last = b"--" + self._boundary + b"--"
        if not self._ended:
            raise Problem(400, "the multipart body has no end")
        if not self._tail.endswith((last, last + b"\r\n")):
            raise Problem(400, "something follows the end of the multipart body")
        if not self._images:
            raise Problem(422, f"no image was sent; expected a file in the form field {IMAGE}")
        return Form(tuple(self._images), self._fields)

    def _begin(self) -> None:
        self._part = _Part()
        self._begun += 1
        if self._begun > self._limits.images + self._limits.fields:
            raise Problem(413, "more parts in one request than it may hold images and form fields")

    def _header_name(self, data: bytes, start: int, end: int) -> None:
        self._part.header_name += self._counted(data[start:end])

    def _header_value(self, data: bytes, start: int, end: int) -> None:
        self._part.header_value += self._counted(data[start:end])

    def _counted(self, piece: bytes) -> bytes:
        self._part.header_bytes += len(piece)
        if self._part.header_bytes > PART_HEADER_BYTES:
            raise Problem(400, f"the headers of a part are longer than {PART_HEADER_BYTES:,} bytes")
        return piece

    def _header_end(self) -> None:
        part = self._part
        if part.header_name.lower() == b"content-disposition":
            part.disposition, part.options = parse_options_header(bytes(part.header_value).decode("latin-1"))
        part.header_name, part.header_value = b"", b""

    def _headers_end(self) -> None:
        part, limits = self._part, self._limits
        if part.disposition != b"form-data" or not part.options.get(b"name"):
            raise Problem(400, "a part of the multipart body does not say its name")
        part.name = _text(part.options[b"name"])
        if b"filename" in part.options:
            if part.name != IMAGE:
                raise Problem(422, f"a file was sent in another form field than {IMAGE}")
            if len(self._images) == limits.images:
                raise Problem(
                    413, f"more than {limits.images} images in one request; send the rest in another"
                )
            part.filename = plain_name(_text(part.options[b"filename"]), len(self._images) + 1)
            return
        if part.name == IMAGE:
            raise Problem(422, f"the form field {IMAGE} holds no file; send it with a file name")
        if part.name in self._fields:
            raise Problem(422, "a form field was sent twice")
        if len(self._fields) == limits.fields:
            raise Problem(413, f"more than {limits.fields} form fields in one request")

    def _data(self, data: bytes, start: int, end: int) -> None:
        part, limits = self._part, self._limits
        part.content += data[start:end]
        if part.filename is None:
            if len(part.content) > limits.field_bytes:
                raise Problem(413, f"a form field is longer than {limits.field_bytes:,} bytes")
            return
        if len(part.content) > limits.image_bytes:
            raise Problem(413, f"{part.filename}: is longer than {limits.image_bytes:,} bytes; scale it down")
        if len(part.content) >= SIGNATURE_BYTES:
            part.check_signature()

    def _end(self) -> None:
        part = self._part
        if part.filename is None:
            self._fields[part.name] = _text(bytes(part.content))
            return
        if not part.content and not part.options[b"filename"]:
            return  # a form's file input in which nothing was chosen
        if not part.content:
            raise Problem(422, f"{part.filename}: is empty (0 bytes)")
        part.check_signature()
        self._images.append(Upload(part.filename, bytes(part.content)))

    def _finish(self) -> None:
        self._ended = True


class _Part:
    """What has arrived of one part."""

    def __init__(self) -> None:
        self.header_name = b""
        self.header_value = b""
        self.header_bytes = 0
        self.disposition = b""
        self.options: dict[bytes, bytes] = {}
        self.name = ""
        self.filename: str | None = None
        self.content = bytearray()
        self._is_known = False

    def check_signature(self) -> None:
        """Refuse an image of a format that is not taken, once and before the rest of it has arrived."""
        if not self._is_known and not is_image(bytes(self.content[:SIGNATURE_BYTES])):
            raise Problem(415, f"{self.filename}: is no JPEG, PNG, BMP, TIFF or WebP image")
        self._is_known = True


def _text(content: bytes) -> str:
    try:
        return content.decode()
    except UnicodeDecodeError as error:
        raise Problem(400, "a name or a form field is not in UTF-8") from error

"""Multipart bodies: what they hold, and every trick that is played with them."""

import asyncio
import gc
import io
import tracemalloc

import pytest
from PIL import Image
from starlette.requests import Request

from mitsugo.service.limits import Limits
from mitsugo.service.problems import Problem
from mitsugo.service.uploads import Form, Upload, is_image, plain_name, read_form

EDGE = "multipart/form-data; boundary=edge"
SMALL = Limits(body_bytes=4000, image_bytes=1000, images=3, fields=2, field_bytes=100)


def read(body, *, content_type=EDGE, limits=SMALL, step=None, gone=False):
    """Read a form whose bytes come in pieces of `step`."""
    step = step or max(1, len(body))
    pieces = [body[start : start + step] for start in range(0, len(body), step)]
    messages = [{"type": "http.request", "body": piece, "more_body": True} for piece in pieces]
    messages.append({"type": "http.disconnect"} if gone else {"type": "http.request", "body": b""})
    waiting = iter(messages)

    async def receive():
        return next(waiting)

    headers = [(b"content-type", content_type.encode())] if content_type else []
    request = Request({"type": "http", "method": "POST", "headers": headers}, receive)
    return asyncio.run(read_form(request, limits))


def refusal(body, **options):
    with pytest.raises(Problem) as refused:
        read(body, **options)
    return refused.value.status_code, refused.value.detail


@pytest.mark.parametrize("step", [None, 1, 2, 7])
def test_images_and_fields_arrive_as_they_were_sent_however_they_are_cut(png, form_body, step):
    body = form_body(("image", "a.png", png), ("label", "ネジ".encode()), ("image", "b.png", png))
    assert read(body, step=step) == Form((Upload("a.png", png), Upload("b.png", png)), {"label": "ネジ"})


def test_what_looks_like_a_boundary_inside_an_image_is_part_of_it(png, form_body):
    tricky = png + b"\r\n--edg\r\n--edge_\r\n-\r\n--edg"
    for step in (1, 3, 5, 1000):
        assert read(form_body(("image", "a.png", tricky)), step=step).images[0].content == tricky


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "BMP", "TIFF", "WEBP"])
def test_every_format_that_is_decoded_is_let_in(kind):
    file = io.BytesIO()
    Image.new("RGB", (8, 8)).save(file, kind)
    assert is_image(file.getvalue()[:18])


@pytest.mark.parametrize(
    "content",
    [
        b"<svg xmlns='http://www.w3.org/2000/svg'/>",
        b"<?xml version='1.0'?><svg/>",
        b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 1 1",
        b"%PDF-1.7\n%\xe2\xe3",
        b"icns\0\0\0\x20ic07" + bytes(20),
        b"GIF89a" + bytes(20),
        b"BM, said the letter, and more words than that",
        b"RIFF\x10\0\0\0AVI LIST" + bytes(20),
        b"\0\0\0\x1cftypavif" + bytes(20),
        b"\xff\xd8",
        b"x",
    ],
)
def test_another_format_is_415_whatever_its_name(form_body, content):
    status, detail = refusal(form_body(("image", "a.png", content)))
    assert (status, detail) == (415, "a.png: is no JPEG, PNG, BMP, TIFF or WebP image")


def test_another_format_is_refused_at_its_first_bytes(form_body):
    begun = form_body(("image", "a.png", b"%PDF-1.7" + bytes(20)), end=False)
    assert refusal(begun, gone=True)[0] == 415


def test_an_image_of_the_limit_is_taken_and_one_byte_more_is_413(png, form_body):
    full = png + bytes(1000 - len(png))
    assert len(read(form_body(("image", "a.png", full))).images[0].content) == 1000
    assert refusal(form_body(("image", "a.png", full + b"\0"))) == (
        413,
        "a.png: is longer than 1,000 bytes; scale it down",
    )


def test_a_body_of_the_limit_is_taken_and_one_byte_more_is_413(png, form_body):
    limits = Limits(body_bytes=2000, image_bytes=2000)
    frame = len(form_body(("image", "a.png", b"")))
    full = form_body(("image", "a.png", png + bytes(2000 - frame - len(png))))
    assert len(full) == 2000
    assert len(read(full, limits=limits).images) == 1
    for step in (1, 6, 3000):
        longer = form_body(("image", "a.png", png + bytes(2001 - frame - len(png))))
        assert refusal(longer, limits=limits, step=step)[0] == 413


def test_numbers_of_images_and_fields_are_held(png, form_body):
    image = ("image", "a.png", png)
    assert len(read(form_body(image, image, image)).images) == 3
    assert refusal(form_body(*[image] * 4))[0] == 413
    fields = [(f"f{number}", b"x") for number in range(3)]
    assert len(read(form_body(image, *fields[:2])).fields) == 2
    assert refusal(form_body(image, *fields)) == (413, "more than 2 form fields in one request")


def test_a_field_without_end_is_413_at_its_limit(png, form_body):
    assert read(form_body(("image", "a.png", png), ("note", b"x" * 100))).fields["note"] == "x" * 100
    assert refusal(form_body(("note", b"x" * 101)))[0] == 413
    assert refusal(form_body(("note", b"x" * 3000), end=False), step=6, gone=True)[0] == 413


def test_a_million_parts_end_at_the_limit(form_body):
    limits = Limits()
    body = b"".join(
        b'--edge\r\nContent-Disposition: form-data; name="%d"\r\n\r\n\r\n' % n for n in range(1_000)
    )
    assert refusal(body, limits=limits) == (413, "more than 32 form fields in one request")
    empty = b'--edge\r\nContent-Disposition: form-data; name="image"; filename=""\r\n\r\n\r\n' * 100_000
    assert refusal(empty, limits=limits, step=65536)[0] == 413


@pytest.mark.parametrize(
    ("content_type", "status"),
    [
        ("", 415),
        ("application/json", 415),
        ("application/x-www-form-urlencoded", 415),
        ("multipart/mixed; boundary=edge", 415),
        ("multipart/form-data", 400),
        ("multipart/form-data; boundary=", 400),
        ('multipart/form-data; boundary=""', 400),
        ("multipart/form-data; boundary=" + "e" * 71, 400),
        ("multipart/form-data; boundary=" + "e" * 10_000, 400),
        ("multipart/form-data; boundary=é", 400),
        ("multipart/form-data; boundary=other", 400),
    ],
)
def test_another_type_is_415_and_an_absurd_boundary_400(png, form_body, content_type, status):
    assert refusal(form_body(("image", "a.png", png)), content_type=content_type)[0] == status


def test_junk_around_the_body_and_a_missing_end_are_400(png, form_body):
    body = form_body(("image", "a.png", png))
    for broken in (b"junk" + body, body + b"junk", body + b"junk" * 99, body[:-4], body[:-10], body[:5], b""):
        for step in (None, 1):
            assert refusal(broken, step=step)[0] == 400, broken
    assert refusal(form_body())[0] == 422
    assert len(read(body[:-2]).images) == 1  # the last line break is nobody's duty


@pytest.mark.parametrize(
    ("head", "status"),
    [
        (b"", 400),
        (b'Content-Disposition: attachment; name="image"', 400),
        (b"Content-Disposition: form-data", 400),
        (b'Content-Disposition: form-data; name=""', 400),
        (b'Content-Disposition: form-data; name="\xff"', 400),
        (b"no colon in here", 400),
        (b"X: " + b"y" * 5000, 400),
        (b"\r\n".join(b"X-%d: y" % number for number in range(1000)), 400),
        (b'Content-Disposition: form-data; name="photo"; filename="a.png"', 422),
        (b'Content-Disposition: form-data; name="image"', 422),
    ],
)
def test_a_part_that_does_not_say_what_it_is_is_refused(head, status):
    body = b"--edge\r\n" + head + b"\r\n\r\nx\r\n--edge--\r\n"
    limits = Limits(body_bytes=20_000, image_bytes=10_000)
    assert {refusal(body, limits=limits, step=step)[0] for step in (None, 6)} == {status}


def test_nothing_chosen_is_422_and_so_is_an_empty_file(png, form_body):
    assert refusal(form_body(("image", "", b""))) == (
        422,
        "no image was sent; expected a file in the form field image",
    )
    assert refusal(form_body(("image", "a.png", b""))) == (422, "a.png: is empty (0 bytes)")
    assert refusal(form_body(("a", b"1"), ("a", b"2"))) == (422, "a form field was sent twice")
    assert refusal(form_body(("a", b"\xff")))[0] == 400


@pytest.mark.parametrize(
    ("sent", "name"),
    [
        ("../../etc/passwd", "passwd"),
        ("C:\\windows\\system32\\a.png", "a.png"),
        ("\\\\host\\share\\a.png", "a.png"),
        ("/", "image-1"),
        ("..", "image-1"),
        ("a\0b\x1b[31m.png", "a\ufffdb\ufffd[31m.png"),
        ("a\u202egnp.exe", "a\ufffdgnp.exe"),
        ("ネジ 7.png", "ネジ 7.png"),
        ("x" * 300 + ".png", "x" * 251 + ".png"),
    ],
)
def test_a_name_is_never_more_than_a_name(sent, name):
    assert plain_name(sent, 1) == name


def test_a_client_that_goes_away_leaves_nothing(png, form_body, tmp_path, monkeypatch):
    """50 times 16 KiB would show in memory, and a temporary file would fail for want of a folder."""
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "nowhere"))
    body = form_body(("image", "a.png", png + bytes(16_384)), end=False)
    limits = Limits()
    assert refusal(body, limits=limits, gone=True) == (
        400,
        "the client went away before its request was whole",
    )
    gc.collect()
    tracemalloc.start()
    for _ in range(50):
        refusal(body, limits=limits, gone=True)
    gc.collect()
    grown = tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()
    assert grown < 16_384 * 10


def test_an_image_in_six_byte_pieces_takes_the_memory_of_an_image(png, form_body):
    """Held twice at its end, as it arrived and as it is handed on; never as a million small pieces."""
    size = 90_000
    body = form_body(("image", "a.png", png + bytes(size - len(png))))
    pieces = (body[start : start + 6] for start in range(0, len(body), 6))

    async def receive():
        piece = next(pieces, b"")
        return {"type": "http.request", "body": piece, "more_body": bool(piece)}

    request = Request(
        {"type": "http", "method": "POST", "headers": [(b"content-type", EDGE.encode())]}, receive
    )

    async def measured():
        tracemalloc.start()
        form = await read_form(request, Limits())
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return len(form.images[0].content), peak

    length, peak = asyncio.run(measured())
    assert length == size
    assert peak < 3 * size

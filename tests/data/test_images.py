import io
import os
import threading
import tracemalloc
import warnings
import zlib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from mitsugo.data import images
from mitsugo.data.images import decode, encode_png, read_image
from mitsugo.errors import DataError, UsageError, shown


def encoded(image: Image.Image, kind: str, **options: object) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def pixels(mode: str, *values: object) -> Image.Image:
    """Return an image of one row."""
    image = Image.new(mode, (len(values), 1))
    for x, value in enumerate(values):
        image.putpixel((x, 0), value)
    return image


def palette(*colours: tuple[int, int, int]) -> Image.Image:
    image = pixels("P", *range(len(colours)))
    image.putpalette([channel for colour in colours for channel in colour])
    return image


def sixteen(values: list[int], order: str) -> Image.Image:
    mode = "I;16" if order == "<" else "I;16B"
    return Image.frombytes(mode, (len(values), 1), np.array(values, f"{order}u2").tobytes())


RED, GREEN, BLUE = (255, 0, 0), (0, 255, 0), (0, 0, 255)
WHITE, BLACK, GREY = (255, 255, 255), (0, 0, 0), (100, 100, 100)
PALETTE = palette(RED, GREY, WHITE)
CONVERSIONS = {
    "1": (encoded(pixels("1", 0, 255), "PNG"), [BLACK, WHITE]),
    "1, transparent": (encoded(pixels("1", 0, 255), "PNG", transparency=0), [WHITE, WHITE]),
    "1 in TIFF": (encoded(pixels("1", 0, 255), "TIFF", compression="group4"), [BLACK, WHITE]),
    "L": (encoded(pixels("L", 0, 100, 255), "PNG"), [BLACK, GREY, WHITE]),
    "L, transparent": (encoded(pixels("L", 0, 100, 255), "PNG", transparency=0), [WHITE, GREY, WHITE]),
    "L in BMP": (encoded(pixels("L", 0, 100, 255), "BMP"), [BLACK, GREY, WHITE]),
    "LA": (encoded(pixels("LA", (100, 255), (0, 0), (0, 51)), "PNG"), [GREY, WHITE, (204, 204, 204)]),
    "P": (encoded(PALETTE, "PNG"), [RED, GREY, WHITE]),
    "P in BMP": (encoded(PALETTE, "BMP"), [RED, GREY, WHITE]),
    "P, one entry transparent": (encoded(PALETTE, "PNG", transparency=0), [WHITE, GREY, WHITE]),
    "P, alpha": (encoded(PALETTE, "PNG", transparency=b"\x33\xff\x00"), [(255, 204, 204), GREY, WHITE]),
    "PA": (encoded(PALETTE.convert("PA"), "TIFF"), [RED, GREY, WHITE]),
    "RGB": (encoded(pixels("RGB", RED, GREEN, (1, 2, 3)), "PNG"), [RED, GREEN, (1, 2, 3)]),
    "RGB, transparent": (encoded(pixels("RGB", RED, BLUE), "PNG", transparency=RED), [WHITE, BLUE]),
    "RGB in BMP": (encoded(pixels("RGB", RED, (1, 2, 3)), "BMP"), [RED, (1, 2, 3)]),
    "RGB in TIFF": (encoded(pixels("RGB", RED, (1, 2, 3)), "TIFF", compression="tiff_lzw"), [RED, (1, 2, 3)]),
    "RGB in WebP": (encoded(pixels("RGB", RED, (1, 2, 3)), "WEBP", lossless=True), [RED, (1, 2, 3)]),
    "RGBA": (
        encoded(pixels("RGBA", (*RED, 255), (*RED, 0), (*RED, 51)), "PNG"),
        [RED, WHITE, (255, 204, 204)],
    ),
    "RGBA in WebP": (
        encoded(pixels("RGBA", (*RED, 255), (*RED, 51)), "WEBP", lossless=True),
        [RED, (255, 204, 204)],
    ),
    "RGBX": (
        encoded(Image.frombytes("RGBX", (2, 1), bytes((*RED, 7, 1, 2, 3, 0))), "TIFF"),
        [RED, (1, 2, 3)],
    ),
    "CMYK": (
        encoded(pixels("CMYK", (0, 0, 0, 0), (255, 0, 0, 0), (9, 9, 9, 255)), "TIFF"),
        [WHITE, (0, 255, 255), BLACK],
    ),
    "YCbCr": (encoded(pixels("YCbCr", (100, 128, 128), (255, 128, 128)), "TIFF"), [GREY, WHITE]),
    "I;16": (encoded(sixteen([0x64FF, 0xFFFF, 0x00FF], "<"), "PNG"), [GREY, WHITE, BLACK]),
    "I;16 in TIFF": (encoded(sixteen([0x6400, 0xFFFF, 0x00FF], "<"), "TIFF"), [GREY, WHITE, BLACK]),
    "I;16B": (encoded(sixteen([0x6400, 0xFFFF, 0x00FF], ">"), "TIFF"), [GREY, WHITE, BLACK]),
}


@pytest.mark.parametrize("kind", CONVERSIONS)
def test_the_conversion_of_every_mode(kind):
    content, colours = CONVERSIONS[kind]
    colour = decode(content, kind, 3)
    assert (colour.shape, colour.dtype) == ((3, 1, len(colours)), np.uint8)
    assert colour[:, 0].T.tolist() == [list(c) for c in colours]
    grey = [round(0.299 * r + 0.587 * g + 0.114 * b) for r, g, b in colours]
    assert decode(content, kind, 1).tolist() == [[grey]]


def test_jpeg_is_near_what_was_saved():
    image = Image.new("RGB", (16, 16), (200, 40, 90))
    decoded = decode(encoded(image, "JPEG", quality=95), "x", 3).reshape(3, -1)
    assert np.abs(decoded - np.array([[200], [40], [90]])).max() <= 3
    assert (
        np.abs(
            decode(encoded(image.convert("CMYK"), "JPEG", quality=95), "x", 3).reshape(3, -1)
            - decoded.astype(int)
        ).max()
        <= 4
    )


@pytest.mark.parametrize(
    ("content", "mode"),
    [
        (encoded(Image.new("F", (2, 2), float("nan")), "TIFF"), "F"),
        (encoded(Image.new("F", (2, 2), 0.5), "TIFF"), "F"),
        (encoded(Image.new("I", (2, 2), 70_000), "TIFF"), "I"),
        (encoded(Image.new("LAB", (2, 2)), "TIFF"), "LAB"),
    ],
)
def test_values_without_an_agreed_black_and_white_are_refused(content, mode):
    with pytest.raises(
        DataError, match=f"x.tif: holds values of mode {mode}, which have no agreed black and white"
    ):
        decode(content, "x.tif", 1)


@pytest.mark.parametrize(("tag", "value"), [(258, 12), (262, 0)])
def test_16_bit_tiffs_whose_white_is_elsewhere_are_refused(tag, value):
    # Patch the entry (tag, type short, one value) of a file whose strip is long enough for either depth.
    content = bytearray(encoded(sixteen([1, 2, 3, 4], "<"), "TIFF"))
    entry = content.index(tag.to_bytes(2, "little") + b"\3\0\1\0\0\0")
    content[entry + 8 : entry + 10] = value.to_bytes(2, "little")
    with pytest.raises(DataError, match="expected 16 bits where 0 is black"):
        decode(bytes(content), "x.tif", 1)


UPRIGHT = np.array([[10, 20, 30], [40, 50, 60]], np.uint8)
STORED = {  # how a camera stores the picture above under each orientation (EXIF 2.3, tag 274)
    1: [[10, 20, 30], [40, 50, 60]],
    2: [[30, 20, 10], [60, 50, 40]],
    3: [[60, 50, 40], [30, 20, 10]],
    4: [[40, 50, 60], [10, 20, 30]],
    5: [[10, 40], [20, 50], [30, 60]],
    6: [[30, 60], [20, 50], [10, 40]],
    7: [[60, 30], [50, 20], [40, 10]],
    8: [[40, 10], [50, 20], [60, 30]],
}


@pytest.mark.parametrize("orientation", STORED)
@pytest.mark.parametrize("kind", ["PNG", "TIFF", "WEBP"])
def test_the_orientation_is_applied(orientation, kind):
    image = Image.fromarray(np.array(STORED[orientation], np.uint8)).convert("RGB")
    exif = Image.Exif()
    exif[274] = orientation
    options = {"lossless": True} if kind == "WEBP" else {}
    decoded = decode(encoded(image, kind, exif=exif, **options), "x", 1)
    assert decoded[0].tolist() == UPRIGHT.tolist()


def test_the_orientation_of_a_jpeg_is_applied():
    image = Image.new("L", (16, 8))
    image.paste(255, (0, 0, 8, 8))
    exif = Image.Exif()
    exif[274] = 6  # turn it by 90 degrees to the right: the left half comes to the top
    decoded = decode(encoded(image, "JPEG", exif=exif), "x", 1)[0]
    assert decoded.shape == (16, 8)
    assert decoded[:8].min() > 250
    assert decoded[8:].max() < 5


def test_encoded_pixels_are_decoded_to_the_same():
    for channels in (1, 3):
        values = np.arange(channels * 12, dtype=np.uint8).reshape(channels, 3, 4)
        assert decode(encode_png(values), "x", channels).tolist() == values.tolist()
        decode(encode_png(values), "x", channels)[:] = 0  # what is decoded can be written to


def test_other_numbers_of_channels():
    with pytest.raises(UsageError, match=r"an image of 2 channels: expected 1 \(grey\) or 3 \(RGB\)"):
        encode_png(np.zeros((2, 1, 1), np.uint8))
    with pytest.raises(UsageError, match="an image of 4 channels"):
        decode(b"", "x", 4)


# Files


def test_a_file_is_read(tmp_path):
    (tmp_path / "two.bmp").write_bytes(encoded(pixels("L", 3, 4), "BMP"))
    assert read_image(tmp_path / "two.bmp", 1).tolist() == [[[3, 4]]]


def test_what_is_no_file(tmp_path):
    os.mkfifo(tmp_path / "fifo.png")
    for path in (tmp_path / "fifo.png", tmp_path, Path("/dev/zero")):
        with pytest.raises(DataError, match="is not a regular file"):
            read_image(path, 1)
    with pytest.raises(DataError, match="nothing.png: cannot be read: no such file"):
        read_image(tmp_path / "nothing.png", 1)


def test_a_file_that_is_too_long_is_not_read(tmp_path):
    path = tmp_path / "long.png"
    with path.open("wb") as file:
        file.truncate(images.MAX_BYTES + 1)  # takes no room on the disk
    with pytest.raises(DataError, match="long.png: is 268,435,457 bytes long, more than 268,435,456"):
        read_image(path, 1)


def test_content_that_is_too_long(monkeypatch):
    monkeypatch.setattr(images, "MAX_BYTES", 5)
    with pytest.raises(DataError, match="x: is 6 bytes long, more than 5"):
        decode(b"123456", "x", 1)


def test_an_error_of_the_disk_names_the_file(tmp_path, monkeypatch):
    class Broken(io.FileIO):
        def read(self, _length):
            raise OSError(5, "Input/output error")

    (tmp_path / "x.png").touch()
    monkeypatch.setattr(images, "open_regular", Broken)
    with pytest.raises(DataError, match="x.png: cannot be read: input/output error"):
        read_image(tmp_path / "x.png", 1)


NAMES = [
    "品番 7.png",
    "e\u0301.png",
    "é.png",
    "😀.png",
    "a\nb.png",
    "\udcff.png",
    "-x.png",
    "=1+1.png",
    "x" * 251 + ".png",
]


@pytest.mark.parametrize("name", NAMES)
def test_names_are_told_in_one_line(tmp_path, name):
    path = tmp_path / name
    path.write_bytes(b"")
    with pytest.raises(DataError) as caught:
        read_image(path, 1)
    assert str(caught.value) == f"{shown(path)}: is empty (0 bytes); copy it again from where it was made"
    assert str(caught.value).isprintable()
    str(caught.value).encode()


# Damage and attacks

SQUARE = Image.fromarray(np.random.default_rng(0).integers(0, 256, (7, 6, 3), dtype=np.uint8))
WHOLE = {
    "png": encoded(SQUARE, "PNG"),
    "jpeg": encoded(SQUARE, "JPEG"),
    "progressive jpeg": encoded(SQUARE, "JPEG", progressive=True),
    "bmp": encoded(SQUARE, "BMP"),
    "webp": encoded(SQUARE, "WEBP"),
    "lossless webp": encoded(SQUARE, "WEBP", lossless=True),
    "tiff": encoded(SQUARE, "TIFF"),
    "tiff in strips": encoded(SQUARE, "TIFF", strip_size=36),
    "lzw tiff": encoded(SQUARE, "TIFF", compression="tiff_lzw"),
    "group 4 tiff": encoded(SQUARE.convert("1"), "TIFF", compression="group4"),
    "big tiff": encoded(SQUARE, "TIFF", big_tiff=True),
}


@pytest.mark.parametrize("kind", WHOLE)
def test_a_file_cut_at_any_length_is_refused(kind):
    content = WHOLE[kind]
    assert decode(content, kind, 3).shape == (3, 7, 6)
    for length in range(len(content)):
        with pytest.raises(DataError) as caught:
            decode(content[:length], kind, 3)
        assert str(caught.value).startswith(f"{kind}: ")
        assert str(caught.value).isprintable()


@pytest.mark.parametrize("kind", ["jpeg", "png", "bmp", "webp"])
def test_what_is_cut_is_called_truncated(kind):
    with pytest.raises(DataError, match=f"{kind}: is truncated: its end is missing; copy it again"):
        decode(WHOLE[kind][:-1], kind, 3)


@pytest.mark.parametrize("kind", ["png", "jpeg", "bmp", "lossless webp", "tiff", "big tiff"])
@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_damaged_files_are_decoded_or_refused_in_one_line(kind, data):
    content = bytearray(WHOLE[kind])
    for position in data.draw(st.lists(st.integers(0, len(content) - 1), min_size=1, max_size=4)):
        content[position] = data.draw(st.integers(0, 255))
    decoded, refusal = None, ""
    try:
        decoded = decode(bytes(content), kind, 3)
    except DataError as error:
        refusal = str(error)
    if decoded is None:
        assert refusal.startswith(f"{kind}: ")
        assert refusal.isprintable()
    else:
        assert (decoded.dtype, decoded.ndim, len(decoded)) == (np.uint8, 3, 3)


def with_size(kind: str, width: int, height: int) -> bytes:
    """Return a small file whose header claims another size."""
    content = bytearray(WHOLE[kind])
    if kind == "png":
        return encode_chunks(b"IHDR" + width.to_bytes(4, "big") + height.to_bytes(4, "big") + b"\10\2\0\0\0")
    if kind == "jpeg":
        start = content.index(b"\xff\xc0") + 5
        content[start : start + 4] = height.to_bytes(2, "big") + width.to_bytes(2, "big")
    if kind == "bmp":
        content[18:26] = width.to_bytes(4, "little") + height.to_bytes(4, "little")
    if kind == "tiff":
        for tag, size in ((b"\0\1", width), (b"\1\1", height)):
            start = content.index(
                tag + b"\4\0\1\0\0\0" if tag + b"\4\0\1\0\0\0" in content else tag + b"\3\0\1\0\0\0"
            )
            content[start + 2 : start + 12] = b"\4\0\1\0\0\0" + size.to_bytes(4, "little")
    if kind == "lossless webp":
        bits = int.from_bytes(content[21:25], "little") >> 28 << 28 | (height - 1) << 14 | (width - 1)
        content[21:25] = bits.to_bytes(4, "little")
    return bytes(content)


def encode_chunks(*chunks: bytes) -> bytes:
    """Return a PNG file of these chunks (kind and data) and an end."""
    content = b"\x89PNG\r\n\x1a\n"
    for chunk in (*chunks, b"IEND"):
        content += (len(chunk) - 4).to_bytes(4, "big") + chunk + zlib.crc32(chunk).to_bytes(4, "big")
    return content


SIZES = [(8_000, 7_000), (12_000, 12_000), (16_000, 16_000), (30_000, 30_000)]
BOMBS = [(kind, size) for kind in ("png", "jpeg", "bmp", "tiff") for size in SIZES]
BOMBS += [("lossless webp", size) for size in SIZES[:3]]  # its header has room for 16,384


@pytest.mark.parametrize(("kind", "size"), BOMBS)
def test_a_bomb_is_refused_from_its_header(kind, size, monkeypatch):
    monkeypatch.setattr(images.Image.Image, "load", lambda _image: pytest.fail("was decoded"))
    expected = f"is {size[0]} x {size[1]} pixels, more than 50,000,000|has more than 50,000,000 pixels"
    with pytest.raises(DataError, match=f"bomb: ({expected}); scale it down first"):
        decode(with_size(kind, *size), "bomb", 1)


def test_the_largest_image_is_let_through():
    width, height = 50_000, 1_000
    image = Image.new("1", (width, height))
    assert decode(encoded(image, "PNG"), "x", 1).shape == (1, height, width)
    with pytest.raises(DataError, match="is 50000 x 1001 pixels"):
        decode(encoded(Image.new("1", (width, height + 1)), "PNG"), "x", 1)


def frames(kind: str, **options: object) -> bytes:
    return encoded(SQUARE, kind, save_all=True, append_images=[SQUARE.rotate(180)], **options)


@pytest.mark.parametrize("content", [frames("PNG"), frames("TIFF"), frames("WEBP"), frames("MPO")])
def test_several_frames_are_refused(content):
    with pytest.raises(DataError, match="x: holds several frames or pages; save the one that is meant"):
        decode(content, "x", 3)


def test_an_animation_of_one_frame_is_a_picture():
    header, *rest = chunks_of(WHOLE["png"])
    content = encode_chunks(header, b"acTL" + (1).to_bytes(4, "big") + bytes(4), *rest)
    assert decode(content, "x", 3).tolist() == decode(WHOLE["png"], "x", 3).tolist()


def chunks_of(content: bytes) -> list[bytes]:
    """Return kind and data of each chunk of a PNG file but its end."""
    chunks, position = [], 8
    while position < len(content) - 12:
        length = int.from_bytes(content[position : position + 4], "big")
        chunks.append(content[position + 4 : position + 8 + length])
        position += 12 + length
    return chunks


@pytest.mark.parametrize(
    "kind", ["GIF", "PPM", "TGA", "ICO", "ICNS", "EPS", "PDF", "SGI", "PCX", "JPEG2000", "DDS"]
)
def test_other_formats_named_png_are_refused(kind):
    with pytest.raises(DataError, match="x.png: is no JPEG, PNG, BMP, TIFF or WebP image"):
        decode(encoded(Image.new("RGB", (64, 64)), kind), "x.png", 3)


@pytest.mark.parametrize(
    "content", [b"<svg xmlns='http://www.w3.org/2000/svg'/>", b"hello", bytes(100), b"BM", b"II*\0"]
)
def test_what_is_no_image_is_refused(content):
    with pytest.raises(DataError, match="x.png: is "):
        decode(content, "x.png", 3)


def test_metadata_bombs_are_not_unpacked():
    packed = zlib.compress(bytes(1 << 20))
    texts = [b"zTXtname%d\0\0" % i + packed for i in range(60)]
    profiles = [b"iCCPname\0\0" + zlib.compress(bytes(40 << 20))]
    header, *rest = chunks_of(WHOLE["png"])
    content = encode_chunks(header, *profiles, *texts, *rest, b"iTXtname\0\1\0\0\0" + packed)
    tracemalloc.start()
    decoded = decode(content, "x", 3)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert decoded.tolist() == decode(WHOLE["png"], "x", 3).tolist()
    assert peak < 1 << 20


def test_a_damaged_png_is_seen_by_its_checksums():
    content = bytearray(WHOLE["png"])
    content[content.index(b"IDAT") + 20] ^= 1
    with pytest.raises(DataError, match=r"is damaged \(its chunk IDAT has a wrong checksum\); copy it again"):
        decode(bytes(content), "x", 3)


def test_a_transparent_colour_that_decoding_would_blur_is_refused():
    for depth, colour_type, transparent in ((2, 0, b"\0\1"), (16, 0, b"\1\1"), (16, 2, b"\1\1" * 3)):
        header = b"IHDR" + b"\0\0\0\1" * 2 + bytes((depth, colour_type, 0, 0, 0))
        with pytest.raises(
            DataError, match=f"has a transparent colour at {depth} bits, which cannot be told exactly"
        ):
            decode(encode_chunks(header, b"tRNS" + transparent), "x", 3)


def test_a_tiff_in_absurdly_many_pieces_is_refused():
    count = 100_001
    content = bytearray(encoded(Image.new("L", (1, 8)), "TIFF", strip_size=1))
    end = len(content)
    for tag in (273, 279):
        start = content.index(tag.to_bytes(2, "little") + b"\4\0") if tag == 273 else content.index(b"\x17\1")
        content[start + 2 : start + 12] = b"\4\0" + count.to_bytes(4, "little") + end.to_bytes(4, "little")
    content += bytes(4 * count)
    with pytest.raises(DataError, match="is cut into 100,001 pieces, more than 100,000"):
        decode(bytes(content), "x", 1)


def test_threads_leave_the_filters_of_warnings_as_they_were():
    before = list(warnings.filters)
    exif = Image.Exif()
    exif[274] = 3
    content = encoded(SQUARE, "TIFF", exif=exif)
    threads = [
        threading.Thread(target=lambda: [decode(content, "x", 3) for _ in range(20)]) for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert list(warnings.filters) == before


def test_pillows_warnings_stay_inside(recwarn):
    warnings.simplefilter("always")
    broken_exif = b"Exif\0\0II*\0\10\0\0\0\1\0\x0e\1\2\0\xff\0\0\0\xff\xff\0\0\0\0\0\0"
    decode(encoded(SQUARE, "JPEG", exif=broken_exif), "x", 3)
    with pytest.raises(DataError, match="is 10000 x 10000 pixels"):  # Pillow would only warn
        decode(with_size("png", 10_000, 10_000), "x", 3)
    assert len(recwarn) == 0
    with Image.open(io.BytesIO(encoded(SQUARE, "JPEG", exif=broken_exif))) as image:
        image.getexif()
    assert len(recwarn) > 0, "this file is to be one that Pillow warns about"


def test_resizing_smooths_what_shrinks_and_keeps_every_channel():
    stripes = np.zeros((3, 4, 8), np.uint8)
    stripes[:, :, ::2] = 200
    stripes[1] = 40
    small = images.resized(stripes, 2, 4)
    assert small.shape == (3, 2, 4)
    assert (small[1] == 40).all()
    assert abs(int(small[0, 0, 1]) - 100) <= 20

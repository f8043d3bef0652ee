"""Photos brought to one size: the crop, the three fits, what is chosen where nothing was said."""

import io
from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from mitsugo.data.framing import chosen_framing, decode_framed, framed, read_framed
from mitsugo.data.images import Header, decode, encode_png, header_of, resized
from mitsugo.data.reading import Reading
from mitsugo.errors import DataError, UsageError
from mitsugo.values import Framing


def noise(channels, height, width, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (channels, height, width), dtype=np.uint8)


def jpeg(photo, **options):
    file = io.BytesIO()
    image = Image.fromarray(photo[0] if len(photo) == 1 else np.ascontiguousarray(photo.transpose(1, 2, 0)))
    image.save(file, "JPEG", quality=92, **options)
    return file.getvalue()


def smooth(height, width):
    """Return a colour photo of waves."""
    y, x = np.mgrid[:height, :width]
    return np.stack(
        [
            128 + 100 * np.sin(x / width * 9),
            128 + 100 * np.cos(y / height * 7),
            128 + 60 * np.sin((x + y) / width * 5),
        ]
    ).astype(np.uint8)


@pytest.mark.parametrize("channels", [1, 3])
def test_resizing_stretches_as_resized_does(channels):
    photo = noise(channels, 30, 20)
    made = framed(photo, Framing(channels=channels, height=7, width=11))
    assert np.array_equal(made, resized(photo, 7, 11))


def test_the_crop_is_cut_out_before_all_else():
    photo = noise(3, 30, 20)
    made = framed(photo, Framing(channels=3, height=4, width=6, crop=(5, 10, 6, 4)))
    assert np.array_equal(made, photo[:, 10:14, 5:11])
    made = framed(photo, Framing(channels=3, height=2, width=3, crop=(5, 10, 6, 4)))
    assert np.array_equal(made, resized(np.ascontiguousarray(photo[:, 10:14, 5:11]), 2, 3))


def test_a_crop_outside_of_the_photo_names_the_photo_and_its_size(tmp_path):
    framing = Framing(channels=1, height=4, width=4, crop=(15, 0, 6, 4))
    with pytest.raises(
        DataError, match=r"^the photo: is 20 x 30 pixels, but --crop 15,0,6,4 reaches to 21, 4"
    ):
        framed(noise(1, 30, 20), framing)
    for name, content in (("p.png", encode_png(noise(1, 30, 20))), ("p.jpg", jpeg(noise(1, 30, 20)))):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(DataError, match=rf"{name}: is 20 x 30 pixels, but --crop"):
            read_framed(tmp_path / name, framing)


@pytest.mark.parametrize(
    ("height", "width", "bars"),
    [(8, 16, "above and below"), (16, 8, "left and right"), (2, 4, "above and below"), (8, 8, "none")],
)
def test_padding_keeps_the_shape_and_lays_it_on_the_middle_of_grey(height, width, bars):
    made = framed(np.full((3, height, width), 7, np.uint8), Framing(channels=3, height=8, width=8, fit="pad"))
    expected = np.full((3, 8, 8), 128, np.uint8)
    inside = {"above and below": (slice(2, 6), slice(8)), "left and right": (slice(8), slice(2, 6))}
    expected[:, *inside.get(bars, (slice(8), slice(8)))] = 7
    assert np.array_equal(made, expected)


def test_the_thinnest_photo_is_padded_too():
    made = framed(np.zeros((1, 1, 1000), np.uint8), Framing(channels=1, height=8, width=8, fit="pad"))
    assert (made == 0).sum() == 8
    assert (made == 128).sum() == 56


def test_cropping_takes_the_middle_of_the_images_shape():
    photo = noise(1, 4, 10)
    made = framed(photo, Framing(channels=1, height=4, width=4, fit="crop"))
    assert np.array_equal(made, photo[:, :, 3:7])
    tall = np.ascontiguousarray(photo.transpose(0, 2, 1))
    assert np.array_equal(framed(tall, Framing(channels=1, height=4, width=4, fit="crop")), tall[:, 3:7])
    halved = framed(photo, Framing(channels=1, height=2, width=4, fit="crop"))
    assert np.array_equal(halved, resized(np.ascontiguousarray(photo[:, :, 1:9]), 2, 4))


@pytest.mark.parametrize("fit", ["resize", "pad", "crop"])
@settings(max_examples=60, deadline=None)
@given(height=st.integers(1, 60), width=st.integers(1, 60), high=st.integers(1, 20), wide=st.integers(1, 20))
def test_every_photo_becomes_the_size(fit, height, width, high, wide):
    made = framed(
        np.full((1, height, width), 9, np.uint8), Framing(channels=1, height=high, width=wide, fit=fit)
    )
    assert made.shape == (1, high, wide)
    assert set(np.unique(made)) <= ({9, 128} if fit == "pad" else {9})
    assert (made == 9).any()


@pytest.mark.parametrize(
    ("fit", "expected"),
    [("resize", 8.0), ("pad", 8.0), ("crop", 4.0)],
)
def test_how_much_a_photo_shrinks(fit, expected):
    made = decode_framed(encode_png(noise(1, 32, 64)), "x", Framing(channels=1, height=8, width=8, fit=fit))
    assert made.shrunk == expected


def test_how_much_a_photo_shrinks_after_the_crop():
    framing = Framing(channels=1, height=8, width=8, crop=(0, 0, 16, 24))
    assert decode_framed(encode_png(noise(1, 32, 64)), "x", framing).shrunk == 3.0
    enlarged = Framing(channels=1, height=64, width=128)
    assert decode_framed(encode_png(noise(1, 32, 64)), "x", enlarged).shrunk == 0.5


def test_a_photo_of_one_value_is_told_whatever_surrounds_it():
    flat, marked = np.full((3, 64, 100), 31, np.uint8), np.full((3, 64, 100), 31, np.uint8)
    marked[1, 5, 5] = 32
    for fit in ("resize", "pad", "crop"):
        framing = Framing(channels=3, height=8, width=8, fit=fit)
        assert decode_framed(encode_png(flat), "x", framing).constant
    assert not decode_framed(encode_png(marked), "x", Framing(channels=3, height=8, width=8)).constant
    far = Framing(channels=3, height=8, width=8, crop=(50, 0, 50, 64))
    assert decode_framed(encode_png(marked), "x", far).constant
    assert not decode_framed(encode_png(noise(3, 9, 9)), "x", Framing(channels=3, height=8, width=8)).constant


# JPEGs that shrink a lot


def whole(content, framing):
    """Frame a photo that is decoded at its whole size."""
    return framed(decode(content, "x", framing.channels), framing)


@pytest.mark.parametrize(
    ("size", "changes", "part"),
    [
        ((64, 96), {}, 4),
        ((128, 192), {}, 8),
        ((64, 97), {}, 1),
        ((60, 96), {}, 2),
        ((32, 32), {}, 2),
        ((28, 28), {}, 1),
        ((64, 96), {"fit": "pad"}, 4),
        ((64, 96), {"fit": "crop"}, 4),
        ((64, 96), {"crop": (8, 0, 64, 64)}, 4),
        ((64, 96), {"crop": (2, 0, 64, 64)}, 2),
        ((64, 96), {"crop": (1, 0, 64, 64)}, 1),
        ((64, 96), {"crop": (8, 8, 8, 8)}, 1),
    ],
)
def test_a_jpeg_is_decoded_at_a_part_of_its_size_where_twice_the_size_is_left(
    monkeypatch, size, changes, part
):
    loaded = []
    real = Image.Image.resize
    monkeypatch.setattr(
        Image.Image, "resize", lambda image, *rest: (loaded.append(image.size), real(image, *rest))[1]
    )
    framing = Framing(channels=3, height=8, width=8, **changes)
    content = jpeg(smooth(*size))
    made = decode_framed(content, "x", framing)
    taken = framing.crop[2:] if framing.crop else size[::-1]
    if framing.fit == "crop":
        taken = (min(size), min(size))
    assert loaded == [(taken[0] // part, taken[1] // part)]
    assert np.abs(made.pixels.astype(int) - whole(content, framing)).max() <= 4
    assert made.shrunk == decode_framed(encode_png(smooth(*size)), "x", framing).shrunk


def test_a_turned_jpeg_is_cropped_upright():
    photo = smooth(64, 128)
    for orientation, changes in product(range(1, 9), ({}, {"crop": (8, 16, 40, 48)}, {"fit": "pad"})):
        exif = Image.Exif()
        exif[274] = orientation
        content = jpeg(photo, exif=exif)
        framing = Framing(channels=3, height=6, width=5, **changes)
        made = decode_framed(content, "x", framing)
        assert np.abs(made.pixels.astype(int) - whole(content, framing)).max() <= 6, (orientation, changes)


def test_a_cut_jpeg_is_refused_at_a_part_of_its_size_as_well():
    content = jpeg(noise(3, 64, 64))
    framing = Framing(channels=3, height=8, width=8)
    assert decode_framed(content, "x", framing).pixels.shape == (3, 8, 8)
    for length in range(0, len(content), 7):
        with pytest.raises(DataError, match="^x: "):
            decode_framed(content[:length], "x", framing)


def test_grey_of_a_colour_jpeg_at_a_part_of_its_size():
    framing = Framing(channels=1, height=8, width=8)
    content = jpeg(smooth(64, 64))
    assert (
        np.abs(decode_framed(content, "x", framing).pixels.astype(int) - whole(content, framing)).max() <= 4
    )


# Headers


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "TIFF", "WEBP"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_headers_tell_the_upright_size(kind, orientation):
    exif = Image.Exif()
    exif[274] = orientation
    file = io.BytesIO()
    Image.new("RGB", (5, 3)).save(file, kind, exif=exif)
    header = header_of(file.getvalue(), "x")
    assert (header.height, header.width) == ((3, 5) if orientation < 5 else (5, 3))
    assert decode(file.getvalue(), "x", 3).shape[1:] == (header.height, header.width)


@pytest.mark.parametrize(
    ("mode", "grey"), [("1", True), ("L", True), ("LA", True), ("I;16", True), ("P", False), ("RGB", False)]
)
def test_headers_tell_grey_from_colour(mode, grey):
    file = io.BytesIO()
    Image.new(mode, (2, 2)).save(file, "PNG")
    assert header_of(file.getvalue(), "x").grey == grey


def test_headers_are_read_without_decoding(monkeypatch):
    contents = [encode_png(noise(3, 4, 5)), jpeg(noise(3, 4, 5))]
    monkeypatch.setattr(Image.Image, "load", lambda _image: pytest.fail("was decoded"))
    for content in contents:
        assert header_of(content, "x") == Header(4, 5, grey=False)


# What is chosen


def heads(*sizes, grey=False):
    return [Header(height, width, grey) for height, width in sizes]


@pytest.mark.parametrize(
    ("sizes", "expected"),
    [
        ([(28, 28)] * 3, (28, 28)),
        ([(64, 20)], (64, 20)),
        ([(65, 20)], (65, 20)),
        ([(130, 40)], (130, 40)),
        ([(65, 65)], (65, 65)),
        ([(28, 28), (28, 30)], (28, 28)),
        ([(960, 1280)] * 2, (128, 171)),
        ([(1280, 960)] * 2, (171, 128)),
        ([(960, 1280), (480, 640)], (128, 171)),
        ([(96, 128), (48, 64)], (48, 64)),
        ([(960, 1280), (1280, 960)], (128, 128)),
        ([(100, 90), (50, 300), (70, 60)], (60, 60)),
        ([(1, 50_000)], (1, 4096)),
    ],
)
def test_the_size_that_photos_choose(sizes, expected):
    made = chosen_framing(heads(*sizes), Reading())
    assert (made.height, made.width, made.channels, made.fit, made.crop) == (*expected, 3, "resize", None)


def test_grey_only_where_all_photos_are():
    grey, colour = heads((9, 9), grey=True), heads((9, 9))
    assert chosen_framing(grey * 2, Reading()).channels == 1
    assert chosen_framing(grey + colour, Reading()).channels == 3
    assert chosen_framing(grey, Reading(channels=3)).channels == 3
    assert chosen_framing(colour, Reading(channels=1)).channels == 1


def test_what_was_said_stands():
    made = chosen_framing([], Reading(image_size=(7, 9), channels=1, fit="pad", crop=(1, 2, 3, 4)))
    assert made == Framing(channels=1, height=7, width=9, fit="pad", crop=(1, 2, 3, 4))


def test_the_crop_chooses_the_size():
    made = chosen_framing(heads((960, 1280), (48, 64)), Reading(crop=(8, 8, 30, 20)))
    assert (made.height, made.width) == (20, 30)
    made = chosen_framing(heads((960, 1280), (48, 64)), Reading(crop=(8, 8, 512, 256)))
    assert (made.height, made.width) == (128, 256)


def test_a_size_that_no_image_has_is_refused():
    with pytest.raises(UsageError, match="--image-size 5000: expected 1 to 4096 pixels"):
        chosen_framing([], Reading(image_size=(7, 5000), channels=1))

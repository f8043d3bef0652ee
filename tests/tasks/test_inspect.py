"""Verdicts on image files, from the bundle alone."""

import dataclasses
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mitsugo.data.sources import load
from mitsugo.errors import DataError, ModelError
from mitsugo.model.bundle import Model
from mitsugo.tasks.inspect import inspect

SAMPLE = Path(__file__).parents[2] / "docs" / "sample-digit.png"


@pytest.fixture(scope="module")
def digit():
    """The pixels of a training image of digits: a 0."""
    return load("digits").pixels[0, 0]


@pytest.fixture
def saved(tmp_path):
    """Write pixels as an image file."""

    def save(pixels, name="digit.png"):
        Image.fromarray(pixels).save(tmp_path / name)
        return tmp_path / name

    return save


def chunk(kind, content):
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def test_a_digit_is_told_with_its_evidence(digits_run, digit, saved):
    document = inspect(digits_run.run, [saved(digit)])
    (verdict,) = document["verdicts"]
    assert document["fingerprint"] == digits_run.summary["fingerprint"]
    assert (verdict["image"], verdict["label"]) == (str(saved(digit)), "0")
    assert (verdict["agreement"], verdict["method"]) == (1.0, "k-NN vote")
    assert len(verdict["neighbors"]) == 5
    assert verdict["in_gallery"] == "digits/0000"
    assert "digits/0000" not in {neighbor["name"] for neighbor in verdict["neighbors"]}, "it does not vote"
    assert (verdict["winner"]["label"], verdict["winner"]["exemplars"][0]) == ("0", verdict["neighbors"][0])
    assert verdict["runner_up"]["scaled"] > verdict["winner"]["scaled"]
    assert (verdict["unknown"], verdict["judgement"], verdict["p_value"]) == (False, None, None)
    distances = [neighbor["distance"] for neighbor in verdict["neighbors"]]
    assert distances == sorted(distances)
    assert verdict["warnings"] == []


def test_many_files_are_told_in_their_order(digits_run, saved):
    images, trained = load("digits"), Model.load(digits_run.bundle).gallery.names
    rows = [images.names.index(name) for name in (trained[7], trained[3], trained[5])]
    paths = [saved(images.pixels[row, 0], f"{row}.png") for row in rows]
    verdicts = inspect(digits_run.bundle, paths, k=1)["verdicts"]
    assert [verdict["image"] for verdict in verdicts] == list(map(str, paths))
    assert [verdict["in_gallery"] for verdict in verdicts] == [images.names[row] for row in rows]
    assert [verdict["label"] for verdict in verdicts] == [str(images.labels[row]) for row in rows]
    assert [len(verdict["neighbors"]) for verdict in verdicts] == [1, 1, 1]


def test_as_many_vote_as_the_model_says(tmp_path, digits_run, digit, saved):
    model = dataclasses.replace(Model.load(digits_run.bundle), k=9)
    model.save(tmp_path / "nine.mitsugo")
    for k, votes in ((None, 9), (3, 3)):
        (verdict,) = inspect(tmp_path / "nine.mitsugo", [saved(digit)], k=k)["verdicts"]
        assert len(verdict["neighbors"]) == votes


def test_an_inverted_digit_is_warned_of(digits_run, digit, saved):
    (verdict,) = inspect(digits_run.run, [saved(255 - digit)])["verdicts"]
    (warning,) = verdict["warnings"]
    assert "inverted" in warning


def test_a_colour_image_is_taken_as_its_grey(digits_run, digit, saved):
    grey = inspect(digits_run.run, [saved(digit)])["verdicts"][0]
    colour = inspect(digits_run.run, [saved(np.stack([digit] * 3, axis=-1), "colour.png")])["verdicts"][0]
    assert colour["neighbors"] == grey["neighbors"]


def test_another_size_is_refused_or_resized_with_a_note(digits_run, digit):
    with pytest.raises(
        DataError, match=r"sample-digit\.png: is 28x28 pixels, the model takes 8x8; .* --resize"
    ):
        inspect(digits_run.run, [SAMPLE])
    (verdict,) = inspect(digits_run.run, [SAMPLE], resize=True)["verdicts"]
    assert verdict["warnings"][0] == "resized from 28x28 to 8x8"


def test_width_and_height_are_told_apart(digits_run, saved):
    wide = saved(np.zeros((8, 16), np.uint8))
    with pytest.raises(DataError, match="is 16x8 pixels, the model takes 8x8"):
        inspect(digits_run.run, [wide])


def test_resizing_leaves_images_of_the_right_size_alone(digits_run, digit, saved):
    assert inspect(digits_run.run, [saved(digit)], resize=True) == inspect(digits_run.run, [saved(digit)])


def bomb():
    header = struct.pack(">IIBBBBB", 30_000, 30_000, 8, 0, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + chunk(b"IDAT", zlib.compress(b""))
        + chunk(b"IEND", b"")
    )


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is empty"),
        (b"no image at all", "is no JPEG, PNG, BMP, TIFF or WebP image"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n", "is no JPEG, PNG"),
        (SAMPLE.read_bytes()[:-40], "sample|cannot be decoded|truncated|damaged"),
        (bomb(), "is 30000 x 30000 pixels, more than 50,000,000|has more than 50,000,000 pixels"),
    ],
)
def test_what_is_no_image_is_refused_by_its_name(tmp_path, digits_run, content, message):
    path = tmp_path / "broken.png"
    path.write_bytes(content)
    with pytest.raises(DataError, match=f"broken.png: .*({message})"):
        inspect(digits_run.run, [path])


def test_one_bad_image_among_good_ones_stops_and_is_named(tmp_path, digits_run, digit, saved):
    with pytest.raises(DataError, match=r"gone\.png: cannot be read: no such file"):
        inspect(digits_run.run, [saved(digit), tmp_path / "gone.png"])


def test_the_model_is_looked_at_first(tmp_path):
    with pytest.raises(ModelError, match="cannot be read"):
        inspect(tmp_path / "gone", [tmp_path / "gone.png"])

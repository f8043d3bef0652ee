"""What the options say of a source, and what is told of it."""

import dataclasses

import numpy as np
import pytest
from PIL import Image

from mitsugo.errors import ModelError, UsageError
from mitsugo.tasks.sourcing import AS_IT_IS, loaded, parsed_source, remade_source


def test_options_become_a_reading():
    said = {"image_size": "160x96", "crop": "1,2,30,40", "pixels": "grey", "fit": "pad", "group_by": None}
    reading = parsed_source(said).reading
    assert (reading.image_size, reading.crop, reading.channels, reading.fit) == (
        (96, 160),
        (1, 2, 30, 40),
        1,
        "pad",
    )
    assert parsed_source({"image_size": "64"}).reading.image_size == (64, 64)
    assert parsed_source({}) == AS_IT_IS


@pytest.mark.parametrize(
    ("said", "message"),
    [
        ({"image_size": "big"}, "--image-size big: expected a side in pixels or WIDTHxHEIGHT"),
        ({"crop": "1,2,3"}, "--crop 1,2,3: expected x,y,width,height"),
        ({"pixels": "cmyk"}, "--pixels cmyk: expected grey or rgb"),
        ({"fit": "stretch"}, "--fit stretch: expected resize, pad or crop"),
        ({"bad_images": "mend"}, "--bad-images mend: expected stop or skip"),
        ({"cache_budget": "much"}, "--cache-budget much: expected bytes as 500M or 20G; 0 keeps nothing"),
        ({"split": "random"}, "--split random: expected stratified or unseen-classes"),
        ({"group_by": "("}, r"--group-by \(: is no regular expression"),
    ],
)
def test_what_cannot_be_meant_is_refused(said, message):
    with pytest.raises(UsageError, match=message):
        parsed_source(said)


@pytest.mark.parametrize(
    ("said", "size"),
    [("0", 0), ("500M", 500 << 20), ("20GiB", 20 << 30), ("1.5g", 3 << 29), ("7k", 7 << 10)],
)
def test_a_budget_is_bytes_and_no_part_of_a_run(said, size):
    options = parsed_source({"cache_budget": said})
    assert options.cache_budget == size
    assert "cache_budget" not in options.plain()


def test_what_run_json_tells_comes_back():
    said = {"image_size": "8x6", "crop": "0,0,5,5", "group_by": "x", "split": "unseen-classes"}
    options = parsed_source(said, ["scratch", "dent"])
    assert remade_source(options.plain()) == options
    for damaged in ({}, {"reading": {}}, {"reading": options.plain()["reading"] | {"crop": 3}}):
        with pytest.raises(ModelError, match="how the source was read"):
            remade_source(damaged)


def test_shrinking_and_files_that_are_left_out_are_told(tmp_path, hearing):
    for name in ("ok/1.png", "ng/2.png"):
        (tmp_path / name).parent.mkdir()
        Image.fromarray(np.eye(40, dtype=np.uint8) * 200).save(tmp_path / name)
    for number in range(7):
        (tmp_path / "ok" / f"notes {number}.txt").touch()
    talk = hearing()
    options = parsed_source({"image_size": "10"})
    images = loaded(str(tmp_path), options, talk)
    assert images.pixels.shape == (2, 1, 10, 10)
    assert [line.split(";")[0] for line in talk.said] == [
        "photos shrink 4x: marks under 4 px become less than one pixel"
    ]
    (warning,) = talk.warned
    assert warning.startswith("7 files were left out: ok/notes 0.txt: ")
    assert warning.endswith("; and 2 more, all in run.json")
    quiet = hearing()
    loaded(str(tmp_path), dataclasses.replace(options, reading=parsed_source({}).reading), quiet)
    assert quiet.said == []

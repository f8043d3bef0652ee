"""Which images stay together, and what is told before training of those that did not."""

import dataclasses

import numpy as np
import pytest

from mitsugo.errors import DataError, UsageError
from mitsugo.tasks.parting import BY_CLASS, Rules, parted, tell
from mitsugo.values import Framing, Intake, LabeledImages, Split

PHOTOS = Intake(framing=Framing(height=24, width=24, channels=1))


def noise(classes, each, *, names=None, intake=PHOTOS, seed=0):
    """Images of noise, so many of each class."""
    labels = np.repeat(np.arange(classes), each)
    pixels = np.random.default_rng(seed).integers(0, 256, (len(labels), 1, 24, 24), dtype=np.uint8)
    return LabeledImages(
        pixels=pixels,
        labels=labels,
        class_names=tuple(map(str, range(classes))),
        names=names or tuple(f"photo {i}" for i in range(len(labels))),
        intake=intake,
    )


def with_pixels(images, pixels):
    return LabeledImages(
        pixels=pixels,
        labels=images.labels,
        class_names=images.class_names,
        names=images.names,
        intake=images.intake,
    )


def brighter(pixels):
    return np.clip(pixels.astype(int) + 2, 0, 255).astype(np.uint8)


@pytest.mark.parametrize(
    ("rules", "message"),
    [
        ({"kind": "random"}, "--split random: expected stratified or unseen-classes"),
        ({"together": "all"}, "--keep-together all: expected equal or near"),
    ],
)
def test_other_words_are_refused(rules, message):
    with pytest.raises(UsageError, match=message):
        Rules(**rules)


def test_equal_pixels_stay_on_one_side_and_near_ones_where_that_is_asked():
    images = noise(2, 20)
    pixels = images.pixels.copy()
    pixels[1:20:2] = pixels[0:20:2]  # the first class: ten pairs of equal images
    pixels[21::2] = brighter(pixels[20::2])  # the second: ten pairs that look nearly the same
    images = with_pixels(images, pixels)

    def torn(split):
        side = np.zeros(40, int)
        side[split.test] = 1
        return (side[0:20:2] != side[1:20:2]).sum(), (side[20::2] != side[21::2]).sum()

    for seed in range(5):
        equal, near = torn(parted(images, BY_CLASS, 0.0, seed).split)
        assert equal == 0
        if near:
            break
    assert near, "nothing holds near ones together unless it is asked for"
    found = parted(images, BY_CLASS, 0.0, seed).found
    assert (found.equal_sets, found.equal_across, found.near_across) == (10, 0, near)
    together = parted(images, Rules(together="near"), 0.2, seed)
    assert torn(together.split) == (0, 0)
    assert together.found.near_across == 0


def test_near_ones_are_looked_for_among_photos_alone():
    images = noise(2, 4)
    pixels = images.pixels.copy()
    pixels[4:] = brighter(pixels[:4])
    assert parted(with_pixels(images, pixels), BY_CLASS, 0.0, 0).found.near_pairs == 4
    others = with_pixels(noise(2, 4, intake=None), pixels)
    assert parted(others, BY_CLASS, 0.0, 0).found.near_pairs == 0
    assert parted(others, Rules(together="near"), 0.0, 0).found.near_pairs == 4


def test_whole_classes_are_held_out():
    images = noise(10, 6)
    split = parted(images, Rules(kind="unseen-classes"), 0.2, 0).split
    seen, chosen, tested = (
        set(images.labels[part].tolist()) for part in (split.train, split.validation, split.test)
    )
    assert (len(seen), len(chosen), len(tested)) == (6, 2, 2)
    assert len(seen | chosen | tested) == 10
    assert split.unseen
    assert split.validation_unseen


def test_what_flatters_is_told_before_training(hearing):
    names = tuple(f"part{i // 2:03d}_{1 + i % 2}.jpg" for i in range(24))
    images = noise(2, 12, names=names)
    pixels = images.pixels.copy()
    pixels[23] = pixels[0]  # another class
    images = with_pixels(images, pixels)
    talk = hearing()
    tell(images, parted(images, BY_CLASS, 0.0, 0).found, BY_CLASS, talk)
    assert [line.split(":")[0] for line in talk.said] == ["equal pixels"]
    series, labels = talk.warned
    assert series.startswith(
        "the names look like several photos each of 12 parts, as part000_1.jpg and part0"
    )
    assert "--group-by '" in series
    assert labels.startswith("contradictory labels: 1 set of equal images under several classes")


def test_strict_rules_stop_at_contradictions_and_leaks(hearing):
    images = noise(2, 6)
    pixels = images.pixels.copy()
    pixels[11] = pixels[0]
    images = with_pixels(images, pixels)
    strict = Rules(strict=True)
    found = parted(images, strict, 0.0, 0).found
    with pytest.raises(DataError, match="--strict: contradictory labels: 1 set of equal images"):
        tell(images, found, strict, hearing())
    own = Split(train=np.arange(1, 6), validation=np.arange(6, 12), test=np.array([0]), how="its own")
    torn = dataclasses.replace(images, pixels=np.roll(images.pixels, 1, axis=0), split=own)
    same = dataclasses.replace(torn, labels=np.zeros(12, np.int64))
    with pytest.raises(DataError, match="--strict: leak: 1 of 1 test images are equal to one that trains"):
        tell(same, parted(same, strict, 0.2, 0).found, strict, hearing())


def test_nothing_is_told_where_there_is_nothing(hearing):
    talk = hearing()
    images = noise(2, 6)
    tell(images, parted(images, BY_CLASS, 0.0, 0).found, BY_CLASS, talk)
    assert (talk.said, talk.warned) == ([], [])

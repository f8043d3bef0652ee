"""Files into images: order, what is left out, the cache and its absence, files that change."""

import errno
import os
import shutil
import threading
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mitsugo.data import cache as cache_module
from mitsugo.data import decoding, images, ingest, storing
from mitsugo.data.cache import Cache, entries
from mitsugo.data.framing import read_framed
from mitsugo.data.images import encode_png
from mitsugo.data.ingest import ingested
from mitsugo.data.listing import FileSet
from mitsugo.data.reading import Reading
from mitsugo.errors import DataError, ResourceError, UsageError
from mitsugo.values import Framing, LazyPixels, Split

STOP = Reading()
SKIP = Reading(bad_images="skip")
SMALL = 4 * 5


def photo(number, height=4, width=5, channels=1):
    chance = np.random.default_rng(number)
    return chance.integers(0, 256, (channels, height, width), dtype=np.uint8)


def write(folder, count, **kind):
    """Write so many photos; the set of them, with labels in turn."""
    folder.mkdir(exist_ok=True)
    paths = tuple(folder / f"品-{number:03d}.png" for number in range(count))
    for number, path in enumerate(paths):
        path.write_bytes(encode_png(photo(number, **kind)))
    return files_of(paths)


def files_of(paths, **more):
    return FileSet(
        paths=tuple(paths),
        names=tuple(path.name for path in paths),
        labels=np.arange(len(paths)) % 2,
        class_names=("ok", "ng"),
        **more,
    )


class Heard:
    """Reads a set of files, and keeps what was told and warned of."""

    def __init__(self):
        self.told, self.warned = [], []

    def read(self, files, reading=STOP, cache=None):
        self.told.clear()
        self.warned.clear()
        return ingested(
            files,
            reading,
            cache=cache,
            tell=lambda *done: self.told.append(done),
            warn=self.warned.append,
        )


@pytest.fixture
def heard():
    return Heard()


@pytest.fixture
def cache(tmp_path):
    return Cache(folder=tmp_path / "cache")


@pytest.fixture(autouse=True)
def _several_threads(monkeypatch):
    monkeypatch.setattr(decoding, "_threads", lambda: 3)
    monkeypatch.setattr(decoding, "SMALL", 0)


@pytest.fixture
def large(monkeypatch):
    """No set is small."""
    monkeypatch.setattr(storing, "IN_MEMORY", 0)


@pytest.fixture
def settled(monkeypatch):
    """Files that were just written count as old."""
    monkeypatch.setattr(ingest, "SETTLED", -60.0)


@pytest.fixture
def reads(monkeypatch):
    """The names of the files that are read from now on, and those that are decoded."""
    read, decoded = [], []
    real_read, real_decode = decoding.file_content, decoding.decode_framed

    def content_of(path):
        read.append(path.name)
        return real_read(path)

    def decode(content, name, framing):
        decoded.append(Path(name).name)
        return real_decode(content, name, framing)

    monkeypatch.setattr(decoding, "file_content", content_of)
    monkeypatch.setattr(decoding, "decode_framed", decode)
    return read, decoded


# Rows


@pytest.mark.parametrize("count", [1, 2, 33, 100])
def test_rows_stand_in_the_order_of_the_files(tmp_path, heard, count):
    made = heard.read(write(tmp_path / "photos", count))
    assert np.array_equal(made.pixels, np.stack([photo(number) for number in range(count)]))
    assert made.labels.tolist() == [number % 2 for number in range(count)]
    assert made.names == tuple(f"品-{number:03d}.png" for number in range(count))
    assert made.class_names == ("ok", "ng")
    assert (made.groups, made.split, made.group_names) == (None, None, ())
    assert made.intake.framing == Framing(channels=1, height=4, width=5)
    assert (made.intake.stored, made.intake.skipped, made.intake.shrunk) == ("memory", (), 1.0)
    assert heard.told == [(number, count) for number in range(1, count + 1)] + [(count, count)]
    assert heard.warned == []


def test_slow_files_do_not_change_the_order(tmp_path, monkeypatch, heard):
    real = decoding.decode_framed

    def slowly(content, name, framing):
        time.sleep(0.002 * (hash(name) % 5))
        return real(content, name, framing)

    monkeypatch.setattr(decoding, "decode_framed", slowly)
    made = heard.read(write(tmp_path / "photos", 60))
    assert np.array_equal(made.pixels, np.stack([photo(number) for number in range(60)]))


def test_only_so_many_are_worked_on_ahead(tmp_path, monkeypatch):
    monkeypatch.setattr(decoding, "CHUNK", 2)
    files = write(tmp_path / "photos", 100)
    done = []
    ahead = []
    real = decoding.decode_framed

    def decode(content, name, framing):
        done.append(name)
        return real(content, name, framing)

    monkeypatch.setattr(decoding, "decode_framed", decode)
    tell = lambda place, _total: (time.sleep(0.0002), ahead.append(len(done) - place))  # noqa: E731
    ingested(files, Reading(), cache=None, tell=tell)
    assert max(ahead) <= (2 * 3 + 2) * decoding.CHUNK


def test_photos_of_mixed_sizes_are_framed(tmp_path, heard):
    paths = []
    for number, (height, width) in enumerate([(100, 200), (90, 60), (300, 70)]):
        paths.append(tmp_path / f"{number}.png")
        paths[-1].write_bytes(encode_png(photo(number, height, width, 3)))
    made = heard.read(files_of(paths), Reading(fit="pad"))
    assert made.intake.framing == Framing(channels=3, height=70, width=70, fit="pad")
    for row, path in enumerate(paths):
        assert np.array_equal(made.pixels[row], read_framed(path, made.intake.framing))
    assert made.intake.shrunk == pytest.approx(200 / 70)
    made = heard.read(files_of(paths), Reading(image_size=(10, 20), crop=(5, 5, 50, 60), channels=1))
    assert made.intake.framing == Framing(channels=1, height=10, width=20, crop=(5, 5, 50, 60))
    assert made.intake.shrunk == 6.0


def test_headers_of_some_photos_settle_the_size(tmp_path, monkeypatch, heard):
    files = write(tmp_path / "photos", 9)
    files.paths[1].write_bytes(encode_png(photo(1, 80, 80, 3)))
    monkeypatch.setattr(ingest, "SAMPLE", 3)
    assert heard.read(files).intake.framing == Framing(channels=1, height=4, width=5)
    files.paths[4].write_bytes(encode_png(photo(1, 80, 80, 3)))
    assert heard.read(files).intake.framing == Framing(channels=3, height=4, width=4)
    for place in (0, 4, 8):  # where these are no images the others settle it
        files.paths[place].write_bytes(b"")
    assert heard.read(files, SKIP).intake.framing == Framing(channels=3, height=4, width=4)


# What is no image


def spoil(files, places):
    """Spoil files, each in its way; return what is said of each."""
    said = {}
    for turn, place in enumerate(places):
        path = files.paths[place]
        whole = path.read_bytes()
        kind = turn % 4
        if kind == 0:
            path.write_bytes(whole[:-1])
            said[place] = "is truncated: its end is missing"
        elif kind == 1:
            path.write_bytes(b"")
            said[place] = "is empty (0 bytes)"
        elif kind == 2:
            path.unlink()
            said[place] = "cannot be read: no such file or directory"
        else:
            path.write_bytes(b"%PDF-1.7")
            said[place] = "is no JPEG, PNG, BMP, TIFF or WebP image"
    return said


@pytest.mark.parametrize("places", [(37, 5, 20), (0,), (39, 38), (4, 3, 2, 1)])
def test_the_first_bad_file_stops_the_work(tmp_path, heard, cache, places):
    files = write(tmp_path / "photos", 40)
    said = spoil(files, places)
    first = min(places)
    before = threading.active_count()
    with pytest.raises(DataError) as caught:
        heard.read(files, cache=cache)
    assert str(caught.value).startswith(f"{files.paths[first]}: {said[first]}")
    assert entries(cache) == ()
    assert threading.active_count() == before


@pytest.mark.parametrize("size", ["small", "large"])
@pytest.mark.parametrize("kept_in", ["cache", "nothing"])
def test_bad_files_are_left_out_and_listed(tmp_path, heard, cache, size, kept_in, request):
    if size == "large":
        request.getfixturevalue("large")
    split = Split(
        train=np.array([0, 1, 2, 9]), validation=np.array([3, 4]), test=np.array([5, 6, 7, 8]), how="told"
    )
    paths = write(tmp_path / "photos", 10).paths
    files = files_of(
        paths,
        groups=np.arange(10) // 2,
        group_names=("a", "b", "c", "d", "e"),
        split=split,
        left_out=(("notes.txt", "is no photo"),),
    )
    said = spoil(files, (1, 4, 6, 9))
    for _ in range(2):
        made = heard.read(files, SKIP, cache if kept_in == "cache" else None)
        kept = [0, 2, 3, 5, 7, 8]
        assert np.array_equal(made.pixels[:], np.stack([photo(number) for number in kept]))
        assert made.names == tuple(files.names[number] for number in kept)
        assert made.labels.tolist() == [number % 2 for number in kept]
        assert made.groups.tolist() == [0, 1, 1, 2, 3, 4]
        assert made.group_names == ("a", "b", "c", "d", "e")
        assert made.split.train.tolist() == [0, 1]
        assert made.split.validation.tolist() == [2]
        assert made.split.test.tolist() == [3, 4, 5]
        assert made.split.how == "told"
        assert made.intake.skipped[0] == ("notes.txt", "is no photo")
        assert [name for name, _ in made.intake.skipped[1:]] == [files.names[n] for n in (1, 4, 6, 9)]
        for (_, reason), place in zip(made.intake.skipped[1:], (1, 4, 6, 9), strict=True):
            assert reason.startswith(said[place])


def test_a_validation_part_that_is_the_test_part_stays_so(tmp_path, heard):
    test = np.array([3, 4, 5])
    split = Split(train=np.array([0, 1, 2]), validation=test, test=test, how="told")
    files = files_of(write(tmp_path / "photos", 6).paths, split=split)
    spoil(files, (4,))
    made = heard.read(files, SKIP).split
    assert made.validation_is_test
    assert made.test.tolist() == [3, 4]


def test_what_was_left_out_before_stops_the_work_when_asked_to(tmp_path, heard, cache, settled):
    files = write(tmp_path / "photos", 6)
    spoil(files, (4,))
    heard.read(files, SKIP, cache)
    assert len(entries(cache)) == 1
    with pytest.raises(DataError, match=r"品-004\.png: is truncated: its end is missing; copy it again"):
        heard.read(files, cache=cache)


@pytest.mark.parametrize("said", [{}, {"image_size": (4, 4), "channels": 1}])
def test_nothing_but_bad_files(tmp_path, heard, cache, said):
    files = write(tmp_path / "photos", 4)
    for path in files.paths:
        path.write_bytes(b"")
    with pytest.raises(
        DataError, match=r"^none of 4 files is an image that can be read; first: .*品-000\.png: is empty"
    ):
        heard.read(files, Reading(bad_images="skip", **said), cache)
    with pytest.raises(DataError, match=r"^\S*品-000\.png: is empty"):
        heard.read(files, Reading(**said), cache)
    assert entries(cache) == ()


def test_no_photos_at_all(heard):
    with pytest.raises(DataError, match="there are no photos to read"):
        heard.read(files_of(()))


def test_a_size_that_no_image_has(tmp_path, heard):
    with pytest.raises(UsageError, match="--image-size 0: expected 1 to 4096 pixels"):
        heard.read(write(tmp_path / "photos", 2), Reading(image_size=(0, 4)))


def test_a_crop_outside_of_one_photo_names_it(tmp_path, heard):
    files = write(tmp_path / "photos", 8)
    files.paths[5].write_bytes(encode_png(photo(5, 3, 5)))
    with pytest.raises(DataError, match=r"品-005\.png: is 5 x 3 pixels, but --crop 1,0,4,4 reaches to 5, 4"):
        heard.read(files, Reading(crop=(1, 0, 4, 4)))
    made = heard.read(files, Reading(crop=(1, 0, 4, 4), bad_images="skip"))
    assert len(made) == 7


def test_a_bomb_is_no_image(tmp_path, heard, monkeypatch):
    files = write(tmp_path / "photos", 3)
    Image.new("1", (10_001, 5_000)).save(files.paths[1])
    monkeypatch.setattr(
        images, "_upright", lambda image: pytest.fail("decoded") if image.width > 9 else image
    )
    made = heard.read(files, SKIP)
    assert made.intake.skipped[0][1].startswith("is 10001 x 5000 pixels, more than 50,000,000")


def test_a_fifo_is_not_waited_for(tmp_path, heard):
    files = write(tmp_path / "photos", 3)
    files.paths[1].unlink()
    os.mkfifo(files.paths[1])
    start = time.monotonic()
    made = heard.read(files, SKIP)
    assert made.intake.skipped == (("品-001.png", "is not a regular file; name a file"),)
    assert time.monotonic() - start < 1


def test_photos_of_one_value_stay_and_are_told(tmp_path, heard, cache, settled):
    files = write(tmp_path / "photos", 9)
    for place in (1, 2, 4, 5, 7, 8):
        files.paths[place].write_bytes(encode_png(np.full((1, 4, 5), place, np.uint8)))
    spoil(files, (0,))
    for _ in range(2):
        made = heard.read(files, SKIP, cache)
        assert len(made) == 8
        (warned,) = heard.warned
        assert warned == (
            "6 photos show one value all over, and stay in the set: 品-001.png, 品-002.png, 品-004.png, "
            "品-005.png, 品-007.png"
        )


def test_shrunk_is_the_median_photos(tmp_path, heard, cache):
    paths = []
    for number, side in enumerate((40, 20, 80, 20, 30)):
        paths.append(tmp_path / f"{number}.png")
        paths[-1].write_bytes(encode_png(photo(number, side, side)))
    for _ in range(2):
        assert heard.read(files_of(paths), Reading(image_size=(10, 10)), cache).intake.shrunk == 3.0


# The cache


def test_a_small_set_is_kept_and_comes_back_into_memory(tmp_path, heard, cache, settled, reads):
    read, decoded = reads
    files = write(tmp_path / "photos", 50)
    first = heard.read(files, cache=cache)
    assert len(decoded) == 50
    assert len(entries(cache)) == 1
    read.clear()
    decoded.clear()
    again = heard.read(files, cache=cache)
    assert (read, decoded) == ([], [])
    assert heard.told == [(50, 50)]
    assert np.array_equal(first.pixels, again.pixels)
    assert not isinstance(again.pixels, np.memmap)
    assert again.intake == first.intake
    assert again.names == first.names


def test_a_large_set_is_mapped(tmp_path, heard, cache, large, settled, reads):
    files = write(tmp_path / "photos", 50)
    for _ in range(2):
        made = heard.read(files, cache=cache)
        assert isinstance(made.pixels, np.memmap)
        assert not made.pixels.flags.writeable
        assert np.array_equal(made.pixels, np.stack([photo(number) for number in range(50)]))
        assert made.intake.stored == "cache"
    assert len(reads[1]) == 50


def test_files_that_changed_just_now_are_hashed_but_not_decoded_again(tmp_path, heard, cache, reads):
    read, decoded = reads
    files = write(tmp_path / "photos", 20)
    first = heard.read(files, cache=cache)
    read.clear()
    decoded.clear()
    again = heard.read(files, cache=cache)
    assert decoded == []
    assert set(read) == set(files.names)
    assert heard.told[:20] == [(number, 20) for number in range(1, 21)]
    assert np.array_equal(first.pixels, again.pixels)


def test_copies_of_the_files_find_the_entry(tmp_path, heard, cache, settled, reads):
    read, decoded = reads
    heard.read(write(tmp_path / "photos", 20), cache=cache)
    decoded.clear()
    shutil.copytree(tmp_path / "photos", tmp_path / "copies")
    copies = files_of(sorted((tmp_path / "copies").iterdir()))
    made = heard.read(copies, cache=cache)
    assert decoded == []
    assert np.array_equal(made.pixels, np.stack([photo(number) for number in range(20)]))
    read.clear()
    heard.read(copies, cache=cache)
    assert read == []
    assert len(entries(cache)) == 1


@pytest.mark.parametrize("change", ["content", "order", "framing", "fewer", "touched"])
def test_what_changed_is_decoded_again(tmp_path, heard, cache, settled, reads, change):
    files, reading, count = write(tmp_path / "photos", 20), Reading(), 20
    heard.read(files, cache=cache)
    reads[1].clear()
    expected = [photo(number) for number in range(20)]
    if change == "content":
        status = files.paths[7].stat()
        expected[7] = np.flip(expected[7])
        Image.fromarray(expected[7][0]).save(files.paths[7])
        os.utime(files.paths[7], ns=(status.st_atime_ns, status.st_mtime_ns))
    elif change == "order":
        files, expected = files_of(files.paths[::-1]), expected[::-1]
    elif change == "framing":
        reading = Reading(crop=(1, 0, 4, 4))
        expected = [image[:, :, 1:] for image in expected]
    elif change == "fewer":
        files, expected, count = files_of(files.paths[:-1]), expected[:-1], 19
    else:
        files.paths[7].touch()
        count = 0
    made = heard.read(files, reading, cache)
    assert len(reads[1]) == count
    assert np.array_equal(made.pixels, np.stack(expected))
    assert len(entries(cache)) == (1 if change == "touched" else 2)


def test_files_that_could_not_be_read_are_looked_at_again(tmp_path, heard, cache, settled):
    files = write(tmp_path / "photos", 6)
    hidden = tmp_path / "hidden"
    files.paths[2].rename(hidden)
    assert len(heard.read(files, SKIP, cache)) == 5
    assert len(heard.read(files, SKIP, cache)) == 5
    hidden.rename(files.paths[2])
    assert len(heard.read(files, SKIP, cache)) == 6


def test_a_file_that_changes_while_it_is_read_is_not_taken_for_the_old_one(
    tmp_path, heard, cache, settled, monkeypatch
):
    files = write(tmp_path / "photos", 5)
    real = decoding.decode_framed

    def changing(content, name, framing):
        if name.endswith("003.png"):
            files.paths[3].write_bytes(encode_png(photo(99)))
            os.utime(files.paths[3], ns=(1, 1))
        return real(content, name, framing)

    monkeypatch.setattr(decoding, "decode_framed", changing)
    made = heard.read(files, cache=cache)
    assert np.array_equal(made.pixels[3], photo(3))
    monkeypatch.undo()
    assert np.array_equal(heard.read(files, cache=cache).pixels[3], photo(99))


@pytest.mark.parametrize("size", ["small", "large"])
def test_a_damaged_entry_is_told_and_made_anew(tmp_path, heard, cache, settled, size, request):
    if size == "large":
        request.getfixturevalue("large")
    files = write(tmp_path / "photos", 5)
    heard.read(files, cache=cache)
    (entry,) = entries(cache)
    content = bytearray((entry.folder / "pixels.u8").read_bytes())
    content[50] ^= 4
    (entry.folder / "pixels.u8").write_bytes(content)
    made = heard.read(files, cache=cache)
    assert heard.warned == [f"{entry.folder}: is damaged; the photos are decoded again"]
    assert np.array_equal(made.pixels, np.stack([photo(number) for number in range(5)]))
    made = heard.read(files, cache=cache)
    assert heard.warned == []
    assert np.array_equal(made.pixels, np.stack([photo(number) for number in range(5)]))


def test_an_entry_of_another_number_of_files_is_not_taken(tmp_path, heard, cache, settled, monkeypatch):
    files = write(tmp_path / "photos", 5)
    heard.read(files, cache=cache)
    (entry,) = entries(cache)
    monkeypatch.setattr(ingest, "entry_seen", lambda _cache, _stamp: entry)
    assert len(heard.read(files_of(files.paths[:4]), cache=cache)) == 4


# Without room


@pytest.mark.parametrize("why", ["no cache", "no room", "no folder"])
def test_a_large_set_without_a_cache_stays_in_its_files(tmp_path, heard, large, why, reads):
    files = write(tmp_path / "photos", 40)
    spoil(files, (3,))
    (tmp_path / "file").write_text("")
    cache = {
        "no cache": None,
        "no room": Cache(folder=tmp_path / "cache", budget=700),
        "no folder": Cache(folder=tmp_path / "file"),
    }[why]
    made = heard.read(files, SKIP, cache)
    (warned,) = heard.warned
    said = {
        "no cache": "0.0 GB of pixels and no cache",
        "no room": "no room",
        "no folder": "cannot be written",
    }
    assert said[why] in warned
    assert warned.endswith("photos are decoded at each use, which is slow")
    assert made.intake.stored == "files"
    assert isinstance(made.pixels, LazyPixels)
    reads[1].clear()
    rows = np.array([38, 0, 3, 3, 20])
    assert np.array_equal(made.pixels[rows], np.stack([photo(number) for number in (39, 0, 4, 4, 21)]))
    assert sorted(reads[1]) == sorted(files.names[number] for number in (39, 0, 4, 4, 21))
    assert np.array_equal(made.pixels[5], photo(6))
    assert np.array_equal(made.take(np.array([7, 8])).pixels[1], photo(9))
    assert made.pixels[np.array([], np.int64)].shape == (0, 1, 4, 5)


def test_a_file_that_vanishes_or_changes_later_is_named(tmp_path, heard, large):
    files = write(tmp_path / "photos", 9)
    made = heard.read(files)
    files.paths[2].unlink()
    files.paths[4].write_bytes(encode_png(photo(4, 9, 9)))
    files.paths[6].touch()
    with pytest.raises(DataError, match=r"品-002\.png: cannot be read: no such file"):
        made.pixels[np.array([1, 2, 3])]
    for place in (4, 6):
        with pytest.raises(
            DataError, match=rf"品-00{place}\.png: changed after it was first read; put it back"
        ):
            made.pixels[place]
    assert np.array_equal(made.pixels[np.array([1, 3])], np.stack([photo(1), photo(3)]))


def test_a_disk_that_fills_up_leaves_a_large_set_in_its_files(tmp_path, heard, cache, large, monkeypatch):
    files = write(tmp_path / "photos", 40)
    written = []
    real = storing.Draft.add

    def add(draft, pixels):
        if len(written) == 20:
            raise ResourceError("the cache cannot be written: the disk is full")
        written.append(pixels)
        real(draft, pixels)

    monkeypatch.setattr(storing.Draft, "add", add)
    made = heard.read(files, cache=cache)
    (warned,) = heard.warned
    assert warned.startswith(
        "the cache cannot be written: the disk is full; until then photos are decoded at"
    )
    assert len(written) == 20
    assert made.intake.stored == "files"
    assert np.array_equal(made.pixels[:], np.stack([photo(number) for number in range(40)]))
    assert list((cache.folder / "v1" / "making").iterdir()) == []


def full(*_arguments):
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


@pytest.mark.parametrize("size", ["small", "large"])
def test_a_disk_that_is_full_at_the_end(tmp_path, heard, cache, size, request, monkeypatch):
    if size == "large":
        request.getfixturevalue("large")
    files = write(tmp_path / "photos", 8)
    monkeypatch.setattr(os, "fsync", full)
    made = heard.read(files, cache=cache)
    (warned,) = heard.warned
    assert "cannot be written: the disk is full" in warned
    assert warned.endswith("again next time" if size == "small" else "which is slow")
    assert made.intake.stored == ("memory" if size == "small" else "files")
    assert np.array_equal(made.pixels[:], np.stack([photo(number) for number in range(8)]))
    assert entries(cache) == ()


def test_an_entry_that_another_process_removes_at_once(tmp_path, heard, cache, large, monkeypatch):
    files = write(tmp_path / "photos", 8)
    monkeypatch.setattr(storing, "entry_of", lambda _cache, _key: None)
    made = heard.read(files, cache=cache)
    assert made.intake.stored == "files"
    assert np.array_equal(made.pixels[:], np.stack([photo(number) for number in range(8)]))


def test_a_damaged_entry_that_cannot_be_removed(tmp_path, heard, cache, settled, monkeypatch):
    files = write(tmp_path / "photos", 5)
    heard.read(files, cache=cache)
    (entry,) = entries(cache)
    (entry.folder / "pixels.u8").write_bytes(b"")
    monkeypatch.setattr(cache_module, "PATIENCE", 0.01)
    with cache_module.filelock.FileLock(cache.folder / "v1" / "lock"):
        made = heard.read(files, cache=cache)
    assert np.array_equal(made.pixels, np.stack([photo(number) for number in range(5)]))
    assert ["is damaged" in warned for warned in heard.warned] == [True, True, False]  # by time, by content
    assert "another process has held its lock" in heard.warned[-1]


# Threads


def test_one_thread_gives_the_same(tmp_path, heard, monkeypatch):
    files = write(tmp_path / "photos", 30)
    several = heard.read(files)
    monkeypatch.setattr(decoding, "_threads", lambda: 1)
    assert np.array_equal(heard.read(files).pixels, several.pixels)


def test_small_files_are_worked_on_by_one_thread(tmp_path, heard, monkeypatch):
    names = set()

    def look(*given):
        names.add(threading.current_thread().name)
        return real(*given)

    real = ingest.looked_at
    monkeypatch.setattr(ingest, "looked_at", look)
    files = write(tmp_path, 9)
    heard.read(files)
    assert threading.current_thread().name not in names
    names.clear()
    monkeypatch.setattr(decoding, "SMALL", 1 << 10)
    heard.read(files)
    assert names == {threading.current_thread().name}


def test_there_are_threads_for_the_processors_that_are_ours(monkeypatch):
    monkeypatch.undo()
    monkeypatch.setattr(os, "sched_getaffinity", lambda _process: {0, 1, 5}, raising=False)
    assert decoding._threads() == 3
    monkeypatch.setattr(os, "sched_getaffinity", lambda _process: set(range(99)), raising=False)
    assert decoding._threads() == 16
    monkeypatch.delattr(os, "sched_getaffinity")
    monkeypatch.setattr(os, "cpu_count", lambda: 7)
    assert decoding._threads() == 7


def test_whoever_listens_may_stop_the_work(tmp_path, cache, large):
    files = write(tmp_path / "photos", 100)
    before = threading.active_count()

    def tell(done, _total):
        if done == 10:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        ingested(files, Reading(), cache=cache, tell=tell)
    assert threading.active_count() == before
    assert list((cache.folder / "v1" / "making").iterdir()) == []
    assert entries(cache) == ()

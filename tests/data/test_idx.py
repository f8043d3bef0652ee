import gzip
import os
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mitsugo.data import idx
from mitsugo.data.idx import idx_header, read_idx, read_idx_folder
from mitsugo.errors import DataError

FASHION = Path(__file__).parents[3] / "shared/data/fashion_mnist"
IMAGES = np.arange(2 * 3 * 2, dtype=np.uint8).reshape(2, 3, 2)
WHOLE = idx_header(2, 3, 2) + IMAGES.tobytes()


def written(path: Path, content: bytes) -> Path:
    path.write_bytes(gzip.compress(content, mtime=0) if path.name.endswith(".gz") else content)
    return path


def outcome(path: Path, dimensions: int = 3) -> str:
    """Return the message of the refusal, or "" where the file was read."""
    try:
        read_idx(path, dimensions)
    except DataError as error:
        message = str(error)
        assert message.isprintable()
        assert path.name in message
        return message
    return ""


def by_the_definition(content: bytes) -> list[int] | None:
    """Return the values of a file of 3-dimensional unsigned bytes, or None: the format as plain loops."""
    if len(content) < 16 or list(content[:4]) != [0, 0, 8, 3]:
        return None
    sizes = []
    for i in range(3):
        size = 0
        for byte in content[4 + 4 * i : 8 + 4 * i]:
            size = size * 256 + byte
        sizes.append(size)
    length = sizes[0] * sizes[1] * sizes[2]
    return list(content[16:]) if length > 0 and len(content) == 16 + length else None


@pytest.mark.parametrize("name", ["x", "x.gz"])
def test_what_was_written_is_read(tmp_path, name):
    read = read_idx(written(tmp_path / name, WHOLE), 3)
    assert read.dtype == np.uint8
    assert read.tolist() == [[[0, 1], [2, 3], [4, 5]], [[6, 7], [8, 9], [10, 11]]]


def test_labels_have_one_dimension(tmp_path):
    assert read_idx(written(tmp_path / "x", idx_header(3) + b"\2\0\1"), 1).tolist() == [2, 0, 1]


def test_a_file_cut_at_any_byte_is_refused(tmp_path):
    for length in range(len(WHOLE)):
        message = outcome(written(tmp_path / "x", WHOLE[:length]))
        expected = "ends inside its header" if length < 16 else f"= 12 bytes, but it holds {length - 16};"
        assert expected in message


def test_a_gzip_file_cut_at_any_byte_is_refused(tmp_path):
    content = gzip.compress(WHOLE, mtime=0)
    for length in range(len(content)):
        path = tmp_path / "x.gz"
        path.write_bytes(content[:length])
        expected = {0: "ends inside its header", 1: "no gzip file"}.get(length, "truncated or damaged")
        assert expected in outcome(path)


def test_every_flipped_bit_of_a_gzip_file_is_seen_or_harmless(tmp_path):
    content = gzip.compress(WHOLE, mtime=0)
    path = tmp_path / "x.gz"
    for bit in range(8 * len(content)):
        flipped = bytearray(content)
        flipped[bit // 8] ^= 1 << bit % 8
        path.write_bytes(flipped)
        if not outcome(path):  # a bit that says nothing about the content, such as the time of packing
            assert bit // 8 < len(content) - 8, "a bit of the checksum or the length was overlooked"
            assert read_idx(path, 3).tolist() == IMAGES.tolist()


@pytest.mark.parametrize("position", range(16))
def test_every_value_of_every_header_byte_is_judged_by_the_definition(tmp_path, position):
    for value in range(256):
        content = bytearray(WHOLE)
        content[position] = value
        message = outcome(written(tmp_path / "x", bytes(content)))
        assert (message == "") == (by_the_definition(bytes(content)) is not None)


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    start=st.integers(0, len(WHOLE)),
    removed=st.integers(0, 6),
    put=st.binary(max_size=6),
    packed=st.booleans(),
)
def test_mutated_files_are_judged_by_the_definition(tmp_path, start, removed, put, packed):
    content = WHOLE[:start] + put + WHOLE[start + removed :]
    path = written(tmp_path / ("x.gz" if packed else "x"), content)
    values = by_the_definition(content)
    if values is None:
        assert outcome(path)
    else:
        assert read_idx(path, 3).ravel().tolist() == values


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(content=st.binary(max_size=64))
def test_arbitrary_bytes_named_gz_are_refused(tmp_path, content):
    path = tmp_path / "x.gz"
    path.write_bytes(content)
    assert outcome(path)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (WHOLE + b"\0", "= 12 bytes, but it holds more;"),
        (idx_header(0, 28, 28), r"is an empty set \(0 x 28 x 28\)"),
        (idx_header(2, 0, 28), r"is an empty set \(2 x 0 x 28\)"),
        (idx_header(*(2**32 - 1,) * 3), "more than 4,294,967,296"),
        (bytes((0, 0, 13, 3)) + WHOLE[4:], "holds float32, expected unsigned bytes"),
        (bytes((0, 0, 7, 3)) + WHOLE[4:], "begins with 00 00 07 03, expected 00 00 08"),
        (b"\x89PNG\r\n\x1a\n" + WHOLE, "is no IDX file: it begins with 89 50 4e 47"),
        (gzip.compress(WHOLE, mtime=0), "is gzip-compressed but not named so"),
        (idx_header(12) + bytes(12), r"has 1 dimensions, expected 3 for images \(n, h, w\)"),
    ],
)
def test_refusals_say_what_is_wrong(tmp_path, content, message):
    with pytest.raises(DataError, match=message):
        read_idx(written(tmp_path / "x", content), 3)


def test_images_where_labels_are_expected(tmp_path):
    with pytest.raises(DataError, match=r"has 3 dimensions, expected 1 for labels \(n\)"):
        read_idx(written(tmp_path / "x", WHOLE), 1)


def test_a_plain_file_named_gz_is_no_gzip(tmp_path):
    (tmp_path / "x.gz").write_bytes(WHOLE)
    with pytest.raises(DataError, match="is named .gz but is damaged or no gzip file"):
        read_idx(tmp_path / "x.gz", 3)


def test_nothing_is_allocated_because_a_header_asks_for_it(tmp_path):
    lying = written(tmp_path / "x", idx_header(1 << 16, 1 << 8, 1 << 8) + b"12345")  # 4 GiB, the most allowed
    tracemalloc.start()
    message = outcome(lying)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert "4,294,967,296 bytes, but it holds 5;" in message
    assert peak < 4 << 20


def test_a_gzip_bomb_is_unpacked_one_byte_beyond_the_promise(tmp_path):
    bomb = written(tmp_path / "x.gz", idx_header(1, 2, 2) + bytes(50 << 20))
    tracemalloc.start()
    message = outcome(bomb)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert "= 4 bytes, but it holds more;" in message
    assert peak < 4 << 20


def test_files_that_are_no_files(tmp_path):
    os.mkfifo(tmp_path / "fifo")
    for path in (tmp_path / "fifo", tmp_path, Path("/dev/zero")):
        with pytest.raises(DataError, match="is not a regular file"):
            read_idx(path, 3)
    with pytest.raises(DataError, match="nothing.gz: cannot be read: no such file"):
        read_idx(tmp_path / "nothing.gz", 3)


def test_an_error_of_the_disk_names_the_file(tmp_path, monkeypatch):
    def broken(*_arguments):
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(idx, "_parse", broken)
    with pytest.raises(DataError, match="x: cannot be read: input/output error"):
        read_idx(written(tmp_path / "x", WHOLE), 3)


# Folders


def part(
    folder: Path, name: str, labels: list[int], *, size: int = 2, dot: bool = False, gz: bool = False
) -> None:
    mark, end = "." if dot else "-", ".gz" if gz else ""
    pixels = bytes(i % 256 for i in range(len(labels) * size * size))
    written(folder / f"{name}-images{mark}idx3-ubyte{end}", idx_header(len(labels), size, size) + pixels)
    written(folder / f"{name}-labels{mark}idx1-ubyte{end}", idx_header(len(labels)) + bytes(labels))


@pytest.mark.parametrize("dot", [False, True])
@pytest.mark.parametrize("gz", [False, True])
def test_a_folder_becomes_labeled_images(tmp_path, dot, gz):
    part(tmp_path, "train", [7, 2, 7], dot=dot, gz=gz)
    part(tmp_path, "t10k", [5, 2], dot=dot, gz=gz)
    (tmp_path / "train-readme.txt").write_text("left alone")
    images = read_idx_folder(tmp_path)
    assert images.pixels.tolist() == [
        [[[0, 1], [2, 3]]],
        [[[4, 5], [6, 7]]],
        [[[8, 9], [10, 11]]],
        [[[0, 1], [2, 3]]],
        [[[4, 5], [6, 7]]],
    ]
    assert images.class_names == ("2", "5", "7")
    assert images.labels.tolist() == [2, 0, 2, 1, 0]
    assert images.names == ("train/00000", "train/00001", "train/00002", "test/00000", "test/00001")
    assert images.split is not None
    assert images.split.train.tolist() == [0, 1, 2]
    assert images.split.validation.tolist() == []
    assert images.split.test.tolist() == [3, 4]
    assert images.split.how == "the source's own parts: 3 images to train on, 2 to test on"


def test_the_test_part_may_be_missing(tmp_path):
    part(tmp_path, "train", [0, 1])
    images = read_idx_folder(tmp_path)
    assert (len(images), images.split) == (2, None)


@pytest.mark.parametrize("name", ["train-images", "train-labels", "t10k-images", "t10k-labels"])
def test_a_missing_file_is_named(tmp_path, name):
    part(tmp_path, "train", [0, 1])
    part(tmp_path, "t10k", [0, 1])
    ending = "idx3-ubyte" if name.endswith("images") else "idx1-ubyte"
    (tmp_path / f"{name}-{ending}").unlink()
    with pytest.raises(DataError, match=f"{name}-{ending} .* is missing beside t"):
        read_idx_folder(tmp_path)


def test_a_folder_without_a_training_part(tmp_path):
    part(tmp_path, "t10k", [0, 1])
    with pytest.raises(
        DataError, match="train-images-idx3-ubyte .* is missing beside t10k-images-idx3-ubyte"
    ):
        read_idx_folder(tmp_path)


def test_a_folder_without_idx_files_says_what_was_looked_for(tmp_path):
    (tmp_path / "train-images.png").touch()
    with pytest.raises(
        DataError, match="holds no IDX files; looked for train-images-idx3-ubyte and train-labels"
    ):
        read_idx_folder(tmp_path)


def test_a_file_that_stands_there_twice_is_ambiguous(tmp_path):
    part(tmp_path, "train", [0, 1])
    part(tmp_path, "train", [0, 1], gz=True)
    with pytest.raises(
        DataError, match="holds both train-images-idx3-ubyte and train-images-idx3-ubyte.gz; keep one"
    ):
        read_idx_folder(tmp_path)


def test_images_and_labels_that_do_not_fit(tmp_path):
    part(tmp_path, "train", [0, 1, 1])
    written(tmp_path / "train-labels-idx1-ubyte", idx_header(2) + b"\0\1")
    with pytest.raises(DataError, match="holds 2 labels for the 3 images of train-images-idx3-ubyte"):
        read_idx_folder(tmp_path)


def test_parts_of_two_sizes(tmp_path):
    part(tmp_path, "train", [0, 1])
    part(tmp_path, "t10k", [0, 1], size=3)
    with pytest.raises(DataError, match="training images are 2 x 2 but test images 3 x 3"):
        read_idx_folder(tmp_path)


def test_what_is_no_folder(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(DataError, match="file: cannot be read: not a directory"):
        read_idx_folder(tmp_path / "file")


def test_a_broken_link_is_not_skipped(tmp_path):
    part(tmp_path, "train", [0, 1])
    (tmp_path / "t10k-images-idx3-ubyte").symlink_to("nowhere")
    (tmp_path / "t10k-labels-idx1-ubyte").symlink_to("t10k-labels-idx1-ubyte")
    with pytest.raises(DataError, match="t10k-images-idx3-ubyte: cannot be read"):
        read_idx_folder(tmp_path)


def test_a_folder_with_a_hostile_name_stays_on_one_line(tmp_path):
    folder = tmp_path / "a\nb\udcff"
    folder.mkdir()
    with pytest.raises(DataError) as caught:
        read_idx_folder(folder)
    assert str(caught.value).isprintable()
    assert "a\\nb\\udcff" in str(caught.value)


@pytest.mark.skipif(not FASHION.is_dir(), reason="../shared/data/fashion_mnist is not here")
def test_fashion_mnist_is_read():
    images = read_idx_folder(FASHION)
    assert images.pixels.shape == (70_000, 1, 28, 28)
    assert images.class_names == tuple("0123456789")
    assert np.bincount(images.labels[:60_000]).tolist() == [6000] * 10
    assert np.bincount(images.labels[60_000:]).tolist() == [1000] * 10
    assert images.names[-1] == "test/09999"

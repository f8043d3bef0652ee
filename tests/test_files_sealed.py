"""Sealed archives: every flipped bit, truncation and doctored table is seen before it is believed."""

import errno
import io
import os
import random
import resource
import struct
import sys
import warnings
import zipfile

import pytest

from mitsugo import files
from mitsugo.errors import ModelError

MEMBERS = {"a": b"new" * 10_000, "b": b"", "c": bytes(range(256)) * 100}


def test_the_same_members_give_the_same_bytes_and_come_back(tmp_path, monkeypatch):
    one, other = tmp_path / "one", tmp_path / "other"
    files.write_sealed(one, MEMBERS)
    monkeypatch.setattr(sys, "platform", "win32")
    files.write_sealed(other, MEMBERS)
    assert one.read_bytes() == other.read_bytes()
    assert list(files.read_sealed(one).items()) == list(MEMBERS.items())


def test_a_sealed_archive_is_a_zip_that_others_can_open(tmp_path):
    files.write_sealed(tmp_path / "a", MEMBERS)
    with zipfile.ZipFile(tmp_path / "a") as archive:
        assert archive.testzip() is None
        assert archive.read("c") == MEMBERS["c"]


def test_more_than_an_archive_holds_is_not_written(tmp_path, monkeypatch):
    monkeypatch.setattr(files, "LARGEST", files.LARGEST_DIRECTORY + 5)
    with pytest.raises(ModelError, match="would hold 6 bytes, a mitsugo file holds at most"):
        files.write_sealed(tmp_path / "a", {"a": b"123", "b": b"456"})
    assert list(tmp_path.iterdir()) == []


@pytest.fixture
def small(tmp_path):
    path = tmp_path / "small"
    files.write_sealed(path, {"a": b"content", "b": b"more"})
    return path


def test_every_truncation_is_refused(small):
    content = small.read_bytes()
    for length in range(len(content)):
        small.write_bytes(content[:length])
        with pytest.raises(ModelError, match="is truncated or damaged|is no mitsugo file"):
            files.read_sealed(small)


def test_every_single_flipped_bit_is_refused(small):
    content = bytearray(small.read_bytes())
    for bit in range(8 * len(content)):
        content[bit // 8] ^= 1 << bit % 8
        small.write_bytes(content)
        with pytest.raises(ModelError, match="is truncated or damaged|is no mitsugo file"):
            files.read_sealed(small)
        content[bit // 8] ^= 1 << bit % 8


def test_every_byte_more_is_refused(small):
    small.write_bytes(small.read_bytes() + b"\0")
    with pytest.raises(ModelError, match="is truncated or damaged"):
        files.read_sealed(small)


def test_a_file_beyond_all_bounds_is_refused_unread(small):
    with small.open("ab") as file:
        file.truncate(1 << 42)
    with pytest.raises(ModelError, match="holds 4398046511104 bytes, a mitsugo file at most 2147483647"):
        files.read_sealed(small)


def test_a_large_file_without_a_seal_is_refused_unread(tmp_path):
    path = tmp_path / "large"
    path.write_bytes(b"PK")
    os.truncate(path, files.LARGEST)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(ModelError, match="is truncated or damaged"):
        files.read_sealed(path)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 50_000


def test_a_disk_that_cannot_be_read_is_named(small, monkeypatch):
    class Broken(io.BytesIO):
        def read(self, size=-1):
            raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(files, "open_regular", lambda path, kind: Broken())
    with pytest.raises(ModelError, match="small: cannot be read: input/output error; check the disk"):
        files.read_sealed(small)


def sealed(body):
    """Put a true seal on any bytes."""
    return body + files.SEAL + files.sha256_of(body).encode()


def archive_of(members, *, compression=zipfile.ZIP_STORED):
    """Return the body of a sealed archive of any members."""
    buffer = io.BytesIO()
    with warnings.catch_warnings(), zipfile.ZipFile(buffer, "w", compression) as archive:
        warnings.filterwarnings("ignore", "Duplicate name")
        for name, content in members:
            archive.writestr(zipfile.ZipInfo(name), content, compression)
        archive.comment = b" " * files.SEAL_LENGTH
    return buffer.getvalue()[: -files.SEAL_LENGTH]


def body_of(path):
    return bytearray(path.read_bytes()[: -files.SEAL_LENGTH])


def compressed(_):
    return archive_of([("a", b"content")], compression=zipfile.ZIP_DEFLATED)


def twice(_):
    return archive_of([("a", b"content"), ("a", b"content")])


def crowded(_):
    return archive_of([(f"{number:050}", b"") for number in range(1000)])


def with_a_hidden_gap(body):
    return body[:-22] + b"hidden" + body[-22:]


def without_a_directory(_):
    return b"PK"


def with_another_end(body):
    return body[:-22] + b"PK\5\7" + body[-18:]


def with_a_wide_locator(_):
    """A second, 64-bit table of members stands before the end."""
    locator = struct.pack("<4sLQL", files.WIDE_LOCATOR, 0, 0, 1)
    body = archive_of([("a", b"content"), ("b", locator)])
    at = body.index(b"PK\1\2")
    size = len(body) - 22 - at + len(locator)
    end = struct.pack("<4s4H2LH", b"PK\5\6", 0, 0, 2, 2, size, at, files.SEAL_LENGTH)
    return body[:-22] + locator + end


def encrypted(body):
    for mark, at in ((b"PK\3\4", 6), (b"PK\1\2", 8)):
        body[body.index(mark) + at] |= 1
    return body


def larger_than_the_file(body):
    at = body.index(b"PK\1\2")
    body[at + 20 : at + 28] = struct.pack("<2L", 1 << 31, 1 << 31)
    return body


def with_another_checksum(body):
    at = body.index(b"PK\1\2")
    body[at + 16] ^= 1
    return body


@pytest.mark.parametrize(
    ("doctor", "words"),
    [
        (compressed, "a member is compressed"),
        (twice, "a member stands twice"),
        (crowded, "its table of members is too large"),
        (with_a_hidden_gap, "its table of members is not where it belongs"),
        (without_a_directory, "it has no table of members"),
        (with_another_end, "its table of members is not where it belongs"),
        (with_a_wide_locator, "its table of members is too large"),
        (encrypted, "encrypted"),
        (larger_than_the_file, "the members are larger than the file"),
        (with_another_checksum, "Bad CRC-32"),
    ],
)
def test_a_doctored_archive_with_a_true_seal_is_refused(small, doctor, words):
    small.write_bytes(sealed(bytes(doctor(body_of(small)))))
    with pytest.raises(ModelError, match=f"small: was doctored: .*{words}.*; get it again from its maker"):
        files.read_sealed(small)


@pytest.mark.parametrize("times", [1500, pytest.param(30_000, marks=pytest.mark.slow)])
def test_bytes_changed_under_a_true_seal_never_bring_another_exception(small, times):
    chance = random.Random(29)
    body = body_of(small)
    outcomes = {"read": 0, "refused": 0}
    for _ in range(times):
        changed = bytearray(body)
        for _ in range(chance.randint(1, 4)):
            changed[chance.randrange(2, len(changed))] = chance.choice(
                [0, 1, 0x7F, 0x80, 0xFF, chance.randrange(256)]
            )
        small.write_bytes(sealed(bytes(changed)))
        try:
            members = files.read_sealed(small)
        except ModelError:
            outcomes["refused"] += 1
        else:
            assert sum(map(len, members.values())) <= len(body)
            outcomes["read"] += 1
    assert min(outcomes.values()) > times / 50

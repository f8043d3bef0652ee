"""Files are whole or not there, and what is no file is refused."""

import errno
import os
import socket
import threading
from pathlib import Path

import pytest

from mitsugo import files
from mitsugo.errors import DataError, ModelError, ResourceError


@pytest.mark.parametrize(
    ("left", "kept"),
    [
        (b"", b""),
        (b"torn", b""),
        (b"one\n", b"one\n"),
        (b"one\nto", b"one\n"),
        (b"one\n" + b"x" * 200_000, b"one\n"),
        (b"x" * 200_000, b""),
        (b"a\n" * 40_000 + b"t", b"a\n" * 40_000),
    ],
)
def test_what_a_killed_writer_left_torn_is_taken_back_by_the_next_line(tmp_path, left, kept):
    path = tmp_path / "history.jsonl"
    path.write_bytes(left)
    files.append_line(path, "two")
    assert path.read_bytes() == kept + b"two\n"


def test_a_line_is_one_line(tmp_path):
    with pytest.raises(AssertionError):
        files.append_line(tmp_path / "history.jsonl", "one\ntwo")


def test_an_exception_while_writing_leaves_the_old_file_and_is_not_hidden(tmp_path):
    path = tmp_path / "scores.json"
    files.write_bytes(path, b"old")

    def interrupted():
        with files.replacing(path) as file:
            file.write(b"half")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert path.read_bytes() == b"old"
    assert len(list(tmp_path.iterdir())) == 1


def test_a_name_as_long_as_a_system_allows_can_be_written(tmp_path):
    path = tmp_path / ("品" * 85)
    files.write_bytes(path, b"content")
    assert path.read_bytes() == b"content"


@pytest.mark.parametrize("name", ["missing/file", "folder", "x" * 300, "a\0b"])
def test_a_place_that_cannot_be_written_is_named(tmp_path, name):
    (tmp_path / "folder").mkdir()
    with pytest.raises(ResourceError, match="cannot be written|is no name that a file can have"):
        files.write_bytes(tmp_path / name, b"content")
    assert [file.name for file in tmp_path.iterdir()] == ["folder"]


def test_two_threads_that_write_one_file_leave_one_of_the_two(tmp_path):
    path = tmp_path / "model.mitsugo"
    contents = [bytes([number]) * 100_000 for number in range(4)]

    def write(content):
        for _ in range(10):
            files.write_bytes(path, content)

    threads = [threading.Thread(target=write, args=(content,)) for content in contents]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert path.read_bytes() in contents
    assert len(list(tmp_path.iterdir())) == 1


def test_a_folder_that_the_system_cannot_sync_is_no_fault(tmp_path, monkeypatch):
    real = os.fsync

    def fsync(descriptor):
        if os.path.isdir(f"/proc/self/fd/{descriptor}"):  # noqa: PTH112 - a descriptor, not a path
            raise OSError(errno.EINVAL, "invalid argument")
        real(descriptor)

    monkeypatch.setattr(os, "fsync", fsync)
    files.write_bytes(tmp_path / "a", b"content")
    assert (tmp_path / "a").read_bytes() == b"content"


def test_where_folders_are_not_opened_the_file_alone_is_synced(tmp_path, monkeypatch):
    path = tmp_path / "a"
    synced = []
    monkeypatch.setattr(os, "fsync", synced.append)
    monkeypatch.setattr(files, "os", WindowsNames())
    files.write_bytes(path, b"content")
    assert len(synced) == 1


class WindowsNames:
    """The module os, as it calls itself on Windows."""

    name = "nt"

    def __getattr__(self, name):
        return getattr(os, name)


def test_leftovers_of_killed_writers_are_removed_and_nothing_else(tmp_path):
    kept = ["model.mitsugo", ".hidden", "x.mitsugo-part"]
    for name in [*kept, ".model.mitsugo.12.ab.mitsugo-part"]:
        (tmp_path / name).write_bytes(b"")
    files.remove_leftovers(tmp_path)
    assert sorted(file.name for file in tmp_path.iterdir()) == sorted(kept)


def test_a_leftover_that_cannot_be_removed_is_named(tmp_path):
    (tmp_path / ".a.mitsugo-part").mkdir()
    with pytest.raises(ResourceError, match=r"\.a\.mitsugo-part: .* remove it by hand"):
        files.remove_leftovers(tmp_path)


def fifo(path):
    os.mkfifo(path)


def loop(path):
    path.symlink_to(path)


def socket_file(path):
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(path))


def to_a_device(path):
    path.symlink_to("/dev/zero")


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda _: None, "cannot be read: no such file"),
        (Path.mkdir, "is not a regular file; name a file"),
        (fifo, "is not a regular file"),
        (to_a_device, "is not a regular file"),
        (socket_file, "cannot be read: no such device"),
        (loop, "cannot be read: too many levels of symbolic links"),
    ],
)
def test_what_is_no_regular_file_is_refused_and_never_waited_for(tmp_path, monkeypatch, make, words):
    monkeypatch.chdir(tmp_path)
    path = Path("x")
    make(path)
    with pytest.raises(DataError, match=f"x: {words}"):
        files.open_regular(path)
    with pytest.raises(ModelError, match=f"x: {words}"):
        files.read_sealed(path)


def test_a_name_that_no_file_can_have_is_refused(tmp_path):
    with pytest.raises(ModelError, match="'a.x00b': cannot be read: embedded null byte"):
        files.open_regular(Path("a\0b"), ModelError)


def test_a_link_to_a_regular_file_is_read(tmp_path):
    (tmp_path / "a").write_bytes(b"content")
    (tmp_path / "b").symlink_to(tmp_path / "a")
    with files.open_regular(tmp_path / "b") as file:
        assert file.read() == b"content"


def test_reasons_are_the_systems_words():
    assert (
        files.reason(OSError(errno.ENOENT, "No such file or directory", "path"))
        == "no such file or directory"
    )
    assert files.reason(OSError("odd")) == "odd"


def test_sha256_is_that_of_the_parts_one_after_the_other():
    # FIPS 180-2, appendix B.1
    expected = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    assert files.sha256_of(b"a", memoryview(b"bc")) == expected

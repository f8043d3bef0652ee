"""Power that fails, disks that are full or read-only, pages that go bad, texts that attack."""

import os
import resource
import shutil
import sqlite3
import tempfile
import threading
from contextlib import closing, contextmanager, suppress
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mitsugo.errors import StoreError
from mitsugo.gallery import Feedback, opened
from mitsugo.gallery.opening import told
from mitsugo.gallery.schema import VERSION

FINGERPRINT = "ab" * 32
BYTES_OF_WAL_HEADER, BYTES_OF_FRAME_HEADER = 32, 24


def change(store, row, step):
    """Do the nursery's change of this step."""
    first = 3 * (step // 4)
    match step % 4:
        case 0:
            store.add([row(first + i) for i in range(3)], ng={"scratch": True})
        case 1:
            store.remove(names=[f"photo {first}.png"])
        case 2:
            store.undo()
        case 3:
            store.remove(names=[f"photo {first + 1}.png"])


@contextmanager
def no_file_beyond(size):
    """Let the system refuse to write beyond a size, as a full disk does."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.fixture
def recorded(path, reopened, row, tmp_path):
    """The states of file and log after each of 12 changes, which are not yet in the file itself."""
    states = []
    with reopened() as store:
        for step in range(12):
            change(store, row, step)
            states.append((path.read_bytes(), path.with_name(f"{path.name}-wal").read_bytes()))
        page = store._connection.execute("PRAGMA page_size").fetchone()[0]
        with closing(sqlite3.connect(path)) as other:
            assert other.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()[0] == 0
        checkpointed = path.read_bytes()
    copy = tmp_path / "after the power failed.sqlite"

    def restarted(content, log):
        for name in copy.parent.glob(f"{copy.name}*"):
            name.unlink()
        copy.write_bytes(content)
        copy.with_name(f"{copy.name}-wal").write_bytes(log)
        return opened(copy, fingerprint=FINGERPRINT, dimension=3, statistics=2)

    return states, page, checkpointed, restarted


@pytest.mark.parametrize("places", [60, pytest.param(2_000, marks=pytest.mark.slow)])
def test_a_log_that_was_cut_by_a_power_failure_holds_what_was_acknowledged(recorded, places, after, numbers):
    """At every frame's boundary, and at random bytes: the changes whose last byte is there, and no half."""
    states, page, _, restarted = recorded
    content, log = states[-1]
    ends = [len(wal) for _, wal in states]
    frame = page + BYTES_OF_FRAME_HEADER
    chance = np.random.default_rng(places)
    cuts = [*range(ends[0], len(log) + 1, frame), *chance.integers(ends[0], len(log), places).tolist()]
    assert all(content == states[0][0] for content, _ in states), "no change is in the file itself"
    for cut in cuts:
        with restarted(content, log[:cut]) as store:
            steps = sum(end <= cut for end in ends)
            assert len(store.log()) == steps
            assert numbers(store) == after(steps)
            store.verify()


@pytest.mark.parametrize("times", [40, pytest.param(2_000, marks=pytest.mark.slow)])
def test_writes_that_were_lost_or_came_out_of_order_undo_the_last_change_alone(
    recorded, times, after, numbers
):
    """Of the frames of a change that was not yet synced some are old bytes: the change is not there."""
    states, page, _, restarted = recorded
    frame = page + BYTES_OF_FRAME_HEADER
    chance = np.random.default_rng(times)
    for _ in range(times):
        step = int(chance.integers(1, len(states)))
        start, log = len(states[step - 1][1]), bytearray(states[step][1])
        frames = range(start, len(log), frame)
        lost = [at for at in frames if chance.random() < 0.5] or [frames[-1]]
        for at in lost:
            log[at : at + frame] = bytes(frame) if chance.random() < 0.5 else chance.bytes(frame)
        with restarted(states[step][0], bytes(log)) as store:
            assert len(store.log()) == step
            assert numbers(store) == after(step)
            store.verify()


@pytest.mark.parametrize("times", [20, pytest.param(1_000, marks=pytest.mark.slow)])
def test_a_checkpoint_that_was_written_in_part_loses_nothing(recorded, times, after, numbers):
    """While the log goes into the file any of its pages may be there or not: the log is there still."""
    states, page, checkpointed, restarted = recorded
    content, log = states[-1]
    chance = np.random.default_rng(times)
    assert len(checkpointed) > len(content) or checkpointed != content
    for _ in range(times):
        half = bytearray(content.ljust(len(checkpointed), b"\0"))
        for at in range(0, len(checkpointed), page):
            if chance.random() < 0.5:
                half[at : at + page] = checkpointed[at : at + page]
        with restarted(bytes(half[: len(content)] if chance.random() < 0.3 else half), log) as store:
            assert numbers(store) == after(len(states))
            store.verify()


def test_a_disk_that_is_full_at_any_byte_keeps_the_rows_and_can_be_read(path, reopened, row, numbers):
    with reopened() as store:
        store.add([row(1)], ng={})
        log = path.with_name(f"{path.name}-wal")
        start = log.stat().st_size
        said = []
        for limit in range(start, start + 60_000, 1_024):
            with no_file_beyond(limit):
                try:
                    store.add([row(number, thumbnail=bytes(9_000)) for number in (2, 3)], ng={})
                except StoreError as refusal:
                    said.append(str(refusal))
                else:
                    break
                assert numbers(store) == {1}
                with reopened() as other:
                    assert numbers(other) == {1}
        assert len(said) > 10
        assert all("; nothing was written: " in words and words.endswith("try again") for words in said)
        assert numbers(store) == {1, 2, 3}
        store.verify()


def test_a_disk_that_is_full_where_a_gallery_is_begun_leaves_none_or_one_that_can_be_begun(
    tmp_path, row, numbers
):
    refused = 0
    for limit in range(0, 140_000, 4_000):
        path = tmp_path / f"{limit}.sqlite"
        try:
            with (
                no_file_beyond(limit),
                opened(path, fingerprint=FINGERPRINT, dimension=3, statistics=2, create=True) as store,
            ):
                store.add([row(1)], ng={})
        except StoreError:
            refused += 1
        with opened(path, fingerprint=FINGERPRINT, dimension=3, statistics=2, create=True) as store:
            if not store.rows():
                store.add([row(1)], ng={})
            assert numbers(store) == {1}
            store.verify()
    assert 3 < refused < 35


def test_a_copy_for_which_there_is_no_room_is_not_left_half(store, tmp_path, row):
    store.add([row(number, thumbnail=bytes(9_000)) for number in range(20)], ng={})
    for limit in (0, 10_000, 100_000):
        with no_file_beyond(limit), pytest.raises(StoreError, match=r"copy\.sqlite: cannot be written"):
            store.copied(tmp_path / "copy.sqlite")
        assert not list(tmp_path.glob("copy*"))
    assert len(store.rows()) == 20


@pytest.mark.parametrize("copies", [8, pytest.param(50, marks=pytest.mark.slow)])
def test_a_copy_while_others_write_holds_whole_batches(reopened, path, tmp_path, row, copies, numbers):
    done = threading.Event()

    def write():
        with reopened() as store:
            for batch in range(10_000):
                store.add([row(3 * batch + i) for i in range(3)], ng={})
                if done.is_set():
                    return

    reopened().__exit__()
    writer = threading.Thread(target=write)
    writer.start()
    sizes = []
    try:
        with reopened() as store:
            for number in range(copies):
                before = len(store.rows())
                store.copied(tmp_path / f"copy {number}.sqlite")
                copy = opened(
                    tmp_path / f"copy {number}.sqlite", fingerprint=FINGERPRINT, dimension=3, statistics=2
                )
                with copy:
                    found = numbers(copy)
                    assert found == set(range(len(found)))
                    assert len(found) % 3 == 0
                    assert len(found) >= before
                    copy.verify()
                sizes.append(len(found))
    finally:
        done.set()
        writer.join()
    assert sizes == sorted(sizes)


@pytest.mark.parametrize("times", [40, pytest.param(1_000, marks=pytest.mark.slow)])
def test_a_page_that_went_bad_is_told_and_never_believed(reopened, path, row, times):
    """Zeroed, exchanged with another, or noise: the rows are all there as they were, or it is damaged."""
    with reopened() as store:
        store.add([row(number, thumbnail=bytes(2_000)) for number in range(60)], ng={"scratch": True})
        store.remove(names=["photo 3.png"])
        store.tell(Feedback(name="a.png", digest=bytes(16), said="ok", label="scratch", right=False))
    content = path.read_bytes()
    page = int.from_bytes(content[16:18], "big")
    pages = len(content) // page
    expected = set(range(60)) - {3}
    chance = np.random.default_rng(times)
    damaged = saved = 0
    for _ in range(times):
        broken = bytearray(content)
        one, other = (page * int(place) for place in chance.choice(pages, 2, replace=False))
        match int(chance.integers(3)):
            case 0:
                broken[one : one + page] = bytes(page)
            case 1:
                broken[one : one + page] = content[other : other + page]
                broken[other : other + page] = content[one : one + page]
            case 2:
                broken[one : one + page] = chance.bytes(page)
        path.write_bytes(broken)
        try:
            with reopened(create=False) as store:
                for read in (store.log, store.ng, store.verify, lambda store=store: store.feedback(9)):
                    with suppress(StoreError):
                        read()
                try:
                    assert {int.from_bytes(found.digest, "little") for found in store.rows()} == expected
                except StoreError:
                    damaged += 1
                    rows, lost = store.salvaged()
                    saved += len(rows)
                    assert {int.from_bytes(found.digest, "little") for found in rows} <= expected | {3}
                    assert lost or len(rows) <= len(expected) + 1
        except StoreError:
            damaged += 1
    assert damaged > times / 4
    assert saved > 10 * times / 4


def test_a_bit_that_lets_an_image_stand_or_not_is_not_believed(store, path, row, numbers):
    store.add([row(1), row(2)], ng={})
    store.remove(names=["photo 2.png"])
    for number, stands in ((1, 0), (2, 1)):
        with closing(sqlite3.connect(path)) as raw:
            raw.execute("UPDATE images SET stands = ? WHERE number = ?", (stands, number))
            raw.commit()
        for ask in (store.rows, store.verify, lambda: store.taught(FINGERPRINT)):
            with pytest.raises(StoreError, match="is damaged: the images that stand are not those of its"):
                ask()
        with closing(sqlite3.connect(path)) as raw:
            raw.execute("UPDATE images SET stands = ? WHERE number = ?", (1 - stands, number))
            raw.commit()
    assert numbers(store) == {1}


@pytest.mark.skipif(os.getuid() != 0, reason="needs the right to give up rights")
@pytest.mark.parametrize("what", ["file", "folder"])
def test_who_may_not_write_can_read_and_is_told(nursery, row, what):
    folder = Path(tempfile.mkdtemp(dir="/tmp"))
    try:
        path = folder / "g.sqlite"
        with opened(path, fingerprint=FINGERPRINT, dimension=3, statistics=2, create=True) as store:
            store.add([row(1)], ng={})
        folder.chmod(0o777 if what == "file" else 0o755)
        path.chmod(0o644 if what == "file" else 0o666)
        before = path.read_bytes()
        (said,) = nursery(("without_rights", {"path": str(path)}))
        assert said[0] == "1"
        assert said[1].endswith("g.sqlite: cannot be written: check who may write to it and to its folder")
        assert path.read_bytes() == before
        path.chmod(0)
        ((said,),) = nursery(("without_rights", {"path": str(path)}))
        assert said.startswith("StoreError: ")
        assert said.endswith("cannot be opened: check its name and who may read it and its folder")
    finally:
        shutil.rmtree(folder)


def test_a_file_system_that_cannot_lock_is_told_in_one_line(path, reopened, monkeypatch):
    real = sqlite3.connect
    monkeypatch.setattr(sqlite3, "connect", lambda name, **more: real(f"{name}&vfs=unix-none", **more))
    with pytest.raises(
        StoreError, match="its file system cannot lock files, so two could write at once: kee"
    ):
        reopened()


@pytest.mark.parametrize("code", ["SQLITE_IOERR_LOCK", "SQLITE_IOERR_SHMMAP", "SQLITE_PROTOCOL"])
def test_every_error_of_locking_says_so(path, code):
    error = sqlite3.OperationalError("disk I/O error")
    error.sqlite_errorname = code
    with (
        pytest.raises(StoreError, match=rf"gallery\.sqlite: its file system cannot lock .*\({code}\)$"),
        told(path),
    ):
        raise error


def test_a_newer_gallery_is_refused_untouched(store, path, reopened, row):
    store.add([row(1)], ng={})
    store.__exit__()
    with closing(sqlite3.connect(path)) as raw:
        raw.execute(f"PRAGMA user_version = {VERSION + 1}")
    before = path.read_bytes()
    with pytest.raises(StoreError, match="was written by a newer mitsugo .* upgrade mitsugo"):
        reopened()
    assert path.read_bytes() == before


TEXTS = st.one_of(
    st.text(max_size=60),
    st.text("'\";-%_\\()=*?\0 \n", max_size=40),
    st.sampled_from(
        ["' OR 1=1 --", "x'); DROP TABLE images; --", "%", "_", "*", "?1", ":a", "\udcff", "\ud800"]
    ),
)


@pytest.mark.parametrize("examples", [25, pytest.param(10_000, marks=pytest.mark.slow)])
def test_no_text_is_anything_but_a_text(tmp_path_factory, row, examples):
    """Labels, names, notes and requests of any letters touch no row but their own, or are refused."""
    path = tmp_path_factory.mktemp("fuzz") / "g.sqlite"
    with opened(path, fingerprint=FINGERPRINT, dimension=3, statistics=2, create=True) as store:
        store.add([row(10**9, "here to stay", name="here to stay")], ng={})

        @settings(
            max_examples=examples, deadline=None, suppress_health_check=[HealthCheck.too_slow], database=None
        )
        @given(text=TEXTS, number=st.integers(1, 10**6))
        def attacked(text, number):
            told = row(number, text, name=text)
            acts = (
                lambda: store.add([told], ng={text: True}, note=text, who=text, request=f"{number} {text}"),
                lambda: store.remove(class_name=text, request=text),
                lambda: store.remove(names=[text], note=text),
                lambda: store.add([row(number)], ng={}, request=text),
            )
            for act in acts:
                with suppress(StoreError):
                    act()
            found = store.rows()
            assert found[0].name == found[0].class_name == "here to stay"
            assert {one.class_name for one in found[1:]} <= {text, "scratch"}
            with suppress(StoreError):
                store.remove(class_name="scratch")

        attacked()
        store.verify()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"request": ""}, "a request of 0 characters"),
        ({"request": "a\0b"}, "a request of 3 characters"),
        ({"request": "caf\udce9"}, "is no text; name it by letters and digits"),
        ({"note": "x" * 5_000}, "a note of 5000 characters"),
        ({"note": "\ud800"}, "a note holds half a character"),
        ({"who": "\ud800"}, "a name of who does it holds half a character"),
    ],
)
def test_words_about_a_change_are_looked_at_before_it(store, row, changes, message):
    with pytest.raises(StoreError, match=message):
        store.add([row(1)], ng={}, **changes)
    assert (store.rows(), store.log(), store.ng()) == ((), (), {})
    with pytest.raises(StoreError, match="a class holds half a character"):
        store.add([row(1, "\ud800")], ng={})

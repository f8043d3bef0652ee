"""What is taught comes back as it was, every change can be undone, and nothing half done is ever seen."""

import dataclasses
import sqlite3
import threading

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mitsugo.errors import StoreError, UsageError
from mitsugo.gallery import opened
from mitsugo.gallery.schema import VERSION

FINGERPRINT = "ab" * 32
ODD = ["a\nb.png", "-rf", "é" * 120, "e\u0301", "caf\udce9.png", "'; DROP TABLE images;--"]
TEXTS = st.text(min_size=1, max_size=40).filter(lambda text: "\0" not in text)


def same(one, other):
    return all(
        np.array_equal(getattr(one, field.name), getattr(other, field.name))
        for field in dataclasses.fields(one)
    )


def names(store):
    return [found.name for found in store.rows()]


def test_what_is_added_comes_back_bit_for_bit(store, reopened, row):
    rows = [row(1), row(2, "傷"), row(3)]
    assert store.add(rows, ng={"scratch": True, "傷": False}, who="花子", note="night shift") == 1
    with reopened() as again:
        found = again.rows()
        assert len(found) == 3
        assert all(same(one, other) for one, other in zip(found, rows, strict=True))
        assert again.ng() == {"scratch": True, "傷": False}
        (batch,) = again.log()
    assert (batch.kind, batch.images, batch.classes) == ("add", 3, ("scratch", "傷"))
    assert (batch.who, batch.note, batch.undone) == ("花子", "night shift", None)
    assert batch.at.endswith("+00:00")


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    text=st.text(min_size=1, max_size=40).filter(lambda text: "\0" not in text), number=st.integers(1, 10**6)
)
def test_any_text_comes_back(tmp_path_factory, row, text, number):
    path = tmp_path_factory.mktemp("any") / "g.sqlite"
    try:
        text.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        return  # half a surrogate pair is no name that a system can give
    told = row(number, text, name=text, source=text)
    with opened(path, fingerprint=FINGERPRINT, dimension=3, statistics=2, create=True) as store:
        store.add([told], ng={}, note=text, who=text)
        assert same(store.rows()[0], told)
        assert store.log()[0].note == store.log()[0].who == text


@pytest.mark.parametrize(
    "name", ["a\nb.png", "-rf", "é" * 120, "e\u0301", "caf\udce9.png", "'; DROP TABLE images;--"]
)
def test_odd_names_are_names(store, row, name):
    store.add([row(1, name, name=name)], ng={})
    assert names(store) == [name]
    store.remove(names=[name])
    assert names(store) == []


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"vector": np.zeros(4, np.float32)}, "expected"),
        ({"vector": np.array([0, np.nan, 0], np.float32)}, "not finite"),
        ({"statistics": np.array([np.inf, 0], np.float32)}, "not finite"),
        ({"digest": b"short"}, "digest or a thumbnail of another size"),
        ({"thumbnail": bytes(2 << 20)}, "digest or a thumbnail of another size"),
        ({"class_name": ""}, "a class of 0 characters"),
        ({"class_name": "a\0b"}, "no zero among them"),
        ({"name": "x" * 5000}, "a name of 5000 characters"),
        ({"digest": (1).to_bytes(16, "little")}, "stands twice"),
    ],
)
def test_a_batch_with_one_bad_row_writes_nothing(store, row, changes, message):
    with pytest.raises(StoreError, match=message):
        store.add([row(1), row(2, **changes)], ng={})
    assert store.rows() == ()
    assert store.log() == ()
    assert store.ng() == {}


def test_an_image_that_its_class_holds_already_is_refused_whole(store, row):
    store.add([row(1)], ng={})
    with pytest.raises(StoreError, match=r"photo 1.png: this very image stands in class scratch already"):
        store.add([row(2), row(1)], ng={})
    assert len(store.rows()) == len(store.log()) == 1
    store.add([row(1, "dent")], ng={})
    assert len(store.rows()) == 2, "another class may hold it: a person decides what it shows"


def test_no_row_at_all_is_refused(store):
    with pytest.raises(StoreError, match="there is no image to teach"):
        store.add([], ng={})


def test_removed_images_are_gone_and_can_be_brought_back(store, row):
    store.add([row(1), row(2), row(3, "dent")], ng={})
    store.remove(class_name="scratch", note="mislabelled")
    assert names(store) == ["photo 3.png"]
    assert store.undo() == 3
    assert names(store) == ["photo 1.png", "photo 2.png", "photo 3.png"]
    assert [batch.undone for batch in store.log()] == [None, 3, None]


def test_only_what_is_named_is_removed(store, row):
    store.add([row(1), row(2)], ng={})
    store.remove(names=["photo 2.png"])
    assert names(store) == ["photo 1.png"]
    for ask in ({"names": ["photo 2.png"]}, {"class_name": "dent"}):
        with pytest.raises(StoreError, match="holds no image"):
            store.remove(**ask)
    with pytest.raises(UsageError, match="nothing to remove is named"):
        store.remove()


def test_undo_takes_back_one_batch_after_the_other_and_redo_is_an_undo_of_it(store, row):
    store.add([row(1)], ng={})
    store.add([row(2)], ng={})
    assert (store.undo(), names(store)) == (3, ["photo 1.png"])
    assert (store.undo(), names(store)) == (4, [])
    with pytest.raises(StoreError, match="nothing stands that could be undone"):
        store.undo()
    assert (store.undo(batch=4), names(store)) == (5, ["photo 1.png"])
    assert (store.undo(), names(store)) == (6, []), "batch 1 stands again, and is the last that does"


def test_a_batch_that_a_later_one_changed_is_not_undone_before_it(store, row):
    store.add([row(1), row(2)], ng={})
    store.remove(names=["photo 1.png"])
    with pytest.raises(StoreError, match="batch 1 cannot be undone, as batch 2 changed its images since"):
        store.undo(batch=1)
    with pytest.raises(StoreError, match="has no batch 9"):
        store.undo(batch=9)
    store.undo(batch=2)
    with pytest.raises(StoreError, match="batch 2 cannot be undone: batch 3 did so already"):
        store.undo(batch=2)
    store.undo(batch=1)
    assert names(store) == [], "batch 2 does not stand any more"


def test_what_was_taught_again_since_cannot_be_brought_back_beside_itself(store, row):
    store.add([row(1)], ng={})
    store.remove(names=["photo 1.png"])
    store.add([row(1)], ng={})
    with pytest.raises(StoreError, match="were taught again since"):
        store.undo(batch=2)
    assert len(store.rows()) == 1


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=st.lists(st.tuples(st.sampled_from(["add", "remove", "undo"]), st.integers(0, 5)), max_size=15))
def test_any_chain_of_changes_can_be_walked_back(tmp_path_factory, row, steps):
    """After every step the rows are those of a plain set; undoing all that stands, one by one, empties it."""
    path = tmp_path_factory.mktemp("chain") / "g.sqlite"
    with opened(path, fingerprint=FINGERPRINT, dimension=3, statistics=2, create=True) as store:
        states = [set()]
        for kind, number in steps:
            before = set(names(store))
            assert before == states[-1]
            try:
                if kind == "add":
                    store.add([row(number)], ng={})
                    states.append(before | {f"photo {number}.png"})
                elif kind == "remove":
                    store.remove(names=[f"photo {number}.png"])
                    states.append(before - {f"photo {number}.png"})
                else:
                    store.undo()
                    states.pop()
            except StoreError:
                assert set(names(store)) == before
        while len(states) > 1:
            store.undo()
            states.pop()
            assert set(names(store)) == states[-1]
        assert names(store) == []
        store.verify()


def test_the_same_request_is_answered_and_not_done_again(store, row):
    assert store.add([row(1)], ng={}, request="r-1") == 1
    assert store.add([row(2)], ng={}, request="r-1") == 1
    assert store.remove(names=["photo 1.png"], request="r-2") == store.remove(names=["x"], request="r-2") == 2
    assert store.undo(request="r-3") == store.undo(request="r-3") == 3
    assert names(store) == ["photo 1.png"]


def test_what_is_taught_is_embeddings_of_the_model(store, row):
    assert store.taught(FINGERPRINT) is None
    store.add([row(1), row(2, "dent"), row(3)], ng={"scratch": True, "dent": False})
    taught = store.taught(FINGERPRINT)
    assert taught.embeddings.class_names == ("scratch", "dent")
    assert taught.embeddings.labels.tolist() == [0, 1, 0]
    assert taught.ng == ("scratch",)
    assert taught.digests.tolist() == [[1, 0], [2, 0], [3, 0]]
    state = taught.state
    store.add([row(4)], ng={})
    assert store.taught(FINGERPRINT).state != state
    store.undo()
    assert store.taught(FINGERPRINT).state == state, "the same rows, the same state"


def test_another_models_gallery_is_refused(store, reopened, row):
    store.add([row(1)], ng={})
    for changes in ({"fingerprint": "cd" * 32}, {"dimension": 4}, {"statistics": 3}):
        with pytest.raises(StoreError, match=r"was taught to model abababababab, this is model (cdcd|abab)"):
            reopened(**changes)


def test_a_missing_gallery_is_not_begun_by_reading(reopened, path):
    with pytest.raises(StoreError, match="there is no gallery yet; mitsugo gallery add begins one"):
        reopened(create=False)
    assert not path.exists()


def test_a_newer_gallery_and_another_programs_are_refused(store, reopened, path, row):
    store.add([row(1)], ng={})
    with sqlite3.connect(path) as raw:
        raw.execute(f"PRAGMA user_version = {VERSION + 1}")
    with pytest.raises(StoreError, match="was written by a newer mitsugo"):
        reopened()
    with sqlite3.connect(path) as raw:
        raw.execute(f"PRAGMA user_version = {VERSION}")
        raw.execute("PRAGMA application_id = 7")
    with pytest.raises(StoreError, match="is a database of another program"):
        reopened()


@pytest.mark.parametrize("content", [b"", b"no database at all" * 100, b"SQLite format 3\0" + bytes(84)])
def test_what_is_no_database_is_refused_or_begun(path, reopened, content):
    path.write_bytes(content)
    if content:
        with pytest.raises(StoreError, match="is damaged, or no gallery"):
            reopened()
        assert path.read_bytes() == content
    else:
        reopened().__exit__()


def test_a_folder_is_no_gallery(path, reopened):
    path.mkdir()
    with pytest.raises(StoreError, match="is no regular file"):
        reopened()


def test_a_changed_row_is_told_and_the_others_are_saved(store, path, row):
    store.add([row(1), row(2), row(3)], ng={})
    with sqlite3.connect(path) as raw:
        raw.execute("UPDATE images SET name = CAST('other' AS BLOB) WHERE number = 2")
    for ask in (store.rows, store.verify, lambda: store.taught(FINGERPRINT)):
        with pytest.raises(StoreError, match=r"is damaged: image other is not what was written; restore it"):
            ask()
    saved, lost = store.salvaged()
    assert ([found.name for found in saved], lost) == (["photo 1.png", "photo 3.png"], 1)


def test_a_flipped_bit_is_never_believed(reopened, path, row):
    """Wherever a bit flips, reading gives the rows as they were, or says that the file is damaged."""
    with reopened() as store:
        store.add([row(number) for number in range(1, 40)], ng={})
    with sqlite3.connect(path) as raw:
        raw.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    content = path.read_bytes()
    chance = np.random.default_rng(0)
    told = 0
    for place in chance.integers(100, len(content), 150).tolist():
        broken = bytearray(content)
        broken[place] ^= 1 << int(chance.integers(8))
        path.write_bytes(broken)
        try:
            with reopened() as store:
                found = store.rows()
                assert len(found) <= 39
                assert all(same(one, row(int.from_bytes(one.digest, "little"))) for one in found)
                if len(found) < 39:
                    with pytest.raises(StoreError):
                        store.verify()
        except StoreError:
            told += 1
    assert told > 20


def test_a_gallery_that_cannot_be_written_can_be_read(store, path, reopened, row, monkeypatch):
    store.add([row(1)], ng={})
    monkeypatch.setattr("mitsugo.gallery.opening.os.access", lambda *_: False)
    with reopened() as reader:
        assert names(reader) == ["photo 1.png"]
        with pytest.raises(StoreError, match="cannot be written: check who may write"):
            reader.add([row(2)], ng={})


def test_a_copy_is_whole_and_never_written_over(store, tmp_path, row):
    store.add([row(1)], ng={})
    store.copied(tmp_path / "copy.sqlite")
    with opened(tmp_path / "copy.sqlite", fingerprint=FINGERPRINT, dimension=3, statistics=2) as copy:
        assert names(copy) == ["photo 1.png"]
    with pytest.raises(StoreError, match="is there already"):
        store.copied(tmp_path / "copy.sqlite")
    with pytest.raises(StoreError, match="cannot be written"):
        store.copied(tmp_path / "no" / "folder.sqlite")


def test_a_full_disk_writes_nothing(store, row):
    store.add([row(1)], ng={})
    (pages,) = store._connection.execute("PRAGMA page_count").fetchone()
    store._connection.execute(f"PRAGMA max_page_count = {pages}")
    with pytest.raises(StoreError, match="the disk is full; nothing was written"):
        store.add([row(number, thumbnail=bytes(5000)) for number in range(2, 200)], ng={})
    assert names(store) == ["photo 1.png"]
    assert store.verify() == 1


def test_many_writers_lose_nothing_and_repeat_nothing(reopened, row):
    failures = []

    def write(writer):
        try:
            with reopened() as store:
                for number in range(10):
                    store.add([row(1 + writer * 100 + number)], ng={}, who=str(writer))
                    store.rows()
        except StoreError as error:
            failures.append(str(error))

    reopened().__exit__()
    threads = [threading.Thread(target=write, args=[writer]) for writer in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    with reopened() as store:
        found = sorted(int.from_bytes(one.digest, "little") for one in store.rows())
        assert found == sorted(1 + writer * 100 + number for writer in range(4) for number in range(10))
        assert [batch.number for batch in store.log()] == list(range(1, 41))

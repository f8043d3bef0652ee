"""TensorBoard's curves: the numbers of history.jsonl, each epoch once, whatever happened in between."""

import json
import resource
import sys
from collections import Counter
from dataclasses import replace

import pytest
from tensorboard.backend.event_processing.event_file_loader import EventFileLoader

from mitsugo.errors import Interrupted, ResourceError, UsageError
from mitsugo.runs import opened
from mitsugo.tasks import train as train_module
from mitsugo.tasks.talk import SILENT
from mitsugo.tasks.tracking import check_tensorboard, tracked
from mitsugo.tasks.train import train
from mitsugo.training import Progress
from mitsugo.values import Epoch, Position


def epoch(number, **changes):
    made = Epoch(
        epoch=number,
        train_loss=1 / number,
        validation_loss=0.5,
        learning_rate=2e-4,
        seconds=0.5,
        core_seconds=1.0,
        images=96,
        active=3,
        valid=4,
        metrics={"validation_accuracy": 0.75},
    )
    return replace(made, **changes)


def curves(run):
    """The points that TensorBoard would read: (curve, epoch) and value, in order."""
    return [
        ((value.tag, event.step), value.tensor.float_val[0])
        for path in sorted((run / "tensorboard").glob("events.out.tfevents.*"))
        for event in EventFileLoader(str(path)).Load()
        for value in event.summary.value
    ]


@pytest.fixture
def folder(tmp_path):
    """A run folder of two finished epochs."""
    with opened(tmp_path / "run", resume=False, overwrite=False) as folder:
        for number in (1, 2):
            folder.append(epoch(number))
        yield folder


def written(folder):
    return [path.read_bytes() for path in folder.tensorboard.iterdir()]


def finish(folder, talk, number):
    folder.append(epoch(number))
    talk.epoch(epoch(number), 9)


def test_an_epoch_is_its_curves(folder):
    with tracked(folder, SILENT) as talk:
        finish(folder, talk, 3)
    found = curves(folder.path)
    expected = {
        "train_loss": [1, 1 / 2, 1 / 3],
        "validation_loss": [0.5] * 3,
        "learning_rate": [2e-4] * 3,
        "seconds": [0.5] * 3,
        "core_seconds": [1.0] * 3,
        "validation_accuracy": [0.75] * 3,
        "active_share": [0.75] * 3,
    }
    assert dict(found) == pytest.approx(
        {(name, place): value for name, values in expected.items() for place, value in enumerate(values, 1)}
    )
    assert len(found) == 21, "the two epochs before, too, and none of them twice"


def test_each_epoch_is_there_as_soon_as_it_was_heard_of(folder):
    with tracked(folder, SILENT) as talk:
        assert not folder.tensorboard.exists()
        for number in (3, 4, 5):
            finish(folder, talk, number)
            assert sorted({place for (_, place), _ in curves(folder.path)}) == list(range(1, number + 1))


def test_another_process_writes_no_epoch_twice(folder):
    tracking = tracked(folder, SILENT)
    finish(folder, tracking.__enter__(), 3)
    folder.append(epoch(4))  # and is killed before it was heard of
    assert not tracking.__exit__(KeyboardInterrupt, KeyboardInterrupt(), None)
    assert max(place for (_, place), _ in curves(folder.path)) == 3
    (folder.tensorboard / "notes.txt").write_text("mine")
    with tracked(folder, SILENT) as talk:
        finish(folder, talk, 5)
        finish(folder, talk, 6)
    counts = Counter(point for point, _ in curves(folder.path))
    assert set(counts.values()) == {1}
    assert {place for _, place in counts} == {1, 2, 3, 4, 5, 6}
    assert (folder.tensorboard / "notes.txt").read_text() == "mine"


def test_a_finished_run_gets_its_curves_afterwards(folder):
    with tracked(folder, SILENT):
        pass
    assert {place for (_, place), _ in curves(folder.path)} == {1, 2}


def test_a_run_of_no_epoch_has_none(tmp_path):
    with opened(tmp_path / "run", resume=False, overwrite=False) as folder, tracked(folder, SILENT):
        pass
    assert not folder.tensorboard.exists()


def test_clearing_a_run_takes_the_curves_along(folder):
    with tracked(folder, SILENT):
        pass
    folder.clear()
    assert not folder.tensorboard.exists()


def test_whoever_listened_hears_it_all(folder):
    heard = []

    class Talk:
        def say(self, sentence):
            heard.append(sentence)

        warn = say

        def progress(self, progress, epochs):
            heard.append((progress.batch, epochs))

        def epoch(self, epoch, epochs):
            heard.append((epoch.epoch, epochs))

        def reading(self, done, total):
            heard.append((done, total))

    with tracked(folder, Talk()) as talk:
        talk.say("a")
        talk.warn("b")
        talk.reading(1, 2)
        talk.progress(Progress(epoch=1, batch=7, position=Position(), loss=None), 3)
        finish(folder, talk, 3)
    assert heard == ["a", "b", (1, 2), (7, 3), (3, 9)]


def test_pairs_that_none_counted_have_no_share(folder):
    with tracked(folder, SILENT) as talk:
        folder.append(epoch(3, active=0, valid=0))
        talk.epoch(epoch(3, active=0, valid=0), 9)
    assert [place for (name, place), _ in curves(folder.path) if name == "active_share"] == [1, 2]


@pytest.mark.parametrize("room", [0, 100])
def test_a_full_disk_is_told(folder, room):
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    message = r"tensorboard: cannot be written: the disk is full; free space, or go on by --resume without"
    with tracked(folder, SILENT) as talk:
        finish(folder, talk, 3)
        resource.setrlimit(resource.RLIMIT_FSIZE, (room + sum(map(len, written(folder))), limits[1]))
        try:
            with pytest.raises(ResourceError, match=message):
                talk.epoch(epoch(4), 9)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert {place for (_, place), _ in curves(folder.path)} == {1, 2, 3}, "a torn record is none"


def test_a_folder_that_cannot_be_made_is_told(folder):
    folder.tensorboard.write_text("a file")
    tracking = tracked(folder, SILENT)
    tracking.__enter__()
    with pytest.raises(ResourceError, match="tensorboard: cannot be written: file exists"):
        tracking.__exit__(None, None, None)


def test_without_tensorboard_the_package_is_named(folder, monkeypatch):
    monkeypatch.setitem(sys.modules, "tensorboard.summary.writer.record_writer", None)
    with pytest.raises(UsageError, match=r"--tensorboard: .*not installed; `pip install mitsugo\[track\]`"):
        check_tensorboard()
    with pytest.raises(UsageError, match="history.csv holds the same numbers"):
        tracked(folder, SILENT).__enter__()


def test_a_run_that_is_stopped_and_resumed_has_every_epoch_once(
    tiny_options, tmp_path, hearing, plain_pictures, monkeypatch
):
    """With what listens inside `train`, where the folder is open."""
    whole = train_module._train

    def listened(run, stop, talk):
        with tracked(run.folder, talk) as tracking:
            return whole(run, stop, tracking)

    monkeypatch.setattr(train_module, "_train", listened)
    options = tiny_options(tmp_path / "run", epochs=4)
    for stop_at in ((2, None), (4, 0)):
        talk = hearing(*stop_at)
        talk.reading = SILENT.reading
        with pytest.raises(Interrupted):
            train(replace(options, resume=stop_at[0] > 2), talk)
    train(replace(options, resume=True))
    lines = [json.loads(line) for line in (tmp_path / "run" / "history.jsonl").read_text().splitlines()]
    losses = {line["epoch"]: line["train_loss"] for line in lines if "epoch" in line}
    found = [(place, value) for (name, place), value in curves(tmp_path / "run") if name == "train_loss"]
    assert [place for place, _ in found] == [1, 2, 3, 4]
    assert dict(found) == pytest.approx(losses)

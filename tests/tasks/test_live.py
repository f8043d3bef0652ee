"""A model that is taught while it answers: each answer from one state, every change on the disk."""

import threading

import numpy as np
import pytest

from mitsugo.data.images import read_image
from mitsugo.errors import StoreError, UsageError
from mitsugo.tasks.calibrate import calibrate
from mitsugo.tasks.gallery import Lesson, add
from mitsugo.tasks.gallery import undo as undone_elsewhere
from mitsugo.tasks.inspect import inspect
from mitsugo.tasks.live import Live, RefusedError, Told


@pytest.fixture
def stains(tmp_path, write_parts):
    return write_parts(tmp_path / "stains", "stain", 9, 5)


@pytest.fixture
def pixels(stains):
    return np.stack([read_image(path, 1) for path in stains])


@pytest.fixture
def live(run, line):
    calibrate(run, str(line[1]), {"false_alarm": 0.2})
    opened = Live(run)
    yield opened
    opened.close()


def told_of(live, pixels):
    return live.classify(pixels, [str(i) for i in range(len(pixels))], [()] * len(pixels))


def test_the_answers_are_those_of_inspect(live, run, stains, pixels):
    snapshot, verdicts = told_of(live, pixels)
    expected = inspect(run, stains)["verdicts"]
    assert snapshot.revision == 0
    for verdict, other in zip(verdicts, expected, strict=True):
        assert (verdict.label, verdict.judgement) == (other["label"], other["judgement"])
        assert verdict.p_value == other["p_value"]
        assert verdict.neighbors[0].distance == pytest.approx(other["neighbors"][0]["distance"], abs=1e-6)


def test_what_is_taught_counts_at_once_and_is_taken_back(live, pixels):
    document = live.teach(pixels[:5], [f"{i}.png" for i in range(5)], Told(label="stain", who="花子"))
    assert (document["batch"], document["images"], document["new"], document["ng"]) == (1, 5, True, True)
    assert (document["revision"], document["taught"], document["stale"]) == (1, 5, True)
    snapshot, verdicts = told_of(live, pixels[5:])
    assert snapshot.revision == 1
    assert sum(verdict.winner.label == "stain" for verdict in verdicts) >= 3
    assert [row.source for row in live.rows()] == ["uploaded"] * 5
    undone = live.undo(None)
    assert (undone["undoes"], undone["changed"], undone["taught"], undone["revision"]) == (1, 5, 0, 2)
    assert told_of(live, pixels[:1])[0].revision == 2


def test_a_dry_run_teaches_nothing(live, pixels):
    document = live.teach(pixels[:2], ["a", "b"], Told(label="stain"), dry=True)
    assert (document["batch"], document["taught"], document["revision"]) == (None, 0, 0)


def test_the_same_request_is_done_once(live, pixels):
    one = live.teach(pixels[:2], ["a", "b"], Told(label="stain", request="r"))
    again = live.teach(pixels[:2], ["a", "b"], Told(label="stain", request="r"))
    assert (one["batch"], again["batch"], again["taught"]) == (1, 1, 2)
    said = Told(label="ok", request="s")
    first = live.feedback(pixels[8:9], "c", said, right=False, teach=True)
    second = live.feedback(pixels[8:9], "c", said, right=False, teach=True)
    assert (first["feedback"], first["batch"]) == (second["feedback"], second["batch"]) == (1, 2)
    assert second["taught"] == 3


def test_feedback_is_kept_with_what_the_model_said(live, pixels):
    verdict = told_of(live, pixels[:1])[1][0]
    document = live.feedback(pixels[:1], "a.png", Told(label="ng", note="seen"), right=True, teach=False)
    assert (document["feedback"], document["batch"], document["taught"]) == (1, None, 0)
    batches, (kept,) = live.log(10)
    assert batches == ()
    assert (kept.name, kept.said, kept.label, kept.right, kept.note) == (
        "a.png", verdict.label, "ng", True, "seen"
    )  # fmt: skip


def test_what_another_process_teaches_is_seen_by_the_next_answer(live, run, stains, pixels):
    add(run, stains[:5], Lesson(label="stain"))
    snapshot, _ = told_of(live, pixels[5:6])
    assert (snapshot.revision, len(snapshot.model.taught)) == (1, 5)
    undone_elsewhere(run)
    assert told_of(live, pixels[5:6])[0].model.taught is None


def test_the_gate_refuses_what_would_break_a_golden_image_unless_it_is_accepted(
    run, line, tmp_path, write_parts
):
    write_parts(tmp_path / "golden" / "ok", "ok", 6, 40)
    write_parts(tmp_path / "golden" / "ng", "ng", 6, 41)
    live = Live(run, gate=str(tmp_path / "golden"))
    wrong = np.stack([read_image(path, 1) for path in write_parts(tmp_path / "wrong", "ok", 60, 42)])
    names = [str(i) for i in range(60)]
    assert live.about()["gate"] is True
    dry = live.teach(wrong, names, Told(label="dent", ng=True), dry=True)
    assert dry["gate"]["images"] == 12
    assert dry["gate"]["broken"]
    with pytest.raises(RefusedError, match="golden images would become wrong") as refused:
        live.teach(wrong, names, Told(label="dent", ng=True))
    assert refused.value.found == dry["gate"]
    assert live.rows() == ()
    assert live.teach(wrong, names, Told(label="dent", ng=True, accept=True))["taught"] == 60
    live.close()


def test_what_cannot_be_taught_changes_nothing(live, pixels):
    with pytest.raises(UsageError, match="is a class that the model has as OK"):
        live.teach(pixels[:1], ["a"], Told(label="ok", ng=True))
    with pytest.raises(StoreError, match="holds no image"):
        live.remove(["nothing"], None)
    assert live.snapshot.revision == 0


def test_readers_never_see_half_a_change(live, pixels):
    """Each answer's revision and its number of taught images belong together."""
    seen, stop = [], threading.Event()

    def read():
        while not stop.is_set():
            snapshot, _ = told_of(live, pixels[8:9])
            taught = 0 if snapshot.model.taught is None else len(snapshot.model.taught)
            seen.append((snapshot.revision, taught))

    reader = threading.Thread(target=read)
    reader.start()
    for number in range(8):
        live.teach(pixels[number : number + 1], [f"{number}"], Told(label="stain"))
    stop.set()
    reader.join()
    assert all(revision == taught for revision, taught in seen)
    assert told_of(live, pixels[8:9])[0].revision == 8

"""Taught from the command line: whole batches, found by the next inspection, and taken back."""

import json
import sqlite3

import numpy as np
import pytest
from PIL import Image

from mitsugo.errors import DataError, StoreError, UsageError
from mitsugo.model.bundle import Model
from mitsugo.tasks.calibrate import calibrate
from mitsugo.tasks.gallery import Lesson, add, export, import_, list_, log, remove, undo, verify
from mitsugo.tasks.inspect import inspect
from mitsugo.tasks.taught import gallery_path, taught_model


@pytest.fixture
def stains(tmp_path, write_parts):
    return write_parts(tmp_path / "stains", "stain", 12, 5)


def labels(run, paths):
    return [verdict["label"] for verdict in inspect(run, paths)["verdicts"]]


def test_a_new_defect_is_taught_from_five_photos_and_taken_back(run, line, stains):
    calibrate(run, str(line[1]), {"false_alarm": 0.2})
    assert set(labels(run, stains[5:])) <= {"unknown", "ng", "ok"}
    document = add(run, stains[:5], Lesson(label="stain", note="new supplier", who="花子"))
    assert (document["images"], document["new"], document["ng"], document["stale"]) == (5, True, True, True)
    found = inspect(run, stains[5:])["verdicts"]
    assert sum(verdict["label"] == "stain" for verdict in found) >= 6
    assert all(verdict["judgement"] in {"NG", "unknown"} for verdict in found)
    assert calibrate(run, None, {})["stale"] is False
    listed = list_(run)
    assert listed["classes"] == {"stain": {"images": 5, "ng": True}}
    assert listed["images"][0] == {"image": "stain000.png", "label": "stain", "source": str(stains[0].parent)}
    undone = undo(run)
    assert (undone["undoes"], undone["changed"], undone["taught"], undone["stale"]) == (1, 5, 0, True)
    assert "stain" not in labels(run, stains[5:])
    kinds = [(batch["kind"], batch["undone"], batch["who"]) for batch in log(run)["batches"]]
    assert kinds[0] == ("add", 2, "花子")
    assert kinds[1][:2] == ("undo", None)
    assert verify(run)["images"] == 5


def test_noise_and_blanks_stay_unknown_after_teaching(run, line, stains, tmp_path):
    calibrate(run, str(line[1]), {"false_alarm": 0.2})
    add(run, stains[:5], Lesson(label="stain"))
    chance = np.random.default_rng(0)
    paths = []
    for number in range(10):
        paths.append(tmp_path / f"noise{number}.png")
        Image.fromarray(chance.integers(0, 256, (24, 24)).astype(np.uint8)).save(paths[-1])
    paths.append(tmp_path / "blank.png")
    Image.fromarray(np.full((24, 24), 150, np.uint8)).save(paths[-1])
    assert set(labels(run, paths)) == {"unknown"}


def test_a_class_that_is_ok_must_be_said_to_be(run, stains):
    document = add(run, stains[:3], Lesson(label="polish mark", ng=False))
    assert document["ng"] is False
    (verdict,) = inspect(run, stains[3:4])["verdicts"]
    assert (verdict["label"], verdict["judgement"]) == ("polish mark", "OK")
    with pytest.raises(UsageError, match="is a class that the model has as OK"):
        add(run, stains[3:4], Lesson(label="ok", ng=True))
    with pytest.raises(UsageError, match="is a class that the model has as NG"):
        add(run, stains[3:4], Lesson(label="ng", ng=False))


def test_the_gate_refuses_what_would_break_the_golden_set_or_reports_it(
    run, line, tmp_path, write_parts, hearing
):
    """Good parts taught as a defect make other good parts wrong."""
    write_parts(tmp_path / "golden" / "ok", "ok", 20, 11)
    write_parts(tmp_path / "golden" / "ng", "ng", 10, 12)
    wrong = write_parts(tmp_path / "wrong", "ng", 150, 13)
    lesson = Lesson(label="ok", gate=str(tmp_path / "golden"))
    with pytest.raises(StoreError, match="golden images would become wrong: .*nothing was taught: --report"):
        add(run, wrong, lesson)
    assert not gallery_path(run).exists()
    talk = hearing()
    told = add(run, wrong, Lesson(label="rust", gate=str(tmp_path / "golden"), report=True), talk=talk)[
        "gate"
    ]
    assert told["images"] == 30
    assert told["before"] - told["after"] == len(told["broken"]) - len(told["mended"]) > 0
    assert any("would become wrong" in line for line in talk.warned)
    with pytest.raises(UsageError, match="--report tells what --gate finds"):
        Lesson(label="rust", report=True)


def test_a_gate_that_nothing_breaks_lets_it_pass(run, line, tmp_path, write_parts, stains):
    write_parts(tmp_path / "golden" / "ok", "ok", 8, 11)
    write_parts(tmp_path / "golden" / "ng", "ng", 8, 12)
    add(run, stains[:2], Lesson(label="stain"))
    told = add(run, stains[2:5], Lesson(label="stain", gate=str(tmp_path / "golden")))["gate"]
    assert (told["broken"], told["before"], told["after"]) == ([], told["after"], told["before"])


def test_a_batch_with_one_bad_photo_teaches_nothing(run, line, stains, tmp_path):
    (tmp_path / "bad.png").write_bytes(b"no image")
    Image.fromarray(np.full((24, 24), 9, np.uint8)).save(tmp_path / "blank.png")
    for bad, kind, message in (
        (tmp_path / "bad.png", DataError, "bad.png"),
        (tmp_path / "blank.png", DataError, "shows one value all over, and teaches nothing"),
        (stains[0], StoreError, "stands twice in one batch"),
        (line[1] / Model.load(run).gallery.names[0], StoreError, "is in the model's own gallery as"),
    ):
        with pytest.raises(kind, match=message):
            add(run, [*stains, bad], Lesson(label="stain"))
    assert not gallery_path(run).exists()
    document = add(run, [*stains, tmp_path / "bad.png"], Lesson(label="stain", bad_images="skip"))
    assert document["images"] == 12
    with pytest.raises(UsageError, match="--bad-images sometimes"):
        Lesson(label="stain", bad_images="sometimes")


def test_a_request_is_done_once(run, stains):
    one = add(run, stains[:2], Lesson(label="stain", request="r"))
    assert add(run, stains[:2], Lesson(label="stain", request="r")) == {**one, "new": False}
    assert len(list_(run)["images"]) == 2


def test_images_are_removed_by_name_or_by_class(run, stains):
    add(run, stains[:4], Lesson(label="stain"))
    assert remove(run, ["stain001.png"])["taught"] == 3
    assert remove(run, [], label="stain", note="all wrong")["taught"] == 0
    assert list_(run) == {"gallery": str(gallery_path(run)), "images": [], "classes": {}}
    assert undo(run, batch=3)["taught"] == 3


def test_nothing_taught_lists_nothing_and_cannot_be_undone(run):
    assert list_(run)["images"] == []
    with pytest.raises(StoreError, match="there is no gallery yet"):
        undo(run)


def test_an_exported_bundle_gives_the_same_answers(run, line, stains, tmp_path):
    calibrate(run, str(line[1]), {"false_alarm": 0.2, "escapes": 0.4})
    add(run, stains[:5], Lesson(label="stain"))
    calibrate(run, None, {})
    whole = tmp_path / "whole.mitsugo"
    assert export(run, whole) == {"out": str(whole), "images": 5, "lost": 0}
    paths = [*stains[3:], line[1] / "ok" / "ok000.png", line[1] / "ng" / "ng000.png"]
    keys = ("label", "judgement", "unknown", "p_value", "ng_score", "agreement", "in_gallery", "method")
    before, after = (
        [[verdict[key] for key in keys] for verdict in inspect(model, paths)["verdicts"]]
        for model in (run, whole)
    )
    assert after == before
    model = Model.load(whole)
    assert (model.class_names, model.ng, model.stale) == (("ng", "ok", "stain"), ("ng", "stain"), False)
    more = add(whole, stains[5:7], Lesson(label="stain"))
    assert (more["new"], more["taught"]) == (False, 2)
    with pytest.raises(StoreError, match="is there already; choose another name"):
        export(run, whole)


def test_a_copy_is_imported_where_it_belongs(run, line, stains, tmp_path):
    add(run, stains[:3], Lesson(label="stain"))
    copy = tmp_path / "copy.gallery.sqlite"
    assert export(run, copy)["images"] == 3
    remove(run, ["stain000.png"])
    document = import_(run, copy)
    assert (document["images"], document["left_out"], document["taught"]) == (1, 2, 3)
    with pytest.raises(StoreError, match="holds nothing that the gallery does not hold"):
        import_(run, copy)
    with pytest.raises(UsageError, match=r"expected a name that ends in .mitsugo \(a bundle\)"):
        export(run, tmp_path / "copy.zip")


def test_what_can_be_read_of_a_damaged_gallery_is_saved(run, stains, tmp_path):
    add(run, stains[:4], Lesson(label="stain"))
    with sqlite3.connect(gallery_path(run)) as raw:
        raw.execute(
            "UPDATE images SET class = CAST('stain' AS BLOB), name = CAST('x' AS BLOB) WHERE number = 2"
        )
    with pytest.raises(StoreError, match="is damaged: image x is not what was written"):
        inspect(run, stains[4:])
    out = tmp_path / "saved.gallery.sqlite"
    assert export(run, out, salvage=True) == {"out": str(out), "images": 3, "lost": 1}
    gallery_path(run).unlink()
    assert import_(run, out)["taught"] == 3


def test_a_gallery_of_another_model_is_refused(run, line, stains, digits_run, tmp_path):
    add(run, stains[:1], Lesson(label="stain"))
    other = tmp_path / "other.mitsugo"
    other.write_bytes(digits_run.bundle.read_bytes())
    gallery_path(other).write_bytes(gallery_path(run).read_bytes())
    with pytest.raises(StoreError, match="was taught to model"):
        taught_model(other, "cpu")


def test_the_commands_answer_in_words_and_in_json(run, stains, command, line):
    calibrate(run, str(line[1]), {})
    said = command("gallery", "add", run, *stains[:2], "--label", "stain", "--note", "first", "--quiet")
    assert said.code == 0
    assert said.out.startswith("taught 2 images of stain, a new NG class\nbatch 1: 2 taught images stand in ")
    assert "mitsugo calibrate scores them again" in said.out
    assert command("gallery", "list", run).out.splitlines()[-1] == "2 images of stain (NG)"
    assert "  add  2 images of stain  first" in command("gallery", "log", run).out
    assert json.loads(command("gallery", "undo", run, "--json").out)["undoes"] == 1
    assert "  (taken back by batch 2)" in command("gallery", "log", run).out
    assert command("gallery", "verify", run).out.startswith("2 images, none damaged: ")
    refused = command("gallery", "undo", run)
    assert (refused.code, refused.out) == (6, "")
    assert refused.err.count("\n") == 1
    assert command("gallery", "export", run, "--out", run / "new.mitsugo").out.startswith("0 taught images: ")

"""Thresholds from a run's own calibration part, and from photos that it never saw."""

import json
import shutil

import numpy as np
import pytest
from scipy import stats

from mitsugo.data.sources import load
from mitsugo.errors import DataError, ModelError, UsageError
from mitsugo.files import read_sealed, write_sealed
from mitsugo.model.bundle import Model
from mitsugo.tasks.calibrate import calibrate
from mitsugo.tasks.evaluate import evaluate
from mitsugo.tasks.gallery import Lesson, add, export
from mitsugo.tasks.sourcing import parsed_source
from mitsugo.terminal import calibrated
from mitsugo.values import CALIBRATION, digests_of


def kept_apart(run, photos):
    """The names of the photos that the run kept apart."""
    model, images = Model.load(run), load(str(photos))
    apart = set(map(bytes, model.seen.digests[model.seen.parts == CALIBRATION]))
    return {
        name
        for name, digest in zip(images.names, digests_of(images.pixels), strict=True)
        if bytes(digest) in apart
    }


def test_a_run_with_ng_classes_keeps_photos_apart(line):
    run, photos = line
    split = json.loads((run / "run.json").read_bytes())["split"]
    assert split["calibration"] == 29, "15 % of the images that are not test images, by class"
    assert "29 images of the training part kept apart, to calibrate on" in split["how"]
    model = Model.load(run)
    apart = kept_apart(run, photos)
    assert len(apart) == 29
    assert not apart & set(model.gallery.names)
    assert len(model.gallery) == 240 - 48 - 29
    assert model.ng == ("ng",)


def test_of_the_runs_own_source_that_part_is_left(run, line, hearing):
    talk = hearing()
    document = calibrate(run, str(line[1]), {"cost_escape": 100.0, "cost_overkill": 1.0}, talk=talk)
    assert (document["images"], document["independent"], document["left_out"]) == (29, 29, 211)
    assert document["false_alarm"]["promised"] == pytest.approx(stats.beta.ppf(0.95, 2, 28))
    assert document["false_alarm"]["images_needed"] == 299
    assert document["false_alarm"]["images_for_limits"] == 628
    assert document["false_alarm"]["limits"].keys() == {"embedding", "statistics"}
    assert "  each gate has a limit of its own: embedding " in calibrated(document)
    assert any(
        "29 independent images can promise at most 15.3 % false alarms" in line for line in talk.warned
    )
    assert {name: told["promised"] for name, told in document["classes"].items()} == {
        "ok": False,
        "ng": False,
    }
    assert document["inspecting"]["escapes"]["n"] == document["classes"]["ng"]["images"]
    assert document["inspecting"]["stricter"]["0.01"] == 299
    model = Model.load(run)
    assert set(map(bytes, model.calibration.kept.digests)) == set(
        map(bytes, model.seen.digests[model.seen.parts == CALIBRATION])
    )
    assert model.calibration.threshold == document["false_alarm"]["threshold"]
    assert json.loads(json.dumps(document)) == document


def test_evaluating_on_the_runs_own_source_is_still_the_runs_own_accuracy(line):
    run, photos = line
    document = evaluate(run, str(photos))
    scores = json.loads((run / "scores.json").read_bytes())["scores"]
    assert document["images"] == 48
    assert document["scores"]["precision_at_1"]["value"] == scores["precision_at_1"]["value"]


def test_new_photos_are_all_taken_and_used_ones_beside_them_are_not(run, line, tmp_path, write_parts):
    write_parts(tmp_path / "new" / "ok", "ok", 30, 7)
    write_parts(tmp_path / "new" / "ng", "ng", 12, 8)
    used = next(iter(set(Model.load(run).gallery.names)))
    shutil.copy(line[1] / used, tmp_path / "new" / used.split("/")[0] / "another-name.png")
    document = calibrate(run, str(tmp_path / "new"), {"false_alarm": 0.2})
    assert (document["images"], document["left_out"]) == (42, 1)
    assert document["false_alarm"]["promised"] == 0.2


def test_photos_of_a_group_that_was_used_are_left_out(tmp_path, line, write_parts, run):
    """The run knows no groups, but a photo of the group is in its gallery."""
    new = tmp_path / "new"
    write_parts(new / "ok", "ok", 20, 7)
    write_parts(new / "ng", "ng", 20, 8)
    used = next(name for name in Model.load(run).gallery.names if name.startswith("ok/"))
    shutil.copy(line[1] / used, new / "ok" / "ok000_again.png")
    sourcing = parsed_source({"group_by": r"ok\d\d|ng\d\d"})
    document = calibrate(run, str(new), {}, sourcing=sourcing)
    assert document["left_out"] == 11, "the photo itself, and the ten of its group"
    assert document["independent"] < document["images"]


def test_equal_photos_count_once(run, tmp_path, write_parts):
    paths = write_parts(tmp_path / "new" / "ok", "ok", 10, 7)
    write_parts(tmp_path / "new" / "ng", "ng", 10, 8)
    shutil.copy(paths[0], tmp_path / "new" / "ok" / "twin.png")
    document = calibrate(run, str(tmp_path / "new"), {})
    assert (document["images"], document["independent"]) == (21, 20)


def test_nothing_that_is_left_is_an_error(tmp_path, line, run, command):
    for name in Model.load(run).gallery.names:
        (tmp_path / "used" / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(line[1] / name, tmp_path / "used" / name)
    before = (run / "model.mitsugo").read_bytes()
    outcome = command("calibrate", run, tmp_path / "used", "--quiet")
    assert outcome.code == 3
    assert "none is left to calibrate on: train with --calibration 0.15" in outcome.err
    assert (run / "model.mitsugo").read_bytes() == before


def test_a_class_that_the_model_does_not_know_is_refused(run, tmp_path, write_parts):
    write_parts(tmp_path / "new" / "ok", "ok", 10, 7)
    write_parts(tmp_path / "new" / "stain", "stain", 10, 8)
    with pytest.raises(DataError, match="has classes that the model does not know"):
        calibrate(run, str(tmp_path / "new"), {})


def test_without_a_source_the_kept_images_are_scored_by_what_was_asked(run, line, command):
    with pytest.raises(UsageError, match="holds no calibration images yet; name a SOURCE"):
        calibrate(run, None, {})
    asked = {"false_alarm": 0.2, "cost_escape": 10.0, "cost_overkill": 1.0}
    first = calibrate(run, str(line[1]), asked)
    again = calibrate(run, None, {})
    assert {**again, "left_out": 211} == first
    other = calibrate(run, None, {"escapes": 0.3})
    assert other["asked"]["cost_escape"] is None, "costs and escapes exclude each other"
    assert (other["asked"]["escapes"], other["asked"]["false_alarm"]) == (0.3, 0.2)
    outcome = command("calibrate", run, "--per-class", "--json")
    assert json.loads(outcome.out)["asked"]["per_class"] is True


def test_what_was_taught_is_not_calibrated_on_nor_what_is_of_its_group(run, tmp_path, write_parts):
    new = tmp_path / "new"
    paths = write_parts(new / "ok", "ok", 20, 7)
    write_parts(new / "ng", "ng", 20, 8)
    first = calibrate(run, str(new), {}, sourcing=parsed_source({"group_by": r"ok\d\d|ng\d\d"}))
    assert (first["images"], first["independent"]) == (40, 4)
    add(run, paths[:1], Lesson(label="ok"))
    again = calibrate(run, None, {})
    assert (again["images"], again["independent"], again["left_out"]) == (30, 3, 10)
    whole = tmp_path / "whole.mitsugo"
    add(run, paths[10:11], Lesson(label="ok"))
    export(run, whole)
    kept = Model.load(whole).calibration.kept
    assert len(kept) == 20
    assert {kept.class_names[label] for label in kept.labels} == {"ng"}
    add(run, sorted((new / "ng").iterdir())[::10], Lesson(label="ng"))
    for act in (lambda: calibrate(run, None, {}), lambda: export(run, tmp_path / "none.mitsugo")):
        with pytest.raises(DataError, match="were taught since: mitsugo calibrate MODEL SOURCE sets"):
            act()
    assert not (tmp_path / "none.mitsugo").exists()


def test_a_class_without_calibration_images_is_named_with_no_promise(run, line, tmp_path, write_parts):
    add(run, write_parts(tmp_path / "stains", "stain", 5, 5), Lesson(label="stain"))
    document = calibrate(run, str(line[1]), {})
    assert document["classes"]["stain"] == {
        "images": 0,
        "independent": 0,
        "promised": False,
        "threshold": None,
    }
    assert "  stain  0 independent images: no promise for this class" in calibrated(document).splitlines()


def test_ng_classes_can_be_named_later(line, run):
    members = read_sealed(run / "model.mitsugo")
    manifest = json.loads(members["manifest.json"])
    manifest["ng"] = []
    write_sealed(run / "model.mitsugo", {**members, "manifest.json": json.dumps(manifest).encode()})
    with pytest.raises(UsageError, match="the model knows no NG class"):
        calibrate(run, str(line[1]), {"escapes": 0.3})
    document = calibrate(run, str(line[1]), {"escapes": 0.3}, sourcing=parsed_source({}, ["ng"]))
    assert document["ng"] == ["ng"]
    assert Model.load(run).ng == ("ng",)


def test_a_model_that_does_not_say_what_it_was_made_with_cannot_be_calibrated(line, run):
    members = read_sealed(run / "model.mitsugo")
    manifest = json.loads(members["manifest.json"])
    for name in ("seen.safetensors", "gates.safetensors"):
        del members[name], manifest["members"][name]
    write_sealed(run / "model.mitsugo", {**members, "manifest.json": json.dumps(manifest).encode()})
    with pytest.raises(ModelError, match="does not say which images it was made with"):
        calibrate(run, str(line[1]), {})


def test_the_answer_is_told_in_words(run, line, command):
    outcome = command("calibrate", run, line[1], "--escapes", 0.4, "--false-alarm", 0.15, "--quiet")
    assert outcome.code == 0
    lines = outcome.out.splitlines()
    assert lines[0] == "calibrated on 29 images; 211 were left out"
    assert lines[1].startswith("unknown     above ")
    assert lines[1].endswith("at most 15 % of known images; 95 % confidence")
    assert any("of parts to come at most 40 %, 95 % confidence" in line for line in lines)
    assert any(line.startswith("  to promise fewer escapes takes independent NG images: ") for line in lines)


def test_what_was_kept_apart_keeps_groups_whole(tmp_path, write_parts, hearing):
    """Parts of three photos: none of them stands in two parts of the split."""
    from mitsugo.tasks.parting import Rules, parted
    from mitsugo.tasks.sourcing import loaded

    photos = tmp_path / "photos"
    for kind, seed in (("ok", 0), ("ng", 1)):
        for path in write_parts(photos / kind, kind, 60, seed):
            number = int(path.stem[2:])
            path.rename(path.with_name(f"{kind}{number // 3:02d}_{number % 3}.png"))
    images = loaded(str(photos), parsed_source({"group_by": r"(?:ok|ng)\d\d"}))
    split = parted(images, Rules(calibration=0.15), 0.1, 0).split
    parts = [set(np.unique(images.groups[part]).tolist()) for part in split.parts]
    assert all(not one & other for i, one in enumerate(parts) for other in parts[:i])
    assert len(split.calibration) > 6
    assert sum(map(len, split.parts)) == 120


@pytest.mark.parametrize("share", [-0.1, 1.0])
def test_a_share_out_of_range_is_refused(share):
    with pytest.raises(UsageError, match="--calibration"):
        parsed_source({"calibration": share})

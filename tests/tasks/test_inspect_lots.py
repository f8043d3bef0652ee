"""A lot: folders and patterns in, a table and a sheet out, and an exit code for scripts."""

import csv
import io
import json
import re
import shutil

import numpy as np
import pytest
from PIL import Image

from mitsugo.errors import DataError, UsageError
from mitsugo.model.bundle import Model
from mitsugo.tasks.calibrate import calibrate
from mitsugo.tasks.gallery import Lesson, add
from mitsugo.tasks.inspect import inspect, parsed_failures


@pytest.fixture(scope="module")
def calibrated(line, tmp_path_factory):
    """The line's run with thresholds; not to be changed."""
    run = tmp_path_factory.mktemp("calibrated") / "run"
    shutil.copytree(line[0], run)
    calibrate(run, str(line[1]), {"false_alarm": 0.15, "escapes": 0.3})
    return run


@pytest.fixture
def lot(tmp_path, write_parts):
    """Twelve good parts, three scratched ones in a folder of its own, and a blank; the paths."""
    paths = write_parts(tmp_path / "lot", "ok", 12, 21) + write_parts(tmp_path / "lot" / "side", "ng", 3, 22)
    Image.fromarray(np.full((24, 24), 150, np.uint8)).save(tmp_path / "lot" / "=blank.png")
    return tmp_path / "lot", paths


def test_folders_patterns_and_files_name_the_same_images(calibrated, lot):
    folder, _ = lot
    every = inspect(calibrated, [folder])["verdicts"]
    assert len(every) == 16
    names = [verdict["image"] for verdict in every]
    assert names == sorted(names)
    pattern = inspect(calibrated, [folder / "*.png", folder / "side"])["verdicts"]
    assert sorted(pattern, key=lambda one: one["image"]) == every
    alone = [inspect(calibrated, [folder / name.split("lot/")[1]])["verdicts"][0] for name in names]
    for one, other in zip(alone, every, strict=True):
        for key in ("image", "label", "judgement", "unknown", "gate", "p_value", "method"):
            assert one[key] == other[key], "the same answer alone"
        assert one["strangeness"] == pytest.approx(other["strangeness"], rel=1e-4)


def test_the_lot_is_counted_and_its_doubtful_parts_are_named(calibrated, lot):
    document = inspect(calibrated, [lot[0]])
    found = document["lot"]
    judgements = [verdict["judgement"] for verdict in document["verdicts"]]
    assert found["images"] == 16
    assert found["judgements"] == {
        name: judgements.count(name) for name in dict.fromkeys(found["judgements"])
    }
    assert found["unknown"] == judgements.count("unknown") >= 1
    assert found["escapes"]["promised"] is True
    assert found["escapes"]["upper"] == pytest.approx(0.3)
    passed = [one for one in document["verdicts"] if one["judgement"] == "OK"]
    by_score = sorted(passed, key=lambda one: -one["ng_score"])
    assert found["look_alikes"] == [one["image"] for one in by_score[:10]]
    assert json.loads(json.dumps(document)) == document


def test_without_ng_classes_the_look_alikes_are_those_whose_runner_up_is_near(digits_run, tmp_path):
    from mitsugo.data.sources import load

    images = load("digits")
    for row in range(40):
        Image.fromarray(images.pixels[row, 0]).save(tmp_path / f"{row:02d}.png")
    document = inspect(digits_run.run, [tmp_path])
    found = {verdict["image"]: verdict for verdict in document["verdicts"]}
    ratios = [
        found[name]["runner_up"]["scaled"] / found[name]["winner"]["scaled"]
        for name in document["lot"]["look_alikes"]
    ]
    assert ratios == sorted(ratios)
    assert document["lot"]["calibration"] is None
    assert document["lot"]["escapes"] is None


def test_the_table_holds_every_verdict_and_no_formula(calibrated, lot, tmp_path):
    document = inspect(calibrated, [lot[0] / "=blank.png", lot[0] / "ok000.png"], csv=tmp_path / "v.csv")
    content = (tmp_path / "v.csv").read_bytes()
    assert content.startswith(b"\xef\xbb\xbf")
    rows = list(csv.DictReader(io.StringIO(content.decode("utf-8-sig"))))
    assert [row["image"] for row in rows] == [verdict["image"] for verdict in document["verdicts"]]
    assert [row["judgement"] for row in rows] == [verdict["judgement"] for verdict in document["verdicts"]]
    assert rows[0]["unknown"] == "yes"
    assert float(rows[1]["p_value"]) == pytest.approx(document["verdicts"][1]["p_value"], rel=1e-5)
    assert rows[1]["winner_nearest"] == document["verdicts"][1]["winner"]["exemplars"][0]["name"]
    cells = [cell for row in rows for cell in row.values()]
    assert not any(cell.startswith(("=", "+", "-", "@")) for cell in cells)


def test_a_name_that_is_a_formula_is_escaped(calibrated, lot, tmp_path, monkeypatch):
    monkeypatch.chdir(lot[0])
    inspect(calibrated, [type(lot[0])("=blank.png")], csv=tmp_path / "v.csv")
    (row,) = csv.DictReader(io.StringIO((tmp_path / "v.csv").read_text("utf-8-sig")))
    assert row["image"] == "'=blank.png"


def test_the_sheet_shows_what_needs_a_look_first_in_both_languages(calibrated, lot, tmp_path):
    inspect(calibrated, [lot[0]], html=tmp_path / "sheet.html")
    page = (tmp_path / "sheet.html").read_text("utf-8")
    kinds = re.findall(r'<span class="mark (\w+)">', page)
    assert kinds[0] == "unknown"
    order = {"unknown": 0, "NG": 1, "OK": 2}
    assert [order[kind] for kind in kinds] == sorted(order[kind] for kind in kinds)
    assert page.count('<img src="data:image/') > 16 * 4, "the parts, and gallery images that speak for them"
    assert "検査した画像" in page
    assert not re.search(r"https?://|url\(", page)


def test_gallery_images_are_named_where_the_source_is_gone(calibrated, lot, tmp_path, hearing, command):
    shutil.copy(calibrated / "model.mitsugo", tmp_path / "alone.mitsugo")
    talk = hearing()
    inspect(tmp_path / "alone.mitsugo", [lot[0] / "ok000.png"], html=tmp_path / "sheet.html", talk=talk)
    assert any("lies in no run folder" in line for line in talk.said)
    page = (tmp_path / "sheet.html").read_text("utf-8")
    assert page.count("<img") == 1
    assert "are named, not shown" in page


def test_gallery_images_are_named_where_the_source_changed(calibrated, lot, tmp_path, hearing):
    run = tmp_path / "run"
    shutil.copytree(calibrated, run)
    told = json.loads((run / "run.json").read_bytes())
    for source, words in (
        ("nowhere", "gallery images are named, not shown"),
        (str(lot[0].parent / "other"), "other images"),
    ):
        (run / "run.json").write_text(json.dumps(told | {"source": told["source"] | {"name": source}}))
        for name in ("ok", "ng"):
            shutil.copytree(lot[0], lot[0].parent / "other" / name, dirs_exist_ok=True)
        talk = hearing()
        inspect(run, [lot[0] / "ok000.png"], html=tmp_path / "sheet.html", talk=talk)
        assert any(words in line for line in talk.warned), source


def test_taught_images_are_among_the_evidence_of_the_sheet(calibrated, tmp_path, write_parts):
    run = tmp_path / "run"
    shutil.copytree(calibrated, run)
    stains = write_parts(tmp_path / "stains", "stain", 12, 3)
    add(run, stains[:5], Lesson(label="stain"))
    document = inspect(run, stains[5:], html=tmp_path / "sheet.html")
    page = (tmp_path / "sheet.html").read_text("utf-8")
    assert "stain" in {verdict["winner"]["label"] for verdict in document["verdicts"]}
    assert 'alt="stain00' in page, "their thumbnails are in the gallery"
    assert "The gallery was changed after the thresholds were set" in page


@pytest.mark.parametrize(("fail_on", "code"), [(None, 0), ("ng", 10), ("unknown", 10), ("ng,unknown", 10)])
def test_a_script_is_told_by_the_exit_code(calibrated, lot, command, fail_on, code):
    said = [] if fail_on is None else ["--fail-on", fail_on]
    outcome = command("inspect", calibrated, lot[0], "--json", "--quiet", *said)
    assert outcome.code == code
    assert json.loads(outcome.out)["lot"]["images"] == 16, "the answer is printed all the same"


def test_good_parts_fail_on_nothing(calibrated, lot, command):
    good = [path for path in lot[1][:12] if path.name in {"ok001.png", "ok002.png", "ok003.png"}]
    judged = {verdict["judgement"] for verdict in inspect(calibrated, good)["verdicts"]}
    outcome = command("inspect", calibrated, *good, "--fail-on", "ng,unknown", "--quiet")
    assert (outcome.code == 0) == (judged == {"OK"})


def test_what_is_no_image_stops_or_is_left_out_and_listed(calibrated, lot, command, hearing):
    (lot[0] / "bad.png").write_bytes(b"no image")
    with pytest.raises(DataError, match=r"bad\.png"):
        inspect(calibrated, [lot[0]])
    talk = hearing()
    document = inspect(calibrated, [lot[0]], bad_images="skip", talk=talk)
    assert len(document["verdicts"]) == 16
    (left,) = document["left_out"]
    assert left["image"].endswith("bad.png")
    assert not left["why"].startswith("/")
    assert any("left out: " in line for line in talk.warned)
    with pytest.raises(DataError, match="no image is left to inspect"):
        inspect(calibrated, [lot[0] / "bad.png"], bad_images="skip")


def test_what_names_nothing_is_refused(calibrated, tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="is a folder without photos"):
        inspect(calibrated, [tmp_path / "empty"])
    with pytest.raises(DataError, match="no file matches; check the pattern"):
        inspect(calibrated, [tmp_path / "*.png"])
    with pytest.raises(UsageError, match="--bad-images often: expected stop or skip"):
        inspect(calibrated, [tmp_path], bad_images="often")
    with pytest.raises(UsageError, match="--fail-on maybe: expected ng, unknown or ng,unknown"):
        parsed_failures("maybe")


def test_a_pattern_is_read_where_it_stands(calibrated, lot, monkeypatch):
    monkeypatch.chdir(lot[0])
    found = inspect(calibrated, [type(lot[0])("ok00?.png")])["verdicts"]
    assert [one["image"] for one in found] == [f"ok{number:03d}.png" for number in range(10)]


def test_a_model_votes_by_its_gallery_and_by_what_was_taught(calibrated):
    assert Model.load(calibrated).taught is None

"""From a folder or a table of photos to a model and its verdicts."""

import json

import numpy as np
import pytest
from PIL import Image

from mitsugo.errors import DataError, UsageError
from mitsugo.tasks.embed import embed
from mitsugo.tasks.evaluate import evaluate
from mitsugo.tasks.inspect import inspect
from mitsugo.tasks.plan import TrainOptions
from mitsugo.tasks.sourcing import AS_IT_IS, parsed_source
from mitsugo.tasks.train import train

pytestmark = pytest.mark.usefixtures("plain_pictures")

PARTS = 10
SHOTS = 3


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    """Photos of ten parts of each class, three a part: ok is dark, ng is light."""
    root = tmp_path_factory.mktemp("photos")
    chance = np.random.default_rng(0)
    for name, ground in (("ok", 60), ("ng", 180)):
        (root / name).mkdir()
        for part in range(PARTS):
            for shot in range(SHOTS):
                values = chance.integers(ground - 20, ground + 20, (24, 32, 3)).astype(np.uint8)
                values[5:10, 5:10] = 255 - ground
                Image.fromarray(values).save(root / name / f"部品{part:02d}_{shot}.png")
    return root


def options(photos, out, **said):
    usual = {"recipe": "article", "epochs": 2, "dimension": 4, "batch_size": 16}
    given = {"image_size": "16x12", "group_by": r"(\w\w/部品\d+)_", **said}
    return TrainOptions(source=str(photos), out=out, sourcing=parsed_source(given), **usual)


@pytest.fixture(scope="module")
def trained(photos, tmp_path_factory):
    return train(options(photos, tmp_path_factory.mktemp("runs") / "run"))


def test_the_run_says_how_photos_were_read_and_split(trained):
    described = json.loads((trained.run / "run.json").read_bytes())
    assert described["source"]["image_shape"] == [3, 12, 16]
    assert described["source"]["intake"]["framing"] == {
        "channels": 3,
        "height": 12,
        "width": 16,
        "fit": "resize",
        "crop": None,
    }
    assert described["source"]["intake"]["shrunk"] == 2.0
    assert described["split"]["how"].startswith(
        "drawn with seed 0 by group: 16 groups to train on, 4 to test on"
    )
    assert trained.summary["scores"]["knn_accuracy"]["n"] == 4 * SHOTS


def test_what_training_sees_is_drawn_before_the_first_step(trained):
    with Image.open(trained.run / "seen.png") as sheet:
        assert sheet.size > (200, 100)


def test_groups_are_never_torn_apart(trained):
    test = names_of(trained, "test")
    parts = {name.rpartition("_")[0] for name in test}
    assert len(test) == len(parts) * SHOTS


def names_of(trained, part):
    from mitsugo.tasks.parting import BY_CLASS, parted
    from mitsugo.tasks.sourcing import loaded

    described = json.loads((trained.run / "run.json").read_bytes())
    images = loaded(described["source"]["name"], parsed_source({"group_by": r"(\w\w/部品\d+)_"}))
    return [images.names[i] for i in getattr(parted(images, BY_CLASS, 0.0, 0).split, part).tolist()]


def test_a_new_photo_of_any_size_gets_a_verdict(trained, photos, tmp_path):
    with Image.open(photos / "ng" / "部品00_0.png") as photo:
        photo.resize((320, 240)).save(tmp_path / "new.jpg", quality=95)
    found = inspect(trained.run, [tmp_path / "new.jpg", photos / "ok" / "部品01_0.png"], k=3)
    assert [verdict["label"] for verdict in found["verdicts"]] == ["ng", "ok"]
    assert found["verdicts"][0]["warnings"] == []


def test_a_model_reads_photos_as_its_own_were(trained, photos, tmp_path):
    assert embed(trained.run, str(photos), tmp_path / "all.npz")["images"] == 2 * PARTS * SHOTS
    scored = evaluate(trained.run, str(photos))
    assert (scored["images"], scored["left_out"]) == (4 * SHOTS, 16 * SHOTS)


def test_the_same_command_goes_on_and_other_readings_are_refused(trained, photos):
    same = options(photos, trained.run)
    assert train(resumed(same)).summary == trained.summary
    assert train(resumed(same, sourcing=AS_IT_IS)).summary == trained.summary
    other = resumed(same, sourcing=parsed_source({"image_size": "16"}))
    with pytest.raises(UsageError, match="were read by other options"):
        train(other)


def resumed(options, **changes):
    import dataclasses

    return dataclasses.replace(options, resume=True, **changes)


def test_a_bad_file_stops_the_run_or_is_listed(photos, tmp_path):
    import shutil

    copy = tmp_path / "photos"
    shutil.copytree(photos, copy)
    (copy / "ok" / "broken_0.png").write_bytes(b"no image")
    pattern = r"(\w\w/\w+)_"
    with pytest.raises(DataError, match=r"broken_0\.png.*: is no JPEG.* by --bad-images skip\)"):
        train(options(copy, tmp_path / "run", group_by=pattern))
    assert not (tmp_path / "run").exists()
    done = train(options(copy, tmp_path / "run", group_by=pattern, bad_images="skip"))
    ((name, why),) = json.loads((done.run / "run.json").read_bytes())["source"]["intake"]["skipped"]
    assert (name, "is no JPEG" in why) == ("ok/broken_0.png", True)

import csv
import io
import json
import shutil
import signal
from pathlib import Path

import numpy as np
import pytest
import torch

from mitsugo.data.idx import idx_header
from mitsugo.errors import DataError, Interrupted, ModelError, ResourceError, UsageError
from mitsugo.files import sha256_of
from mitsugo.runs import opened
from mitsugo.tasks import suspects as module
from mitsugo.tasks.plan import planned
from mitsugo.tasks.suspects import suspects
from mitsugo.tasks.train import TrainOptions, train

SIDE = 4
FLIPPED = (5, 18, 31)
"""Training images of the planted source whose label is the next class's."""


def plant(folder, flipped=FLIPPED, train_images=48):
    """Write 48 training and 12 test images of three classes: one row of each is bright, three labels lie."""
    folder.mkdir(parents=True, exist_ok=True)
    chance = np.random.default_rng(0)
    for part, count in (("train", train_images), ("t10k", 12)):
        labels = np.arange(count) % 3
        pixels = chance.integers(0, 60, (count, SIDE, SIDE)).astype(np.uint8)
        pixels[np.arange(count), labels] += 150
        if part == "train":
            labels[list(flipped)] = (labels[list(flipped)] + 1) % 3
        (folder / f"{part}-images-idx3-ubyte").write_bytes(idx_header(*pixels.shape) + pixels.tobytes())
        content = idx_header(count) + labels.astype(np.uint8).tobytes()
        (folder / f"{part}-labels-idx1-ubyte").write_bytes(content)
    return folder


@pytest.fixture(scope="module")
def planted_run(tmp_path_factory):
    """A finished run on the planted source; to be copied."""
    folder = tmp_path_factory.mktemp("planted")
    options = {"recipe": "article", "epochs": 2, "batch_size": 8, "dimension": 3}
    return train(TrainOptions(source=str(plant(folder / "source")), out=folder / "run", **options)).run


@pytest.fixture
def run(planted_run, tmp_path):
    return shutil.copytree(planted_run, tmp_path / "run")


class Listener:
    """Keeps what it is told."""

    def __init__(self):
        self.said, self.warned = [], []

    def say(self, sentence):
        self.said.append(sentence)

    def warn(self, sentence):
        self.warned.append(sentence)

    def progress(self, progress, epochs):
        pass

    def epoch(self, epoch, epochs):
        pass

    def reading(self, done, total):
        pass


@pytest.fixture
def heard():
    return Listener()


def case_of(labels, fold):
    """A case of images without content, of a class for each label."""
    names = tuple("abcdefg"[: len(labels)])
    images = module.LabeledImages(
        pixels=np.zeros((len(labels), 1, 1, 1), np.uint8),
        labels=np.array(labels),
        class_names=names,
        names=names,
    )
    plan = planned(TrainOptions(source="digits"))
    return module._Case(
        run=Path(), source="", plan=plan, device=torch.device("cpu"), part="all", images=images, fold=fold
    )


def read_back(path):
    return list(csv.DictReader(io.StringIO(path.read_bytes().decode("utf-8-sig"))))


def hashes(run):
    return [sha256_of((run / "folds" / str(n) / "model.mitsugo").read_bytes()) for n in (1, 2, 3)]


def numbers(found):
    return [int(suspect["image"].rpartition("/")[2]) for suspect in found]


def test_the_planted_labels_are_first_and_say_what_they_are(run):
    found = suspects(run)
    assert (found["examined"], found["folds"], found["not_examined"]) == (48, 3, {})
    assert found["part"] == "training images"
    first = found["suspects"][:3]
    assert sorted(numbers(first)) == sorted(FLIPPED)
    for suspect in first:
        true = int(suspect["image"].rpartition("/")[2]) % 3
        assert (suspect["label"], suspect["looks_like"]) == (str((true + 1) % 3), str(true))
        assert suspect["score"] > 0.5
        assert [near["label"] for near in suspect["neighbors"]].count(str(true)) >= 3
        distances = [near["distance"] for near in suspect["neighbors"]]
        assert distances == sorted(distances)
    assert [suspect["rank"] for suspect in found["suspects"]] == list(range(1, found["doubted"] + 1))


def test_no_image_is_judged_by_a_model_that_saw_it(run):
    found = suspects(run)
    galleries = [module.Model.load(run / "folds" / str(n)).gallery for n in (1, 2, 3)]
    unseen = [{row["image"] for row in read_back(run / "suspects.csv")} - set(g.names) for g in galleries]
    assert [len(names) for names in unseen] == [16, 16, 16]
    assert len(set.union(*unseen)) == 48
    for suspect in found["suspects"]:
        judge = next(number for number, names in enumerate(unseen) if suspect["image"] in names)
        assert {near["image"] for near in suspect["neighbors"]} <= set(galleries[judge].names)


def test_the_table_ranks_every_image_and_the_page_shows_the_first(run):
    found = suspects(run, most=2)
    rows = read_back(run / "suspects.csv")
    assert [int(row["rank"]) for row in rows] == list(range(1, 49))
    scores = [float(row["score"]) for row in rows]
    assert scores == sorted(scores, reverse=True)
    assert [row["suspect"] == "yes" for row in rows] == [score > 0.5 for score in scores]
    assert [row["image"] for row in rows[:2]] == [suspect["image"] for suspect in found["suspects"]]
    near = [rows[0][f"nearest_{place}"] for place in range(1, 6)]
    assert near == [other["image"] for other in found["suspects"][0]["neighbors"]]
    html = (run / "suspects.html").read_text(encoding="utf-8")
    assert html.count('<div class="query">') == 2


def test_the_folds_models_are_used_again(run, heard, monkeypatch):
    first = suspects(run)
    before = hashes(run)
    monkeypatch.setattr(module, "trained_model", lambda *arguments: pytest.fail("a fold was trained"))
    assert suspects(run, talk=heard) == first
    assert hashes(run) == before
    assert sum("its model stands there" in said for said in heard.said) == 3


def test_a_stop_loses_one_fold_at_most_and_changes_nothing(run, planted_run, monkeypatch, tmp_path):
    whole = suspects(shutil.copytree(planted_run, tmp_path / "whole"))
    trainings = []
    real = module.trained_model

    def counting(*arguments):
        trainings.append(arguments)
        if len(trainings) == 2:
            signal.raise_signal(signal.SIGTERM)
        return real(*arguments)

    monkeypatch.setattr(module, "trained_model", counting)
    with pytest.raises(Interrupted, match="stopped by SIGTERM; the folds that are finished stand") as stopped:
        suspects(run)
    assert stopped.value.exit_code == 143
    assert [(run / "folds" / str(n) / "model.mitsugo").exists() for n in (1, 2, 3)] == [True, False, False]
    assert not (run / "suspects.csv").exists()
    again = suspects(run)
    assert len(trainings) == 4  # the first, the one that was stopped, and two more
    assert again["suspects"] == whole["suspects"]
    assert hashes(run) == hashes(tmp_path / "whole")


def test_models_of_other_folds_are_not_believed(run, heard):
    suspects(run)
    before = hashes(run)
    found = suspects(run, everything=True, talk=heard)
    assert (found["examined"], found["part"]) == (60, "images (the test images among them)")
    assert any("are of other images or another recipe: trained anew" in said for said in heard.said)
    assert not set(before) & set(hashes(run))


@pytest.mark.parametrize("harm", ["damaged", "exchanged"])
def test_a_model_that_does_not_fit_is_named_and_trained_anew(run, heard, harm):
    first = suspects(run)
    before, (one, other) = hashes(run), (run / "folds" / n / "model.mitsugo" for n in "12")
    if harm == "damaged":
        one.write_bytes(one.read_bytes()[:-100])
    else:
        shutil.copy(other, one)
    assert suspects(run, talk=heard) == first
    assert hashes(run) == before
    (warning,) = heard.warned
    assert str(one) in warning
    assert "trained anew" in warning


def test_a_damaged_key_trains_all_anew(run):
    first = suspects(run)
    (run / "folds" / "folds.json").write_text("{")
    for n in "12":
        (run / "folds" / n / "model.mitsugo").unlink()
    assert suspects(run) == first


def test_a_validation_part_is_examined_too_but_no_test_image(small_options, tmp_path):
    run = train(small_options(tmp_path / "run", epochs=1)).run
    found = suspects(run)
    assert (found["part"], found["examined"]) == ("training and validation images", 80)
    assert len(read_back(run / "suspects.csv")) == 80


def test_groups_and_equal_pixels_stay_in_one_fold():
    images = module.LabeledImages(
        pixels=np.array([0, 1, 2, 3, 4, 0, 6, 7], np.uint8).reshape(8, 1, 1, 1),
        labels=np.zeros(8, np.int64),
        class_names=("a",),
        names=tuple("abcdefgh"),
        groups=np.array([5, 5, 2, 2, 3, 4, 4, 9]),
    )
    bound = module._bound(images)
    # images 0 and 5 are equal, so their groups are one
    assert [np.flatnonzero(bound == number).tolist() for number in dict.fromkeys(bound.tolist())] == [
        [0, 1, 5, 6], [2, 3], [4], [7],
    ]  # fmt: skip


def test_a_class_that_nobody_can_judge_is_told_of(tmp_path, heard):
    source = plant(tmp_path / "source", flipped=())
    labels = bytearray((source / "train-labels-idx1-ubyte").read_bytes())
    header = len(idx_header(48))
    labels[header + 3], labels[header + 6] = 3, 3  # a class of two
    (source / "train-labels-idx1-ubyte").write_bytes(labels)
    out = tmp_path / "run"
    train(TrainOptions(source=str(source), out=out, recipe="raw-pixels"))
    found = suspects(out, talk=heard)
    assert (found["examined"], found["not_examined"]) == (46, {"3": 2})
    assert any("3 (2)" in warning for warning in heard.warned)
    assert "Not examined" in (out / "suspects.html").read_text(encoding="utf-8")


def test_where_nobody_can_be_judged_nothing_is_done(tmp_path):
    source = plant(tmp_path / "source", flipped=(), train_images=6)
    out = tmp_path / "run"
    train(TrainOptions(source=str(source), out=out, recipe="raw-pixels"))
    with pytest.raises(DataError, match="none of the 6 images can be judged by a model that never saw it"):
        suspects(out)
    assert not (out / "folds").exists()


def test_many_untried_classes_are_counted():
    untried = module._untried(case_of(range(7), np.full(7, -1)))
    assert untried == "a (1), b (1), c (1), d (1), e (1) and 2 more"


def test_the_time_to_go_is_told_by_the_runs_own(heard):
    for seconds in (61.7, 0.3):
        module._tell_beforehand(case_of(range(2), np.zeros(2, np.int64)), {"seconds": seconds}, heard)
    assert "the run itself trained for 62 s, these 3 take about twice that" in heard.said[0]
    assert heard.said[1].endswith("each trained without those that it judges")


def test_a_run_on_other_images_is_refused(run):
    description = json.loads((run / "run.json").read_text())
    description["source"]["fingerprint"] = "0" * 64
    (run / "run.json").write_text(json.dumps(description))
    with pytest.raises(UsageError, match=r"was trained on other images; put them back as they were"):
        suspects(run)


def test_a_source_that_went_away_is_named(run):
    description = json.loads((run / "run.json").read_text())
    description["source"]["name"] = "/nowhere/at/all"
    (run / "run.json").write_text(json.dumps(description))
    with pytest.raises(DataError, match=r"the source of the run in .* cannot be read again: .*nowhere"):
        suspects(run)


def test_a_split_that_cannot_be_drawn_again_leaves_all(run):
    description = json.loads((run / "run.json").read_text())
    description["split"]["fingerprint"] = "0" * 64
    (run / "run.json").write_text(json.dumps(description))
    with pytest.raises(UsageError, match=r"which images were its test images is not known; examine all by"):
        suspects(run)
    assert suspects(run, everything=True)["examined"] == 60


def test_what_is_no_run_is_refused(tmp_path):
    with pytest.raises(ModelError, match=r"is no run folder \(it has no run.json\); name one that"):
        suspects(tmp_path / "nothing")
    assert not (tmp_path / "nothing").exists()


def test_no_suspects_at_all_cannot_be_asked_for(run):
    with pytest.raises(UsageError, match="--most 0: expected 1 or more"):
        suspects(run, most=0)


def test_a_folder_that_is_no_folder_is_named(run):
    (run / "folds").write_text("in the way")
    with pytest.raises(ResourceError, match=r"folds: cannot be used: .*; move it away, then try again"):
        suspects(run)


def test_two_at_once_are_not_let_in(run):
    with (
        opened(run, resume=True, overwrite=False),
        pytest.raises(ResourceError, match="another process is training"),
    ):
        suspects(run)

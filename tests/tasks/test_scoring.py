"""Test images are asked against the gallery, or among each other where their classes are new."""

import json

import numpy as np
import pytest

from mitsugo.data.sources import load
from mitsugo.errors import UsageError
from mitsugo.model.bundle import Model
from mitsugo.tasks.evaluate import evaluate
from mitsugo.tasks.models import embeddings_of
from mitsugo.tasks.plan import TrainOptions
from mitsugo.tasks.scoring import check_ng
from mitsugo.tasks.sourcing import parsed_source
from mitsugo.tasks.train import train


@pytest.fixture(scope="module")
def unseen_run(tmp_path_factory):
    """The shrunk default recipe on eight of ten digits; two are held out to test on, two to choose by."""
    options = TrainOptions(
        source="digits",
        out=tmp_path_factory.mktemp("runs") / "unseen",
        epochs=2,
        dimension=8,
        batch_size=64,
        seed=1,
        settings=("channels=[4,8]", "hidden=[16]", "images_per_class=8", "least_steps=0"),
        sourcing=parsed_source({"split": "unseen-classes", "calibration": 0.0}, ["3", "7"]),
    )
    return train(options)


def test_classes_that_were_held_out_are_asked_among_themselves(unseen_run):
    run = json.loads((unseen_run.run / "run.json").read_bytes())
    assert (run["split"]["unseen"], run["split"]["validation_unseen"]) == (True, True)
    model = Model.load(unseen_run.bundle)
    digits = load("digits")
    assert len(np.unique(model.gallery.labels)) == 8, "the test classes do not stand in the gallery"
    known = set(model.gallery.names)
    test = digits.take(np.array([i for i, name in enumerate(digits.names) if name not in known]))
    assert len(np.unique(test.labels)) == 2
    vectors = embeddings_of(model, test).vectors.astype(np.float64)
    distances = np.square(vectors[:, None] - vectors[None]).sum(axis=2)
    np.fill_diagonal(distances, np.inf)
    nearest = test.labels[distances.argmin(axis=1)]
    scores = unseen_run.summary["scores"]
    assert scores["precision_at_1"]["value"] == pytest.approx(np.mean(nearest == test.labels), abs=0.003)
    assert scores["precision_at_1"]["n"] == len(test)
    confusion = np.array(unseen_run.summary["confusion"])
    assert (confusion.sum(axis=1) > 0).sum() == 2


def test_evaluate_gives_the_same_scores_of_the_classes_that_were_held_out(unseen_run):
    document = evaluate(unseen_run.run, "digits", sourcing=parsed_source({}, ["3", "7"]))
    assert document["against"] == "each other"
    # the run's samples were drawn from its own seed
    for name in ("knn_accuracy", "precision_at_1", "recall_at_2"):
        assert document["scores"][name] == unseen_run.summary["scores"][name]
    assert document["inspection"] == unseen_run.summary["inspection"]


def test_the_page_says_that_the_classes_are_new(unseen_run):
    page = unseen_run.report.read_text(encoding="utf-8")
    assert "each test image is searched among the other test images" in page
    assert "見逃し（NG を OK と判定）" in page


def test_classes_that_are_all_new_to_a_model_are_asked_among_themselves(tiny_run, tmp_path, write_idx):
    source = tmp_path / "letters"
    for letter in ("x", "y"):
        (source / letter).mkdir(parents=True)
    chance = np.random.default_rng(0)
    from PIL import Image

    side = (
        tiny_run.summary and json.loads((tiny_run.run / "run.json").read_bytes())["source"]["image_shape"][1]
    )
    for i in range(12):
        values = chance.integers(0, 256, (side, side), dtype=np.uint8)
        Image.fromarray(values).save(source / "xy"[i % 2] / f"{i}.png")
    document = evaluate(tiny_run.run, str(source))
    assert (document["against"], document["classes"], document["images"]) == ("each other", ["x", "y"], 12)


@pytest.mark.parametrize(
    ("ng", "message"),
    [
        (["scratch"], "--ng scratch: SOURCE parts has no such class; it has ok, dent"),
        (["ok", "dent"], "--ng ok,dent: no class is left that is OK; leave one out"),
    ],
)
def test_ng_classes_that_cannot_be_meant_are_refused(ng, message):
    with pytest.raises(UsageError, match=message):
        check_ng(ng, ("ok", "dent"), "parts")
    check_ng(["dent"], ("ok", "dent"), "parts")


def test_an_ng_class_that_is_not_there_stops_before_anything_is_trained(tmp_path):
    options = TrainOptions(source="digits", out=tmp_path / "run", sourcing=parsed_source({}, ["ng"]))
    with pytest.raises(UsageError, match="--ng ng: SOURCE digits has no such class; it has 0, 1, 2, 3, 4 …"):
        train(options)
    assert not (tmp_path / "run").exists()

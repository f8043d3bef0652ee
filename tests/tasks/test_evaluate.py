"""A model is scored from its bundle alone, on images that it was not trained on."""

import dataclasses

import numpy as np
import pytest

from mitsugo.data.sources import load
from mitsugo.errors import DataError, ModelError
from mitsugo.model.bundle import Model
from mitsugo.tasks.evaluate import evaluate, of_known_classes, strangers
from mitsugo.tasks.models import embeddings_of
from mitsugo.values import Embeddings, LabeledImages


def test_a_runs_own_source_gives_the_runs_own_scores(tiny_run, tiny, digits_run):
    """Of digits, which have no test part of their own, exactly the images that did not train are scored."""
    for run, source, left_out in ((tiny_run, str(tiny), 0), (digits_run, "digits", 1438)):
        for path in (run.run, run.bundle):
            document = evaluate(path, source)
            assert document["scores"] == run.summary["scores"]
            assert document["confusion"] == run.summary["confusion"]
            assert document["fingerprint"] == run.summary["fingerprint"]
            assert document["left_out"] == left_out
            assert document["images"] == document["scores"]["knn_accuracy"]["n"]


def test_all_of_a_source_without_a_test_part(tiny_run, tmp_path, write_idx):
    document = evaluate(tiny_run.run, str(write_idx(tmp_path / "other", seed=5, train=20, test=0)))
    assert (document["part"], document["images"], document["left_out"]) == ("all", 20, 0)


def test_the_very_images_that_trained_tell_nothing(tmp_path, tiny, tiny_run):
    for name in ("train-images-idx3-ubyte", "train-labels-idx1-ubyte"):
        (tmp_path / name).write_bytes((tiny / name).read_bytes())
    with pytest.raises(
        DataError, match="all its images stand in the model's gallery; name images that it was"
    ):
        evaluate(tiny_run.run, str(tmp_path))


def embeddings(names, rows):
    return Embeddings(
        vectors=np.array(rows, dtype=np.float32).reshape(len(names), 2),
        labels=np.zeros(len(names), dtype=np.int64),
        class_names=("one",),
        names=tuple(names),
        fingerprint="f",
    )


def test_strangers_differ_in_name_or_in_embedding():
    gallery = embeddings("abc", [[0, 0], [1, 1], [2, 2]])
    queries = embeddings("bbxc", [[1, 1.00001], [1, 1.1], [1, 1], [2, 2]])
    assert strangers(queries, gallery, "source").tolist() == [1, 2]
    assert strangers(queries, embeddings("", []), "source").tolist() == [0, 1, 2, 3]


def test_labels_are_matched_by_the_names_of_the_classes():
    images = LabeledImages(
        pixels=np.zeros((3, 1, 1, 1), np.uint8),
        labels=np.array([0, 2, 2]),
        class_names=("NG", "never seen", "OK"),
        names=("a", "b", "c"),
    )
    known = of_known_classes(images, ("OK", "NG", "other"), "source")
    assert known.labels.tolist() == [1, 0, 0]
    assert known.class_names == ("OK", "NG", "other")


def test_classes_that_the_model_does_not_know_are_named(tiny_run, tmp_path, write_idx):
    source = write_idx(tmp_path / "more", classes=7, test=14)
    message = "has classes that the model does not know .4, 5, 6.; it knows 0, 1, 2, 3: train on them, too"
    with pytest.raises(DataError, match=message):
        evaluate(tiny_run.run, str(source))
    many = dataclasses.replace(load("digits"), class_names=tuple("abcdef\n0ij"))
    with pytest.raises(DataError, match=r"\(a, b, c, d, e …\); it knows 0: train") as refusal:
        of_known_classes(many, ("0",), "so\nurce")
    assert str(refusal.value).isprintable()


def test_images_of_another_shape_are_refused(digits_run, tiny):
    with pytest.raises(DataError, match="images are 1 x 4 x 4, the model takes 1 x 8 x 8"):
        evaluate(digits_run.run, str(tiny))


def test_a_folder_without_a_model_is_refused(tmp_path):
    with pytest.raises(ModelError, match="model.mitsugo: cannot be read"):
        evaluate(tmp_path, "digits")


def test_scores_do_not_depend_on_the_order_of_the_images(digits_run):
    model = Model.load(digits_run.bundle)
    test = load("digits").take(np.arange(50))
    backwards = test.take(np.arange(50)[::-1])
    there, back = embeddings_of(model, test).vectors, embeddings_of(model, backwards).vectors
    assert there == pytest.approx(back[::-1], abs=1e-5)

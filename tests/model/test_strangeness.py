"""What two gates say together, and what a lesson does to the one on pixels."""

import dataclasses

import numpy as np
import pytest
from PIL import Image

from mitsugo.model.bundle import Model
from mitsugo.model.classification import Queries, verdicts
from mitsugo.model.strangeness import Strangeness
from mitsugo.model.thresholds import rules_of
from mitsugo.tasks.calibrate import calibrate
from mitsugo.values import digests_of


def pixels_of(paths):
    return np.stack([np.asarray(Image.open(path)) for path in paths])[:, None]


def queries_of(model, pixels, vectors):
    n = len(pixels)
    return Queries(
        vectors=vectors,
        statistics=model.statistics(pixels),
        digests=digests_of(pixels),
        names=[f"query {i}" for i in range(n)],
        warnings=[()] * n,
    )


@pytest.fixture
def model(run, line):
    calibrate(run, str(line[1]), {"false_alarm": 0.2, "cost_escape": 10.0, "cost_overkill": 1.0})
    return Model.load(run / "model.mitsugo")


@pytest.fixture
def stains(write_parts, tmp_path):
    return pixels_of(write_parts(tmp_path / "stains", "stain", 105, 22))


def test_without_taught_images_both_gates_count_to_the_nearest_class():
    chance = np.random.default_rng(0)
    scaled = chance.uniform(0, 5, (200, 4))
    scaled[:, 3] = np.inf
    unusual = np.repeat(chance.uniform(0, 5, (200, 1)), 4, axis=1)
    found = Strangeness(scaled=scaled, unit=2.0, unusual=unusual).weighed(0.5)
    nearest, alike = scaled.min(axis=1) / 2, unusual[:, 0] / 2
    assert np.array_equal(found.embedded, nearest)
    assert np.array_equal(found.statistics, alike)
    assert np.array_equal(found.least, np.maximum(nearest, alike))
    assert np.array_equal(found.by_statistics, alike > nearest)
    assert np.isfinite(found.by_class).all()


def test_both_gates_must_allow_the_same_class():
    """One class is near by its embedding and odd by its pixels, the other the other way round."""
    found = Strangeness(scaled=np.array([[0.1, 3.0]]), unit=1.0, unusual=np.array([[4.0, 0.2]]))
    assert found.least.tolist() == [3.0]
    assert not found.by_statistics.any(), "to the second class, which it is least strange to"
    assert (found.embedded.tolist(), found.statistics.tolist()) == ([3.0], [0.2])


def test_whoever_is_within_the_limits_of_each_gate_is_known():
    """So that what the limits promise holds of images that are told by class."""
    chance = np.random.default_rng(1)
    found = Strangeness(scaled=chance.gamma(1, 1, (500, 3)), unit=1.0, unusual=chance.gamma(1, 1, (500, 3)))
    for first, second in ((0.3, 0.9), (1.0, 1.0), (0.8, 0.1)):
        within = (found.embedded <= first) & (found.statistics <= second)
        assert within.any()
        assert (found.weighed(first / second).least[within] <= first * (1 + 1e-12)).all()


def test_of_a_defect_that_lies_anywhere_five_photos_are_enough(model, stains, taught_to):
    after = dataclasses.replace(model, taught=taught_to(model, stains[:5], ng=("stain",)))
    found = after.classify(stains[5:], [str(row) for row in range(100)])
    assert sum(verdict.label == "stain" for verdict in found) >= 90
    assert all(verdict.judgement in {"NG", "unknown"} for verdict in found), "none of them escapes"


def test_noise_blanks_and_negatives_stay_unknown_after_that_lesson(model, stains, taught_to):
    after = dataclasses.replace(model, taught=taught_to(model, stains[:5], ng=("stain",)))
    noise = np.random.default_rng(0).integers(0, 256, (50, 1, 24, 24)).astype(np.uint8)
    levels = np.arange(0, 256, 5, dtype=np.uint8).reshape(-1, 1, 1, 1)
    for foreign in (noise, np.broadcast_to(levels, (len(levels), 1, 24, 24)), 255 - stains[5:]):
        found = after.classify(np.ascontiguousarray(foreign), [""] * len(foreign))
        assert all(verdict.unknown for verdict in found)


def test_what_looks_like_a_taught_defect_is_no_ok_part_wherever_its_embedding_lies(model, stains, taught_to):
    rows = np.flatnonzero(model.gallery.labels == model.class_names.index("ok"))[:20]
    asked = queries_of(model, stains[5:25], model.gallery.vectors[rows])
    rules = rules_of(model.calibration, model.known, model.state)
    assert all(verdict.unknown for verdict in verdicts(asked, model.known, 5, rules))
    after = dataclasses.replace(model, taught=taught_to(model, stains[:5], ng=("stain",))).known
    before, told = (
        verdicts(asked, after, 5, one) for one in (None, rules_of(model.calibration, after, "after"))
    )
    assert {verdict.label for verdict in before} == {"ok"}
    assert {verdict.judgement for verdict in told} <= {"NG", "unknown"}
    named = [verdict for verdict in told if verdict.label == "stain"]
    assert {verdict.method for verdict in named} <= {"likeness"}


def test_the_threshold_between_ok_and_ng_turns_none_to_a_side_that_its_pixels_rule_out(
    model, stains, taught_to
):
    """Stains that were taught as NG, with a threshold that calls nothing NG."""
    known = dataclasses.replace(model, taught=taught_to(model, stains[:40], "ng")).known
    asked = queries_of(model, stains[40:60], np.repeat(known.embeddings.vectors[-1:], 20, axis=0))
    inspecting = dataclasses.replace(model.calibration.inspecting, threshold=1.0)
    calibration = dataclasses.replace(model.calibration, inspecting=inspecting)
    told = verdicts(asked, known, 1, rules_of(calibration, known, "after"))
    assert {verdict.judgement for verdict in told} <= {"NG", "unknown"}
    assert "NG" in {verdict.judgement for verdict in told}


def test_what_the_threshold_makes_ng_is_named_after_a_learnt_class(
    model, stains, write_parts, tmp_path, taught_to
):
    """A taught class that is wide lies near every part; it is found by its likeness, not by the threshold."""
    inspecting = dataclasses.replace(model.calibration.inspecting, threshold=0.0)
    calibration = dataclasses.replace(model.calibration, inspecting=inspecting)
    after = dataclasses.replace(
        model, calibration=calibration, taught=taught_to(model, stains[:5], ng=("stain",))
    )
    parts = pixels_of(write_parts(tmp_path / "ok", "ok", 40, 3))
    told = [verdict for verdict in after.classify(parts, [""] * 40) if not verdict.unknown]
    assert {verdict.label for verdict in told if verdict.method == "threshold"} == {"ng"}
    assert {verdict.judgement for verdict in told} == {"NG"}

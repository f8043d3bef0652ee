"""Thresholds drawn from calibration images, and verdicts by them, on a model of raw pixels."""

import dataclasses

import numpy as np
import pytest
from scipy import stats

from mitsugo.errors import DataError, ModelError, UsageError
from mitsugo.model.bundle import Model
from mitsugo.model.classification import Queries, verdicts
from mitsugo.model.favor import FAVOR, LEAST_FAVOR, favors_of
from mitsugo.model.networks import Architecture, build
from mitsugo.model.preprocessing import Preprocessing
from mitsugo.model.thresholds import calibrated, ng_scores, rules_of, unit_scores
from mitsugo.values import (
    VALIDATION,
    Asked,
    Kept,
    LabeledImages,
    Seen,
    digests_of,
)

SIDE = 6


def drawn(count, level, seed):
    """Noise about a level: classes are levels."""
    chance = np.random.default_rng(seed)
    return np.clip(chance.normal(level, 12, (count, 1, SIDE, SIDE)), 0, 255).astype(np.uint8)


def pictures(counts, seed=0):
    levels = (60, 180)
    return np.concatenate(
        [drawn(n, level, seed + i) for i, (n, level) in enumerate(zip(counts, levels, strict=True))]
    )


@pytest.fixture(scope="module")
def model():
    pixels = pictures((60, 40))
    architecture = Architecture(name="raw-pixels", image_shape=(1, SIDE, SIDE), dimension=SIDE * SIDE)
    return Model.of(
        architecture=architecture,
        network=build(architecture).eval(),
        preprocessing=Preprocessing(0.0, 1.0),
        images=LabeledImages(
            pixels=pixels,
            labels=np.repeat([0, 1], (60, 40)),
            class_names=("ok", "ng"),
            names=tuple(f"image {i}" for i in range(100)),
        ),
        recipe={"name": "raw-pixels"},
        ng=("ng",),
        seen=Seen(
            digests=digests_of(pixels),
            parts=np.full(100, VALIDATION, np.uint8),
            groups=np.empty((0, 2), np.uint64),
        ),
    )


def kept_of(model, counts, seed=50, groups=None, names=("ok", "ng")):
    pixels = pictures(counts, seed)
    n = len(pixels)
    return Kept(
        vectors=model.embed(pixels),
        statistics=model.statistics(pixels),
        labels=np.repeat([0, 1], counts),
        class_names=names,
        groups=np.arange(n) if groups is None else groups,
        digests=digests_of(pixels),
        source="parts",
    )


def with_thresholds(model, counts=(200, 120), **asked):
    kept = kept_of(model, counts)
    return dataclasses.replace(model, calibration=calibrated(model.known, kept, Asked(**asked), model.state))


def told(model, pixels, **changes):
    return model.classify(pixels, [f"query {i}" for i in range(len(pixels))], **changes)


def test_of_a_group_the_strangest_image_counts():
    assert unit_scores(np.array([1.0, 5.0, 2.0, 0.5]), np.array([3, 3, 1, 1])).tolist() == [2.0, 5.0]


def test_the_ng_score_runs_from_0_to_1():
    scaled = np.array([[1.0, 3.0, 2.0], [4.0, 0.0, 9.0], [0.0, 0.0, 5.0], [np.inf, 1.0, np.inf]])
    found = ng_scores(scaled, np.array([False, True, False]))
    assert found.tolist() == [0.25, 1.0, 0.5, 1.0]
    assert ng_scores(scaled, np.zeros(3, bool)) is None
    assert ng_scores(scaled, np.ones(3, bool)) is None


def test_a_defect_that_was_taught_moves_no_ng_score_but_where_it_is_the_only_one():
    scaled = np.array([[1.0, 3.0, 1.0], [2.0, 2.0, 0.5]])
    ng, new = np.array([False, True, True]), np.array([False, False, True])
    assert ng_scores(scaled, ng, new).tolist() == [0.25, 0.5]
    assert ng_scores(scaled[:, [0, 2]], ng[[0, 2]], new[[0, 2]]).tolist() == [0.5, 0.8]
    assert ng_scores(scaled, ~ng, new).tolist() == [0.5, 0.2], "a kind that was taught as OK counts"


def test_a_defect_that_was_taught_turns_no_part_that_is_not_like_it(model, taught_to):
    """Five photos of a defect that are all unlike: every part lies within what is usual in such a class."""
    whole = with_thresholds(model, cost_escape=10.0, cost_overkill=1.0)
    wide = np.concatenate([drawn(1, level, level) for level in (20, 100, 140, 220, 250)])
    after = dataclasses.replace(whole, taught=taught_to(model, wide, ng=("stain",)))
    parts = np.concatenate([drawn(20, 60, 7), drawn(20, 180, 8)])
    for before, verdict in zip(told(whole, parts), told(after, parts), strict=True):
        assert verdict.ng_score == before.ng_score
        assert verdict.judgement in {before.judgement, "NG" if verdict.label == "stain" else "OK"}


def test_the_threshold_is_the_order_statistic_that_is_promised(model):
    found = with_thresholds(model, (200, 120)).calibration
    assert (found.units, found.promised) == (320, 0.01)
    assert found.threshold == np.sort(found.strangeness)[-1], "of 320 the largest keeps 1 %"
    assert not found.balanced, "and leaves no room for a limit of each gate"


@pytest.mark.parametrize(("counts", "beyond"), [((20, 10), 2), ((700, 301), 5)])
def test_each_gate_has_a_limit_of_its_own_where_the_promise_has_room(model, counts, beyond):
    found = with_thresholds(model, counts).calibration
    n = sum(counts)
    kept = model.known.strangeness(found.kept.vectors, found.kept.statistics).weighed(found.balance)
    assert found.balanced
    assert np.array_equal(kept.least, found.strangeness)
    assert kept.statistics.max() == pytest.approx(found.threshold)
    # those at the two limits are in, but one of the statistics' may be out by its embedding
    assert (found.strangeness > found.threshold).sum() in {beyond - 2, beyond - 1}
    law = stats.beta(beyond, n + 1 - beyond)
    assert found.promised == pytest.approx(law.ppf(0.95) if beyond == 2 else 0.01)
    assert law.cdf(found.promised) >= 0.95 - 1e-9


def test_what_one_gate_finds_odd_in_a_known_image_does_not_open_the_other(model):
    """A calibration image of 30 has an embedding far off; blanks are told by their statistics still."""
    kept = kept_of(model, (20, 10))
    vectors = kept.vectors.copy()
    vectors[3] = 4 * vectors[3]
    odd = dataclasses.replace(kept, vectors=vectors)
    blank = np.repeat(np.array([55, 60, 65], np.uint8), SIDE * SIDE).reshape(3, 1, SIDE, SIDE)
    for one in (kept, odd):
        found = calibrated(model.known, one, Asked(), model.state)
        verdicts = told(dataclasses.replace(model, calibration=found), blank)
        assert all(verdict.unknown and verdict.gate == "statistics" for verdict in verdicts)
        assert [verdict.p_value for verdict in verdicts] == [2 / 31] * 3


def test_groups_count_once(model):
    groups = np.arange(320) // 4
    found = calibrated(model.known, kept_of(model, (200, 120), groups=groups), Asked(), "")
    assert found.units == 80
    assert found.promised == pytest.approx(stats.beta.ppf(0.95, 2, 79))


def test_a_threshold_that_copies_set_to_nothing_is_common_to_both_gates(model):
    """Copies of gallery images lie at no distance from it, by which the other gate could be weighed."""
    kept = kept_of(model, (20, 10))
    vectors = np.repeat(model.gallery.vectors[:1], 30, axis=0)
    wide = dataclasses.replace(
        model,
        gallery=dataclasses.replace(
            model.gallery, vectors=np.repeat(model.gallery.vectors[:1], len(model.gallery), axis=0)
        ),
    )
    found = calibrated(wide.known, dataclasses.replace(kept, vectors=vectors), Asked(), "")
    assert not found.balanced
    assert found.threshold == found.strangeness.max() > 0


def test_each_class_may_have_a_promise_of_its_own(model):
    found = with_thresholds(model, (300, 120), per_class=True).calibration
    assert set(found.class_thresholds) == {"ok"}, "120 images of the other promise no 1 %"
    assert found.class_thresholds["ok"] == max(found.own[:300].max(), found.threshold)
    image = drawn(1, 60, 99)
    strict = dataclasses.replace(found, class_thresholds={"ok": 0.0}, threshold=0.0)
    assert told(dataclasses.replace(model, calibration=strict), image)[0].unknown
    loose = dataclasses.replace(found, class_thresholds={"ok": 1e9}, threshold=0.0)
    assert not told(dataclasses.replace(model, calibration=loose), image)[0].unknown


def test_a_class_threshold_takes_nothing_from_the_promise_for_all(model):
    """Whoever is no stranger than the pooled threshold is known, whichever class has one of its own."""
    pixels = pictures((300, 120), 50)
    pixels[300:] = drawn(120, 120, 51)  # the other class comes in another guise, half way to the first
    kept = dataclasses.replace(
        kept_of(model, (300, 120)), vectors=model.embed(pixels), statistics=model.statistics(pixels)
    )
    found = calibrated(model.known, kept, Asked(per_class=True, false_alarm=0.02), model.state)
    assert found.class_thresholds["ok"] >= found.threshold > found.own[:300].max()
    verdicts = told(dataclasses.replace(model, calibration=found), drawn(60, 120, 52))
    for verdict in verdicts:
        assert verdict.unknown == (verdict.strangeness > found.threshold)


def test_known_images_are_known_and_strange_ones_are_not(model):
    whole = with_thresholds(model)
    known = told(whole, np.concatenate([drawn(20, 60, 7), drawn(20, 180, 8)]))
    assert sum(verdict.unknown for verdict in known) <= 2
    assert [verdict.label for verdict in known if not verdict.unknown][:5] == ["ok"] * 5
    assert {verdict.judgement for verdict in known} <= {"OK", "NG", "unknown"}
    chance = np.random.default_rng(0)
    noise = chance.integers(0, 256, (5, 1, SIDE, SIDE)).astype(np.uint8)
    blank = np.full((1, 1, SIDE, SIDE), 60, np.uint8)
    for verdict in told(whole, np.concatenate([noise, blank])):
        assert (verdict.label, verdict.judgement, verdict.unknown) == ("unknown", "unknown", True)
        assert verdict.p_value == pytest.approx(1 / 321)
        assert verdict.winner is not None
    assert told(whole, blank)[0].gate == "statistics", "right at the level of a class, and no picture of it"


def test_p_values_of_a_class_need_images_enough(model):
    verdict = told(with_thresholds(model, (120, 40)), drawn(1, 60, 7))[0]
    assert (verdict.winner.label, verdict.runner_up.label) == ("ok", "ng")
    assert 1 / 121 <= verdict.winner.p_value <= 1
    assert verdict.runner_up.p_value is None, "40 images are fewer than 1 / 0.01 - 1"
    assert verdict.promised
    assert told(with_thresholds(model, (120, 40)), drawn(1, 180, 7))[0].promised is False


def test_costs_move_the_threshold_and_what_lies_beyond_it(model):
    dear = with_thresholds(model, cost_escape=1000.0, cost_overkill=1.0)
    found = dear.calibration.inspecting
    assert found.escapes.count == 0
    assert (found.promised, found.escaping.n) == (None, 120)
    assert found.cost == pytest.approx(0, abs=1e-9), "the classes lie apart"
    between = drawn(40, 120, 3)
    scores = [verdict.ng_score for verdict in told(dear, between)]
    calls = [verdict.judgement for verdict in told(dear, between)]
    for score, call in zip(scores, calls, strict=True):
        assert call == "unknown" or (call == "NG") == (score >= found.threshold)


def test_the_threshold_overrules_the_vote_and_says_so(model):
    whole = with_thresholds(model, cost_escape=1.0, cost_overkill=1.0)
    strict = dataclasses.replace(
        whole.calibration, inspecting=dataclasses.replace(whole.calibration.inspecting, threshold=0.0)
    )
    (verdict,) = told(dataclasses.replace(whole, calibration=strict), drawn(1, 60, 7))
    assert (verdict.judgement, verdict.label, verdict.method) == ("NG", "ng", "threshold")
    (plain,) = told(model, drawn(1, 60, 7))
    assert (plain.judgement, plain.label, plain.method) == ("OK", "ok", "k-NN vote")


def test_escapes_are_promised_by_the_order_statistic_from_below(model):
    found = with_thresholds(model, (100, 59), escapes=0.05).calibration
    scores = ng_scores(
        model.known.strangeness(found.kept.vectors, found.kept.statistics).scaled, model.known.ng
    )
    assert found.inspecting.threshold == scores[100:].min()
    assert (found.inspecting.promised, found.inspecting.escapes.count) == (0.05, 0)
    few = with_thresholds(model, (100, 10), escapes=0.05).calibration.inspecting
    assert few.promised == pytest.approx(1 - 0.05 ** (1 / 10))


def test_costs_need_both_sides_and_a_class_that_is_ng(model):
    with pytest.raises(DataError, match="--escapes: 0 of the 30 calibration images are NG"):
        with_thresholds(model, (30, 0), escapes=0.1)
    with pytest.raises(UsageError, match="--cost-escape: the model knows no NG class"):
        with_thresholds(dataclasses.replace(model, ng=()), cost_escape=1.0, cost_overkill=1.0)
    with pytest.raises(DataError, match="calibration images of class 'dent', which the model does not know"):
        calibrated(model.known, kept_of(model, (3, 3), names=("ok", "dent")), Asked(), "")


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({"false_alarm": 0.0}, "--false-alarm 0.0: expected a share"),
        ({"escapes": 1.5}, "--escapes 1.5: expected a share"),
        ({"cost_escape": -1.0, "cost_overkill": 1.0}, "--cost-escape -1.0: expected a positive number"),
        ({"cost_escape": 1.0}, "go together"),
        ({"cost_escape": 1.0, "cost_overkill": 1.0, "escapes": 0.1}, "both set the NG threshold"),
        ({"ng_share": 0.1}, "--ng-share weighs the costs"),
    ],
)
def test_what_cannot_be_meant_is_refused(asked, message):
    with pytest.raises(UsageError, match=message):
        Asked(**asked)


def test_alone_or_in_a_batch_the_verdict_is_the_same(model):
    whole = with_thresholds(model, cost_escape=10.0, cost_overkill=1.0)
    pixels = np.concatenate([drawn(6, 60, 1), drawn(6, 120, 2), model_image(model, 3), drawn(4, 180, 3)])
    together = told(whole, pixels)
    for number, verdict in enumerate(together):
        (alone,) = whole.classify(pixels[number : number + 1], [f"query {number}"])
        assert alone == verdict


def model_image(model, row):
    """The pixels of a gallery image: the network changes nothing."""
    return np.rint(model.gallery.vectors[row] * 255).astype(np.uint8).reshape(1, 1, SIDE, SIDE)


def test_an_image_of_the_gallery_is_told_and_does_not_vote(model):
    (verdict,) = told(with_thresholds(model), model_image(model, 3))
    assert verdict.in_gallery == "image 3"
    seen = {one.name for one in (*verdict.neighbors, *verdict.winner.exemplars)}
    assert "image 3" not in seen
    assert verdict.neighbors[0].distance > 0


def test_a_class_taught_from_five_images_is_found_and_noise_stays_unknown(model, taught_to):
    whole = with_thresholds(model)
    foreign = drawn(15, 240, 5)
    assert all(verdict.unknown for verdict in told(whole, foreign[5:]))
    after = dataclasses.replace(whole, taught=taught_to(model, foreign[:5], ng=("stain",)))
    assert (whole.stale, after.stale) == (False, True)
    found = told(after, foreign[5:])
    assert sum(verdict.label == "stain" for verdict in found) >= 9
    for verdict in found:
        assert verdict.label != "stain" or verdict.judgement == "NG"
        assert verdict.promised is False
        assert any(note.startswith("the gallery was changed") for note in verdict.warnings)
    named = [verdict for verdict in found if verdict.label == "stain"]
    assert all(any("no promise for this class: 0 cal" in note for note in one.warnings) for one in named)
    noise = np.random.default_rng(0).integers(0, 256, (20, 1, SIDE, SIDE)).astype(np.uint8)
    assert all(verdict.unknown for verdict in told(after, noise))
    known = told(after, drawn(20, 60, 7))
    assert sum(verdict.label == "ok" for verdict in known) >= 18


@pytest.mark.parametrize(("level", "factor"), [(240, FAVOR), (75, None), (None, LEAST_FAVOR)])
def test_a_lesson_takes_few_of_the_calibration_images(model, level, factor, taught_to):
    """Far from the others a class has all its favour, beside one less, and the least where it is the same."""
    whole = with_thresholds(model)
    taught = np.repeat(pictures((200, 120), 50)[:2], 5, axis=0) if level is None else drawn(8, level, 5)
    after = dataclasses.replace(whole, taught=taught_to(model, taught, ng=("stain",)))
    kept, right = whole.calibration.kept, whole.calibration.right
    assert right.sum() == len(kept)
    favors = favors_of(whole.calibration, after.known)
    assert favors[:2].tolist() == [0.0, 0.0]
    assert favors_of(None, after.known).tolist() == [0.0, 0.0, FAVOR]
    if factor is not None:
        assert favors[2] == pytest.approx(factor)
        return
    assert LEAST_FAVOR < favors[2] < FAVOR
    queries = Queries(
        vectors=kept.vectors,
        statistics=kept.statistics,
        digests=kept.digests,
        names=[""] * len(kept),
        warnings=[()] * len(kept),
    )
    free = dataclasses.replace(
        whole.calibration, right=np.empty(0, np.bool_), away=np.empty(0)
    )  # as an older bundle tells
    lost = [
        sum(verdict.winner.label == "stain" for verdict in verdicts(queries, after.known, 5, rules))
        for rules in (rules_of(one, after.known, "after") for one in (free, whole.calibration))
    ]
    assert lost[0] > 1
    assert lost[1] <= 1  # the nearest of them stands at the threshold itself


def test_what_is_unknown_is_likest_what_its_neighbours_are_whatever_the_threshold_between_ok_and_ng(model):
    """Each threshold would turn what it found: one calls nothing NG, the other everything."""
    whole = with_thresholds(model, cost_escape=10.0, cost_overkill=1.0)
    strangers = drawn(6, 240, 5)
    for threshold in (0.0, 1.0):
        found = dataclasses.replace(whole.calibration.inspecting, threshold=threshold)
        turned = dataclasses.replace(
            whole, calibration=dataclasses.replace(whole.calibration, inspecting=found)
        )
        for verdict in told(turned, strangers):
            assert verdict.unknown
            assert verdict.winner.label == verdict.neighbors[0].label


def test_images_taught_to_a_known_class_make_it_wider(model, taught_to):
    whole = with_thresholds(model)
    foreign = drawn(8, 110, 5)
    before = [verdict.winner.scaled for verdict in told(whole, foreign[4:])]
    after = dataclasses.replace(whole, taught=taught_to(model, foreign[:4], "ok"))
    assert after.known.embeddings.class_names == ("ok", "ng")
    assert not after.known.new.any()
    found = told(after, foreign[4:])
    assert all(verdict.winner.scaled < scaled for verdict, scaled in zip(found, before, strict=True))


def test_an_image_taught_twice_over_leaves_all_its_copies_out(model, taught_to):
    image = model_image(model, 3)
    after = dataclasses.replace(model, taught=taught_to(model, image, "stain"))
    (verdict,) = told(after, image)
    assert verdict.in_gallery == "image 3"
    assert {one.name for one in verdict.neighbors} & {"image 3", "stain 0"} == set()
    assert (verdict.winner.label, verdict.runner_up.label) == ("ok", "ng"), "stain holds nothing but itself"


def test_a_bundle_keeps_its_thresholds(model, tmp_path):
    whole = with_thresholds(model, (300, 120), per_class=True, cost_escape=5.0, cost_overkill=1.0)
    whole.save(tmp_path / "m.mitsugo")
    again = Model.load(tmp_path / "m.mitsugo")
    pixels = np.concatenate([drawn(5, 60, 1), drawn(5, 120, 2)])
    assert told(again, pixels) == told(whole, pixels)
    assert (again.ng, again.stale) == (("ng",), False)
    for one in ("asked", "units", "threshold", "promised", "class_thresholds", "inspecting", "state"):
        assert getattr(again.calibration, one) == getattr(whole.calibration, one)
    again.save(tmp_path / "again.mitsugo")
    assert (tmp_path / "m.mitsugo").read_bytes() == (tmp_path / "again.mitsugo").read_bytes()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"ng": ("dent",)}, "an NG class is none of its classes"),
        ({"taught": "other"}, "what was taught belongs to another model"),
        ({"gates": "narrow"}, "tells the unusual of 1 classes"),
        ({"gates": "folded"}, "101 images were folded in, its gallery has 100"),
        ({"seen": "shifted"}, "do not begin with those of its gallery"),
    ],
)
def test_parts_that_do_not_belong_together_are_refused(model, change, message, taught_to):
    taught = taught_to(model, drawn(2, 1, 1))
    made = {
        "other": dataclasses.replace(
            taught, embeddings=dataclasses.replace(taught.embeddings, fingerprint="0" * 64)
        ),
        "narrow": dataclasses.replace(
            model.gates, scales=model.gates.scales[:1], folded=model.gates.folded[:1]
        ),
        "folded": dataclasses.replace(
            model.gates, others=np.zeros((101, len(model.gates.mean))), reach=np.ones(101)
        ),
        "shifted": dataclasses.replace(model.seen, parts=np.full(100, 2, np.uint8)),
    }
    changes = {
        name: made.get(value, value) if isinstance(value, str) else value for name, value in change.items()
    }
    with pytest.raises(ModelError, match=message):
        dataclasses.replace(model, **changes)


def test_a_model_without_gates_votes_and_nothing_else(model):
    bare = dataclasses.replace(model, gates=None, seen=None)
    (verdict,) = told(bare, drawn(1, 60, 7))
    assert (verdict.label, verdict.winner, verdict.ng_score, verdict.strangeness) == ("ok", None, None, None)
    with pytest.raises(ModelError, match="made before images could be told to be unknown"):
        bare.known.strangeness(bare.embed(drawn(1, 60, 7)), bare.statistics(drawn(1, 60, 7)))

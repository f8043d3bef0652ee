"""What verdicts hang on, gates, used images and thresholds, is refused where it was doctored."""

import dataclasses
import json
import random
import resource

import numpy as np
import pytest
import torch

from mitsugo.errors import ModelError
from mitsugo.files import read_sealed, write_sealed
from mitsugo.model.bundle import Model
from mitsugo.model.tensors import packed, unpacked
from mitsugo.model.thresholds import calibrated
from mitsugo.values import Asked, Kept, digests_of

GATES, SEEN, CALIBRATION = "gates.safetensors", "seen.safetensors", "calibration.safetensors"
KINDS = {"I64": torch.int64, "F32": torch.float32, "F64": torch.float64, "U8": torch.uint8}


@pytest.fixture
def make_calibrated(make_model):
    """Make the small model with an NG class and thresholds from 12 images, two of one group."""

    def make(seed=0):
        model = make_model(seed)
        model = dataclasses.replace(model, ng=model.class_names[1:2])
        pixels = np.random.default_rng(seed + 100).integers(0, 256, (12, 1, 2, 2), dtype=np.uint8)
        kept = Kept(
            vectors=model.embed(pixels),
            statistics=model.statistics(pixels),
            labels=np.arange(12) % 3,
            class_names=model.class_names,
            groups=np.array([0, *range(11)]),
            digests=digests_of(pixels),
            source="部品",
        )
        asked = Asked(false_alarm=0.3, escapes=0.6)
        return dataclasses.replace(model, calibration=calibrated(model.known, kept, asked, model.state))

    return make


@pytest.fixture
def bundle(tmp_path, make_calibrated):
    """A saved bundle, with all members that there can be."""
    path = tmp_path / "model.mitsugo"
    make_calibrated().save(path)
    return path


def arrays(content):
    """Return the tensors of a member, to be changed."""
    header = json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])
    expected = {name: (one["dtype"], tuple(one["shape"])) for name, one in header.items()}
    return {name: tensor.clone() for name, tensor in unpacked(content, expected).items()}


def entry_of(members, **changes):
    """Return the manifest's entry of the calibration, changed."""
    return json.loads(members["manifest.json"])["calibration"] | changes


def test_all_of_it_comes_back_bit_for_bit(bundle, make_calibrated):
    model, again = make_calibrated(), Model.load(bundle)
    for part in ("gates", "seen"):
        for field in dataclasses.fields(getattr(model, part)):
            one, other = (getattr(getattr(which, part), field.name) for which in (model, again))
            assert np.array_equal(one, other)
            assert one.dtype == other.dtype
    assert again.calibration.class_thresholds == model.calibration.class_thresholds
    assert again.calibration.threshold == model.calibration.threshold
    assert again.calibration.inspecting == model.calibration.inspecting
    assert again.ng == model.ng == ("傷, 深い",)
    assert not again.stale


@pytest.mark.parametrize("name", [GATES, CALIBRATION])
def test_thresholds_do_not_do_without_what_they_were_measured_by(refused, members, reseal, name):
    del members[name]
    message = f"{name} is missing" if name == CALIBRATION else "it has thresholds, but nothing to measure by"
    refused(reseal(members), message)


@pytest.mark.parametrize("name", [GATES, SEEN, CALIBRATION])
def test_a_member_that_was_taken_out_or_exchanged_is_refused(
    refused, tmp_path, members, reseal, make_calibrated, name
):
    make_calibrated(seed=2).save(tmp_path / "other")
    exchanged = {**members, name: read_sealed(tmp_path / "other")[name]}
    refused(reseal(exchanged, rehash=False), "a member is not the one that the manifest names: it was exch")
    del members[name]
    refused(reseal(members, rehash=False), "a member is not the one that the manifest|is missing")


def test_thresholds_without_an_entry_are_too_many(refused, members, reseal):
    refused(reseal(members, calibration=None), f"{CALIBRATION} is too many")


def test_thresholds_of_another_bundle_are_refused_even_with_their_hash(
    refused, tmp_path, members, reseal, make_calibrated
):
    make_calibrated(seed=2).save(tmp_path / "other")
    other = read_sealed(tmp_path / "other")
    members[CALIBRATION] = other[CALIBRATION]
    refused(reseal(members, calibration=entry_of(other)), "its thresholds belong to model [0-9a-f]{12}: cal")


@pytest.mark.parametrize("name", [GATES, SEEN, CALIBRATION])
@pytest.mark.parametrize("times", [60, pytest.param(2_000, marks=pytest.mark.slow)])
def test_a_member_that_was_cut_or_flipped_under_a_true_seal_is_refused_by_its_hash(
    refused, members, reseal, name, times
):
    chance = random.Random(7)
    content = members[name]
    for _ in range(times):
        cut = content[: chance.randrange(len(content))]
        flipped = bytearray(content)
        flipped[chance.randrange(len(content))] ^= 1 << chance.randrange(8)
        for broken in (cut, bytes(flipped)):
            path = reseal({**members, name: broken}, rehash=False)
            refused(path, "a member is not the one that the manifest names")


@pytest.mark.parametrize("name", [GATES, SEEN, CALIBRATION])
def test_a_member_that_was_cut_at_any_length_is_refused_even_with_its_hash(refused, members, reseal, name):
    content = members[name]
    for length in np.linspace(0, len(content) - 1, 50).astype(int).tolist():
        refused(reseal({**members, name: content[:length]}), rf"{name.split('.')[0]}\.safetensors ")


@pytest.mark.parametrize("times", [60, pytest.param(3_000, marks=pytest.mark.slow)])
def test_any_byte_changed_with_its_hash_is_refused_or_is_a_model_that_answers(members, reseal, times):
    """Whatever was changed under true hashes, nothing but a refusal in one line comes of it."""
    chance = random.Random(11)
    pixels = np.random.default_rng(1).integers(0, 256, (3, 1, 2, 2), dtype=np.uint8)
    loaded = 0
    for _ in range(times):
        name = chance.choice([GATES, SEEN, CALIBRATION])
        changed = bytearray(members[name])
        changed[chance.randrange(len(changed))] = chance.randrange(256)
        try:
            model = Model.load(reseal({**members, name: bytes(changed)}))
        except ModelError:
            continue
        loaded += 1
        assert len(model.classify(pixels, ["a", "b", "c"])) == 3
    assert 0 < loaded < times


@pytest.mark.parametrize("name", [GATES, CALIBRATION])
@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_a_number_that_is_none_is_refused_wherever_it_stands(refused, members, reseal, name, value):
    for key, tensor in arrays(members[name]).items():
        if tensor.is_floating_point() and tensor.numel():
            changed = arrays(members[name])
            changed[key].view(-1)[-1] = value
            refused(reseal({**members, name: packed(changed)}), f"{key} holds a value that is not finite")


@pytest.mark.parametrize(
    ("name", "key", "shape"),
    [
        (GATES, "scales", (1 << 40,)),
        (GATES, "mean", (1 << 20,)),
        (GATES, "others", (1 << 40, 27)),
        (GATES, "sizes", (-1,)),
        (GATES, "units", ()),
        (SEEN, "parts", (1 << 50,)),
        (SEEN, "groups", (1 << 50, 2)),
        (CALIBRATION, "vectors", (1 << 40, 2)),
        (CALIBRATION, "labels", (1 << 60,)),
    ],
)
def test_an_absurd_shape_is_refused_before_memory_is_taken(
    refused, members, reseal, safetensors_of, name, key, shape
):
    content = members[name]
    length = int.from_bytes(content[:8], "little")
    header = json.loads(content[8 : 8 + length])
    header[key]["shape"] = list(shape)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    refused(reseal({**members, name: safetensors_of(header, content[8 + length :])}), f"{name} ")
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 100_000


def test_shapes_that_agree_with_one_another_but_not_with_the_bytes_take_no_memory(
    refused, members, reseal, safetensors_of
):
    """A header whose shapes all fit together claims 2^40 statistics; the bytes are those of 27."""
    content = members[GATES]
    length = int.from_bytes(content[:8], "little")
    header = json.loads(content[8 : 8 + length])
    many = 1 << 40
    header["mean"]["shape"], header["whitener"]["shape"] = [many], [many, many]
    header["others"]["shape"] = [0, many]
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    refused(reseal({**members, GATES: safetensors_of(header, content[8 + length :])}), f"{GATES} ")
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 100_000


@pytest.mark.parametrize(
    ("name", "change", "message"),
    [
        (GATES, {"scales": torch.tensor([1.0, -1.0, 1.0]).double()}, "scales are not all positive"),
        (GATES, {"units": torch.zeros(2).double()}, "units are not all positive"),
        (GATES, {"usual": torch.zeros(1).double(), "sizes": torch.tensor([0])}, "do not ascend from 1"),
        (
            GATES,
            {"scales": torch.ones(2).double(), "folded": torch.zeros(2, dtype=torch.uint8)},
            "tells the unusual of 2 classes, but has others",
        ),
        (CALIBRATION, {"labels": torch.full((12,), 3)}, "has a label that is no class"),
        (CALIBRATION, {"labels": torch.full((12,), -1)}, "has a label that is no class"),
        (
            CALIBRATION,
            {"groups": torch.arange(12)},
            "11 independent calibration images are claimed, but there",
        ),
        (CALIBRATION, {"right": torch.full((12,), 2, dtype=torch.uint8)}, "right holds 2; expected 0 or 1"),
        (CALIBRATION, {"away": torch.full((12,), -1.0).double()}, "no distance away from its class"),
        (
            CALIBRATION,
            {"away": torch.full((12,), torch.nan).double()},
            "away holds a value that is not finite",
        ),
        (CALIBRATION, {"away": torch.zeros(0).double()}, r"away is F64 \(0,\), expected missing"),
        (CALIBRATION, {"more": torch.zeros(1)}, r"more is F32 \(1,\), expected missing"),
        (SEEN, {"parts": torch.full((6,), 4, dtype=torch.uint8)}, "was used in part 4; expected 0 to 3"),
        (SEEN, {"parts": torch.full((6,), 2, dtype=torch.uint8)}, "do not begin with those of its gallery"),
        (
            SEEN,
            {"parts": torch.zeros(5, dtype=torch.uint8), "digests": torch.zeros(5, 2, dtype=torch.int64)},
            "names 5 images that it was made with, its gallery has 6",
        ),
    ],
)
def test_values_that_cannot_be_are_refused(refused, members, reseal, name, change, message):
    content = packed(arrays(members[name]) | change)
    refused(reseal({**members, name: content}), message)


def test_a_bundle_that_does_not_tell_how_its_calibration_images_stand_is_read(reseal, members):
    """Bundles were once made so."""
    kept = arrays(members[CALIBRATION])
    del kept["right"], kept["away"]
    calibration = Model.load(reseal({**members, CALIBRATION: packed(kept)})).calibration
    assert (len(calibration.kept), len(calibration.right), len(calibration.away)) == (12, 0, 0)


def test_thresholds_of_before_the_gates_were_balanced_are_stale(reseal, members):
    """They were drawn from scores by another rule."""
    document = json.loads(members["manifest.json"])["calibration"]
    assert not Model.load(reseal(members)).stale
    del document["balance"]
    assert Model.load(reseal(members, calibration=document)).stale


def test_another_number_of_statistics_is_refused(refused, members, reseal):
    """Gates and thresholds that agree, of an image with one statistic fewer than it has."""
    gates, kept = arrays(members[GATES]), arrays(members[CALIBRATION])
    gates |= {
        "mean": gates["mean"][:-1].clone(),
        "whitener": gates["whitener"][:-1, :-1].clone(),
        "others": gates["others"][:, :-1].clone(),
    }
    kept["statistics"] = kept["statistics"][:, :-1].clone()
    doctored = {**members, GATES: packed(gates), CALIBRATION: packed(kept)}
    refused(reseal(doctored), "tells the unusual by 26 statistics, an image of it has 27")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"images": 11}, r"away is F64 \(12,\), expected F64 \(11,\)"),
        ({"images": 10**30}, "expected F64"),
        ({"images": -12}, "expected F64"),
        ({"units": 12}, "12 independent calibration images are claimed, but there are 11"),
        ({"class_names": ["a", "b"]}, "has a label that is no class"),
        ({"class_names": ["a", "b", "a"]}, "two classes of the calibration images have the same name"),
        ({"class_thresholds": {"dent": 1.0}}, "a threshold for class 'dent', of which there is no"),
        ({"threshold": -1.0}, "a threshold of -1.0: expected a finite number"),
        ({"balance": 0.0}, "a balance of 0.0 between the gates: expected a positive number"),
        ({"balance": -2.0}, "a balance of -2.0 between the gates"),
        ({"promised": 0.0}, "a promised share of 0.0"),
        ({"promised": 1.5}, "a promised share of 1.5"),
        ({"state": 7}, "calibration.state: expected a text|calibration.state"),
        ({"fingerprint": "ab" * 32}, "its thresholds belong to model abababababab"),
        ({"more": 1}, "calibration.more: extra inputs are not permitted"),
        ({"asked": {}}, "field required"),
    ],
)
def test_an_entry_that_does_not_fit_is_refused(refused, members, reseal, changes, message):
    refused(reseal(members, calibration=entry_of(members, **changes)), message)


@pytest.mark.parametrize(
    ("key", "value"),
    [("threshold", "1e999"), ("threshold", "NaN"), ("promised", "1e999"), ("promised", "NaN")],
)
@pytest.mark.parametrize("inspecting", [False, True])
def test_a_threshold_that_is_no_number_is_refused(refused, tmp_path, members, key, value, inspecting):
    document = json.loads(members["manifest.json"])
    entry = document["calibration"]["inspecting"] if inspecting else document["calibration"]
    entry[key] = 777.25
    content = json.dumps(document).replace("777.25", value).encode()
    write_sealed(tmp_path / "doctored.mitsugo", {**members, "manifest.json": content})
    refused(tmp_path / "doctored.mitsugo", f"a threshold of inf|a promised share of inf|{value} is no number")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"false_alarm": 0.0}, "--false-alarm 0.0: expected a share"),
        ({"cost_escape": 1.0}, "go together"),
        ({"per_class": 1}, "calibration.asked.per_class"),
    ],
)
def test_what_was_asked_cannot_be_nonsense(refused, members, reseal, changes, message):
    asked = entry_of(members)["asked"] | changes
    refused(reseal(members, calibration=entry_of(members, asked=asked)), message)


@pytest.mark.parametrize("ng", [["傷, 深い", "dent"], ["dent"], [7], "傷, 深い"])
def test_an_ng_class_that_is_none_is_refused(refused, members, reseal, ng):
    refused(reseal(members, ng=ng), "an NG class is none of its classes|its manifest: ng")

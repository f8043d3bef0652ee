"""A bundle that was exchanged or doctored under a true seal is refused before memory is taken."""

import json
import resource

import pytest
import torch

from mitsugo.files import read_sealed, write_sealed
from mitsugo.model.tensors import packed

MEMBERS = ["weights.safetensors", "gallery.safetensors", "gallery.json"]


@pytest.mark.parametrize("schema", [2, 7, 10**30])
def test_a_newer_schema_says_to_upgrade(refused, members, reseal, schema):
    path = reseal(members, schema=schema, something={"new": 1})
    refused(
        path, rf"was written by a newer mitsugo \(schema {schema}, this one reads up to 1\); upgrade mitsugo$"
    )


def test_a_newer_schema_is_seen_before_its_members(refused, members, reseal):
    refused(reseal({"manifest.json": members["manifest.json"], "new": b""}, schema=2), "newer mitsugo")


@pytest.mark.parametrize("schema", [0, -1, -(10**30)])
def test_a_schema_that_never_was_is_refused(refused, members, reseal, schema):
    refused(reseal(members, schema=schema), f"has schema {schema}, which no mitsugo wrote; get it again")


@pytest.mark.parametrize("schema", [None, "1", 1.0, True, [1]])
def test_a_schema_that_is_no_number_is_refused(refused, members, reseal, schema):
    refused(reseal(members, schema=schema), "its manifest names no schema number; get it again")


@pytest.mark.parametrize("name", MEMBERS)
@pytest.mark.parametrize("rehash", [False, True])
def test_a_missing_member_is_named(refused, members, reseal, name, rehash):
    del members[name]
    refused(reseal(members, rehash=rehash), f"{name} is missing; get it again")


@pytest.mark.parametrize("name", ["more", "../escape", "WEIGHTS.SAFETENSORS", "a\nb"])
@pytest.mark.parametrize("rehash", [False, True])
def test_a_member_too_many_is_named(refused, members, reseal, name, rehash):
    members[name] = b""
    refused(reseal(members, rehash=rehash), "is too many; get it again")


def test_an_archive_without_a_manifest_is_no_model(refused, tmp_path):
    write_sealed(tmp_path / "checkpoint.mitsugo", {"state.json": b"{}"})
    refused(tmp_path / "checkpoint.mitsugo", "holds no manifest.json; name a model.mitsugo or a run folder")


@pytest.mark.parametrize("name", ["weights.safetensors", "gallery.safetensors"])
def test_a_member_exchanged_between_two_bundles_is_refused(
    refused, tmp_path, members, reseal, make_model, name
):
    make_model(seed=2).save(tmp_path / "other")
    members[name] = read_sealed(tmp_path / "other")[name]
    refused(
        reseal(members, rehash=False), "a member is not the one that the manifest names: it was exchanged"
    )


def test_weights_exchanged_with_their_hash_are_refused_by_the_fingerprint(
    refused, tmp_path, members, reseal, make_model
):
    make_model(seed=2).save(tmp_path / "other")
    members["weights.safetensors"] = read_sealed(tmp_path / "other")["weights.safetensors"]
    refused(reseal(members), "the gallery belongs to model .*, this is model .*; get it again")


@pytest.mark.parametrize(
    "changes",
    [
        {"fingerprint": "0" * 64},
        {"preprocessing": {"mean": 0.25, "std": 0.75}},
        {"preprocessing": {"mean": 0, "std": 0.5}},
    ],
)
def test_a_manifest_of_another_model_is_refused_by_the_fingerprint(refused, members, reseal, changes):
    refused(reseal(members, **changes), "the gallery belongs to model")


def architecture(**changes):
    return {
        "architecture": {"name": "mlp", "image_shape": [1, 2, 2], "dimension": 2, "hidden": [3]} | changes
    }


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (architecture(hidden=[60_000, 60_000]), r"layers\.0\.bias is F32 \(3,\), expected F32 \(60000,\)"),
        (architecture(hidden=[1 << 24] * 64), r"expected F32 \(16777216,\)"),
        (architecture(hidden=[3] * 65), "65 hidden layers, expected at most 64"),
        (architecture(hidden=[(1 << 24) + 1]), "a network with a size of 16777217"),
        (architecture(hidden=[10**30]), "a network with a size of 1000000000000000000000000000000"),
        (architecture(hidden=[-3]), "a network with a size of -3"),
        (
            architecture(image_shape=[1 << 20, 1 << 20, 1 << 20]),
            "a network with a size of 1152921504606846976",
        ),
        (architecture(dimension=3), r"layers\.2\.bias is F32 \(2,\), expected F32 \(3,\)"),
        (architecture(hidden=[]), r"layers\.0\.bias is F32 \(3,\), expected F32 \(2,\)"),
        (
            architecture(name="raw-pixels", dimension=4, hidden=[]),
            r"layers\.0\.bias is F32 \(3,\), expected missing",
        ),
        (
            architecture(name="cnn"),
            r"architecture\.name: input should be 'mlp', 'convnet', 'residual', 'back",
        ),
        (architecture(image_shape=[2, 2, 1]), "the gallery belongs to model"),
        (architecture(normalised=True), r"embedding_net\.layers\.0\.bias is missing, expected F32 \(3,\)"),
        (
            architecture(channels=[8]),
            r"mlp with the channels \(8,\): a ConvNet and a residual network have some",
        ),
        (
            architecture(name="convnet"),
            r"convnet with the channels \(\): a ConvNet and a residual network have some",
        ),
        (
            architecture(name="convnet", channels=[1 << 22] * 3),
            r"layers\.0\.bias is F32 \(3,\), expected missing",
        ),
        (
            architecture(name="convnet", channels=[1 << 24], hidden=[1 << 24], image_shape=[1, 4096, 4096]),
            "a ConvNet that ends its stages with 70368744177664 values, expected at most 16777216",
        ),
        ({"k": 0}, "0 neighbours vote, expected 1 or more"),
        (
            {"preprocessing": {"mean": 0.25, "std": 0.0}},
            "mean 0.25 and standard deviation 0.0: expected finite",
        ),
        ({"training_mean": -0.5}, "the mean of the training pixels is -0.5"),
        ({"class_names": ["a", "b"]}, "a label lies outside the 2 class names"),
        ({"class_names": ["a", "b", "a"]}, "two classes have the same name"),
        ({"thresholds": {}}, "thresholds: extra inputs are not permitted"),
        ({"members": []}, "members: input should be a valid dictionary"),
    ],
)
def test_a_doctored_manifest_is_refused_before_memory_is_taken(refused, members, reseal, changes, message):
    path = reseal(members)
    document = json.loads(read_sealed(path)["manifest.json"]) | changes
    write_sealed(path, {**members, "manifest.json": json.dumps(document).encode()})
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    assert "; get it again from its maker" in refused(path, message)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 100_000


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"no JSON", "is no strict JSON"),
        (b"[1]", "its manifest names no schema number"),
        (b"[" * 1_000_000, "is no strict JSON"),
        (b'{"schema": 1, "recipe": ' + b'{"a":' * 800 + b"1" + b"}" * 801, "field required"),
        (b'{"schema": 1, "schema": 1}', "a key stands twice"),
        (b'{"schema": 1}', "architecture: field required"),
        (b" " * (1 << 24), "holds 16777216 bytes, expected at most 8388608"),
    ],
)
def test_a_manifest_that_is_none_is_refused(refused, tmp_path, members, content, message):
    write_sealed(tmp_path / "doctored", {**members, "manifest.json": content})
    refused(tmp_path / "doctored", message)


def test_a_recipe_with_a_number_that_json_does_not_have_is_refused(refused, tmp_path, members, reseal):
    path = reseal(members, recipe={"margin": "LARGE"})
    content = read_sealed(path)["manifest.json"].replace(b'"LARGE"', b"1e999")
    write_sealed(path, {**members, "manifest.json": content})
    refused(path, "the recipe holds more than plain JSON values")


def gallery(vectors=None, labels=None, **more):
    vectors = torch.zeros(6, 2) if vectors is None else vectors
    labels = torch.zeros(6, dtype=torch.int64) if labels is None else labels
    return packed({"vectors": vectors, "labels": labels} | more)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (gallery(torch.zeros(6, 3)), r"vectors is F32 \(6, 3\), expected F32 \(6, 2\)"),
        (gallery(torch.zeros(6, 2).half()), r"vectors is F16 \(6, 2\), expected F32 \(6, 2\)"),
        (
            gallery(torch.zeros(12), torch.zeros(12, dtype=torch.int64)),
            r"vectors is F32 \(12,\), expected F32 \(12, 2\)",
        ),
        (gallery(torch.tensor(1.0)), r"labels is I64 \(6,\), expected I64 \(0,\)"),
        (gallery(torch.zeros(5, 2)), r"labels is I64 \(6,\), expected I64 \(5,\)"),
        (gallery(torch.full((6, 2), torch.nan)), "vectors holds a value that is not finite"),
        (gallery(labels=torch.zeros(6, dtype=torch.int32)), r"labels is I32 \(6,\), expected I64 \(6,\)"),
        (gallery(labels=torch.tensor([0, 1, 2, 3, 0, 0])), "a label lies outside the 3 class names"),
        (gallery(labels=torch.tensor([0, 1, 2, -2, 0, 0])), "a label lies outside the 3 class names"),
        (gallery(labels=torch.tensor([0, 1, 2, -1, 0, 0])), "images of no known class"),
        (gallery(more=torch.zeros(1)), r"more is F32 \(1,\), expected missing"),
        (packed({"labels": torch.zeros(6, dtype=torch.int64)}), "labels is I64"),
        (gallery(torch.zeros(5, 2), torch.zeros(5, dtype=torch.int64)), "gallery.json is no list of 5 names"),
        (gallery(torch.zeros(7, 2), torch.zeros(7, dtype=torch.int64)), "gallery.json is no list of 7 names"),
        (b"", "gallery.safetensors has a header of 0 bytes"),
    ],
)
def test_a_doctored_gallery_is_refused(refused, members, reseal, content, message):
    members["gallery.safetensors"] = content
    refused(reseal(members), message)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"[]",
        b"[,,,,,]",
        b"{}",
        b"null",
        b'["a","b","c","d","e"]',
        b'["a","b","c","d","e","f","g"]',
        b'["a","b","c","d","e",6]',
        b'["a","b","c","d","e",null]',
        b'["a","b","c","d","e",["f"]]',
        b'{"a":1,"b":1,"c":1,"d":1,"e":1,"f":1}',
        b'"a,b,c,d,e,f"',
        b"[" * 100_000 + b",,,,,",
        b'["a","b","c","d","e","\xff"]',
    ],
)
def test_names_that_do_not_match_the_rows_are_refused(refused, members, reseal, content):
    members["gallery.json"] = content
    refused(reseal(members), "gallery.json is no list of 6 names|is no strict JSON")


def test_names_beyond_the_rows_are_refused_unread(refused, members, reseal):
    members["gallery.json"] = b"[" + b"[]," * 10_000_000 + b"[]]"
    path = reseal(members)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    refused(path, "gallery.json is no list of 6 names")
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 200_000


def test_hostile_weights_are_refused_by_the_bundle_too(refused, members, reseal, safetensors_of):
    for content, message in {
        safetensors_of({}, length=1 << 63): "has a header of 9223372036854775808 bytes",
        safetensors_of({}): r"layers\.0\.bias is missing, expected F32 \(3,\)",
        b"": "has a header of 0 bytes",
    }.items():
        members["weights.safetensors"] = content
        refused(reseal(members), rf"weights\.safetensors {message}.*; get it again")


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_weights_that_are_not_finite_are_refused(refused, members, reseal, make_model, value):
    weights = make_model().network.state_dict()
    weights["layers.0.weight"][0, 0] = value
    members["weights.safetensors"] = packed(weights)
    refused(reseal(members), r"weights\.safetensors layers\.0\.weight holds a value that is not finite")

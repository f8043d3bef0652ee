"""The manifest is read strictly: the schema number first, then every key and every type."""

import json

import pytest

from mitsugo.errors import ModelError
from mitsugo.model import manifest
from mitsugo.model.manifest import document_of, strict_json, validated, written

HASH = "0123456789abcdef" * 4
WHOLE = {
    "schema": 1,
    "architecture": {"name": "mlp", "image_shape": [1, 28, 28], "dimension": 128, "hidden": [256, 256]},
    "preprocessing": {"mean": 0.1307, "std": 0.3081},
    "distance": "euclidean",
    "class_names": ["0", "良品", "caf\udce9"],
    "training_mean": 0.1307,
    "fingerprint": HASH,
    "members": {"weights.safetensors": {"sha256": HASH, "bytes": 12}},
    "recipe": {"name": "article", "margin": 1.0, "of": [{}, None, True]},
    "versions": {"mitsugo": "0.1.0"},
}


WITH_ALL = WHOLE | {
    "architecture": {
        "name": "convnet",
        "image_shape": [1, 28, 28],
        "dimension": 128,
        "hidden": [256],
        "channels": [32, 64],
        "normalised": True,
        "blocks": [1, 2],
        "backbone": "test_resnet",
        "backbone_side": 160,
    },
    "k": 9,
    "framing": {"fit": "crop", "crop": [10, 0, 640, 480]},
    "ng": ["0"],
    "calibration": {
        "asked": {
            "false_alarm": 0.01,
            "confidence": 0.95,
            "per_class": False,
            "cost_escape": 100.0,
            "cost_overkill": 1.0,
            "ng_share": None,
            "escapes": None,
        },
        "source": "parts",
        "images": 2,
        "class_names": ["0", "caf\udce9"],
        "units": 2,
        "threshold": 1.5,
        "balance": 2.5,
        "promised": 0.78,
        "class_thresholds": {"caf\udce9": 1.25},
        "inspecting": {
            "threshold": 0.5,
            "escapes": {"count": 0, "n": 1, "upper": 1.0},
            "overkill": {"count": 0, "n": 1, "upper": 1.0},
            "escaping": {"count": 0, "n": 1, "upper": 1.0},
            "promised": None,
            "cost": 0.0,
        },
        "state": "",
        "fingerprint": "ab" * 32,
    },
}


def test_a_manifest_comes_back_as_it_was():
    content = written(validated(WITH_ALL))
    assert json.loads(content) == WITH_ALL
    assert document_of(content) == (WITH_ALL, 1)
    assert written(validated(json.loads(content))) == content


def test_a_manifest_of_before_convnets_is_read_and_means_what_it_meant():
    later = {"channels": [], "normalised": False, "blocks": [], "backbone": "", "backbone_side": 0}
    meant = WHOLE | {"architecture": WHOLE["architecture"] | later, "k": 5, "framing": None}
    meant |= {"ng": [], "calibration": None}
    assert json.loads(written(validated(WHOLE))) == meant


@pytest.mark.parametrize("key", sorted(WHOLE))
def test_no_key_may_be_missing(key):
    with pytest.raises(ModelError, match=f"its manifest: {key}: field required"):
        validated({name: value for name, value in WHOLE.items() if name != key})


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"thresholds": {}}, "thresholds: extra inputs are not permitted"),
        ({"two\nlines": 1}, r"'two\\nlines': extra inputs"),
        ({"architecture": WHOLE["architecture"] | {"depth": 3}}, r"architecture\.depth: extra inputs"),
        (
            {"architecture": WHOLE["architecture"] | {"name": "cnn"}},
            r"architecture\.name: .*'mlp', 'convnet', 'residual', 'backbone' or 'raw-pixels'",
        ),
        (
            {"architecture": WHOLE["architecture"] | {"dimension": "2"}},
            r"architecture\.dimension: .*valid integer",
        ),
        (
            {"architecture": WHOLE["architecture"] | {"dimension": 2.0}},
            r"architecture\.dimension: .*valid integer",
        ),
        (
            {"architecture": WHOLE["architecture"] | {"dimension": True}},
            r"architecture\.dimension: .*valid integer",
        ),
        (
            {"architecture": WHOLE["architecture"] | {"hidden": [[1]]}},
            r"architecture\.hidden\.0: .*valid integer",
        ),
        ({"architecture": WHOLE["architecture"] | {"hidden": 3}}, r"architecture\.hidden: .*valid tuple"),
        (
            {"architecture": WHOLE["architecture"] | {"image_shape": [1, 2]}},
            r"architecture\.image_shape\.2: field",
        ),
        ({"preprocessing": {"mean": "0", "std": 1}}, r"preprocessing\.mean: .*valid number"),
        (
            {"architecture": WITH_ALL["architecture"] | {"channels": [32, "64"]}},
            r"architecture\.channels\.1: .*valid integer",
        ),
        (
            {"architecture": WITH_ALL["architecture"] | {"normalised": 1}},
            r"architecture\.normalised: .*valid boolean",
        ),
        ({"k": "5"}, "k: .*valid integer"),
        ({"k": 5.0}, "k: .*valid integer"),
        ({"distance": "cosine"}, "distance: .*'euclidean'"),
        ({"class_names": "0123"}, "class_names: .*valid list"),
        ({"class_names": ["0", 1]}, r"class_names\.1: .*expected a text"),
        ({"training_mean": None}, "training_mean: .*valid number"),
        ({"fingerprint": HASH.upper()}, "fingerprint: .*pattern"),
        ({"fingerprint": HASH + "\n"}, "fingerprint: .*pattern"),
        ({"members": {"a": {"sha256": HASH, "bytes": "1"}}}, r"members\.a\.bytes: .*valid integer"),
        ({"members": []}, "members: .*valid dictionary"),
        ({"recipe": []}, "recipe: .*valid dictionary"),
        ({"versions": {"torch": 2}}, r"versions\.torch: .*valid string"),
        ({"schema": 2}, "schema: input should be 1"),
    ],
)
def test_a_value_of_another_type_is_refused_by_its_key(changes, message):
    with pytest.raises(ModelError, match=f"its manifest: {message}") as refusal:
        validated(WHOLE | changes)
    assert str(refusal.value).isprintable()


@pytest.mark.parametrize(
    "content", [b"[]", b"null", b"1", b'{"a": 1}', b'{"schema": "1"}', b'{"schema": true}']
)
def test_a_manifest_without_a_schema_number_is_refused(content):
    with pytest.raises(ModelError, match="its manifest names no schema number"):
        document_of(content)


def test_no_manifest_at_all_is_refused():
    with pytest.raises(ModelError, match="holds no manifest.json; name a model.mitsugo or a run folder"):
        document_of(b"")


def test_a_manifest_beyond_its_bound_is_refused_unread():
    with pytest.raises(ModelError, match="holds 8388609 bytes, expected at most 8388608"):
        document_of(b"[" * (manifest.LARGEST_MANIFEST + 1))


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"no JSON",
        b"{",
        b'{"a": 1} {"a": 1}',
        b'{"a": 1, "a": 1}',
        b'{"b": {"a": 1, "a": 2}}',
        b"NaN",
        b"[Infinity, -Infinity]",
        b"\xff\xff",
        b"[" * 1_000_000,
        b'{"a":' * 100_000,
        b"9" * 10_000,
    ],
)
def test_what_is_no_strict_json_is_refused(content):
    with pytest.raises(ModelError, match="is no strict JSON: ") as refusal:
        strict_json(content)
    assert str(refusal.value).isprintable()
    assert len(str(refusal.value)) < 300

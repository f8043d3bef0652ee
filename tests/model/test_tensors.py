"""Safetensors are believed only after their header was read: what it may say, and what is refused."""

import hashlib
import json
import struct

import pytest
import torch
from torch import nn

from mitsugo.errors import ModelError
from mitsugo.model.tensors import declared, described, packed, unpacked, weights_sha256

ONE = {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}
EXPECTED = {"a": ("F32", (1,))}


def test_tensors_come_back_as_they_were():
    tensors = {
        "weight": torch.tensor([[1.5, -0.0], [3e-45, 2.0]]),
        "steps": torch.tensor(7),
        "none": torch.zeros(0, 3),
        "turned": torch.arange(6.0).reshape(2, 3).T,
    }
    expected = {
        "weight": ("F32", (2, 2)),
        "steps": ("I64", ()),
        "none": ("F32", (0, 3)),
        "turned": ("F32", (3, 2)),
    }
    content = packed(tensors)
    assert packed(dict(reversed(tensors.items()))) == content
    assert described(tensors) == declared(content) == expected
    for name, tensor in unpacked(content, expected).items():
        assert torch.equal(tensor, tensors[name])


def test_no_tensors_at_all_come_back_too():
    assert unpacked(packed({}), {}) == {}


@pytest.mark.parametrize(
    ("header", "message"),
    [
        ([], "no table of tensors"),
        (b"{", "is no strict JSON"),
        (b'{"a": NaN}', "NaN is no number"),
        (b"\xff\xfe", "is no strict JSON"),
        (b"[" * 100_000, "is no strict JSON"),
        (b'{"a": %s, "a": %s}' % ((json.dumps(ONE).encode(),) * 2), "a key stands twice"),
        ({"__metadata__": {"format": "pt"}, "a": ONE}, "declares __metadata__ as no tensor"),
        ({"a": 1}, "declares a as no tensor"),
        ({"a\n": 1}, r"declares 'a\\n' as no tensor"),
        ({"a": ONE | {"more": 1}}, "declares a as no tensor"),
        ({"a": ONE | {"dtype": "F8_E4M3"}}, "declares a as no tensor"),
        ({"a": ONE | {"dtype": 32}}, "declares a as no tensor"),
        ({"a": ONE | {"shape": [True]}}, "declares a as no tensor"),
        ({"a": ONE | {"shape": 1}}, "declares a as no tensor"),
        ({"a": {"dtype": "F32", "shape": [1]}}, "declares a as no tensor"),
        ({"b": ONE}, "a is missing, expected F32"),
        ({"a": ONE, "b": ONE}, r"b is F32 \(1,\), expected missing"),
        ({"a": ONE | {"dtype": "F16"}}, r"a is F16 \(1,\), expected F32 \(1,\)"),
        ({"a": ONE | {"shape": [1, 1]}}, r"a is F32 \(1, 1\), expected F32 \(1,\)"),
        ({"a": ONE | {"shape": [-1]}}, r"a is F32 \(-1,\), expected F32 \(1,\)"),
        ({"a": ONE | {"shape": [1 << 70]}}, "expected F32"),
        ({"a": ONE | {"data_offsets": [0, 8]}}, "Error while deserializing"),
        ({"a": ONE | {"data_offsets": [4, 8]}}, "Error while deserializing"),
        ({"a": ONE | {"data_offsets": [-4, 0]}}, "Error while deserializing"),
        ({"a": ONE | {"data_offsets": [0, 4, 8]}}, "Error while deserializing"),
        ({"a": ONE | {"data_offsets": [0, 1 << 80]}}, "Error while deserializing"),
    ],
)
def test_a_hostile_header_is_refused(safetensors_of, header, message):
    with pytest.raises(ModelError, match=message):
        unpacked(safetensors_of(header, b"\0" * 4), EXPECTED)


@pytest.mark.parametrize("length", [0, 1 << 63, (1 << 64) - 1, 1000])
def test_a_header_that_claims_another_length_is_refused(safetensors_of, length):
    with pytest.raises(ModelError, match=f"has a header of {length} bytes, expected 1 to"):
        declared(safetensors_of({"a": ONE}, b"\0" * 4, length=length))


def test_a_header_of_more_than_a_mebibyte_is_refused_unread(safetensors_of):
    content = safetensors_of(b"[" * (1 << 21))
    with pytest.raises(ModelError, match="has a header of 2097152 bytes, expected 1 to 1048576"):
        declared(content)


@pytest.mark.parametrize("length", range(9))
def test_what_is_too_short_for_a_header_is_refused(length):
    with pytest.raises(ModelError, match="has a header of 0 bytes, expected 1 to"):
        declared(b"\0" * length)


def test_tensors_that_share_their_place_are_refused(safetensors_of):
    content = safetensors_of({"a": ONE, "b": ONE}, b"\0" * 4)
    with pytest.raises(ModelError, match="invalid offset"):
        unpacked(content, {"a": ("F32", (1,)), "b": ("F32", (1,))})


@pytest.mark.parametrize("data", [b"", b"\0" * 3, b"\0" * 5])
def test_bytes_too_few_or_too_many_are_refused(safetensors_of, data):
    with pytest.raises(ModelError, match="Error while deserializing"):
        unpacked(safetensors_of({"a": ONE}, data), EXPECTED)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
def test_values_that_are_not_finite_are_refused(value):
    with pytest.raises(ModelError, match="a holds a value that is not finite"):
        unpacked(packed({"a": torch.tensor([value])}), EXPECTED)


def a_layer(weight, bias=0.0):
    layer = nn.Linear(1, 1)
    with torch.no_grad():
        layer.weight.fill_(weight)
        layer.bias.fill_(bias)
    return layer


def test_the_hash_of_weights_is_the_one_that_its_docstring_defines():
    """Bias first, by name; each its name, type and shape, then its little-endian bytes."""
    expected = hashlib.sha256(
        b'["bias", "F32", [1]]'
        + struct.pack("<f", 0.5)
        + b'["weight", "F32", [1, 1]]'
        + struct.pack("<f", 1.5)
    )
    assert weights_sha256(a_layer(1.5, 0.5)) == expected.hexdigest()


def test_the_hash_follows_values_names_types_and_shapes():
    twisted = a_layer(1.0)
    twisted.weight = nn.Parameter(torch.ones(1))
    hashes = [
        weights_sha256(network)
        for network in (
            a_layer(0.0),
            a_layer(-0.0),
            a_layer(1.0),
            a_layer(1.0).half(),
            nn.Sequential(a_layer(1.0)),
            twisted,
        )
    ]
    assert len(set(hashes)) == 6
    assert hashes[2] == weights_sha256(a_layer(1.0))


def test_the_hash_takes_numbers_without_a_shape():
    norm = nn.BatchNorm1d(2)
    before = weights_sha256(norm)
    norm.num_batches_tracked += 1
    assert weights_sha256(norm) != before

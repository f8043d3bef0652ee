"""A bundle that was cut, flipped or never one is refused in one line, without waiting or running code."""

import itertools
import os
import pickle
import random
import threading

import numpy as np
import pytest
import torch

from mitsugo.errors import ModelError
from mitsugo.files import SEAL, SEAL_LENGTH, sha256_of, write_sealed
from mitsugo.model.bundle import Model

MEMBERS = ["weights.safetensors", "gallery.safetensors", "gallery.json"]


def test_truncations_at_a_thousand_lengths_are_refused(refused, bundle):
    content = bundle.read_bytes()
    for length in np.linspace(0, len(content) - 1, 1000).astype(int):
        bundle.write_bytes(content[:length])
        refused(bundle, "is truncated or damaged|is no mitsugo file")


@pytest.mark.parametrize("flips", [2_000, pytest.param(10_000, marks=pytest.mark.slow)])
def test_flipped_bits_are_refused(refused, bundle, flips):
    content = bytearray(bundle.read_bytes())
    for bit in random.Random(29).sample(range(8 * len(content)), flips):
        content[bit // 8] ^= 1 << bit % 8
        bundle.write_bytes(content)
        refused(bundle, "is truncated or damaged|is no mitsugo file")
        content[bit // 8] ^= 1 << bit % 8


@pytest.mark.parametrize("times", [500, pytest.param(20_000, marks=pytest.mark.slow)])
def test_bytes_changed_under_a_true_seal_are_refused_or_harmless(bundle, make_model, times):
    chance = random.Random(29)
    whole = make_model()
    body = bundle.read_bytes()[:-SEAL_LENGTH]
    loaded = 0
    for _ in range(times):
        changed = bytearray(body)
        changed[chance.randrange(2, len(changed))] = chance.randrange(256)
        bundle.write_bytes(bytes(changed) + SEAL + sha256_of(memoryview(changed)).encode())
        try:
            model = Model.load(bundle)
        except ModelError:
            continue
        loaded += 1
        assert model.fingerprint == whole.fingerprint
        assert np.array_equal(model.gallery.vectors, whole.gallery.vectors)
        assert model.gallery.names == whole.gallery.names
    assert 0 < loaded < times / 4


class Canary:
    """Leaves a trace where it is unpickled."""

    def __init__(self, trace):
        self.trace = trace

    def __reduce__(self):
        return os.mkdir, (str(self.trace),)


def test_a_pickle_is_refused_and_never_run(refused, tmp_path, members, reseal):
    trace = tmp_path / "trace"
    disguised = tmp_path / "model.mitsugo"
    disguised.write_bytes(pickle.dumps(Canary(trace)))
    refused(disguised, "is no mitsugo file")
    torch.save(Canary(trace), disguised)
    refused(disguised, "is truncated or damaged")
    for name in [*MEMBERS, "manifest.json"]:
        doctored = {**members, name: pickle.dumps(Canary(trace))}
        write_sealed(disguised, doctored)
        refused(disguised, "is no model to trust")
        if name != "manifest.json":
            refused(reseal(doctored), "is no model to trust")
    assert not trace.exists()
    pickle.loads(pickle.dumps(Canary(trace)))  # noqa: S301 - the canary does sing
    assert trace.exists()


@pytest.mark.parametrize("name", ["model.mitsugo", "x.mitsugo"])
@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda _: None, "cannot be read: no such file"),
        (os.mkfifo, "is not a regular file"),
        (lambda path: path.symlink_to("/dev/zero"), "is not a regular file"),
        (lambda path: path.symlink_to(path), "cannot be read: too many levels"),
        (lambda path: path.write_bytes(b""), "is no mitsugo file"),
    ],
)
def test_what_is_no_file_is_refused_without_waiting(refused, tmp_path, name, make, message):
    make(tmp_path / name)
    refused(tmp_path / name, message)
    if name == "model.mitsugo":
        with pytest.raises(ModelError, match=message):
            Model.load(tmp_path)


@pytest.mark.parametrize("path", ["a\0b", "x" * 5000, "no/such/run"])
def test_a_path_that_leads_nowhere_is_refused(refused, path):
    with pytest.raises(ModelError, match="cannot be read"):
        Model.load(path)


def test_a_run_folder_whose_model_is_a_folder_is_refused(refused, tmp_path):
    (tmp_path / "model.mitsugo").mkdir()
    with pytest.raises(ModelError, match="model.mitsugo: is not a regular file"):
        Model.load(tmp_path)


@pytest.mark.parametrize("loops", [200, pytest.param(10_000, marks=pytest.mark.slow)])
def test_a_reader_sees_the_old_bundle_or_the_new_one_and_never_a_mix(tmp_path, make_model, loops):
    path = tmp_path / "model.mitsugo"
    models = [make_model(seed=1), make_model(seed=2)]
    known = {model.fingerprint: model.gallery.names for model in models}
    models[0].save(path)
    done = threading.Event()

    def replace_again_and_again():
        for model in itertools.cycle(models):
            model.save(path)
            if done.is_set():
                return

    writer = threading.Thread(target=replace_again_and_again)
    writer.start()
    seen = set()
    try:
        for _ in range(loops):
            model = Model.load(path)
            assert model.gallery.names == known[model.fingerprint]
            seen.add(model.fingerprint)
    finally:
        done.set()
        writer.join()
    assert seen == set(known)
    assert [file.name for file in tmp_path.iterdir()] == ["model.mitsugo"]

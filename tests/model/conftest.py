"""Two small models: one whose geometry can be worked out by head, one with weights."""

import json
import struct
from pathlib import Path

import numpy as np
import pytest
import torch

from mitsugo.errors import ModelError
from mitsugo.files import read_sealed, sha256_of, write_sealed
from mitsugo.model.bundle import Model
from mitsugo.model.networks import Architecture, build, initialise
from mitsugo.model.preprocessing import Preprocessing
from mitsugo.values import Embeddings, LabeledImages, Taught, digests_of

POINTS = [(0, 0), (0, 10), (10, 0), (200, 200), (200, 210)]


@pytest.fixture
def pixels_model():
    """An image of two pixels is the point (x, y) of its values; three points are OK, two are NG.

    The mean pixel is 830 / 10 / 255 = 0.325.
    """
    return Model.of(
        architecture=Architecture(name="raw-pixels", image_shape=(1, 1, 2), dimension=2),
        network=build(Architecture(name="raw-pixels", image_shape=(1, 1, 2), dimension=2)).eval(),
        preprocessing=Preprocessing(0.0, 1 / 255),
        images=LabeledImages(
            pixels=np.array(POINTS, np.uint8).reshape(5, 1, 1, 2),
            labels=np.array([0, 0, 0, 1, 1]),
            class_names=("OK", "NG"),
            names=tuple(f"{x}, {y}" for x, y in POINTS),
        ),
        recipe={"name": "raw-pixels"},
    )


@pytest.fixture
def make_model():
    """Make an MLP of 4 values, 3 hidden and 2 out, with weights that depend on the seed."""

    def make(seed=0, hidden=(3,)):
        architecture = Architecture(name="mlp", image_shape=(1, 2, 2), dimension=2, hidden=hidden)
        network = build(architecture)
        initialise(network, torch.Generator().manual_seed(seed))
        chance = np.random.default_rng(seed)
        return Model.of(
            architecture=architecture,
            network=network,
            preprocessing=Preprocessing(0.25, 0.5),
            images=LabeledImages(
                pixels=chance.integers(0, 256, (6, 1, 2, 2), dtype=np.uint8),
                labels=np.array([0, 1, 2, 0, 1, 2]),
                class_names=("良品", "傷, 深い", "caf\udce9"),
                names=tuple(f"seed {seed}, part {number}, 部品\n\udcff.png" for number in range(6)),
            ),
            recipe={"name": "article", "hidden": [3], "margin": 1.0, "of": {"seed": seed}},
        )

    return make


@pytest.fixture
def bundle(tmp_path, make_model):
    """A saved bundle."""
    path = tmp_path / "model.mitsugo"
    make_model().save(path)
    return path


@pytest.fixture
def members(bundle):
    """The members of a saved bundle, to be doctored."""
    return read_sealed(bundle)


@pytest.fixture
def reseal(tmp_path):
    """Write members under a true seal; the manifest's SHA-256 of the others are made true too."""

    def write(members, *, rehash=True, **changes):
        manifest = json.loads(members["manifest.json"]) | changes
        if rehash:
            manifest["members"] = {
                name: {"sha256": sha256_of(content), "bytes": len(content)}
                for name, content in members.items()
                if name != "manifest.json"
            }
        path = Path(tmp_path) / "doctored.mitsugo"
        write_sealed(path, {**members, "manifest.json": json.dumps(manifest).encode()})
        return path

    return write


@pytest.fixture
def safetensors_of():
    """Put a header, as JSON or as raw bytes, before tensors' bytes."""

    def write(header, data=b"", *, length=None):
        content = header if isinstance(header, bytes) else json.dumps(header).encode()
        return struct.pack("<Q", len(content) if length is None else length) + content + data

    return write


@pytest.fixture
def refused():
    """Load a bundle that must be refused by one line that names it and says what to do."""

    def load(path, message):
        with pytest.raises(ModelError, match=message) as refusal:
            Model.load(path)
        assert Path(path).name in str(refusal.value)
        assert str(refusal.value).isprintable()
        return str(refusal.value)

    return load


def _taught_to(model, pixels, name="stain", ng=()):
    n = len(pixels)
    return Taught(
        embeddings=Embeddings(
            vectors=model.embed(pixels),
            labels=np.zeros(n, np.int64),
            class_names=(name,),
            names=tuple(f"{name} {i}" for i in range(n)),
            fingerprint=model.fingerprint,
        ),
        statistics=model.statistics(pixels),
        digests=digests_of(pixels),
        ng=ng,
        state="after",
    )


@pytest.fixture(scope="session")
def taught_to():
    """Make what a model was taught from images of one class."""
    return _taught_to

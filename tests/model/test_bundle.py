"""One file carries a model: what comes back is what went in, to the byte; what does not belong is refused."""

import dataclasses
import hashlib
import json
import math
import platform
import resource
import subprocess
import sys

import numpy as np
import pytest
import torch

import mitsugo
from mitsugo.errors import DataError, ModelError, ResourceError, UsageError
from mitsugo.files import read_sealed, write_sealed
from mitsugo.model.bundle import Model
from mitsugo.model.embedding import fingerprint_of
from mitsugo.model.networks import Architecture, build, initialise
from mitsugo.model.preprocessing import Preprocessing
from mitsugo.model.tensors import weights_sha256
from mitsugo.values import LabeledImages

AN_IMAGE = LabeledImages(
    pixels=np.array([[[[3, 4]]]], np.uint8), labels=np.array([0]), class_names=("a",), names=("b",)
)
PIXELS = np.arange(12, dtype=np.uint8).reshape(3, 1, 2, 2)


def same(one, other):
    """Whether two models are equal in everything that is saved."""
    weights = [model.network.state_dict() for model in (one, other)]
    return (
        all(
            getattr(one, name) == getattr(other, name)
            for name in (
                "architecture",
                "preprocessing",
                "class_names",
                "training_mean",
                "k",
                "recipe",
                "versions",
                "fingerprint",
            )
        )
        and weights[0].keys() == weights[1].keys()
        and all(torch.equal(tensor, weights[1][name]) for name, tensor in weights[0].items())
        and np.array_equal(one.gallery.vectors, other.gallery.vectors)
        and np.array_equal(one.gallery.labels, other.gallery.labels)
        and one.gallery.names == other.gallery.names
    )


@pytest.mark.parametrize("hidden", [(), (3,), (3, 4, 5)])
def test_a_model_comes_back_as_it_was(tmp_path, make_model, hidden):
    model = make_model(seed=1, hidden=hidden)
    model.save(tmp_path / "a.mitsugo")
    loaded = Model.load(tmp_path / "a.mitsugo")
    assert same(model, loaded)
    assert np.array_equal(model.embed(PIXELS), loaded.embed(PIXELS))
    assert model.classify(PIXELS, ["a", "b", "c"]) == loaded.classify(PIXELS, ["a", "b", "c"])
    assert not same(model, make_model(seed=2, hidden=hidden))


def test_a_model_without_weights_comes_back_too(tmp_path, pixels_model):
    pixels_model.save(str(tmp_path / "a.mitsugo"))
    loaded = Model.load(str(tmp_path / "a.mitsugo"))
    assert same(pixels_model, loaded)


def test_the_same_model_saved_twice_gives_the_same_bytes(tmp_path, make_model):
    for name in "ab":
        make_model(seed=1).save(tmp_path / name)
    Model.load(tmp_path / "a").save(tmp_path / "c")
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes() == (tmp_path / "c").read_bytes()


SAVE = """
import sys, numpy as np, torch
from mitsugo.model.bundle import Model
from mitsugo.model.networks import Architecture, build, initialise
from mitsugo.model.preprocessing import Preprocessing
from mitsugo.values import LabeledImages

architecture = Architecture(name="mlp", image_shape=(1, 1, 2), dimension=2)
network = build(architecture)
initialise(network, torch.Generator().manual_seed(1))
pixels = np.array([[[[3, 4]]]], np.uint8)
model = Model.of(
    architecture=architecture,
    network=network,
    preprocessing=Preprocessing(0.5, 0.5),
    images=LabeledImages(pixels=pixels, labels=np.array([0]), class_names=("a",), names=("b",)),
    recipe={"é": 1},
)
model.save(sys.argv[1])
"""


def test_another_process_locale_and_hash_seed_give_the_same_bytes(tmp_path):
    settings = {"a": {"PYTHONHASHSEED": "1", "LANG": "C"}, "b": {"PYTHONHASHSEED": "2", "TZ": "JST-9"}}
    processes = [
        subprocess.Popen([sys.executable, "-c", SAVE, str(tmp_path / name)], env=setting)
        for name, setting in settings.items()
    ]
    assert [process.wait(60) for process in processes] == [0, 0]
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_a_run_folder_stands_for_its_model(tmp_path, make_model):
    model = make_model()
    model.save(tmp_path / "model.mitsugo")
    assert same(Model.load(tmp_path), model)


def test_the_manifest_says_what_the_model_is(bundle, make_model):
    model = make_model()
    members = read_sealed(bundle)
    manifest = json.loads(members["manifest.json"])
    assert list(members) == [
        "manifest.json",
        "weights.safetensors",
        "gallery.safetensors",
        "gallery.json",
        "gates.safetensors",
        "seen.safetensors",
    ]
    assert manifest["schema"] == 1
    assert manifest["architecture"] == {
        "name": "mlp",
        "image_shape": [1, 2, 2],
        "dimension": 2,
        "hidden": [3],
        "channels": [],
        "normalised": False,
        "blocks": [],
        "backbone": "",
        "backbone_side": 0,
    }
    assert manifest["k"] == 5
    assert manifest["distance"] == "euclidean"
    assert manifest["recipe"] == {"name": "article", "hidden": [3], "margin": 1.0, "of": {"seed": 0}}
    assert manifest["fingerprint"] == model.fingerprint
    assert manifest["versions"] == {
        "mitsugo": mitsugo.__version__,
        "torch": torch.__version__,
        "python": platform.python_version(),
    }
    assert json.loads(members["gallery.json"]) == list(model.gallery.names)


def test_the_fingerprint_does_not_follow_the_gallery(make_model):
    model = make_model()
    fewer = dataclasses.replace(
        model.gallery,
        vectors=model.gallery.vectors[:2],
        labels=model.gallery.labels[:2],
        names=model.gallery.names[:2],
    )
    assert dataclasses.replace(model, gallery=fewer).fingerprint == model.fingerprint


def test_a_gallery_may_be_empty(tmp_path, make_model):
    model = make_model()
    empty = dataclasses.replace(
        model.gallery, vectors=model.gallery.vectors[:0], labels=model.gallery.labels[:0], names=()
    )
    dataclasses.replace(model, gallery=empty).save(tmp_path / "a")
    loaded = Model.load(tmp_path / "a")
    assert (len(loaded.gallery), loaded.gallery.vectors.shape) == (0, (0, 2))


def test_a_model_is_made_of_its_training_images(pixels_model):
    assert pixels_model.training_mean == pytest.approx(830 / 10 / 255, rel=1e-15)
    assert pixels_model.gallery.vectors[3:] == pytest.approx(np.array([[200, 200], [200, 210]]), rel=1e-6)
    assert pixels_model.gallery.labels.tolist() == [0, 0, 0, 1, 1]
    assert pixels_model.gallery.fingerprint == pixels_model.fingerprint


def test_training_may_go_on_without_moving_the_model(make_model, pixels_model):
    architecture = Architecture(name="mlp", image_shape=(1, 1, 2), dimension=2)
    network = build(architecture)
    model = Model.of(
        architecture=architecture,
        network=network,
        preprocessing=Preprocessing(0.5, 0.5),
        images=AN_IMAGE,
        recipe={},
    )
    before = model.fingerprint
    with torch.no_grad():
        network.layers[0].weight.add_(1)
    assert model.fingerprint == before
    assert network.training
    assert not model.network.training
    assert not any(weight.requires_grad for weight in model.network.parameters())


def test_a_network_of_another_architecture_makes_no_model(make_model, pixels_model):
    with pytest.raises(
        ModelError, match=r"weights\.safetensors layers\.0\.bias is missing, expected F32 \(2,\)"
    ):
        Model.of(
            architecture=Architecture(name="mlp", image_shape=(1, 1, 2), dimension=2),
            network=pixels_model.network,
            preprocessing=Preprocessing(0.5, 0.5),
            images=AN_IMAGE,
            recipe={},
        )


def a_convnet(normalised):
    """A model of a ConvNet whose batch normalisation has seen some images."""
    architecture = Architecture(
        name="convnet",
        image_shape=(2, 17, 16),
        dimension=3,
        channels=(4, 5, 6),
        hidden=(7,),
        normalised=normalised,
    )
    network = build(architecture)
    initialise(network, torch.Generator().manual_seed(2))
    chance = np.random.default_rng(2)
    pixels = chance.integers(0, 256, (12, 2, 17, 16), dtype=np.uint8)
    network.train()(torch.from_numpy(pixels) / 255)
    model = Model.of(
        architecture=architecture,
        network=network,
        preprocessing=Preprocessing(0.5, 0.25),
        images=LabeledImages(
            pixels=pixels,
            labels=np.arange(12) % 2,
            class_names=("OK", "NG"),
            names=tuple(map(str, range(12))),
        ),
        recipe={"name": "standard"},
        k=3,
    )
    return model, network, pixels


@pytest.mark.parametrize("normalised", [False, True])
def test_a_convnet_comes_back_as_it_was_to_the_bit(tmp_path, normalised):
    model, network, pixels = a_convnet(normalised)
    model.save(tmp_path / "a")
    loaded = Model.load(tmp_path / "a")
    assert same(model, loaded)
    assert loaded.k == 3
    assert np.array_equal(loaded.embed(pixels), model.gallery.vectors)
    loaded.save(tmp_path / "b")
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()
    # the network that was trained lays its weights out otherwise, and means the same
    (stage,) = [layer for name, layer in network.named_modules() if name.endswith("stages.3")]
    assert stage.weight.is_contiguous(memory_format=torch.channels_last)
    assert fingerprint_of(model.architecture, model.preprocessing, network.eval()) == loaded.fingerprint
    with torch.no_grad():
        trained = network((torch.from_numpy(pixels) / 255 - 0.5) / 0.25).numpy()
    assert trained == pytest.approx(loaded.embed(pixels), rel=1e-4, abs=1e-5)
    lengths = np.linalg.norm(loaded.embed(pixels), axis=1)
    assert np.all(abs(lengths - 1) < 1e-6) == normalised


def test_a_bundle_of_before_convnets_is_the_same_model(tmp_path, members, reseal, make_model):
    document = json.loads(members["manifest.json"])
    for name in ("channels", "normalised"):
        del document["architecture"][name]
    del document["k"]
    write_sealed(tmp_path / "old", {**members, "manifest.json": json.dumps(document).encode()})
    loaded = Model.load(tmp_path / "old")
    assert same(loaded, make_model())
    assert (loaded.k, loaded.architecture.channels, loaded.architecture.normalised) == (5, (), False)


@pytest.mark.parametrize("hidden", [[3], []])
def test_the_fingerprint_of_a_network_without_channels_is_what_it_was(make_model, hidden):
    model = make_model(hidden=tuple(hidden))
    parts = {
        "architecture": {"name": "mlp", "image_shape": [1, 2, 2], "dimension": 2, "hidden": hidden},
        "preprocessing": {"mean": 0.25, "std": 0.5},
        "weights": weights_sha256(model.network),
    }
    assert model.fingerprint == hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def test_the_models_own_k_votes_where_nothing_else_is_said(pixels_model):
    image = np.array([[[[0, 4]]]], np.uint8)  # OK at distance 4 and 6, NG far away
    near = dataclasses.replace(pixels_model, k=1)
    assert len(near.classify(image, ["a"])[0].neighbors) == 1
    assert len(near.classify(image, ["a"], k=4)[0].neighbors) == 4
    assert len(pixels_model.classify(image, ["a"])[0].neighbors) == 5


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"k": 0}, "0 neighbours vote, expected 1 or more"),
        ({"training_mean": 1.5}, "the mean of the training pixels is 1.5, expected 0 to 1"),
        ({"training_mean": math.nan}, "the mean of the training pixels is nan"),
        ({"class_names": ("a", "b", "a")}, "two classes have the same name"),
        ({"class_names": ("a", "b", "c")}, "the gallery has other classes than the model"),
        (
            {"preprocessing": Preprocessing(0.25, 0.75)},
            "the gallery belongs to model .*: embed its images again",
        ),
    ],
)
def test_parts_that_do_not_belong_together_make_no_model(make_model, changes, message):
    with pytest.raises(ModelError, match=message):
        dataclasses.replace(make_model(), **changes)


def test_a_gallery_of_other_dimensions_or_unknown_classes_makes_no_model(make_model):
    model = make_model()
    wide = dataclasses.replace(model.gallery, vectors=np.zeros((6, 3), np.float32))
    with pytest.raises(ModelError, match="the gallery has 3 dimensions, the network 2"):
        dataclasses.replace(model, gallery=wide)
    unknown = dataclasses.replace(model.gallery, labels=np.array([0, 1, 2, 0, 1, -1]))
    with pytest.raises(ModelError, match="or images of no known class"):
        dataclasses.replace(model, gallery=unknown)


def test_a_gallery_of_another_model_makes_no_model(make_model):
    with pytest.raises(ModelError, match="the gallery belongs to model"):
        dataclasses.replace(make_model(seed=1), gallery=make_model(seed=2).gallery)


def test_a_network_in_training_mode_makes_no_model(make_model):
    model = make_model()
    model.network.train()
    with pytest.raises(ModelError, match="the network is in training mode"):
        dataclasses.replace(model)


@pytest.mark.parametrize("value", [float("nan"), {1, 2}, b"bytes", np.float32(1)])
def test_a_recipe_of_more_than_plain_json_makes_no_model(make_model, value):
    with pytest.raises(UsageError, match="the recipe holds more than plain JSON values"):
        dataclasses.replace(make_model(), recipe={"margin": value})


def test_the_recipe_is_the_models_own(make_model):
    recipe = {"hidden": (3, 4)}
    model = dataclasses.replace(make_model(), recipe=recipe)
    recipe["hidden"] = ()
    assert model.recipe == {"hidden": [3, 4]}


def test_images_of_another_shape_are_refused(make_model):
    with pytest.raises(DataError, match="images are 3 x 2 x 2, the model takes 1 x 2 x 2"):
        make_model().embed(np.zeros((1, 3, 2, 2), np.uint8))


def test_a_full_disk_leaves_the_old_model(bundle, make_model):
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    for limit in range(0, bundle.stat().st_size, 250):
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, hard))
        try:
            with pytest.raises(ResourceError, match="the disk is full; what was there before is unharmed"):
                make_model(seed=9).save(bundle)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert same(Model.load(bundle), make_model())
    assert [file.name for file in bundle.parent.iterdir()] == ["model.mitsugo"]


@pytest.mark.parametrize("name", ["no/such/folder/a.mitsugo", "", "/", "a\0b"])
def test_a_place_that_cannot_be_written_is_named(monkeypatch, tmp_path, make_model, name):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ResourceError, match="cannot be written|is no name that a file can have"):
        make_model().save(name)

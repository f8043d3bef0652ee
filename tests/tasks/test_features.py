"""Frozen backbones: features are computed once, kept, drawn from, and a head is trained on them."""

import copy
import dataclasses
import importlib.util

import numpy as np
import pytest
import safetensors.torch
import torch
from torch import nn

from mitsugo.errors import ModelError, UsageError
from mitsugo.model.backbones import BackboneNet
from mitsugo.model.bundle import Model
from mitsugo.model.networks import Normalised, initialise
from mitsugo.model.preprocessing import Preprocessing, prepare
from mitsugo.model.tensors import weights_sha256
from mitsugo.recipes import RECIPES
from mitsugo.settings import changed
from mitsugo.tasks import features
from mitsugo.tasks.experiment import assemble
from mitsugo.tasks.features import AS_SHARES, backbone_of, frozen_features, pinned
from mitsugo.tasks.flight import step_seconds
from mitsugo.tasks.judging import Kept
from mitsugo.tasks.state import captured, restore
from mitsugo.training import run
from mitsugo.values import Epoch, LabeledImages, LazyPixels, Position, Split

pytestmark = pytest.mark.skipif(importlib.util.find_spec("timm") is None, reason="timm is not installed")

CPU = torch.device("cpu")
SIDE, WIDTH = 32, 256
TRAIN, VALIDATION, TEST = np.arange(12), np.arange(12, 18), np.arange(18, 20)


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    """A small model of timm with drawn weights, whose features tell images apart."""
    path = tmp_path_factory.mktemp("weights") / "small.safetensors"
    with torch.device("meta"):
        trunk = BackboneNet("test_efficientnet", SIDE, 1).trunk
    chance = torch.Generator().manual_seed(0)
    initialise(trunk.to_empty(device="cpu"), chance)
    for layer in trunk.modules():
        if isinstance(layer, nn.BatchNorm2d):
            layer.momentum = 1.0
    trunk.train()(torch.rand(16, 3, SIDE, SIDE, generator=chance))
    safetensors.torch.save_file(trunk.state_dict(), path)
    return path


@pytest.fixture(scope="module")
def images():
    """Noise, brighter on the left or on the right; twelve train, six are to choose by, two test."""
    chance = np.random.default_rng(0)
    labels = np.arange(20) % 2
    pixels = chance.integers(0, 120, (20, 1, 10, 10), dtype=np.uint8)
    for image, label in zip(pixels, labels, strict=True):
        image[0, :, 5 * label : 5 * label + 5] += 100
    return LabeledImages(
        pixels=pixels,
        labels=labels,
        class_names=("left", "right"),
        names=tuple(map(str, range(20))),
        split=Split(train=TRAIN, validation=VALIDATION, test=TEST, how="by number"),
    )


@pytest.fixture
def recipe(weights):
    return changed(
        RECIPES["photos-pretrained"],
        backbone="test_efficientnet",
        backbone_weights=str(weights),
        backbone_side=SIDE,
        batch_size=6,
        images_per_class=3,
        views=3,
        epochs=3,
        dimension=4,
        flip_horizontal=0.0,
        brightness=0.2,
        shift=0.0,
        rotation=0.0,
        scale=0.0,
    )


def computed(images, recipe, **changes):
    return frozen_features(images, images.split, recipe, **({"seed": 5, "device": CPU} | changes))


def numbers(held):
    """Return features (n, views, width) of the bytes that they lie as."""
    return np.ascontiguousarray(held).view(np.float32).reshape(*held.shape[:2], -1)


def experiment(images, recipe, seed=5, **changes):
    plain = Preprocessing(0.3, 0.2)
    return assemble(images, images.split, recipe, seed=seed, preprocessing=plain, device=CPU, **changes)


def test_view_0_is_the_image_itself_and_the_others_are_changed_images(images, recipe):
    held = computed(images, recipe)
    assert held.shape == (20, 3, 1, 4 * WIDTH)
    found = numbers(held)
    network = backbone_of(recipe)
    with torch.no_grad():
        itself = network.features(prepare(torch.tensor(images.pixels), AS_SHARES)).numpy()
    assert found[:18, 0] == pytest.approx(itself[:18], rel=1e-3, abs=1e-4)
    for one, other in ((0, 1), (0, 2), (1, 2)):
        assert (np.abs(found[TRAIN, one] - found[TRAIN, other]).max(axis=1) > 1e-3).all()
    assert not found[18:].any(), "test images are not looked at"
    assert not found[VALIDATION, 1:].any()


def test_a_view_hangs_on_seed_view_and_image_alone(images, recipe, monkeypatch):
    whole = numbers(computed(images, recipe))
    fewer = dataclasses.replace(images.split, train=TRAIN[5:], validation=VALIDATION)
    some = numbers(frozen_features(images, fewer, recipe, seed=5, device=CPU))
    assert some[TRAIN[5:]] == pytest.approx(whole[TRAIN[5:]], rel=1e-3, abs=1e-4)
    monkeypatch.setattr(features, "VALUES_AT_ONCE", 1)
    assert numbers(computed(images, recipe)) == pytest.approx(whole, rel=1e-3, abs=1e-4)
    other = numbers(computed(images, recipe, seed=6))
    assert other[:, 0] == pytest.approx(whole[:, 0], rel=1e-3, abs=1e-4)
    assert (np.abs(other[TRAIN, 1:] - whole[TRAIN, 1:]).max(axis=(1, 2)) > 1e-3).all()


def test_views_of_a_recipe_that_changes_nothing_are_alike_and_lazy_pixels_do(images, recipe):
    still = changed(recipe, brightness=0.0)
    lazy = dataclasses.replace(
        images, pixels=LazyPixels(images.pixels.shape, lambda rows: images.pixels[rows])
    )
    found = numbers(computed(lazy, still))
    for view in (1, 2):
        assert found[TRAIN, view] == pytest.approx(found[TRAIN, 0], rel=1e-3, abs=1e-4)


class Hearing:
    def __init__(self):
        self.said, self.warned = [], []
        self.say, self.warn = self.said.append, self.warned.append

    def progress(self, progress, epochs):
        raise AssertionError

    def epoch(self, epoch, epochs):
        raise AssertionError

    def reading(self, done, total):
        raise AssertionError


def test_features_are_kept_and_found_again(images, recipe, tmp_path):
    hearing = Hearing()
    first = computed(images, recipe, folder=tmp_path, talk=hearing)
    told = (
        "computing once the features of 12 training images in 3 views and of 6 validation images, by "
        "test_efficientnet at 32 px"
    )
    assert hearing.said == [told]
    (file,) = tmp_path.iterdir()
    assert file.name.startswith(".features-")
    again = computed(images, recipe, folder=tmp_path, talk=hearing)
    assert np.array_equal(first, again)
    assert len(hearing.said) == 1, "they were not computed again"


@pytest.mark.parametrize("damage", ["cut", "other"])
def test_damaged_features_are_told_of_and_computed_again(images, recipe, tmp_path, damage):
    first = computed(images, recipe, folder=tmp_path)
    (file,) = tmp_path.iterdir()
    if damage == "cut":
        file.write_bytes(file.read_bytes()[:-100])
    else:
        features.write_sealed(file, {"features": b"too short"})
    hearing = Hearing()
    assert np.array_equal(computed(images, recipe, folder=tmp_path, talk=hearing), first)
    assert len(hearing.warned) == len(hearing.said) == 1
    assert hearing.warned[0].endswith(": its features are computed again")
    assert np.array_equal(computed(images, recipe, folder=tmp_path, talk=Hearing()), first)


def test_other_features_have_another_name(images, recipe, tmp_path):
    inverted = dataclasses.replace(images, pixels=255 - images.pixels)
    smaller = dataclasses.replace(images, split=dataclasses.replace(images.split, train=TRAIN[1:]))
    for given, settings, seed in (
        (images, {}, 5),
        (images, {}, 6),
        (inverted, {}, 5),
        (smaller, {}, 5),
        (images, {"views": 2}, 5),
        (images, {"views": 1}, 5),
        (images, {"brightness": 0.1}, 5),
        (images, {"backbone_side": 40}, 5),
    ):
        computed(given, changed(recipe, **settings), seed=seed, folder=tmp_path)
    assert len(list(tmp_path.iterdir())) == 8
    alone = changed(recipe, views=1)
    computed(images, alone, seed=7, folder=tmp_path)
    assert len(list(tmp_path.iterdir())) == 8, "one view needs no chance"


def test_what_is_too_large_for_a_file_is_not_kept(images, recipe, tmp_path, monkeypatch):
    monkeypatch.setattr(features, "LARGEST", features.ROOM + 1000)
    computed(images, recipe, folder=tmp_path)
    assert not list(tmp_path.iterdir())


def test_progress_is_told_every_so_many_features(images, recipe, monkeypatch):
    monkeypatch.setattr(features, "TOLD_EVERY", 20)
    monkeypatch.setattr(features, "VALUES_AT_ONCE", 3 * SIDE**2 * 4)
    hearing = Hearing()
    computed(images, recipe, talk=hearing)
    # 18 images in parts of 4, 4, 4, 4, 2; then twice 12 in parts of 4
    assert hearing.said[1:] == ["features: 22 of 42", "features: 42 of 42"]


def test_features_that_are_not_finite_name_the_image(images, recipe, monkeypatch):
    whole = BackboneNet.features

    def broken(self, seen):
        return whole(self, seen) * torch.where(seen.mean(dim=(1, 2, 3)) > 0.99, torch.nan, 1.0)[:, None]

    monkeypatch.setattr(BackboneNet, "features", broken)
    pixels = images.pixels.copy()
    pixels[3] = 255
    with pytest.raises(
        ModelError, match="the features of '3' are not finite; the backbone's weights are unus"
    ):
        computed(dataclasses.replace(images, pixels=pixels), recipe)


def test_weights_and_size_are_pinned_and_others_refused(recipe, weights, tmp_path):
    fixed = pinned(dataclasses.replace(recipe, backbone_side=None))
    assert fixed.backbone_side == 160
    network = backbone_of(fixed)
    assert fixed.backbone_sha256 == weights_sha256(network.trunk)
    assert pinned(fixed) == fixed
    assert pinned(RECIPES["standard"]) is RECIPES["standard"]
    tensors = safetensors.torch.load_file(weights)
    tensors["bn1.bias"][0] += 1
    safetensors.torch.save_file(tensors, tmp_path / "other.safetensors")
    other = dataclasses.replace(fixed, backbone_weights=str(tmp_path / "other.safetensors"))
    with pytest.raises(
        UsageError, match=r"other.safetensors: these are weights \w{12}, but backbone_sha256 names"
    ):
        backbone_of(other)


def test_a_backbone_that_does_not_exist_is_told_by_its_option(recipe):
    for name in ("no_such_model", "hf-hub:a/b"):
        with pytest.raises(UsageError, match=f"^--set backbone={name}: timm .* has no model"):
            backbone_of(changed(recipe, backbone=name))
    with pytest.raises(
        UsageError, match="^--set backbone=test_vit: timm's test_vit cannot see images of 33 x 33"
    ):
        backbone_of(changed(recipe, backbone="test_vit", backbone_side=33))


@pytest.mark.parametrize("normalised", [False, True])
def test_only_the_head_trains_and_the_network_is_trunk_and_head(images, recipe, normalised):
    made = experiment(images, changed(recipe, normalised=normalised, hidden=[8]))
    assert made.preprocessing == AS_SHARES
    assert made.architecture.backbone_side == SIDE
    inner = made.network.embedding_net if normalised else made.network
    assert isinstance(made.network, Normalised if normalised else BackboneNet)
    trained = {id(parameter) for parameter in made.training.network.parameters()}
    assert trained == {id(parameter) for parameter in inner.layers.parameters()}
    assert not any(parameter.requires_grad for parameter in inner.trunk.parameters())
    before = copy.deepcopy(made.network.state_dict())
    for _ in run(made.training, 2):
        pass
    after = made.network.state_dict()
    moved = {name for name in before if not torch.equal(before[name], after[name])}
    assert moved
    assert all("layers." in name for name in moved)
    # from pixels the whole network gives what the head gives of features
    (inputs,), _ = next(iter(made.training.validation_batches()))
    rows = made.judge._feed._fixed[0]
    with torch.no_grad():
        head = made.training.network.eval()(inputs)
        whole = made.network.eval()(prepare(torch.tensor(images.pixels[rows]), AS_SHARES))
    assert head == pytest.approx(whole, rel=1e-3, abs=1e-4)


def finished(made, epochs=3):
    """Train to the end as tasks do; return what is kept."""
    kept = Kept(best=True)
    for event in run(made.training, epochs):
        if isinstance(event, Epoch):
            kept.see(event, made.network)
    return kept


def test_the_model_works_from_pixels_and_needs_no_features(images, recipe, tmp_path):
    made = experiment(images, recipe)
    kept = finished(made)
    assert kept.weights
    assert all("layers." in name or name in {"mean", "std"} for name in kept.weights), "no trunk is copied"
    kept.put_back(made.network)
    model = Model.of(
        architecture=made.architecture,
        network=made.network,
        preprocessing=made.preprocessing,
        images=images.take(np.concatenate((TRAIN, VALIDATION))),
        recipe=recipe.plain(),
    )
    model.save(tmp_path / "model.mitsugo")
    again = Model.load(tmp_path / "model.mitsugo")
    assert again.fingerprint == model.fingerprint
    verdicts = again.classify(images.pixels[TEST], ["18", "19"])
    assert {verdict.label for verdict in verdicts} <= {"left", "right"}
    assert np.array_equal(again.embed(images.pixels), model.embed(images.pixels))


def test_features_that_were_computed_before_train_to_the_same_weights(images, recipe):
    one, other = experiment(images, recipe), experiment(images, recipe, features=computed(images, recipe))
    for made in (one, other):
        finished(made)
    assert weights_sha256(one.network) == weights_sha256(other.network)
    different = experiment(images, recipe, seed=6)
    finished(different)
    assert weights_sha256(different.network) != weights_sha256(one.network)


def test_a_run_that_stopped_at_any_step_goes_on_to_the_same_bits(images, recipe):
    given = computed(images, recipe)
    whole = experiment(images, recipe, features=given)
    kept = finished(whole)
    steps = 3 * whole.judge._feed.batches
    for stop in range(1, steps):
        first = experiment(images, recipe, features=given)
        before, history, position = Kept(best=True), [], Position()
        for number, event in enumerate(
            event for event in run(first.training, 3) if not _seen(event, before, first, history)
        ):
            position = event.position
            if number + 1 == stop:
                break
        if position.batches == first.judge._feed.batches:
            continue  # the epoch's end is told by its Epoch
        tensors = captured(first.training.network, first.training.optimizer, before)
        second = experiment(images, recipe, features=given)
        after = Kept(best=True)
        restore(tensors, second.training.network, second.training.optimizer, after)
        after.remember(history)
        for event in run(second.training, 3, position):
            if isinstance(event, Epoch):
                after.see(event, second.network)
        assert weights_sha256(second.network) == weights_sha256(whole.network)
        assert after.epoch == kept.epoch
        assert all(torch.equal(after.weights[name], tensor) for name, tensor in kept.weights.items())


def _seen(event, kept, made, history):
    if isinstance(event, Epoch):
        kept.see(event, made.network)
        history.append(event)
    return isinstance(event, Epoch)


@pytest.mark.parametrize(
    ("loss", "batches"),
    [("triplet", "triplets"), ("contrastive", "pairs"), ("softmax", "shuffled"), ("triplet-hard", "p-by-k")],
)
def test_every_kind_of_batch_takes_features(images, recipe, loss, batches):
    made = experiment(images, changed(recipe, loss=loss, batches=batches))
    before = copy.deepcopy(made.network.state_dict())
    (epoch,) = [event for event in run(made.training, 1) if isinstance(event, Epoch)]
    assert np.isfinite([epoch.train_loss, epoch.validation_loss]).all()
    assert any(not torch.equal(before[name], tensor) for name, tensor in made.network.state_dict().items())
    assert step_seconds(made.training, 2) > 0


def test_fine_tuning_moves_the_trunk_and_takes_pixels(images, recipe):
    made = experiment(images, changed(recipe, frozen=False, views=1))
    trunk = copy.deepcopy(made.network.trunk.state_dict())
    given = safetensors.torch.load_file(recipe.backbone_weights)
    assert all(torch.equal(trunk[name], tensor) for name, tensor in given.items())
    kept = finished(made, 1)
    after = made.network.trunk.state_dict()
    assert not any(torch.equal(after[name], tensor) for name, tensor in trunk.items() if tensor.dim() == 4)
    assert {name for name in kept.weights if name.startswith("trunk.")} == {f"trunk.{name}" for name in trunk}
    model = Model.of(
        architecture=made.architecture,
        network=made.network.eval(),
        preprocessing=made.preprocessing,
        images=images,
        recipe={},
    )
    assert model.embed(images.pixels).shape == (20, 4)


def test_frozen_layers_are_left_out_of_what_is_kept():
    network = nn.Sequential(nn.Linear(1, 1), nn.BatchNorm1d(1), nn.BatchNorm1d(1, affine=False))
    network[:2].requires_grad_(False)
    kept = Kept(best=True)
    epoch = Epoch(
        epoch=1,
        train_loss=0.0,
        validation_loss=0.0,
        learning_rate=0.0,
        seconds=0.0,
        core_seconds=0.0,
        images=1,
        metrics={"validation_accuracy": 1.0},
    )
    kept.see(epoch, network)
    assert set(kept.weights) == {"2.running_mean", "2.running_var", "2.num_batches_tracked"}
    network[2].running_mean.fill_(9)
    kept.put_back(network)
    assert network[2].running_mean.item() == 0

"""What a network is made from, and what none is."""

import pytest

from mitsugo.errors import ModelError
from mitsugo.model.architecture import Architecture


def mlp(**changes):
    fields = {"name": "mlp", "image_shape": (1, 28, 28), "dimension": 128, "hidden": (256, 256)}
    return Architecture(**(fields | changes))


def convnet(image_shape=(1, 28, 28), **changes):
    fields = {"name": "convnet", "dimension": 128, "channels": (32, 64, 96), "hidden": (256,)}
    return Architecture(image_shape=image_shape, **(fields | changes))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"dimension": 0}, "a network with a size of 0: expected 1 to 16777216"),
        ({"dimension": -3}, "size of -3"),
        ({"hidden": (256, 0)}, "size of 0"),
        ({"hidden": (1 << 24, (1 << 24) + 1)}, "size of 16777217"),
        ({"image_shape": (3, 1 << 12, 1 << 12)}, "size of 50331648"),
        ({"image_shape": (1, 0, 28)}, "size of 0"),
        ({"hidden": (1,) * 65}, "65 hidden layers, expected at most 64"),
        (
            {"name": "raw-pixels", "hidden": ()},
            "raw pixels of 784 values embed in as many dimensions, not 128",
        ),
        ({"name": "raw-pixels", "dimension": 784}, "raw pixels have no hidden layers"),
    ],
)
def test_sizes_that_no_network_has_are_refused(changes, message):
    with pytest.raises(ModelError, match=message):
        mlp(**changes)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"channels": ()},
            r"convnet with the channels \(\): a ConvNet and a residual network have some, no other",
        ),
        ({"name": "mlp"}, r"mlp with the channels \(32, 64, 96\): a ConvNet and a"),
        ({"channels": (32, 0)}, "a network with a size of 0"),
        ({"channels": (1,) * 60, "hidden": (1,) * 5}, "65 hidden layers, expected at most 64"),
    ],
)
def test_channels_that_no_network_has_are_refused(changes, message):
    with pytest.raises(ModelError, match=message):
        convnet(**changes)


BACKBONE = {"name": "backbone", "channels": (), "hidden": (), "backbone": "test_resnet", "backbone_side": 160}
RESIDUAL = {"name": "residual", "channels": (4, 8), "blocks": (1, 2)}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            RESIDUAL | {"blocks": (1,)},
            r"residual with the channels \(4, 8\) and the blocks \(1,\): .* of both",
        ),
        (RESIDUAL | {"blocks": (1, 0)}, "a network with a size of 0"),
        (RESIDUAL | {"channels": (), "blocks": ()}, r"residual with the channels \(\)"),
        (RESIDUAL | {"blocks": (30, 33)}, "a network with 66 hidden layers, expected at most 64"),
        (
            {"blocks": (1, 1, 1)},
            r"convnet with the channels .* and the blocks \(1, 1, 1\): .* no other has blocks",
        ),
        (
            {"backbone": "test_resnet"},
            "convnet with the backbone 'test_resnet' of 0 pixels: only a backbone has",
        ),
        ({"backbone_side": 160}, "convnet with the backbone '' of 160 pixels: only a backbone has one"),
        (BACKBONE | {"backbone": ""}, "a backbone '' of 160 pixels for 1 channels: expected a model of timm"),
        (BACKBONE | {"backbone": "hf-hub:a/b"}, "a backbone 'hf-hub:a/b' of 160 pixels"),
        (BACKBONE | {"backbone": "a.b.c"}, "a backbone 'a.b.c' of 160 pixels"),
        (BACKBONE | {"backbone": "caf\xe9\n"}, r"a backbone 'caf\\xe9\\n' of 160 pixels"),
        (BACKBONE | {"backbone_side": 0}, "a backbone 'test_resnet' of 0 pixels"),
        (BACKBONE | {"backbone_side": 4097}, "of 4097 pixels for 1 channels: .* 1 to 4096 pixels"),
        (BACKBONE | {"image_shape": (2, 8, 8)}, r"for 2 channels: .* grey \(1\) or RGB \(3\) images"),
        (BACKBONE | {"channels": (4,)}, r"backbone with the channels \(4,\)"),
    ],
)
def test_stages_and_backbones_that_no_network_has_are_refused(changes, message):
    with pytest.raises(ModelError, match=message):
        convnet(**changes)


def test_what_a_backbone_may_be_named():
    for name in ("test_resnet", "tf_efficientnet_lite0.in1k", "RN50"):
        assert convnet(**BACKBONE | {"backbone": name}).backbone == name


@pytest.mark.parametrize(
    ("changes", "images"),
    [
        ({"image_shape": (1, 28, 28)}, (1 << 20) // 784),
        ({"image_shape": (3, 128, 128)}, (1 << 20) // (3 * 128 * 128)),
        ({"image_shape": (3, 1024, 1024)}, 1),
        (BACKBONE | {"image_shape": (1, 8, 8)}, (1 << 20) // (3 * 160 * 160)),
        (BACKBONE | {"image_shape": (3, 400, 400)}, (1 << 20) // (3 * 400 * 400)),
    ],
)
def test_so_many_images_at_once_hold_about_a_million_values(changes, images):
    assert convnet(**changes).at_once == images

"""The small ConvNet: its stages, its first weights, and what it computes."""

import math

import pytest
import torch
from torch import nn

from mitsugo.errors import ModelError
from mitsugo.model.architecture import Architecture
from mitsugo.model.networks import build, initialise


def convnet(image_shape=(1, 28, 28), **changes):
    fields = {"name": "convnet", "dimension": 128, "channels": (32, 64, 96), "hidden": (256,)}
    return Architecture(image_shape=image_shape, **(fields | changes))


def trained(architecture, seed=0):
    """A network whose batch normalisation has seen some images."""
    net = build(architecture)
    initialise(net, torch.Generator().manual_seed(seed))
    chance = torch.Generator().manual_seed(seed)
    net.train()(torch.randn(16, *architecture.image_shape, generator=chance) + 0.5)
    return net.eval()


@pytest.mark.parametrize(
    ("image_shape", "stages"),
    [
        ((1, 8, 8), [(8, 8), (4, 4), (4, 4)]),  # below 16 the first stage keeps the size
        ((1, 28, 28), [(14, 14), (7, 7), (7, 7)]),  # 7 is not halved any more
        ((1, 40, 24), [(20, 12), (10, 6), (10, 6)]),  # nor is what has a side of 6
        ((3, 64, 64), [(32, 32), (16, 16), (8, 8)]),
        ((1, 17, 33), [(9, 17), (5, 9), (5, 9)]),  # halves of odd sizes are rounded up
        ((2, 1, 1), [(1, 1), (1, 1), (1, 1)]),
    ],
)
def test_the_stages_of_a_convnet_halve_an_image_down_to_some_7_pixels(image_shape, stages):
    net = build(convnet(image_shape)).eval()
    sizes = []
    for layer in net.stages:
        if isinstance(layer, nn.ReLU):
            layer.register_forward_hook(lambda _, inputs, output: sizes.append(tuple(output.shape[1:])))
    images = torch.zeros(2, *image_shape)
    assert net(images).shape == net.get_embedding(images).shape == (2, 128)
    expected = [(width, *sides) for width, sides in zip((32, 64, 96), stages, strict=True)]
    assert sizes == expected * 2
    assert net.layers[0].in_features == math.prod(expected[-1])


def test_a_convnet_has_its_layers():
    net = build(convnet((3, 16, 16), channels=(4, 5), hidden=(6, 7), dimension=8))
    kinds = [type(layer) for layer in (*net.stages, *net.layers)]
    stage, layer = [nn.BatchNorm2d, nn.ReLU], [nn.Linear, nn.BatchNorm1d, nn.ReLU]
    assert kinds == [nn.Conv2d, *stage, nn.Conv2d, nn.MaxPool2d, *stage, *layer, *layer, nn.Linear]
    shapes = {name: tuple(weight.shape) for name, weight in net.named_parameters() if weight.ndim > 1}
    assert shapes == {
        "stages.0.weight": (4, 3, 5, 5),
        "stages.3.weight": (5, 4, 3, 3),
        "layers.0.weight": (6, 5 * 4 * 4),  # 16 pixels, 8 after the first stage, 4 after the second
        "layers.3.weight": (7, 6),
        "layers.6.weight": (8, 7),
    }
    # before batch normalisation, which takes the mean away, no layer has a bias
    assert [name for name, layer in net.named_modules() if getattr(layer, "bias", None) is not None] == [
        "stages.1",
        "stages.5",
        "layers.1",
        "layers.4",
        "layers.6",
    ]


def greatest_of_each_2_by_2(image):
    """The definition, as loops; what hangs over the edge is left out."""
    height, width = len(image), len(image[0])
    return [
        [
            max(
                image[y][x]
                for y in range(top, min(top + 2, height))
                for x in range(left, min(left + 2, width))
            )
            for left in range(0, width, 2)
        ]
        for top in range(0, height, 2)
    ]


@pytest.mark.parametrize("sides", [(8, 8), (9, 13)])
def test_a_convnet_computes_what_its_layers_say(sides):
    """Kernels that are 1 in their middle change nothing; batch normalisation divides by √(1 + 1e-5)."""
    net = build(convnet((1, *sides), channels=(1, 1), hidden=(), dimension=1)).eval()
    image = torch.randint(-9, 10, (1, 1, *sides), generator=torch.Generator().manual_seed(1)).float()
    with torch.no_grad():
        net.stages[0].weight.zero_()[0, 0, 2, 2] = 1
        net.stages[3].weight.zero_()[0, 0, 1, 1] = 1
        values = net.layers[0].in_features
        net.layers[0].weight.copy_(torch.arange(values))
        net.layers[0].bias.fill_(7)
    pooled = greatest_of_each_2_by_2(image[0, 0].relu().tolist())
    flat = [value / (1 + 1e-5) for row in pooled for value in row]
    assert len(flat) == values
    expected = sum(place * value for place, value in enumerate(flat)) + 7
    assert net(image).item() == pytest.approx(expected, rel=1e-5)


def test_a_convnets_first_stage_steps_by_two_on_large_images():
    net = build(convnet((1, 16, 16), channels=(1,), hidden=(), dimension=64)).eval()
    with torch.no_grad():
        net.stages[0].weight.zero_()[0, 0, 2, 2] = 1
        net.layers[0].weight.copy_(torch.eye(64))
        net.layers[0].bias.zero_()
    image = torch.arange(256.0).reshape(1, 1, 16, 16)
    found = net(image).detach().reshape(8, 8) * math.sqrt(1 + 1e-5)
    assert found == pytest.approx(image[0, 0, ::2, ::2], rel=1e-5)


def test_a_convnets_embedding_of_an_image_does_not_depend_on_its_batch():
    net = trained(convnet())
    images = torch.randn(64, 1, 28, 28, generator=torch.Generator().manual_seed(5))
    with torch.no_grad():
        together = net(images)
        for alone, row in zip(torch.cat([net(image[None]) for image in images]), together, strict=True):
            assert torch.linalg.vector_norm(alone - row) <= 1e-6 * torch.linalg.vector_norm(row)
        assert not torch.allclose(net.train()(images)[:32], net(images[:32]))  # in training it does


def test_a_convnet_works_on_channels_last_weights_and_images():
    net = build(convnet((3, 16, 16)))
    assert all(
        layer.weight.is_contiguous(memory_format=torch.channels_last)
        for layer in net.stages
        if isinstance(layer, nn.Conv2d)
    )
    seen = []
    net.stages[0].register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    images = torch.randn(2, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    net.eval()(images)
    assert seen[0].is_contiguous(memory_format=torch.channels_last)
    assert torch.equal(seen[0], images)


def test_a_last_stage_beyond_all_bounds_is_refused_before_memory_is_taken():
    architecture = convnet((1, 4096, 4096), channels=(1 << 24,), hidden=(1 << 24,))
    with torch.device("meta"), pytest.raises(ModelError, match="ends its stages with 70368744177664 values"):
        build(architecture)


def test_a_convnets_first_weights_are_uniform_and_its_normalisation_does_nothing():
    net = build(convnet())
    with torch.no_grad():
        for tensor in net.state_dict().values():
            tensor.fill_(9)  # as memory that nobody wrote to
    initialise(net, torch.Generator().manual_seed(1))
    state = net.state_dict()
    fans = {"stages.0": 25, "stages.3": 32 * 9, "stages.7": 64 * 9, "layers.0": 96 * 49, "layers.3": 256}
    for name, fan_in in fans.items():
        bound = 1 / math.sqrt(fan_in)
        weight = state[f"{name}.weight"]
        assert 0.95 * bound < weight.abs().max().item() <= bound
        assert weight.std().item() == pytest.approx(bound / math.sqrt(3), rel=0.06)
        assert abs(weight.mean().item()) < 5 * bound / math.sqrt(3 * weight.numel())
    for name in ("stages.1", "stages.5", "stages.8", "layers.1"):
        law = {"weight": 1, "bias": 0, "running_mean": 0, "running_var": 1, "num_batches_tracked": 0}
        assert {key: set(state[f"{name}.{key}"].flatten().tolist()) for key in law} == {
            key: {value} for key, value in law.items()
        }
    assert 0 < state["layers.3.bias"].abs().max().item() <= 1 / math.sqrt(256)

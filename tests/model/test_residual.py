"""The residual network: what a block computes, how sizes go, and that it trains."""

import math

import pytest
import torch
from torch import nn

from mitsugo.model.architecture import Architecture
from mitsugo.model.networks import build, initialise
from mitsugo.model.residual import ResidualBlock, ResidualNet

ROOT = math.sqrt(1 + 1e-5)
"""What fresh batch normalisation divides by."""


def residual(image_shape=(3, 128, 128), **changes):
    fields = {"name": "residual", "dimension": 5, "channels": (4, 6, 8), "blocks": (1, 2, 1)}
    return Architecture(image_shape=image_shape, **(fields | changes))


def drawn(architecture, seed=0):
    net = build(architecture)
    initialise(net, torch.Generator().manual_seed(seed))
    return net


def only_middle(convolution, value=1.0):
    """Make a convolution that multiplies each channel by a value, and nothing else."""
    with torch.no_grad():
        convolution.weight.zero_()
        middle = convolution.kernel_size[0] // 2
        for channel in range(min(convolution.weight.shape[:2])):
            convolution.weight[channel, channel, middle, middle] = value


def test_a_block_adds_its_branch_to_what_came_in():
    """Of x the branch sees relu(x / r), twice normalised: x + 3 · 2 · relu(x) / r²."""
    block = ResidualBlock(2, 2, 1).eval()
    assert block.shortcut is None
    only_middle(block.branch[0], 2.0)
    only_middle(block.branch[3], 3.0)
    images = torch.randint(-9, 10, (2, 2, 4, 5), generator=torch.Generator().manual_seed(0)).float()
    expected = [value + 6 * max(value, 0) / ROOT**2 for value in images.flatten().tolist()]
    assert block(images).flatten().tolist() == pytest.approx(expected, rel=1e-5)


def test_a_block_that_changes_size_or_width_has_a_shortcut_of_its_own():
    """The shortcut takes every second pixel of relu(x) / r; a branch of zeros adds nothing."""
    block = ResidualBlock(1, 2, 2).eval()
    only_middle(block.branch[3], 0.0)
    with torch.no_grad():
        block.shortcut.weight.copy_(torch.tensor([[[[1.0]]], [[[-4.0]]]]))
    image = torch.arange(-8.0, 8.0).reshape(1, 1, 4, 4)
    seen = image[0, 0, ::2, ::2].relu() / ROOT
    found = block(image).detach()
    assert found.shape == (1, 2, 2, 2)
    assert found[0, 0] == pytest.approx(seen, rel=1e-5)
    assert found[0, 1] == pytest.approx(-4 * seen, rel=1e-5)
    assert ResidualBlock(2, 2, 2)(torch.zeros(1, 2, 4, 4)).shape == (1, 2, 2, 2)
    assert ResidualBlock(2, 2, 2).shortcut.kernel_size == (1, 1)
    assert ResidualBlock(2, 3, 1).shortcut.stride == (1, 1)


@pytest.mark.parametrize(
    ("image_shape", "sizes"),
    [
        ((3, 128, 128), [(32, 32), (16, 16), (16, 16), (8, 8)]),
        ((1, 256, 192), [(64, 48), (32, 24), (32, 24), (16, 12)]),
        ((3, 150, 150), [(38, 38), (19, 19), (19, 19), (10, 10)]),
        ((1, 64, 64), [(16, 16), (8, 8), (8, 8), (4, 4)]),
        ((1, 63, 63), [(32, 32), (16, 16), (16, 16), (8, 8)]),  # below 64 it is halved once at the entrance
        ((1, 28, 28), [(14, 14), (7, 7), (7, 7), (7, 7)]),  # 7 is not halved any more
        ((2, 8, 8), [(8, 8), (4, 4), (4, 4), (4, 4)]),  # below 16 the entrance keeps the size
        ((1, 1, 1), [(1, 1)] * 4),
    ],
)
def test_sizes_go_down_to_some_7_pixels(image_shape, sizes):
    net = drawn(residual(image_shape)).eval()
    seen = []
    for block in net.modules():
        if isinstance(block, ResidualBlock):
            block.register_forward_hook(lambda _, inputs, output: seen.append(tuple(output.shape[2:])))
    images = torch.zeros(2, *image_shape)
    assert net(images).shape == net.get_embedding(images).shape == (2, 5)
    assert seen == sizes * 2


def test_a_residual_network_has_its_layers():
    net = build(residual(hidden=(7,)))
    blocks = [layer for layer in net.stages if isinstance(layer, ResidualBlock)]
    assert [type(layer) for layer in net.stages if layer not in blocks] == [
        nn.Conv2d,
        nn.MaxPool2d,
        nn.BatchNorm2d,
        nn.ReLU,
    ]
    assert [tuple(block.branch[0].weight.shape) for block in blocks] == [
        (4, 4, 3, 3),
        (6, 4, 3, 3),
        (6, 6, 3, 3),
        (8, 6, 3, 3),
    ]
    assert [block.shortcut is not None for block in blocks] == [False, True, False, True]
    assert [type(layer) for layer in net.layers] == [nn.Linear, nn.BatchNorm1d, nn.ReLU, nn.Linear]
    assert [layer.in_features for layer in net.layers if isinstance(layer, nn.Linear)] == [8, 7]
    assert isinstance(net, ResidualNet)


def test_what_is_seen_counts_and_not_where():
    """The mean over all places: of an image that is moved by whole cells around the edge it is the same."""
    net = drawn(residual((1, 1, 1), channels=(2,), blocks=(1,))).eval()
    net.stages[0] = nn.Conv2d(1, 2, 1, bias=False)
    for convolution in (net.stages[1].branch[0], net.stages[1].branch[3]):
        only_middle(convolution)
    image = torch.randn(1, 1, 6, 6, generator=torch.Generator().manual_seed(1))
    moved = image.roll((2, 3), dims=(2, 3))
    with torch.no_grad():
        assert net(moved) == pytest.approx(net(image), abs=1e-6)
        assert (net(2 * image) - net(image)).abs().max() > 1e-3


def test_an_embedding_of_an_image_does_not_depend_on_its_batch():
    net = drawn(residual((3, 64, 64)))
    images = torch.randn(16, 3, 64, 64, generator=torch.Generator().manual_seed(5))
    net.train()(images + 0.5)
    net.eval()
    with torch.no_grad():
        together = net(images)
        for image, row in zip(images, together, strict=True):
            alone = net(image[None])[0]
            assert torch.linalg.vector_norm(alone - row) <= 1e-6 * torch.linalg.vector_norm(row)


def test_every_weight_has_a_gradient_and_the_layout_is_channels_last():
    net = drawn(residual((3, 64, 64)))
    convolutions = [layer for layer in net.modules() if isinstance(layer, nn.Conv2d)]
    assert all(layer.weight.is_contiguous(memory_format=torch.channels_last) for layer in convolutions)
    net.train()(
        torch.randn(4, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    ).square().sum().backward()
    for name, parameter in net.named_parameters():
        assert parameter.grad.abs().max() > 0, name


@pytest.mark.parametrize("threads", [1, 2])
def test_gradients_of_few_channels_are_those_of_float64(threads):
    """A 1 x 1 convolution with steps, of fewer channels than a register holds, crashed or went astray."""
    before = torch.get_num_threads()
    block = ResidualBlock(4, 6, 2).to(memory_format=torch.channels_last)
    exact = ResidualBlock(4, 6, 2).double()
    exact.load_state_dict(block.state_dict())
    images = torch.randn(8, 4, 16, 16, generator=torch.Generator().manual_seed(1))
    exact(images.double()).square().sum().backward()
    try:
        torch.set_num_threads(threads)
        for _ in range(10):
            block.zero_grad()
            block(images.contiguous(memory_format=torch.channels_last)).square().sum().backward()
    finally:
        torch.set_num_threads(before)
    for ours, wanted in zip(block.parameters(), exact.parameters(), strict=True):
        torch.testing.assert_close(ours.grad.double(), wanted.grad, rtol=1e-4, atol=1e-3)


def test_blocks_and_channels_go_together():
    with pytest.raises(ValueError, match="zip"):
        ResidualNet((1, 8, 8), 2, channels=(4, 4), blocks=(1,))

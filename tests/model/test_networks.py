"""Networks are what their architecture says, and their first weights come from the generator alone."""

import math

import pytest
import torch
from torch import nn

from mitsugo.errors import ModelError
from mitsugo.model.networks import (
    Architecture,
    ClassifierNet,
    ConvNet,
    EmbeddingNet,
    Normalised,
    PairNet,
    RawPixels,
    TripletNet,
    build,
    initialise,
)


def mlp(**changes):
    fields = {"name": "mlp", "image_shape": (1, 28, 28), "dimension": 128, "hidden": (256, 256)}
    return Architecture(**(fields | changes))


def doubling():
    """A network of one value in and one out, that doubles it."""
    net = EmbeddingNet(1, 1, ())
    with torch.no_grad():
        net.layers[0].weight.fill_(2)
        net.layers[0].bias.zero_()
    return net


def test_the_walkthroughs_network_has_its_layers():
    shapes = {name: tuple(tensor.shape) for name, tensor in build(mlp()).state_dict().items()}
    assert shapes == {
        "layers.0.weight": (256, 784),
        "layers.0.bias": (256,),
        "layers.2.weight": (256, 256),
        "layers.2.bias": (256,),
        "layers.4.weight": (128, 256),
        "layers.4.bias": (128,),
    }
    assert [type(layer) for layer in build(mlp()).layers] == [
        nn.Linear,
        nn.ReLU,
        nn.Linear,
        nn.ReLU,
        nn.Linear,
    ]


def test_the_network_computes_what_its_layers_say():
    """Of x = (1, -2) the hidden (1, -2) is cut to (1, 0); the output is 3 · 1 + 5 · 0 + 7, not normalised."""
    net = EmbeddingNet(2, 1, (2,))
    with torch.no_grad():
        net.layers[0].weight.copy_(torch.eye(2))
        net.layers[0].bias.zero_()
        net.layers[2].weight.copy_(torch.tensor([[3.0, 5.0]]))
        net.layers[2].bias.fill_(7)
    flat = torch.tensor([[1.0, -2.0]])
    assert net(flat).tolist() == [[10.0]]
    assert net.get_embedding(flat.reshape(1, 1, 1, 2)).tolist() == [[10.0]]


def test_raw_pixels_are_their_own_embedding():
    architecture = Architecture(name="raw-pixels", image_shape=(1, 2, 2), dimension=4)
    net = build(architecture)
    assert isinstance(net, RawPixels)
    assert net(torch.arange(8.0).reshape(2, 1, 2, 2)).tolist() == [[0, 1, 2, 3], [4, 5, 6, 7]]
    assert architecture.image_values == 4


def test_a_triplet_net_embeds_the_three_by_one_network():
    net = TripletNet(doubling())
    anchor, positive, negative = net(torch.ones(2, 1), 3 * torch.ones(2, 1), 5 * torch.ones(2, 1))
    assert (anchor.tolist(), positive.tolist(), negative.tolist()) == ([[2], [2]], [[6], [6]], [[10], [10]])
    assert net.get_embedding(torch.ones(1, 1)).tolist() == [[2]]


def test_a_pair_net_embeds_the_two_by_one_network():
    net = PairNet(doubling())
    one, other = net(torch.ones(2, 1), 3 * torch.ones(2, 1))
    assert (one.tolist(), other.tolist()) == ([[2], [2]], [[6], [6]])
    assert net.get_embedding(torch.ones(1, 1)).tolist() == [[2]]


def views_of(batch):
    """Ways to be three views of one batch of six images of 2 x 2, and whether they are the batch itself."""
    one, two, three = batch.chunk(3)
    return [
        ((one, two, three), True),
        ((three, two, one), False),
        ((one, one, one), False),
        ((one, two, three.clone()), False),
        ((one, *(batch + 1).chunk(3)[1:]), False),
        ((one.mT, two.mT, three.mT), False),
        ((one[:1].expand(2, -1, -1, -1), two, three), False),
        ((one.view(torch.int32).float(), two, three), False),
        (batch[:3].chunk(3), False),
        ((one.flip(0), two, three), False),
    ]


@pytest.mark.parametrize("number", range(10))
def test_views_of_one_batch_are_embedded_like_copies_of_them(number):
    batch = torch.arange(24.0).reshape(6, 1, 2, 2).clone()
    parts, is_the_batch = views_of(batch)[number]
    seen = []
    net = RawPixels()
    net.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    found = TripletNet(net)(*parts)
    assert [vectors.tolist() for vectors in found] == [part.flatten(1).tolist() for part in parts]
    assert (seen[0] is batch) == is_the_batch


def test_gradients_flow_to_the_one_batch():
    batch = torch.arange(6.0).reshape(3, 2).clone().requires_grad_()
    anchor, positive, negative = TripletNet(RawPixels())(*batch.chunk(3))
    (anchor.sum() + 2 * positive.sum() + 3 * negative.sum()).backward()
    assert batch.grad.tolist() == [[1, 1], [2, 2], [3, 3]]


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


def test_the_first_weights_come_from_the_generator_alone():
    def weights(seed):
        net = build(mlp())
        initialise(net, torch.Generator().manual_seed(seed))
        return net.state_dict()

    one = weights(1)
    state = torch.random.get_rng_state()
    torch.manual_seed(12345)
    same = weights(1)
    torch.random.set_rng_state(state)
    other = weights(2)
    assert all(torch.equal(one[name], same[name]) for name in one)
    assert not any(torch.equal(one[name], other[name]) for name in one)


def test_the_first_weights_are_uniform_within_one_over_the_root_of_the_fan_in():
    net = build(mlp())
    initialise(net, torch.Generator().manual_seed(1))
    for name, fan_in in {"layers.0": 784, "layers.2": 256, "layers.4": 256}.items():
        bound = 1 / math.sqrt(fan_in)
        weight = net.state_dict()[f"{name}.weight"]
        assert 0.99 * bound < weight.abs().max().item() <= bound
        # the standard deviation of a uniform law on ±b is b / √3; 32,768 or more draws know it to 1 %
        assert weight.std().item() == pytest.approx(bound / math.sqrt(3), rel=0.01)
        assert net.state_dict()[f"{name}.bias"].abs().max().item() <= bound


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


def test_a_normalised_embedding_has_length_1():
    net = build(Architecture(name="raw-pixels", image_shape=(1, 1, 2), dimension=2, normalised=True))
    assert isinstance(net, Normalised)
    images = torch.tensor([[3.0, -4.0], [0.0, 0.0], [0.0, 1e-3]]).reshape(3, 1, 1, 2)
    assert net(images) == pytest.approx(torch.tensor([[0.6, -0.8], [0, 0], [0, 1]]))
    assert net(images.bfloat16()).dtype == torch.float32
    assert isinstance(build(convnet(normalised=True)).embedding_net, ConvNet)


def test_a_classifier_puts_a_linear_layer_behind_the_embedding():
    """Of 1 the embedding is 2, and the logits are 2 · (1, 3, -1) + (0, 1, 0)."""
    net = ClassifierNet(doubling(), dimension=1, classes=3)
    with torch.no_grad():
        net.classifier.weight.copy_(torch.tensor([[1.0], [3.0], [-1.0]]))
        net.classifier.bias.copy_(torch.tensor([0.0, 1.0, 0.0]))
    assert net(torch.ones(1, 1)).tolist() == [[2, 7, -2]]
    assert net.embedding_net(torch.ones(1, 1)).tolist() == [[2]]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"channels": ()}, r"convnet with the channels \(\): a ConvNet has some, no other does"),
        ({"name": "mlp"}, r"mlp with the channels \(32, 64, 96\): a ConvNet has some"),
        ({"channels": (32, 0)}, "a network with a size of 0"),
        ({"channels": (1,) * 60, "hidden": (1,) * 5}, "65 hidden layers, expected at most 64"),
    ],
)
def test_channels_that_no_network_has_are_refused(changes, message):
    with pytest.raises(ModelError, match=message):
        convnet(**changes)


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


def test_a_networks_first_weights_are_those_of_its_seed_wherever_it_was_built():
    usual = build(convnet())
    with torch.device("meta"):
        late = build(convnet())
    late.to_empty(device="cpu")
    for net in (usual, late):
        initialise(net, torch.Generator().manual_seed(3))
    pairs = zip(usual.state_dict().values(), late.state_dict().values(), strict=True)
    assert all(torch.equal(one, other) for one, other in pairs)

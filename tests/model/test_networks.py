"""Networks are what their architecture says, and their first weights come from the generator alone."""

import math
from dataclasses import replace

import pytest
import torch
from torch import nn

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

CONVNET = Architecture(
    name="convnet", image_shape=(1, 28, 28), dimension=128, channels=(32, 64, 96), hidden=(256,)
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


def test_a_normalised_embedding_has_length_1():
    net = build(Architecture(name="raw-pixels", image_shape=(1, 1, 2), dimension=2, normalised=True))
    assert isinstance(net, Normalised)
    images = torch.tensor([[3.0, -4.0], [0.0, 0.0], [0.0, 1e-3]]).reshape(3, 1, 1, 2)
    assert net(images) == pytest.approx(torch.tensor([[0.6, -0.8], [0, 0], [0, 1]]))
    assert net(images.bfloat16()).dtype == torch.float32
    assert isinstance(build(replace(CONVNET, normalised=True)).embedding_net, ConvNet)


def test_a_classifier_puts_a_linear_layer_behind_the_embedding():
    """Of 1 the embedding is 2, and the logits are 2 · (1, 3, -1) + (0, 1, 0)."""
    net = ClassifierNet(doubling(), dimension=1, classes=3)
    with torch.no_grad():
        net.classifier.weight.copy_(torch.tensor([[1.0], [3.0], [-1.0]]))
        net.classifier.bias.copy_(torch.tensor([0.0, 1.0, 0.0]))
    assert net(torch.ones(1, 1)).tolist() == [[2, 7, -2]]
    assert net.embedding_net(torch.ones(1, 1)).tolist() == [[2]]


def test_a_networks_first_weights_are_those_of_its_seed_wherever_it_was_built():
    usual = build(CONVNET)
    with torch.device("meta"):
        late = build(CONVNET)
    late.to_empty(device="cpu")
    for net in (usual, late):
        initialise(net, torch.Generator().manual_seed(3))
    pairs = zip(usual.state_dict().values(), late.state_dict().values(), strict=True)
    assert all(torch.equal(one, other) for one, other in pairs)

"""A training's state goes into tensors and comes back to the bit."""

import pytest
import torch
from torch import nn

from mitsugo.errors import ModelError
from mitsugo.tasks.judging import Kept
from mitsugo.tasks.state import captured, restore

LAST = Kept(best=False)


def parts(seed, width=3):
    generator = torch.Generator().manual_seed(seed)
    network = nn.Linear(2, width)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.copy_(torch.rand(parameter.shape, generator=generator))
    return network, torch.optim.Adam(network.parameters(), lr=0.1, fused=True)


def step(network, optimizer, value):
    optimizer.zero_grad()
    network(torch.full((1, 2), value)).square().sum().backward()
    optimizer.step()


def weights(network):
    return [parameter.tolist() for parameter in network.parameters()]


def test_the_next_steps_are_the_same_to_the_bit():
    network, optimizer = parts(0)
    step(network, optimizer, 1.0)
    step(network, optimizer, -0.5)
    tensors = {name: tensor.clone() for name, tensor in captured(network, optimizer, LAST).items()}
    other, its_optimizer = parts(1)
    restore(tensors, other, its_optimizer, LAST)
    assert weights(other) == weights(network)
    for value in (0.3, 0.7):
        step(network, optimizer, value)
        step(other, its_optimizer, value)
    assert weights(other) == weights(network)


def test_without_the_optimizers_state_they_would_not_be():
    network, optimizer = parts(0)
    step(network, optimizer, 1.0)
    tensors = {name: tensor.clone() for name, tensor in captured(network, optimizer, LAST).items()}
    other, its_optimizer = parts(1)
    alone = {name: tensor for name, tensor in tensors.items() if name.startswith("network.")}
    restore(alone, other, its_optimizer, LAST)
    step(network, optimizer, 0.3)
    step(other, its_optimizer, 0.3)
    assert weights(other) != weights(network)


def test_every_tensor_is_named():
    network, optimizer = parts(0)
    assert set(captured(network, optimizer, LAST)) == {"network.weight", "network.bias"}
    step(network, optimizer, 1.0)
    assert set(captured(network, optimizer, LAST)) == {
        "network.weight",
        "network.bias",
        *(f"optimizer.{number}.{key}" for number in (0, 1) for key in ("step", "exp_avg", "exp_avg_sq")),
    }


def test_tensors_of_another_network_are_refused():
    network, optimizer = parts(0)
    other, its_optimizer = parts(0, width=4)
    with pytest.raises(ModelError, match="the checkpoint is of another network"):
        restore(captured(network, optimizer, LAST), other, its_optimizer, LAST)


def test_the_weights_that_were_kept_come_back_beside_those_that_train():
    network, optimizer = parts(0)
    kept = Kept(best=True, epoch=4, accuracy=0.5, weights={"weight": torch.full((3, 2), 7.0)})
    tensors = captured(network, optimizer, kept)
    assert tensors["kept.weight"].tolist() == [[7.0] * 2] * 3
    other, its_optimizer = parts(1)
    its_kept = Kept(best=True)
    restore(tensors, other, its_optimizer, its_kept)
    assert weights(other) == weights(network)
    assert its_kept.weights["weight"].tolist() == [[7.0] * 2] * 3
    restore(captured(network, optimizer, LAST), other, its_optimizer, its_kept)
    assert its_kept.weights is None


def test_the_optimizer_keeps_the_order_of_memory_of_its_parameters():
    """A fused step reads state and weights side by side: in another order it would give other bits."""
    layer = nn.Conv2d(3, 4, 3).to(memory_format=torch.channels_last)
    optimizer = torch.optim.Adam(layer.parameters(), fused=True)
    images = torch.rand(2, 3, 5, 5, generator=torch.Generator().manual_seed(0))
    layer(images).square().mean().backward()
    optimizer.step()
    packed = {name: tensor.contiguous() for name, tensor in captured(layer, optimizer, LAST).items()}
    restore(packed, layer, optimizer, LAST)
    state = optimizer.state[layer.weight]
    assert state["exp_avg"].stride() == layer.weight.stride() != packed["optimizer.0.exp_avg"].stride()
    assert torch.equal(state["exp_avg"], packed["optimizer.0.exp_avg"])

"""A training's state goes into tensors and comes back to the bit."""

import pytest
import torch
from torch import nn

from mitsugo.errors import ModelError
from mitsugo.tasks.state import captured, restore


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
    tensors = {name: tensor.clone() for name, tensor in captured(network, optimizer).items()}
    other, its_optimizer = parts(1)
    restore(tensors, other, its_optimizer)
    assert weights(other) == weights(network)
    for value in (0.3, 0.7):
        step(network, optimizer, value)
        step(other, its_optimizer, value)
    assert weights(other) == weights(network)


def test_without_the_optimizers_state_they_would_not_be():
    network, optimizer = parts(0)
    step(network, optimizer, 1.0)
    tensors = {name: tensor.clone() for name, tensor in captured(network, optimizer).items()}
    other, its_optimizer = parts(1)
    restore({name: t for name, t in tensors.items() if name.startswith("network.")}, other, its_optimizer)
    step(network, optimizer, 0.3)
    step(other, its_optimizer, 0.3)
    assert weights(other) != weights(network)


def test_every_tensor_is_named():
    network, optimizer = parts(0)
    assert set(captured(network, optimizer)) == {"network.weight", "network.bias"}
    step(network, optimizer, 1.0)
    assert set(captured(network, optimizer)) == {
        "network.weight",
        "network.bias",
        *(f"optimizer.{number}.{key}" for number in (0, 1) for key in ("step", "exp_avg", "exp_avg_sq")),
    }


def test_tensors_of_another_network_are_refused():
    network, optimizer = parts(0)
    other, its_optimizer = parts(0, width=4)
    with pytest.raises(ModelError, match="the checkpoint is of another network"):
        restore(captured(network, optimizer), other, its_optimizer)

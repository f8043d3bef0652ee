"""bfloat16 stays within a network that trains; what comes out, and what is evaluated, is float32."""

import pytest
import torch

from mitsugo.errors import UsageError
from mitsugo.model.networks import EmbeddingNet, TripletNet
from mitsugo.model.precision import InBfloat16, resolved, supported

CPU = torch.device("cpu")
FINE = 1 + 2**-9
"""bfloat16 has eight binary digits: next to 1 it knows 1 + 2⁻⁷, and rounds this one to 1."""


def times(weight):
    """A network of one value that multiplies it."""
    net = EmbeddingNet(1, 1, ())
    with torch.no_grad():
        net.layers[0].weight.fill_(weight)
        net.layers[0].bias.zero_()
    return net


@pytest.fixture
def flags(monkeypatch):
    """Give the processor these flags."""

    def give(*names):
        monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: dict.fromkeys(names, True), raising=False)

    return give


def test_a_network_multiplies_in_bfloat16_while_it_trains_and_exactly_when_it_is_evaluated():
    net = InBfloat16(times(FINE))
    found = net.train()(torch.ones(1, 1))
    assert (found.tolist(), found.dtype) == ([[1.0]], torch.float32)
    found = net.eval()(torch.ones(1, 1))
    assert (found.tolist(), found.dtype) == ([[FINE]], torch.float32)


def test_weights_and_their_gradients_stay_in_float32():
    net = InBfloat16(times(FINE)).train()
    net(torch.full((1, 1), 3.0)).sum().backward()
    weight = net.network.layers[0].weight
    assert (weight.item(), weight.dtype) == (FINE, torch.float32)
    assert (weight.grad.item(), weight.grad.dtype) == (3.0, torch.float32)


def test_several_outputs_come_out_in_float32():
    found = InBfloat16(TripletNet(times(FINE))).train()(*(torch.full((1, 1), x) for x in (1.0, 2.0, 4.0)))
    assert [(part.tolist(), part.dtype) for part in found] == [
        ([[x]], torch.float32) for x in (1.0, 2.0, 4.0)
    ]


def test_what_is_outside_the_network_is_not_rounded():
    net = InBfloat16(times(FINE))
    assert net.train()(torch.ones(1, 1)).item() == 1
    assert (torch.full((1, 1), FINE) @ torch.ones(1, 1)).item() == FINE


@pytest.mark.parametrize("name", ["avx512_bf16", "amx_bf16", "arm_bf16"])
def test_a_processor_supports_what_its_flags_say(flags, name):
    flags(name)
    assert supported(CPU)
    flags("avx512_f")
    assert not supported(CPU)


def test_a_torch_that_does_not_tell_the_flags_has_none(monkeypatch):
    monkeypatch.delattr(torch.cpu, "get_capabilities", raising=False)
    assert not supported(CPU)


@pytest.mark.parametrize("answer", [True, False])
def test_a_gpu_is_asked_for_what_it_does_not_emulate(monkeypatch, answer):
    monkeypatch.setattr(
        torch.cuda, "is_bf16_supported", lambda including_emulation=True: answer or including_emulation
    )
    assert supported(torch.device("cuda")) is answer


def test_what_a_network_trains_in(flags):
    flags("amx_bf16")
    asked = ("float32", "bfloat16", "auto")
    assert [resolved(one, CPU) for one in asked] == ["float32", "bfloat16", "bfloat16"]
    flags()
    assert [resolved(one, CPU) for one in ("float32", "auto")] == ["float32", "float32"]


def test_bfloat16_that_would_be_emulated_is_refused(flags):
    flags()
    message = "--precision bfloat16: this processor has no bfloat16 instructions .*expected float32 or auto"
    with pytest.raises(UsageError, match=message):
        resolved("bfloat16", CPU)

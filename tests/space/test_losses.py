import math
from inspect import unwrap

import pytest
import torch
from torch.autograd import gradcheck

from mitsugo.errors import UsageError
from mitsugo.space import batch_losses
from mitsugo.space.losses import LOSSES, Loss, contrastive_loss, every_triplet_loss, triplet_loss


def rows(count, dimension, seed):
    return torch.randn(count, dimension, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def squared(a, b):
    return sum((x - y) ** 2 for x, y in zip(a, b, strict=True))


def hinges_by_loops(anchor, positive, negative, margin):
    triplets = zip(anchor.tolist(), positive.tolist(), negative.tolist(), strict=True)
    return [max(0.0, squared(a, p) - squared(a, n) + margin) for a, p, n in triplets]


def pair_terms_by_loops(one, other, same, margin):
    terms = []
    for a, b, y in zip(one.tolist(), other.tolist(), same, strict=True):
        d = math.sqrt(squared(a, b) + 1e-9)
        terms.append(0.5 * (y * d**2 + (1 - y) * max(0.0, margin - d) ** 2))
    return terms


@pytest.mark.parametrize("margin", [0.0, 0.5, 1.0, 3.0])
def test_triplet_loss_is_its_definition(margin):
    a, p, n = rows(40, 3, 1), rows(40, 3, 2), rows(40, 3, 3)
    hinges = hinges_by_loops(a, p, n, margin)
    active = sum(hinge > 0 for hinge in hinges)
    assert 0 < active < 40
    mean = triplet_loss(a, p, n, margin)
    total = triplet_loss(a, p, n, margin, size_average=False)
    assert mean.value.item() == pytest.approx(sum(hinges) / 40)
    assert total.value.item() == pytest.approx(sum(hinges))
    assert mean.active.item() == total.active.item() == active
    assert mean.valid.item() == total.valid.item() == 40


def test_the_margin_is_one_and_the_loss_comes_first():
    a = torch.zeros(2, 2)
    negative = torch.tensor([[0.5, 0.0], [2.0, 0.0]])
    loss, active, valid = triplet_loss(a, a, negative)
    assert (loss.item(), active.item(), valid.item()) == (0.375, 1, 2)  # (0 - 0.25 + 1 and nothing) / 2
    assert active.dtype == valid.dtype == torch.int64


def test_a_hinge_of_exactly_zero_is_not_active():
    a = torch.zeros(1, 1)
    loss = triplet_loss(a, a, torch.ones(1, 1), margin=1.0)
    assert (loss.value.item(), loss.active.item()) == (0.0, 0)


@pytest.mark.parametrize("margin", [0.0, 0.5, 1.0, 3.0])
@pytest.mark.parametrize("dtype", [torch.bool, torch.int64, torch.float64])
def test_contrastive_loss_is_its_definition(margin, dtype):
    one, other = rows(40, 2, 1), rows(40, 2, 2)
    same = [index % 2 for index in range(40)]
    terms = pair_terms_by_loops(one, other, same, margin)
    truth = torch.tensor(same).to(dtype)
    mean = contrastive_loss(one, other, truth, margin)
    total = contrastive_loss(one, other, truth, margin, size_average=False)
    assert mean.value.item() == pytest.approx(sum(terms) / 40)
    assert total.value.item() == pytest.approx(sum(terms))
    assert mean.active.item() == total.active.item() == sum(term > 0 for term in terms)
    assert mean.active.dtype == torch.int64
    assert mean.valid.item() == total.valid.item() == 40


def test_equal_images_of_one_class_are_not_active_but_of_two_classes_are():
    same_place = torch.ones(2, 3)
    loss = contrastive_loss(same_place, same_place, torch.tensor([True, False]))
    assert loss.active.item() == 1
    assert loss.value.item() == pytest.approx(0.25, abs=1e-4)  # half of ½ (1 - √1e-9)²


def test_gradients_are_those_of_finite_differences():
    a, p, n = (rows(6, 3, seed).requires_grad_() for seed in (1, 2, 3))
    for size_average in (True, False):
        assert gradcheck(
            lambda *abc, average=size_average: triplet_loss(*abc, size_average=average).value, (a, p, n)
        )
    same = torch.tensor([True, False] * 3)
    assert gradcheck(lambda one, other: contrastive_loss(one, other, same, margin=3.0).value, (a, p))


def test_gradients_of_a_collapsed_embedding_are_zero():
    a, b, c = (torch.ones(4, 3, requires_grad=True) for _ in range(3))
    triplet_loss(a, b, c).value.backward()
    contrastive_loss(a, b, torch.tensor([True, True, False, False])).value.backward()
    assert [x.grad.abs().max().item() for x in (a, b, c)] == [0.0, 0.0, 0.0]


def test_no_gradient_runs_through_what_was_active():
    a, p, n = (rows(4, 3, seed).requires_grad_() for seed in (1, 2, 3))
    assert not triplet_loss(a, p, n).active.requires_grad
    assert not contrastive_loss(a, p, torch.ones(4)).active.requires_grad


@pytest.mark.parametrize("size_average", [True, False])
def test_an_empty_batch_is_a_loss_of_zero_with_no_gradient(size_average):
    a, p, n = (torch.zeros(0, 3, requires_grad=True) for _ in range(3))
    network = torch.nn.Linear(3, 3)
    for loss in (
        triplet_loss(network(a), network(p), network(n), size_average=size_average),
        contrastive_loss(network(a), network(p), torch.zeros(0, dtype=torch.bool), size_average=size_average),
    ):
        network.zero_grad()
        loss.value.backward()
        assert (loss.value.item(), loss.active.item(), loss.valid.item()) == (0.0, 0, 0)
        assert network.weight.grad.abs().max().item() == 0.0


@pytest.mark.parametrize("margin", [-1.0, math.inf, math.nan])
def test_a_margin_that_cannot_be_meant_is_refused(margin):
    a = torch.zeros(1, 2)
    with pytest.raises(UsageError, match=f"margin {margin}: expected a finite number of 0 or more"):
        triplet_loss(a, a, a, margin)
    with pytest.raises(UsageError, match=f"margin {margin}"):
        contrastive_loss(a, a, torch.ones(1), margin)


def test_a_truth_that_is_none_is_refused():
    a = torch.zeros(2, 2)
    with pytest.raises(UsageError, match="neither 0 nor 1"):
        contrastive_loss(a, a, torch.tensor([0.5, 1.0]))
    with pytest.raises(UsageError, match="neither 0 nor 1"):
        contrastive_loss(a, a, torch.tensor([1, -1]))
    with pytest.raises(UsageError, match=r"same has shape \(3,\), expected \(2,\)"):
        unwrap(contrastive_loss)(a, a, torch.ones(3))


def test_the_family_by_name():
    assert LOSSES["triplet"] is triplet_loss
    assert LOSSES["contrastive"] is contrastive_loss
    assert LOSSES["softmax"] is batch_losses.softmax_loss
    assert Loss is batch_losses.Loss


def test_each_name_of_the_batch_losses_is_its_own_loss():
    # 0, 1, 1.5 on a line: squared distances 1, 2.25 and 0.25, plain ones 1, 1.5 and 0.5
    line, labels = torch.tensor([[0.0], [1.0], [1.5]]), torch.tensor([0, 0, 1])
    assert every_triplet_loss(line, labels, 1.5) == LOSSES["triplet-all"](line, labels, margin=1.5)
    expected = {
        "triplet-all": (0.25 + 2.25) / 2,
        "triplet-semi-hard": 0.25,
        "triplet-hard": (1.0 + 2.0) / 2,
        "triplet-hard-soft": (math.log1p(math.exp(-0.5)) + math.log1p(math.exp(0.5))) / 2,
    }
    found = {name: LOSSES[name](line, labels, margin=1.5).value.item() for name in expected}
    assert found == pytest.approx(expected)
    turned = torch.tensor([[1.0, 0.0], [0.0, 1.0], [0.0, -1.0]])
    loss = LOSSES["supervised-contrastive"](turned, labels, temperature=1.0)
    assert loss.value.item() == pytest.approx((math.log(2) + math.log(1 + math.exp(-1))) / 2)

import math
from functools import partial
from inspect import unwrap

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.autograd import gradcheck

from mitsugo.errors import UsageError
from mitsugo.space.batch_losses import (
    batch_hard_loss,
    every_triplet_loss,
    softmax_loss,
    supervised_contrastive_loss,
)
from mitsugo.space.distances import DISTANCES

LABELS = torch.tensor([2, 0, 2, 1, 0, 2, 1, 5])
EVERY = {
    f"{rule}, {distance}, {average}": partial(
        every_triplet_loss, rule=rule, distance=distance, average=average
    )
    for rule in ("all", "semi-hard")
    for distance in DISTANCES
    for average in ("active", "all")
}
BATCH_LOSSES = EVERY | {
    "hard": batch_hard_loss,
    "hard, squared": partial(batch_hard_loss, distance="squared_euclidean"),
    "hard, cosine": partial(batch_hard_loss, distance="cosine"),
    "soft": partial(batch_hard_loss, soft=True),
    "contrastive": supervised_contrastive_loss,
}


def embedded(count, seed, dimension=3, dtype=torch.float64):
    numbers = torch.randn(count, dimension, generator=torch.Generator().manual_seed(seed), dtype=dtype)
    return numbers.requires_grad_()


def gradient_of(loss, embeddings):
    return torch.autograd.grad(loss.value, embeddings)[0]


def triplets_of(labels):
    everyone = range(len(labels))
    return [
        (a, p, n)
        for a in everyone
        for p in everyone
        for n in everyone
        if a != p and labels[a] == labels[p] and labels[a] != labels[n]
    ]


def every_by_loops(embeddings, labels, margin, rule, distance, average):
    """The definition, by which autograd finds the gradient, too."""
    d = DISTANCES[distance](embeddings, embeddings)
    valid = triplets_of(labels.tolist())
    active = [(a, p, n) for a, p, n in valid if d[a, p] > d[a, n] - margin]
    if rule == "semi-hard":
        active = [(a, p, n) for a, p, n in active if d[a, p] < d[a, n]]
    total = sum((d[a, p] - d[a, n] + margin for a, p, n in active), start=embeddings.sum() * 0)
    return total / max(len(active if average == "active" else valid), 1), len(active), len(valid)


@settings(deadline=None, max_examples=100)
@given(
    st.lists(st.tuples(st.integers(0, 3), st.integers(-3, 3), st.integers(-3, 3)), max_size=8),
    st.sampled_from([0.0, 0.5, 1.0, 8.0]),
    st.sampled_from(["all", "semi-hard"]),
    st.sampled_from(["active", "all"]),
    st.sampled_from([torch.float32, torch.float64]),
)
def test_every_triplet_is_its_definition_exactly_on_a_grid(images, margin, rule, average, dtype):
    # halves: duplicates and ties are many, and squared distances are exact
    places = torch.tensor([place for _, *place in images], dtype=dtype).view(-1, 2) / 2
    labels = torch.tensor([label for label, *_ in images], dtype=torch.int64)
    places.requires_grad_()
    loss = every_triplet_loss(places, labels, margin, rule=rule, average=average, chunk_bytes=40)
    value, active, valid = every_by_loops(places, labels, margin, rule, "squared_euclidean", average)
    assert (loss.active.item(), loss.valid.item()) == (active, valid)
    assert loss.value.item() == pytest.approx(value.item(), rel=1e-6)
    expected = torch.autograd.grad(value, places)[0]
    assert torch.allclose(gradient_of(loss, places), expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("name", EVERY)
def test_every_triplet_is_its_definition(name):
    rule, distance, average = name.split(", ")
    embeddings, margin = embedded(8, 1), 0.4
    loss = EVERY[name](embeddings, LABELS, margin)
    value, active, valid = every_by_loops(embeddings, LABELS, margin, rule, distance, average)
    assert (loss.active.item(), loss.valid.item()) == (active, valid)
    assert 0 < active < valid == len(triplets_of(LABELS.tolist()))
    assert loss.value.item() == pytest.approx(value.item(), rel=1e-12)
    assert torch.allclose(gradient_of(loss, embeddings), torch.autograd.grad(value, embeddings)[0])


@pytest.mark.parametrize("name", BATCH_LOSSES)
def test_gradients_are_those_of_finite_differences(name):
    def value(numbers):
        return BATCH_LOSSES[name](numbers, LABELS).value

    embeddings = embedded(8, 2)
    assert gradient_of(BATCH_LOSSES[name](embeddings, LABELS), embeddings).abs().max() > 1e-3
    assert gradcheck(value, (embeddings,))


@pytest.mark.parametrize("name", BATCH_LOSSES)
def test_the_order_of_the_batch_is_the_order_of_the_gradient(name):
    order = torch.tensor([5, 2, 7, 0, 1, 6, 4, 3])
    plain, mixed = embedded(8, 3), embedded(8, 3).detach()[order].requires_grad_()
    one, other = BATCH_LOSSES[name](plain, LABELS), BATCH_LOSSES[name](mixed, LABELS[order])
    assert one.value.item() == pytest.approx(other.value.item(), rel=1e-12)
    assert one[1:] == other[1:]
    assert torch.allclose(gradient_of(one, plain)[order], gradient_of(other, mixed))


@pytest.mark.parametrize("distance", DISTANCES)
def test_chunks_change_nothing_but_rounding(distance):
    labels = torch.tensor([0] * 30 + [1] * 13 + [2] * 13 + [3])
    losses, gradients = [], []
    for chunk_bytes in (None, 1, 57 * 4 * 10):
        embeddings = embedded(57, 4, dtype=torch.float32)
        losses.append(every_triplet_loss(embeddings, labels, distance=distance, chunk_bytes=chunk_bytes))
        gradients.append(gradient_of(losses[-1], embeddings))
    for loss, gradient in zip(losses[1:], gradients[1:], strict=True):
        assert loss[1:] == losses[0][1:]
        assert loss.value.item() == pytest.approx(losses[0].value.item(), rel=1e-6)
        assert torch.allclose(gradient, gradients[0], rtol=1e-4, atol=1e-6)


def test_distances_far_from_the_origin_lose_no_more_than_they_must():
    near, far = embedded(57, 5, dtype=torch.float32), embedded(57, 5, dtype=torch.float32)
    labels = torch.arange(57) % 5
    one, other = every_triplet_loss(near, labels, 100.0), every_triplet_loss(far + 30, labels, 100.0)
    assert other.value.item() == pytest.approx(one.value.item(), rel=1e-5)
    assert torch.allclose(gradient_of(one, near), gradient_of(other, far), rtol=1e-4, atol=1e-5)


def test_the_squared_distances_are_the_ones_of_the_family():
    embeddings = embedded(40, 6, dimension=100, dtype=torch.float32).detach()
    labels = torch.arange(40) % 3
    d = DISTANCES["squared_euclidean"](embeddings, embeddings)
    same = labels[:, None] == labels
    near = (same & ~torch.eye(40, dtype=torch.bool))[:, :, None] & ~same[:, None, :]
    for margin in (0.0, 1.0):
        active = near & (d[:, :, None] > d[:, None, :] - margin)
        assert every_triplet_loss(embeddings, labels, margin).active == active.sum()


def hard_by_loops(embeddings, labels, margin, *, soft, distance):
    d = DISTANCES[distance](embeddings, embeddings).tolist()
    terms = []
    for a in range(len(labels)):
        near = [d[a][p] for p in range(len(labels)) if labels[p] == labels[a] and p != a]
        far = [d[a][n] for n in range(len(labels)) if labels[n] != labels[a]]
        if near and far:
            gap = max(near) - min(far)
            terms.append(math.log1p(math.exp(gap)) if soft else max(0.0, gap + margin))
    return sum(terms) / len(terms), sum(term > 0 for term in terms), len(terms)


@pytest.mark.parametrize("distance", DISTANCES)
@pytest.mark.parametrize("soft", [False, True])
def test_batch_hard_is_its_definition(soft, distance):
    corners = torch.nn.functional.one_hot(LABELS, 6).double()
    embeddings, counts = corners + embedded(8, 7, dimension=6).detach() / 3, []
    for margin in (0.0, 0.3, 5.0):
        loss = batch_hard_loss(embeddings, LABELS, margin, soft=soft, distance=distance)
        value, active, valid = hard_by_loops(embeddings, LABELS, margin, soft=soft, distance=distance)
        assert loss.value.item() == pytest.approx(value)
        assert (loss.active.item(), loss.valid.item()) == (active, valid)
        counts.append(active)
    assert valid == 7  # one image is alone in its class
    assert soft or counts[0] < counts[-1]


def test_supervised_contrastive_is_its_definition():
    embeddings, temperature, terms = embedded(8, 8), 0.5, []
    z = torch.nn.functional.normalize(embeddings.detach()).tolist()
    dots = [[sum(x * y for x, y in zip(one, other, strict=True)) / temperature for other in z] for one in z]
    for i, row in enumerate(dots):
        positives = [p for p in range(8) if LABELS[p] == LABELS[i] and p != i]
        total = sum(math.exp(row[a]) for a in range(8) if a != i)
        if positives:
            shares = [math.log(math.exp(row[p]) / total) for p in positives]
            terms.append(-sum(shares) / len(positives))
    loss = supervised_contrastive_loss(embeddings, LABELS, temperature)
    assert loss.value.item() == pytest.approx(sum(terms) / len(terms))
    assert (loss.active.item(), loss.valid.item(), len(terms)) == (7, 7, 7)
    longer = supervised_contrastive_loss(3 * embeddings, LABELS, temperature)
    assert longer.value.item() == pytest.approx(loss.value.item())


def test_softmax_is_its_definition():
    logits, labels = embedded(5, 9, dimension=4), torch.tensor([3, 0, 0, 2, 1])
    rows = zip(logits.tolist(), labels.tolist(), strict=True)
    terms = [math.log(sum(map(math.exp, row))) - row[label] for row, label in rows]
    loss = softmax_loss(logits, labels)
    assert loss.value.item() == pytest.approx(sum(terms) / 5)
    assert (loss.active.item(), loss.valid.item()) == (5, 5)
    assert gradcheck(lambda numbers: softmax_loss(numbers, labels).value, (logits,))


@pytest.mark.parametrize("labels", [[], [4], [1, 1, 1], [0, 1, 2]])
@pytest.mark.parametrize("name", BATCH_LOSSES)
def test_a_batch_without_a_term_is_zero_with_a_gradient_of_zero(name, labels):
    if name == "contrastive" and labels == [1, 1, 1]:
        labels = [1, 2, 3]  # it needs no negative
    network = torch.nn.Linear(2, 3)
    loss = BATCH_LOSSES[name](network(torch.ones(len(labels), 2)), torch.tensor(labels, dtype=torch.int64))
    loss.value.backward()
    assert (loss.value.item(), loss.active.item(), loss.valid.item()) == (0.0, 0, 0)
    assert network.weight.grad.abs().max().item() == 0.0


def test_softmax_of_no_image_is_zero():
    logits = torch.zeros(0, 3, requires_grad=True)
    loss = softmax_loss(logits, torch.zeros(0, dtype=torch.int64))
    assert (loss.value.item(), loss.active.item(), loss.valid.item()) == (0.0, 0, 0)
    assert gradient_of(loss, logits).shape == (0, 3)


@pytest.mark.parametrize("name", BATCH_LOSSES)
def test_a_collapsed_embedding_has_a_finite_gradient(name):
    for place in (0.0, 0.1):
        embeddings = torch.full((8, 3), place, requires_grad=True)
        gradient = gradient_of(BATCH_LOSSES[name](embeddings, LABELS), embeddings)
        assert gradient.abs().max().item() == pytest.approx(0.0, abs=1e-5)


def test_a_collapsed_embedding_costs_the_margin():
    for distance in DISTANCES:
        loss = every_triplet_loss(torch.zeros(8, 3), LABELS, 0.75, distance=distance)
        assert (loss.value.item(), loss.active.item()) == (0.75, loss.valid.item())
        assert batch_hard_loss(torch.zeros(8, 3), LABELS, 0.75, distance=distance).value.item() == 0.75


@pytest.mark.parametrize("name", BATCH_LOSSES)
@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_what_is_not_finite_is_never_hidden(name, value):
    embeddings = embedded(8, 10).detach()
    embeddings[3, 1] = value
    assert not BATCH_LOSSES[name](embeddings, LABELS).value.isfinite()


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("name", BATCH_LOSSES)
def test_half_precision_is_measured_in_single(name, dtype):
    embeddings = embedded(8, 11).detach().to(dtype).requires_grad_()
    exact = embeddings.detach().float()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        loss = BATCH_LOSSES[name](embeddings, LABELS)
    assert loss.value.dtype == torch.float32
    assert loss.value.item() == pytest.approx(BATCH_LOSSES[name](exact, LABELS).value.item(), rel=1e-6)
    assert gradient_of(loss, embeddings).dtype == dtype


@pytest.mark.parametrize("name", EVERY)
def test_without_a_gradient_the_value_is_the_same(name):
    embeddings = embedded(8, 12)
    with torch.no_grad():
        loss = EVERY[name](embeddings, LABELS)
    assert not loss.value.requires_grad
    assert loss == EVERY[name](embeddings, LABELS)


def test_a_second_derivative_is_refused():
    embeddings = embedded(8, 13)
    (slope,) = torch.autograd.grad(
        every_triplet_loss(embeddings, LABELS).value.square(), embeddings, create_graph=True
    )
    with pytest.raises(RuntimeError, match="once_differentiable"):
        slope.sum().backward()


@pytest.mark.parametrize("margin", [-1.0, math.inf, math.nan])
def test_a_margin_that_cannot_be_meant_is_refused(margin):
    for loss in (every_triplet_loss, batch_hard_loss):
        with pytest.raises(UsageError, match=f"margin {margin}: expected a finite number of 0 or more"):
            loss(torch.zeros(8, 3), LABELS, margin)


@pytest.mark.parametrize("temperature", [0.0, -1.0, math.inf, math.nan])
def test_a_temperature_that_cannot_be_meant_is_refused(temperature):
    with pytest.raises(UsageError, match=f"temperature {temperature}: expected a finite number above 0"):
        supervised_contrastive_loss(torch.zeros(8, 3), LABELS, temperature)


@pytest.mark.parametrize("loss", [*BATCH_LOSSES.values(), softmax_loss])
def test_labels_that_do_not_fit_are_refused(loss):
    plain = partial(unwrap(loss.func), **loss.keywords) if isinstance(loss, partial) else unwrap(loss)
    with pytest.raises(UsageError, match=r"labels have shape \(8,\), expected \(7,\): one a row"):
        plain(torch.zeros(7, 3), LABELS)


def test_a_name_that_is_none_is_refused():
    plain = unwrap(every_triplet_loss)
    with pytest.raises(UsageError, match="distance 'taxi': expected one of squared_euclidean, euclidean"):
        plain(torch.zeros(8, 3), LABELS, distance="taxi")
    with pytest.raises(UsageError, match="average 'sum': expected one of active, all"):
        plain(torch.zeros(8, 3), LABELS, average="sum")
    with pytest.raises(UsageError, match="rule 'hard': expected one of all, semi-hard"):
        plain(torch.zeros(8, 3), LABELS, rule="hard")
    with pytest.raises(UsageError, match="distance 'taxi'"):
        batch_hard_loss(torch.zeros(8, 3), LABELS, distance="taxi")


@pytest.mark.parametrize("labels", [[0, 3], [-1, 0]])
def test_a_label_without_a_column_is_refused(labels):
    with pytest.raises(UsageError, match=r"labels run from -?\d to \d, but there are 3 columns of logits"):
        softmax_loss(torch.zeros(2, 3), torch.tensor(labels))

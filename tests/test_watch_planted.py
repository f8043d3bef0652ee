"""Collapses that were planted are all caught in the first epoch; healthy runs raise no alarm.

The runs are real ones, on digits, MNIST and noise; the loop is the plainest there is.
"""

import dataclasses
import math
from collections.abc import Callable
from functools import cache, partial

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

from mitsugo.data.sampling import gathered, generator_of, index_classes, random_pairs, random_triplets
from mitsugo.data.sources import load
from mitsugo.errors import ModelError
from mitsugo.model.networks import EmbeddingNet, initialise
from mitsugo.model.preprocessing import measured, prepare
from mitsugo.space.distances import euclidean, squared_euclidean
from mitsugo.space.losses import contrastive_loss, triplet_loss
from mitsugo.watch import CollapseWatch, Sight

pytestmark = pytest.mark.usefixtures("one_thread")


@dataclasses.dataclass(kw_only=True)
class Run:
    """The parts of a training that a plant may damage."""

    embed: nn.Module  # of one tensor of images; its `layers` are the article's
    loss: Callable
    batches: Callable
    optimizer: torch.optim.Optimizer
    precision: torch.dtype = torch.float32

    def outputs(self, inputs):
        with torch.autocast("cpu", torch.bfloat16, enabled=self.precision == torch.bfloat16):
            embedded = self.embed(torch.cat(inputs)).float()
        return embedded.split([len(part) for part in inputs])


# The sources


def noise():
    """48 images of one channel and 3x3, three classes: the row of the class a little brighter."""
    chance = np.random.default_rng(0)
    labels = np.arange(48) % 3
    pixels = chance.integers(0, 200, (48, 1, 3, 3)).astype(np.uint8)
    pixels[np.arange(48), 0, labels] += 55
    return pixels, labels


def two_images():
    """Black ones and white ones."""
    labels = np.arange(40) % 2
    return np.broadcast_to((255 * labels).astype(np.uint8)[:, None, None, None], (40, 1, 4, 4)), labels


@cache
def images_of(source):
    """Prepared pixels and labels; of digits and MNIST four images in five."""
    if source in {"noise", "two images"}:
        pixels, labels = noise() if source == "noise" else two_images()
    else:
        name, _, classes = source.partition(":")
        images = load(name)
        meant = np.isin(images.labels, list(map(int, classes or "0123456789")))
        chosen = np.flatnonzero(meant & (np.arange(len(images)) % 5 > 0))
        pixels, labels = images.pixels[chosen], images.labels[chosen]
    return torch.tensor(pixels), labels, measured(np.ascontiguousarray(pixels))


def network(source, dimension, seed):
    pixels, _, _ = images_of(source)
    made = EmbeddingNet(pixels[0].numel(), dimension)
    initialise(made, torch.Generator().manual_seed(seed))
    return made


def article(source="digits", *, pairs=False, dimension=128, margin=1.0, rate=2e-4, seed=0):
    """The article's network on random triplets, or the Siamese one on pairs."""
    pixels, labels, preprocessing = images_of(source)
    embed, index = network(source, dimension, seed), index_classes(labels)

    def batches(epoch):
        draw = (random_pairs if pairs else random_triplets)(index, generator_of(seed, epoch))
        return gathered(draw, pixels, partial(prepare, preprocessing=preprocessing), batch_size=128)

    return Run(
        embed=embed,
        loss=partial(contrastive_loss if pairs else triplet_loss, margin=margin),
        batches=batches,
        optimizer=torch.optim.Adam(embed.parameters(), lr=rate),
    )


def labelled(source="digits", *, loss, batch_size=80, dimension=128, rate=2e-4, seed=0):
    """The article's network on batches of labelled images."""
    pixels, labels, preprocessing = images_of(source)
    images, labels = prepare(pixels, preprocessing), torch.tensor(labels)
    embed = network(source, dimension, seed)

    def batches(epoch):
        order = torch.randperm(len(images), generator=torch.Generator().manual_seed(1000 * seed + epoch))
        return (((images[rows],), labels[rows]) for rows in order.split(batch_size))

    optimizer = torch.optim.Adam(embed.parameters(), lr=rate)
    return Run(embed=embed, loss=loss, batches=batches, optimizer=optimizer)


# Losses by their definition


def every_triplet(embedded, labels, margin):
    distances = squared_euclidean(embedded, embedded)
    same = labels[:, None] == labels
    valid = (same & ~torch.eye(len(labels), dtype=torch.bool))[:, :, None] & ~same[:, None, :]
    hinge = (distances[:, :, None] - distances[:, None, :] + margin).relu() * valid
    active = (hinge > 0).sum()
    return hinge.sum() / active.clamp_min(1), active, valid.sum()


def hardest(embedded, labels, margin):
    distances = euclidean(embedded, embedded)
    same = labels[:, None] == labels
    farthest = torch.where(same, distances, 0.0).amax(1)
    nearest = torch.where(same, math.inf, distances).amin(1)
    hinge = torch.where(nearest.isfinite(), farthest - nearest + margin, 0.0).relu()
    return hinge.mean(), (hinge > 0).sum(), torch.tensor(len(labels))


def softmax(logits, labels):
    return functional.cross_entropy(logits, labels), torch.tensor(len(labels)), torch.tensor(len(labels))


class Normalised(nn.Module):
    def __init__(self, network):
        super().__init__()
        self.network = network

    def forward(self, images):
        return functional.normalize(self.network(images).float(), dim=1)


def normalised(run):
    return dataclasses.replace(run, embed=Normalised(run.embed))


# The loop


def watched(run, *, epochs, most=None, plant=lambda step, run, inputs: inputs, watch=None):
    """Train and watch; return the watch, and the last epoch's loss over that of a single point."""
    watch, step = watch or CollapseWatch(), 0
    for epoch in range(1, epochs + 1):
        losses, points = 0.0, 0.0
        for batch, (inputs, target) in enumerate(run.batches(epoch)):
            outputs = run.outputs(plant(step, run, inputs))
            given = () if target is None else (target,)
            loss, active, *valid = run.loss(*outputs, *given)

            def point(outputs=outputs, given=given):
                return run.loss(*map(torch.zeros_like, outputs), *given)[0].item()

            watch(
                Sight(
                    epoch=epoch,
                    batch=batch,
                    outputs=outputs,
                    loss=loss.item(),
                    active=active.item(),
                    valid=valid[0].item() if valid else None,
                    collapsed_loss=point,
                )
            )
            run.optimizer.zero_grad()
            loss.backward()
            run.optimizer.step()
            step, losses, points = step + 1, losses + loss.item(), points + point()
            if step == most:
                return watch, losses / points
    return watch, losses / points


# What goes wrong


def from_step(first, change):
    """Before each step from `first` on, change the run; the inputs stay."""

    def plant(step, run, inputs):
        if step >= first:
            with torch.no_grad():
                change(run)
        return inputs

    return plant


def at_step(first, change):
    def plant(step, run, inputs):
        if step == first:
            with torch.no_grad():
                change(run)
        return inputs

    return plant


def last(run):
    return run.embed.layers[-1]


def no_weights(run):
    last(run).weight.zero_()


def nothing_at_all(run):
    no_weights(run)
    last(run).bias.zero_()


def dead_units(run):
    """What a step far too long does: no ReLU of the last hidden layer opens again."""
    run.embed.layers[2].bias.fill_(-1e4)


def scaled(factor, *, layers=slice(None)):
    def change(run):
        for layer in [part for part in run.embed.layers if isinstance(part, nn.Linear)][layers]:
            layer.weight.mul_(factor)
            layer.bias.mul_(factor)

    return change


def rank_one(run):
    u, s, v = torch.linalg.svd(last(run).weight, full_matrices=False)
    last(run).weight.copy_(s[0] * torch.outer(u[:, 0], v[0]))


def equal_rows(run):
    last(run).weight.copy_(last(run).weight[:1].expand_as(last(run).weight))


def bottleneck(run, precision=torch.float32):
    """The same network, but for a single value through which everything must pass."""
    generator = torch.Generator().manual_seed(5)
    end = last(run)
    narrow, wide = nn.Linear(end.in_features, 1), nn.Linear(1, end.out_features)
    with torch.no_grad():
        for parameter in (*narrow.parameters(), *wide.parameters()):
            parameter.uniform_(-0.2, 0.2, generator=generator)
    embed = nn.Sequential(nn.Flatten(), *list(run.embed.layers[:-1]), narrow, wide)
    optimizer = torch.optim.Adam(embed.parameters(), lr=run.optimizer.defaults["lr"])
    return dataclasses.replace(run, embed=embed, optimizer=optimizer, precision=precision)


def weight(value):
    def change(run):
        run.embed.layers[0].weight[3, 5] = value

    return change


def pixel(value, part, first):
    """One value of one image, once, from the middle of an epoch."""

    def plant(step, run, inputs):
        if step != first:
            return inputs
        broken = [images.clone() for images in inputs]
        broken[part].view(-1)[7] = value
        return tuple(broken)

    return plant


POINT, LINE, LONG, ODD = (
    "the embedding collapsed to a point",
    "the embedding collapsed to a line",
    "the embedding explodes",
    "an embedding is not finite",
)
two_classes = partial(every_triplet, margin=1.0)

PLANTED = {  # what it is called, what must be said, the run, what goes wrong with it
    "last layer 0 from the start": (
        POINT,
        lambda: article(dimension=2, margin=0.2),
        at_step(0, nothing_at_all),
    ),
    "last layer held at 0 from step 5": (
        POINT,
        lambda: article(dimension=128, seed=1),
        from_step(5, no_weights),
    ),
    "dead units": (
        POINT,
        lambda: article(pairs=True, margin=0.2, seed=2),
        at_step(6, dead_units),
    ),
    "weights decay by half a step": (
        POINT,
        lambda: article("mnist", dimension=2, seed=3),
        from_step(20, scaled(0.5)),
    ),
    "hardest triplets at a high rate": (
        POINT,
        lambda: normalised(
            labelled("mnist", loss=partial(hardest, margin=1.0), dimension=2, rate=0.01, seed=4)
        ),
        None,
    ),
    "bottleneck, d = 2": (LINE, lambda: bottleneck(article(dimension=2, margin=0.2)), None),
    "bottleneck, pairs": (LINE, lambda: bottleneck(article(pairs=True, seed=1)), None),
    "bottleneck, bfloat16": (
        LINE,
        lambda: bottleneck(article("mnist", dimension=128, margin=0.2), torch.bfloat16),
        None,
    ),
    "equal rows": (LINE, lambda: article(dimension=128, seed=3), from_step(3, equal_rows)),
    "rank one by projection, two classes": (
        LINE,
        lambda: labelled("digits:38", loss=two_classes, batch_size=32, dimension=2, seed=4),
        from_step(2, rank_one),
    ),
    "learning rate 0.3": (LONG, lambda: article(dimension=2, margin=0.2, rate=0.3), None),
    "learning rate 10": (LONG, lambda: article(dimension=128, rate=10.0, seed=1), None),
    "weights half as long again a step": (
        LONG,
        lambda: article(pairs=True, dimension=128, margin=0.2, seed=2),
        from_step(0, scaled(1.5)),
    ),
    "last layer twice as long a step": (
        LONG,
        lambda: article(dimension=2, seed=3),
        from_step(0, scaled(2.0, layers=slice(-1, None))),
    ),
    "softmax, learning rate 3": (
        LONG,
        lambda: labelled(loss=softmax, dimension=10, rate=3.0, seed=4),
        None,
    ),
    "NaN weight": (ODD, lambda: article(dimension=2, margin=0.2), at_step(6, weight(math.nan))),
    "infinite weight": (ODD, lambda: article("mnist", seed=1), at_step(33, weight(-math.inf))),
    "NaN pixel": (ODD, lambda: article(pairs=True, seed=2), pixel(math.nan, 1, 7)),
    "infinite pixel of a negative": (
        ODD,
        lambda: article(margin=0.2, seed=3),
        pixel(math.inf, 2, 5),
    ),
    "NaN pixel, every triplet": (
        ODD,
        lambda: labelled("noise", loss=two_classes, batch_size=12, dimension=2, seed=4),
        pixel(math.nan, 0, 2),
    ),
}
QUICK = (
    "last layer 0 from the start",
    "dead units",
    "bottleneck, d = 2",
    "learning rate 0.3",
    "infinite pixel of a negative",
)


def caught(name):
    said, make, plant = PLANTED[name]
    with pytest.raises(ModelError, match=rf"^{said} in epoch 1, batch \d+: spread ") as refusal:
        watched(make(), epochs=1, **({"plant": plant} if plant else {}))
    assert str(refusal.value).isprintable()


@pytest.mark.parametrize("name", QUICK)
def test_a_planted_collapse_is_caught_and_named_in_the_first_epoch(name):
    caught(name)


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in PLANTED if name not in QUICK])
def test_every_other_planted_collapse_is_caught_and_named_in_the_first_epoch(name):
    caught(name)


# What goes well


def in_bfloat16(run):
    """The same run, whose network computes in bfloat16."""
    return dataclasses.replace(run, precision=torch.bfloat16)


mined = partial(hardest, margin=0.2)

HEALTHY = {  # what it is called, the run, how many epochs, most steps
    "d = 2": (lambda: article(dimension=2), 6, None),
    "d = 2, margin 0.2": (lambda: article(dimension=2, margin=0.2, seed=1), 6, None),
    "d = 128": (lambda: article(seed=2), 4, None),
    "d = 128, margin 0.2": (lambda: article(margin=0.2, seed=3), 4, None),
    "d = 2, a tenth of the rate": (lambda: article(dimension=2, rate=2e-5, seed=4), 10, None),
    "d = 2, fifty times the rate": (lambda: article(dimension=2, rate=1e-2, seed=5), 10, None),
    "d = 128, fifty times the rate": (lambda: article(rate=1e-2, margin=0.2, seed=6), 10, None),
    "MNIST, d = 2": (lambda: article("mnist", dimension=2, seed=7), 1, None),
    "MNIST, d = 128, bfloat16": (lambda: in_bfloat16(article("mnist", margin=0.2, seed=8)), 1, 120),
    "pairs, d = 2": (lambda: article(pairs=True, dimension=2, seed=9), 6, None),
    "pairs, d = 128, margin 0.2": (lambda: article(pairs=True, margin=0.2, seed=10), 10, None),
    "two classes on a plane": (lambda: article("digits:49", dimension=2, rate=1e-3, seed=11), 30, None),
    "two classes, pairs on a plane": (
        lambda: article("digits:01", pairs=True, dimension=2, rate=1e-2, margin=0.2, seed=12),
        40,
        None,
    ),
    "two classes on a plane, bfloat16": (
        lambda: in_bfloat16(
            labelled("digits:06", loss=two_classes, batch_size=32, dimension=2, rate=1e-3, seed=13)
        ),
        30,
        None,
    ),
    "two classes, every triplet": (
        lambda: labelled("digits:38", loss=two_classes, batch_size=32, rate=1e-3, seed=14),
        20,
        None,
    ),
    "two images and their copies": (
        lambda: article("two images", dimension=2, rate=1e-3, seed=15),
        60,
        None,
    ),
    "noise, 3 x 3": (
        lambda: labelled("noise", loss=two_classes, batch_size=12, dimension=3, rate=1e-3, seed=16),
        20,
        None,
    ),
    "hardest triplets, d = 128, length 1": (
        lambda: normalised(labelled(loss=mined, rate=1e-3, seed=17)),
        10,
        None,
    ),
    "hardest triplets, d = 2, length 1, which shrink first": (
        lambda: normalised(labelled(loss=mined, dimension=2, rate=1e-3, seed=18)),
        50,
        None,
    ),
    "softmax": (lambda: labelled(loss=softmax, dimension=10, rate=1e-3, seed=19), 10, None),
}
EVERYDAY = ("d = 2", "d = 128, margin 0.2", "two images and their copies", "two classes on a plane")


def passed(name):
    make, epochs, most = HEALTHY[name]
    watch, loss = watched(make(), epochs=epochs, most=most)
    assert watch.seen.finite
    assert loss < 0.9, "it learnt"


@pytest.mark.parametrize("name", EVERYDAY)
def test_a_healthy_run_raises_no_alarm(name):
    passed(name)


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in HEALTHY if name not in EVERYDAY])
def test_no_other_healthy_run_raises_an_alarm(name):
    passed(name)

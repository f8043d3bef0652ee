"""A recipe, images and a split become a network and what trains it."""

import os

import numpy as np
import pytest
import torch

from mitsugo.data.sources import load
from mitsugo.data.splits import article_split
from mitsugo.errors import UsageError
from mitsugo.model.preprocessing import Preprocessing, prepare
from mitsugo.recipes import RECIPES
from mitsugo.settings import changed
from mitsugo.tasks.experiment import assemble, augmentation_of, chosen_device, normalisation_of
from mitsugo.values import LabeledImages, Split

PLAIN = Preprocessing(0.0, 1 / 255)
CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def images():
    """Image i is the value i everywhere; twelve train, four test; classes 0, 1, 0, 1, …."""
    numbers = np.arange(16)
    return LabeledImages(
        pixels=np.broadcast_to(numbers.astype(np.uint8)[:, None, None, None], (16, 1, 2, 2)).copy(),
        labels=numbers % 2,
        class_names=("even", "odd"),
        names=tuple(map(str, range(16))),
        split=Split(train=numbers[:12], validation=numbers[12:], test=numbers[12:], how="by number"),
    )


def experiment(images, recipe="article", seed=0, **changes):
    recipe = changed(RECIPES[recipe], **{"batch_size": 5, **changes})
    return assemble(images, images.split, recipe, seed=seed, preprocessing=PLAIN, device=CPU)


def numbers_of(batches):
    """Return the numbers of the images of each batch, a row an item: (anchor, positive, negative)."""
    return [
        np.stack([part[:, 0, 0, 0].numpy() for part in inputs], 1).round().astype(int)
        for inputs, _ in batches
    ]


def test_every_training_image_is_an_anchor_once_an_epoch_in_an_order_of_its_own(images):
    training = experiment(images).training
    orders = []
    for epoch in (1, 2):
        batches = numbers_of(training.train_batches(epoch, 0))
        assert [len(batch) for batch in batches] == [5, 5, 2]
        triplets = np.concatenate(batches)
        assert sorted(triplets[:, 0]) == list(range(12))
        assert (triplets < 12).all(), "no test image trains"
        assert (triplets[:, 0] != triplets[:, 1]).all()
        assert (triplets[:, 0] % 2 == triplets[:, 1] % 2).all()
        assert (triplets[:, 0] % 2 != triplets[:, 2] % 2).all()
        orders.append(triplets.tolist())
    assert orders[0] != orders[1]


@pytest.mark.parametrize("recipe", ["article", "article-siamese"])
def test_an_epoch_is_the_same_whatever_came_before_and_whatever_is_skipped(images, recipe):
    training = experiment(images, recipe).training
    whole = numbers_of(training.train_batches(3, 0))
    list(training.train_batches(1, 0))
    again = numbers_of(experiment(images, recipe).training.train_batches(3, 2))
    assert [batch.tolist() for batch in again] == [batch.tolist() for batch in whole[2:]]


def test_another_seed_gives_other_triplets_and_another_network(images):
    one, other = experiment(images, seed=0), experiment(images, seed=1)
    drawn = [np.concatenate(numbers_of(e.training.train_batches(1, 0))).tolist() for e in (one, other)]
    assert drawn[0] != drawn[1]
    assert not torch.equal(next(one.network.parameters()), next(other.network.parameters()))


@pytest.mark.parametrize("recipe", ["article", "article-siamese"])
def test_validation_is_the_same_test_images_each_time_and_for_every_seed(images, recipe):
    times = [
        numbers_of(experiment(images, recipe, seed=seed).training.validation_batches()) for seed in (0, 0, 7)
    ]
    assert all(np.concatenate(batches).min() >= 12 for batches in times)
    assert len(np.concatenate(times[0])) == 4
    for batches in times[1:]:
        assert [batch.tolist() for batch in batches] == [batch.tolist() for batch in times[0]]


@pytest.mark.parametrize(("recipe", "images_a_step"), [("article", 3), ("article-siamese", 2)])
def test_network_and_loss_fit_the_batches(images, recipe, images_a_step):
    training = experiment(images, recipe, dimension=7).training
    inputs, target = next(iter(training.train_batches(1, 0)))
    assert len(inputs) == images_a_step
    outputs = training.network(*inputs)
    assert [output.shape for output in outputs] == [(5, 7)] * images_a_step
    loss = training.loss(*outputs, *(() if target is None else (target,)))
    assert (loss[0] if isinstance(loss, tuple) else loss).item() > 0


def test_margin_and_sum_reach_the_loss(images):
    recipe = changed(RECIPES["article"], batch_size=5, margin=3.0)
    same = torch.zeros(4, 2)
    for average, expected in ((True, 3.0), (False, 12.0)):
        training = assemble(
            images,
            images.split,
            changed(recipe, size_average=average),
            seed=0,
            preprocessing=PLAIN,
            device=CPU,
        ).training
        loss = training.loss(same, same, same)
        assert (loss[0] if isinstance(loss, tuple) else loss).item() == expected


def whole_batches(images, recipe="standard", **changes):
    small = {"channels": (4,), "hidden": (4,), "batch_size": 8, "images_per_class": 2, "flip_horizontal": 0.0}
    return experiment(images, recipe, **{**small, "precision": "float32", **changes})


def test_what_a_loss_takes_of_a_recipe_reaches_it(images):
    made = {
        name: whole_batches(images, loss=name, **changes).training.loss.keywords
        for name, changes in (
            ("triplet-all", {"margin": 0.3, "distance": "cosine", "average": "all"}),
            ("triplet-hard", {"margin": 0.4, "distance": "euclidean"}),
            ("supervised-contrastive", {"temperature": 0.2}),
            ("softmax", {"batches": "shuffled"}),
        )
    }
    assert {key: made["triplet-all"][key] for key in ("margin", "distance", "average")} == {
        "margin": 0.3,
        "distance": "cosine",
        "average": "all",
    }
    assert {key: made["triplet-hard"][key] for key in ("margin", "distance")} == {
        "margin": 0.4,
        "distance": "euclidean",
    }
    assert made["supervised-contrastive"]["temperature"] == 0.2
    assert made["softmax"] == {}


@pytest.mark.parametrize(
    "loss",
    ["triplet-all", "triplet-semi-hard", "triplet-hard", "triplet-hard-soft", "supervised-contrastive"],
)
@pytest.mark.parametrize("network", ["mlp", "convnet"])
def test_every_loss_of_labelled_batches_has_a_gradient_in_every_network(images, loss, network):
    changes = {"channels": ()} if network == "mlp" else {}
    training = whole_batches(images, network=network, loss=loss, dimension=3, **changes).training
    (inputs,), labels = next(iter(training.train_batches(1, 0)))
    found = training.loss(training.network(inputs), labels)
    found.value.backward()
    gradients = [parameter.grad for parameter in training.network.parameters()]
    assert all(gradient.isfinite().all() for gradient in gradients)
    assert found.valid.item() > 0


def test_softmax_trains_a_layer_that_the_embedding_has_not(images):
    made = whole_batches(images, "standard-softmax", dimension=3)
    assert made.architecture.dimension == 3
    pixels = torch.zeros(4, 1, 2, 2)
    assert made.network.eval()(pixels).shape == (4, 3)
    assert made.training.network(pixels).shape == (4, 2), "a logit a class"
    trained = {id(p) for group in made.training.optimizer.param_groups for p in group["params"]}
    assert trained == {id(parameter) for parameter in made.training.network.parameters()}
    assert trained > {id(parameter) for parameter in made.network.parameters()}


def test_bfloat16_is_for_the_network_that_trains_alone(images):
    made = whole_batches(images, precision="bfloat16", dimension=3)
    plain = whole_batches(images, dimension=3)
    assert all(
        torch.equal(a, b) for a, b in zip(made.network.parameters(), plain.network.parameters(), strict=True)
    )
    (inputs,), labels = next(iter(made.training.train_batches(1, 0)))
    assert torch.equal(made.network.eval()(inputs), plain.network.eval()(inputs))
    outputs = made.training.network.train()(inputs)
    exact = plain.training.network.train()(inputs)
    assert outputs.dtype == torch.float32
    assert 0 < (outputs - exact).abs().max() < 0.2 * exact.abs().max()
    assert made.training.loss(outputs, labels).value.dtype == torch.float32
    assert all(p.dtype == torch.float32 for p in made.training.network.parameters())


def test_only_what_has_images_to_choose_by_is_judged(images):
    assert whole_batches(images, validation_share=0.0, keep="last").judge is None
    assert experiment(images).training.measures() == {}
    judged = whole_batches(images)
    assert judged.training.measures() == judged.judge()
    assert set(judged.judge()) == {"validation_accuracy"}


def test_a_recipe_says_how_images_are_changed():
    recipe = changed(RECIPES["standard"], rotation=7.0, noise=0.1, flip_horizontal=0.5)
    augmentation = augmentation_of(recipe)
    assert (augmentation.rotation, augmentation.noise, augmentation.flip_horizontal) == (7.0, 0.1, 0.5)
    assert augmentation_of(RECIPES["article"]).is_off


def test_the_weights_hang_on_the_seed_alone(images):
    one = whole_batches(images, seed=1)
    torch.manual_seed(5)
    state = torch.random.get_rng_state()
    same, other = whole_batches(images, seed=1), whole_batches(images, seed=2)
    assert torch.equal(torch.random.get_rng_state(), state)
    pairs = [zip(one.network.parameters(), e.network.parameters(), strict=True) for e in (same, other)]
    equal = [[torch.equal(a, b) for a, b in pair if a.dim() > 1] for pair in pairs]
    assert all(equal[0])
    assert not any(equal[1])


def test_raw_pixels_has_nothing_to_train_and_as_many_dimensions_as_values(images):
    made = assemble(images, images.split, RECIPES["raw-pixels"], seed=0, preprocessing=PLAIN, device=CPU)
    assert made.training is None
    assert made.architecture.dimension == 4
    pixels = torch.tensor(images.pixels[:3])
    assert made.network(prepare(pixels, PLAIN))[:, 0].tolist() == pytest.approx([0, 1, 2], abs=1e-4)


def test_mnist_takes_the_published_constants_and_others_are_measured(images):
    assert normalisation_of("mnist", images, images.split) == Preprocessing(0.1307, 0.3081)
    measured = normalisation_of("digits", images, images.split)
    train = np.arange(12) / 255
    assert measured.mean == pytest.approx(train.mean())
    assert measured.std == pytest.approx(train.std())


def test_digits_are_split_by_the_seed():
    digits = load("digits")
    one, same, other = (article_split(digits, seed).test.tolist() for seed in (0, 0, 1))
    assert one == same
    assert one != other


@pytest.mark.parametrize("name", ["nonsense", "", "meta", "cuda:99", "cuda:x", "mps", "cpu:-3", "cpü"])
def test_a_device_that_is_not_there_is_refused(name):
    with pytest.raises(UsageError, match="--device .*: there is none on this machine, expected cpu, cuda"):
        chosen_device(name)


def test_without_a_name_the_device_is_cuda_where_there_is_one(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert chosen_device(None) == CPU
    made, flags = [], []
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch, "empty", lambda count, device: made.append(device))
    monkeypatch.setattr(torch, "use_deterministic_algorithms", lambda *, mode: flags.append(mode))
    monkeypatch.delenv("CUBLAS_WORKSPACE_CONFIG", raising=False)
    assert chosen_device(None).type == "cuda"
    assert (made, flags) == ([torch.device("cuda")], [True])
    assert os.environ.pop("CUBLAS_WORKSPACE_CONFIG") == ":4096:8"


def test_a_backbone_normalises_by_itself(images):
    for name in ("mnist", "digits"):
        recipe = RECIPES["photos-pretrained"]
        assert normalisation_of(name, images, images.split, recipe) == Preprocessing(0.0, 1.0)
    measured = normalisation_of("digits", images, images.split)
    assert normalisation_of("digits", images, images.split, RECIPES["photos"]) == measured


def test_a_residual_network_is_built_and_trains(images):
    made = whole_batches(images, "photos", blocks=[1], dimension=3)
    assert (made.architecture.name, made.architecture.channels, made.architecture.blocks) == (
        "residual",
        (4,),
        (1,),
    )
    (inputs,), labels = next(iter(made.training.train_batches(1, 0)))
    found = made.training.loss(made.training.network(inputs), labels)
    found.value.backward()
    assert all(parameter.grad.isfinite().all() for parameter in made.training.network.parameters())


def differing(one, other):
    plain, changed_plain = one.plain(), other.plain()
    return {name for name in plain if plain[name] != changed_plain[name]}


STANDARD, PHOTOS = RECIPES["standard"], RECIPES["photos"]

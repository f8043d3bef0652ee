"""A vector depends on its own image alone, and a fingerprint on everything that a vector depends on."""

import dataclasses

import numpy as np
import pytest
import torch
from torch import nn

from mitsugo.errors import DataError, ModelError, UsageError
from mitsugo.model.embedding import embed, fingerprint_of
from mitsugo.model.networks import Architecture, RawPixels, build, initialise
from mitsugo.model.preprocessing import Preprocessing

AS_THEY_ARE = Preprocessing(0.0, 1 / 255)
POINT = Architecture(name="raw-pixels", image_shape=(1, 1, 2), dimension=2)
CONVNET = Architecture(name="convnet", image_shape=(1, 28, 28), dimension=128, channels=(32,))
ARTICLE = Architecture(name="mlp", image_shape=(1, 28, 28), dimension=128, hidden=(256, 256))


def points(*values):
    return np.array(values, np.uint8).reshape(-1, 1, 1, 2)


def embedded(pixels, network=None, architecture=POINT, batch_size=1024):
    return embed(
        network or RawPixels().eval(),
        pixels,
        architecture=architecture,
        preprocessing=AS_THEY_ARE,
        batch_size=batch_size,
    )


@pytest.fixture
def article():
    network = build(ARTICLE)
    initialise(network, torch.Generator().manual_seed(3))
    return network.eval()


@pytest.mark.parametrize("batch_size", [1, 2, 3, 1024])
def test_pixels_are_embedded_in_order_whatever_the_batches(batch_size):
    found = embedded(points((0, 1), (255, 3), (4, 5)), batch_size=batch_size)
    assert found.dtype == np.float32
    assert found == pytest.approx(np.array([[0, 1], [255, 3], [4, 5]]), rel=1e-6)


def test_no_images_have_no_vectors():
    assert embedded(points()).shape == (0, 2)


def test_an_image_alone_and_in_a_batch_of_64_has_the_same_vector(article):
    pixels = np.random.default_rng(0).integers(0, 256, (64, 1, 28, 28), dtype=np.uint8)
    together = embed(article, pixels, architecture=ARTICLE, preprocessing=Preprocessing(0.1307, 0.3081))
    for row, image in zip(together, pixels, strict=True):
        alone = embed(article, image[None], architecture=ARTICLE, preprocessing=Preprocessing(0.1307, 0.3081))
        assert np.linalg.norm(alone[0] - row) <= 1e-6 * np.linalg.norm(row)


def test_images_that_cannot_be_written_to_are_read(tmp_path):
    stored = np.memmap(tmp_path / "pixels", np.uint8, "w+", shape=(3, 1, 1, 2))
    stored[:] = points((1, 2), (3, 4), (5, 6))
    stored.flush()
    read = np.memmap(tmp_path / "pixels", np.uint8, "r", shape=(3, 1, 1, 2))
    assert embedded(read) == pytest.approx(np.array([[1, 2], [3, 4], [5, 6]]), rel=1e-6)


def test_no_gradient_is_kept(article):
    def refused(*_):
        raise AssertionError("a gradient was wanted")

    with torch.autograd.graph.saved_tensors_hooks(refused, refused):
        embed(article, np.zeros((2, 1, 28, 28), np.uint8), architecture=ARTICLE, preprocessing=AS_THEY_ARE)


def test_images_of_another_shape_are_refused_with_both_shapes():
    with pytest.raises(DataError, match="images are 1 x 2 x 1, the model takes 1 x 1 x 2"):
        embedded(np.zeros((1, 1, 2, 1), np.uint8))


@pytest.mark.parametrize("batch_size", [0, -1])
def test_batches_of_nothing_are_refused(batch_size):
    with pytest.raises(UsageError, match=f"batch size {batch_size}: expected 1 or more"):
        embedded(points((1, 2)), batch_size=batch_size)


class Reciprocal(nn.Module):
    """Divides by the pixels: a black one is infinitely far."""

    def forward(self, images):
        return 1 / images.flatten(1)


def test_an_embedding_that_is_not_finite_is_refused_by_its_image():
    with pytest.raises(ModelError, match="the embedding of image 1 is not finite"):
        embedded(points((1, 1), (1, 0), (0, 0)), Reciprocal().eval())


def test_the_fingerprint_follows_everything_that_a_vector_depends_on(article):
    known = {fingerprint_of(ARTICLE, AS_THEY_ARE, article)}
    assert known == {fingerprint_of(ARTICLE, AS_THEY_ARE, article)}
    known.add(fingerprint_of(ARTICLE, Preprocessing(0.0, 1 / 254), article))
    known.add(fingerprint_of(ARTICLE, Preprocessing(1e-9, 1 / 255), article))
    known.add(fingerprint_of(dataclasses.replace(ARTICLE, image_shape=(1, 14, 56)), AS_THEY_ARE, article))
    with torch.no_grad():
        article.layers[4].bias[127] = torch.nextafter(article.layers[4].bias[127], torch.tensor(9.0))
    known.add(fingerprint_of(ARTICLE, AS_THEY_ARE, article))
    known.add(fingerprint_of(dataclasses.replace(ARTICLE, normalised=True), AS_THEY_ARE, article))
    for channels in ((32,), (32, 64)):
        known.add(fingerprint_of(dataclasses.replace(CONVNET, channels=channels), AS_THEY_ARE, article))
    assert len(known) == 8
    assert all(len(fingerprint) == 64 for fingerprint in known)

"""A source becomes a file of vectors that anything can read."""

import numpy as np
import pytest

from mitsugo.data.sources import load
from mitsugo.errors import DataError, ModelError, ResourceError, UsageError
from mitsugo.model.bundle import Model
from mitsugo.tasks.embed import embed


def test_the_file_holds_what_the_model_says_in_the_order_of_the_source(tmp_path, digits_run):
    document = embed(digits_run.run, "digits", tmp_path / "digits.npz")
    images, model = load("digits"), Model.load(digits_run.bundle)
    with np.load(tmp_path / "digits.npz", allow_pickle=False) as content:
        assert set(content.files) == {"vectors", "labels", "class_names", "names", "fingerprint"}
        assert content["vectors"].dtype == np.float32
        assert np.array_equal(content["vectors"], model.embed(images.pixels))
        assert np.array_equal(content["labels"], images.labels)
        assert content["class_names"].tolist() == list("0123456789")
        assert content["names"].tolist() == list(images.names)
        assert str(content["fingerprint"]) == model.fingerprint
    assert (document["images"], document["dimension"]) == (1797, 128)
    assert [file.name for file in tmp_path.iterdir()] == ["digits.npz"]


def test_images_in_one_source_go_to_the_same_place_alone_or_in_company(digits_run):
    model, pixels = Model.load(digits_run.bundle), load("digits").pixels[:64]
    together = model.embed(pixels)
    alone = np.concatenate([model.embed(pixels[i : i + 1]) for i in range(64)])
    assert np.abs(together - alone).max() <= 1e-5


@pytest.mark.parametrize("name", ["x", "x.csv", "x.NPZ", ".npz"])
def test_another_name_is_refused_before_anything_is_read(tmp_path, name):
    with pytest.raises(UsageError, match=r"expected a name that ends in \.npz"):
        embed(tmp_path / "no such model", "no such source", tmp_path / name)


def test_what_cannot_be_embedded_or_written_leaves_no_file(tmp_path, tiny_run, tiny):
    out = tmp_path / "x.npz"
    with pytest.raises(DataError, match="images are 1 x 8 x 8, the model takes 1 x 4 x 4"):
        embed(tiny_run.run, "digits", out)
    with pytest.raises(ModelError, match="cannot be read"):
        embed(tmp_path / "gone", str(tiny), out)
    with pytest.raises(ResourceError, match=r"gone/x\.npz: cannot be written: no such file or directory"):
        embed(tiny_run.run, str(tiny), tmp_path / "gone" / "x.npz")
    assert list(tmp_path.iterdir()) == []

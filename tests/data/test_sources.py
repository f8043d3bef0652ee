import hashlib
import io
import subprocess
import sys
import zipfile
from importlib import resources
from pathlib import Path

import numpy as np
import pytest

from mitsugo.data import sources
from mitsugo.data.idx import idx_header
from mitsugo.data.reading import Reading
from mitsugo.data.sources import (
    MNIST_SHA256,
    SourceDescription,
    check_trainable,
    described,
    fingerprint,
    load,
)
from mitsugo.errors import DataError, ResourceError, UsageError
from mitsugo.files import sha256_of
from mitsugo.values import LabeledImages, Split

ORIGINAL = Path(__file__).parents[3] / "shared/data/mnist"


@pytest.fixture(scope="module")
def mnist() -> LabeledImages:
    return load("mnist")


def labeled(labels: list[int], class_names: tuple[str, ...] = ("a", "b"), **others: object) -> LabeledImages:
    values = {
        "pixels": np.arange(len(labels), dtype=np.uint8).reshape(-1, 1, 1, 1),
        "labels": np.array(labels, np.int64),
        "class_names": class_names,
        "names": tuple(f"image {i}" for i in range(len(labels))),
    }
    return LabeledImages(**(values | others))


def split(train: list[int], test: list[int], validation: list[int] | None = None) -> Split:
    return Split(
        train=np.array(train, np.int64),
        validation=np.array(test if validation is None else validation, np.int64),
        test=np.array(test, np.int64),
        how="by hand",
    )


def test_digits():
    from sklearn.datasets import load_digits

    images = load("digits")
    assert images.pixels.shape == (1797, 1, 8, 8)
    assert images.class_names == tuple("0123456789")
    assert (images.names[0], images.names[-1], images.split) == ("digits/0000", "digits/1796", None)
    raw = load_digits()
    assert images.labels.tolist() == raw.target.tolist()
    scaled = [0, 16, 32, 48, 64, 80, 96, 112, 128, 143, 159, 175, 191, 207, 223, 239, 255]  # 255/16 = 15.9375
    assert images.pixels[17, 0].tolist() == [[scaled[int(v)] for v in row] for row in raw.images[17]]
    assert set(images.pixels.ravel().tolist()) == set(scaled)


def test_mnist(mnist):
    assert mnist.pixels.shape == (70_000, 1, 28, 28)
    assert mnist.class_names == tuple("0123456789")
    assert mnist.labels[:10].tolist() == [5, 0, 4, 1, 9, 2, 1, 3, 1, 4]
    assert mnist.labels[60_000:60_010].tolist() == [7, 2, 1, 0, 4, 1, 4, 9, 5, 9]
    assert (mnist.names[0], mnist.names[59_999], mnist.names[60_000]) == (
        "train/00000",
        "train/59999",
        "test/00000",
    )
    assert mnist.split is not None
    assert mnist.split.train.tolist() == list(range(60_000))
    assert mnist.split.test.tolist() == list(range(60_000, 70_000))
    assert mnist.split.validation.size == 0
    # 0.1307 and 0.3081, as they are usually quoted
    training = mnist.pixels[:60_000] / np.float32(255)
    assert (round(float(training.mean()), 4), round(float(training.std()), 4)) == (0.1307, 0.3081)


def test_the_originals_can_be_put_together_again(mnist):
    parts = {"train": slice(0, 60_000), "test": slice(60_000, 70_000)}
    for part, rows in parts.items():
        images, labels = mnist.pixels[rows], mnist.labels[rows].astype(np.uint8)
        count = len(labels).to_bytes(4, "big")
        image_file = b"\0\0\x08\x03" + count + b"\0\0\0\x1c\0\0\0\x1c" + images.tobytes()
        assert hashlib.sha256(image_file).hexdigest() == MNIST_SHA256[f"{part}_images"]
        assert (
            hashlib.sha256(b"\0\0\x08\x01" + count + labels.tobytes()).hexdigest()
            == MNIST_SHA256[f"{part}_labels"]
        )


@pytest.mark.skipif(not ORIGINAL.is_dir(), reason="../shared/data/mnist is not here")
def test_the_packaged_set_is_the_originals(mnist):
    originals = load(ORIGINAL)
    assert fingerprint(originals) == fingerprint(mnist)
    assert np.array_equal(originals.pixels, mnist.pixels)


def test_the_licence_lies_beside_it_and_names_the_sums():
    licence = (resources.files("mitsugo.data") / "mnist" / "LICENSE.md").read_text(encoding="utf-8")
    assert all(sum_ in licence for sum_ in MNIST_SHA256.values())
    packed = (resources.files("mitsugo.data") / "mnist" / "mnist.npz").read_bytes()
    assert f"{len(packed):,}" in licence
    assert hashlib.sha256(packed).hexdigest() in licence
    with zipfile.ZipFile(io.BytesIO(packed)) as archive:
        assert [member.filename for member in archive.infolist()] == [f"{name}.npy" for name in MNIST_SHA256]
        assert {member.compress_type for member in archive.infolist()} == {zipfile.ZIP_LZMA}
        assert {member.date_time for member in archive.infolist()} == {(1980, 1, 1, 0, 0, 0)}


def packaged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: bytes) -> None:
    """Put another mnist.npz in the package's place."""
    (tmp_path / "mnist").mkdir()
    (tmp_path / "mnist/mnist.npz").write_bytes(content)
    monkeypatch.setattr(sources.resources, "files", lambda _package: tmp_path)


def npz(arrays: dict[str, np.ndarray]) -> bytes:
    file = io.BytesIO()
    np.savez_compressed(file, **arrays)
    return file.getvalue()


def small() -> dict[str, np.ndarray]:
    images = np.arange(16, dtype=np.uint8).reshape(4, 2, 2)
    labels = np.array([0, 1, 1, 0], np.uint8)
    return {"train_images": images, "train_labels": labels, "test_images": images, "test_labels": labels}


def test_a_packaged_set_whose_content_was_changed(tmp_path, monkeypatch):
    arrays = small()
    sums = {name: sha256_of(idx_header(*array.shape), array.tobytes()) for name, array in arrays.items()}
    monkeypatch.setattr(sources, "MNIST_SHA256", sums)
    packaged(tmp_path, monkeypatch, npz(arrays))
    assert len(load("mnist")) == 8
    arrays["test_images"] = arrays["test_images"] ^ 1
    (tmp_path / "mnist/mnist.npz").write_bytes(npz(arrays))
    with pytest.raises(
        DataError, match=r"test_images is not what MNIST's authors published; install mitsugo again"
    ):
        load("mnist")


def test_a_packaged_set_that_is_truncated_damaged_or_a_pickle(tmp_path, monkeypatch):
    whole = npz(small())
    contents = [whole[:length] for length in range(0, len(whole), 7)]
    contents += [npz({"train_images": np.array([None, {}], dtype=object)}), npz({"others": np.zeros(3)})]
    packaged(tmp_path, monkeypatch, b"")
    for content in contents:
        (tmp_path / "mnist/mnist.npz").write_bytes(content)
        with pytest.raises(
            DataError, match=r"the packaged mnist.npz is missing or damaged; install mitsugo again"
        ):
            load("mnist")
    (tmp_path / "mnist/mnist.npz").unlink()
    with pytest.raises(DataError, match="is missing or damaged"):
        load("mnist")


def test_a_python_without_lzma(monkeypatch):
    monkeypatch.setitem(sys.modules, "lzma", None)
    with pytest.raises(ResourceError, match="this Python was built without lzma"):
        load("mnist")


def test_a_folder_is_named_as_text_or_as_a_path(tmp_path, monkeypatch):
    (tmp_path / "set").mkdir()
    (tmp_path / "set/train-images-idx3-ubyte").write_bytes(idx_header(2, 1, 1) + b"\1\2")
    (tmp_path / "set/train-labels-idx1-ubyte").write_bytes(idx_header(2) + b"\3\4")
    monkeypatch.chdir(tmp_path)
    for source in ("set", "./set", str(tmp_path / "set"), Path("set")):
        assert load(source).class_names == ("3", "4")


def test_a_path_is_always_a_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "digits").mkdir()
    assert len(load("digits")) == 1797
    for source in ("./digits", Path("digits")):
        with pytest.raises(DataError, match="digits: holds no IDX files; looked for train-images-idx3-ubyte"):
            load(source)


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("mnits", r"did you mean mnist\?"),
        ("MNIST", r"did you mean mnist\?"),
        ("digit", r"did you mean digits\?"),
        ("imagenet-21k", "no built-in set and no folder has that name"),
        ("a\nb", "no built-in set"),
        ("a\0b", "no built-in set"),
        ("\udcff", "no built-in set"),
        ("x" * 5000, "no built-in set"),
    ],
)
def test_an_unknown_name_is_a_usage_error(name, meant, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UsageError, match=f"unknown source .*: {meant}.*; `mitsugo sources` lists") as caught:
        load(name)
    assert str(caught.value).isprintable()


def test_no_name_at_all():
    with pytest.raises(UsageError, match="no source was named; `mitsugo sources` lists"):
        load("")


def test_a_missing_folder_is_a_data_error(tmp_path):
    with pytest.raises(DataError, match="nowhere: cannot be read: no such file or directory; name a folder"):
        load(tmp_path / "nowhere")
    with pytest.raises(DataError, match="./nowhere/at/all|nowhere/at/all: cannot be read"):
        load("./nowhere/at/all")
    with pytest.raises(DataError, match=r"x\\x00y'?: cannot be read: embedded null byte"):
        load(Path("x\0y"))


def test_a_file_is_no_folder(tmp_path):
    (tmp_path / "train.txt").touch()
    with pytest.raises(DataError, match="train.txt: is no folder, and no table"):
        load(tmp_path / "train.txt")


def test_what_holds_no_photos_is_not_read_as_photos():
    with pytest.raises(UsageError, match="SOURCE digits: holds images of one size, not photos: --image-size"):
        load("digits", Reading(image_size=(4, 4)))
    assert len(load("digits", Reading(bad_images="skip"))) == 1797


def test_what_can_be_named():
    assert [(d.name, d.images) for d in described()] == [
        ("digits", "1,797"),
        ("mnist", "70,000"),
        ("a folder of photos", ""),
        ("a table of photos", ""),
        ("a folder of IDX files", ""),
    ]
    assert all(isinstance(d, SourceDescription) and d.what for d in described())


def test_the_counts_that_are_described_are_true(mnist):
    counts = {description.name: description.images for description in described()}
    assert f"{len(mnist):,}" == counts["mnist"]
    assert f"{len(load('digits')):,}" == counts["digits"]


def test_importing_the_sources_leaves_the_heavy_libraries_alone():
    command = "import sys, mitsugo.data.sources; print('sklearn' in sys.modules, 'scipy' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", command], capture_output=True, text=True, check=True)
    assert done.stdout == "False False\n"


# The fingerprint


def test_equal_sets_have_one_fingerprint_however_they_lie_in_memory():
    images = labeled([0, 1, 1])
    backwards = labeled([0, 1, 1], pixels=np.array([2, 1, 0], np.uint8).reshape(-1, 1, 1, 1)[::-1])
    assert not backwards.pixels.flags.c_contiguous
    assert fingerprint(backwards) == fingerprint(images) == fingerprint(labeled([0, 1, 1]))


def test_the_fingerprint_is_the_sum_that_its_docstring_names():
    text = '[[3, 1, 1, 1], ["a", "b"], ["image 0", "image 1", "image 2"]]'
    labels = b"".join(label.to_bytes(8, "little") for label in (0, 1, 1))
    assert fingerprint(labeled([0, 1, 1])) == hashlib.sha256(text.encode() + b"\0\1\2" + labels).hexdigest()


def test_a_change_anywhere_changes_the_fingerprint():
    pixels = np.arange(4, dtype=np.uint8)
    sets = [
        labeled([0, 1, 1, 0], pixels=pixels.reshape(4, 1, 1, 1)),
        labeled([0, 1, 0, 0]),
        labeled([0, 1, 1, 0], pixels=(pixels + 1).reshape(4, 1, 1, 1)),
        labeled([0, 1, 1, 0], class_names=("a", "c")),
        labeled([0, 1, 1, 0], class_names=("a", "b", "c")),
        labeled([0, 1, 1, 0], names=("image 0", "image 1", "image 2", "image 4")),
        labeled([0, 1, 1, 0], names=("\udcff", "image 1", "image 2", "image 3")),
        labeled([0, 1], pixels=pixels.reshape(2, 1, 1, 2)),
        labeled([0, 1], pixels=pixels.reshape(2, 1, 2, 1)),
        labeled([0, 1], pixels=pixels.reshape(2, 2, 1, 1)),
    ]
    assert len({fingerprint(images) for images in sets}) == len(sets)


def test_more_images_than_one_chunk_are_all_seen():
    one = labeled([0] * 9000)
    pixels = one.pixels.copy()
    pixels[8999] ^= 1
    assert fingerprint(labeled([0] * 9000, pixels=pixels)) != fingerprint(one)


# What can be trained on


def test_five_images_of_two_classes_are_enough_and_four_are_not():
    check_trainable(labeled([0, 1, 0, 1, 0, 0]), split([0, 1, 2, 3, 4], [5]))
    with pytest.raises(DataError, match="there are 4 training images: five neighbours vote"):
        check_trainable(labeled([0, 1, 0, 1, 0]), split([0, 1, 2, 3], [4]))


def test_one_class_only():
    with pytest.raises(
        DataError, match=r"all of one class \(b\): triplets need two classes or more; collect"
    ):
        check_trainable(labeled([1, 1, 1, 0]), split([0, 1, 2], [3]))


def test_classes_with_too_few_training_images_are_named():
    images = labeled([0, 0, 1, 2, 0, 1], class_names=("ok", "scr\natch", "dent", "stain"))
    with pytest.raises(DataError) as caught:
        check_trainable(images, split([0, 1, 2, 3], [4, 5]))
    assert str(caught.value) == (
        "3 of 4 classes have fewer than two training images: 'scr\\natch' (1), dent (1), stain (0); "
        "a positive is another image of the class: collect two or more of each, or leave the class out"
    )


def test_of_many_poor_classes_five_are_named():
    images = labeled([*range(9), 7, 8, 0], class_names=tuple("abcdefghi"))
    with pytest.raises(
        DataError, match=r"7 of 9 classes .*: a \(1\), b \(1\), c \(1\), d \(1\), e \(1\) and 2 more;"
    ):
        check_trainable(images, split(list(range(11)), [11]))


@pytest.mark.parametrize(
    ("parts", "empty"),
    [(([], [1]), "train"), (([0, 1, 2, 3], [], [4]), "test"), (([0, 1, 2, 3], [4], []), "validation")],
)
def test_an_empty_part(parts, empty):
    train, test, *validation = parts
    with pytest.raises(DataError, match=f"the {empty} part has no images"):
        check_trainable(labeled([0, 1, 0, 1, 0]), split(train, test, *validation))


def test_a_split_of_other_images():
    with pytest.raises(DataError, match="the test part names image 9, but there are 5"):
        check_trainable(labeled([0, 1, 0, 1, 0]), split([0, 1, 2, 3], [9], [4]))

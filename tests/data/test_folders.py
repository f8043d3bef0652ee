"""A folder of photos is a list of files, in an order that only the names decide."""

import os

import pytest

from mitsugo.data.folders import is_image_folder, listed_folder
from mitsugo.data.reading import Reading
from mitsugo.errors import DataError, UsageError

AS_IT_IS = Reading()
SKIP = Reading(bad_images="skip")


@pytest.fixture
def tree(tmp_path):
    def make(*names):
        for name in names:
            path = tmp_path / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch()
        return tmp_path

    return make


def test_one_folder_a_class(tree):
    root = tree("lot10/b.PNG", "lot2/deep/er/a.jpg", "lot2/c.tiff", "lot2/.hidden.png", ".git/x.png")
    files = listed_folder(root, AS_IT_IS)
    assert files.class_names == ("lot2", "lot10")
    assert files.names == ("lot2/c.tiff", "lot2/deep/er/a.jpg", "lot10/b.PNG")
    assert files.labels.tolist() == [0, 0, 1]
    assert files.paths[0] == root / "lot2/c.tiff"
    assert (files.groups, files.split, files.left_out) == (None, None, ())


@pytest.mark.parametrize("validation", ["val", "Validation"])
def test_parts_are_the_split(tree, validation):
    root = tree("train/ok/1.png", "train/ng/2.png", "test/ok/3.png", f"{validation}/ng/4.png")
    files = listed_folder(root, AS_IT_IS)
    parts = {
        part: [files.names[i] for i in getattr(files.split, part)] for part in ("train", "validation", "test")
    }
    assert parts == {
        "train": ["train/ng/2.png", "train/ok/1.png"],
        "validation": [f"{validation}/ng/4.png"],
        "test": ["test/ok/3.png"],
    }
    assert files.labels.tolist() == [0, 1, 0, 1]


def test_names_of_any_bytes_are_kept(tree, tmp_path):
    tree("良品/🙂.png", "ok/new\nline.png", "ok/-dash.png")
    strange = os.fsencode(tmp_path) + b"/ok/\xff\xfe.png"
    with open(strange, "wb"):  # noqa: PTH123 - the name is no text
        pass
    files = listed_folder(tmp_path, AS_IT_IS)
    assert set(files.names) == {"良品/🙂.png", "ok/new\nline.png", "ok/-dash.png", "ok/\udcff\udcfe.png"}
    assert all(path.exists() for path in files.paths)


def test_what_is_no_photo_is_listed(tree):
    files = listed_folder(tree("ok/1.png", "ng/2.png", "ok/Thumbs.db", "empty/notes.txt"), AS_IT_IS)
    assert {name for name, _ in files.left_out} >= {"ok/Thumbs.db", "empty/notes.txt"}
    assert files.class_names == ("ng", "ok")


def test_links_pipes_and_circles_are_never_opened(tree, tmp_path):
    root = tree("set/ok/1.png", "set/ng/2.png", "outside/3.png") / "set"
    (root / "ok" / "inside.png").symlink_to(root / "ok" / "1.png")
    assert "ok/inside.png" in listed_folder(root, AS_IT_IS).names
    os.mkfifo(root / "ng" / "pipe.png")
    (root / "ok" / "out.png").symlink_to(tmp_path / "outside" / "3.png")
    (root / "ok" / "loop.png").symlink_to(root / "ok" / "loop.png")
    (root / "ok" / "gone.png").symlink_to(root / "ok" / "nothing.png")
    with pytest.raises(DataError, match=r"(pipe|out|loop|gone)\.png"):
        listed_folder(root, AS_IT_IS)
    found = listed_folder(root, SKIP)
    assert set(found.names) == {"ok/1.png", "ok/inside.png", "ng/2.png"}
    assert {name for name, _ in found.left_out} == {"ng/pipe.png", "ok/out.png", "ok/loop.png", "ok/gone.png"}


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (("ok/1.png",), "one class only .*triplets need two classes: collect photos of defects"),
        (("notes.txt",), "holds no photos; expected a folder a class"),
        (("ok/1.png", "ng/2.png", "loose.png"), "1 photo lies directly in it, in no class"),
        (("train/ok/1.png", "val/ng/2.png"), "holds train/ and val/ but no test/"),
        (("train/ok/1.png", "train/ng/3.png", "test/ok/2.png", "Test/ng/1.png"), "are test parts; keep one"),
        (("train/a/1.png", "train/b/1.png", "test/a/2.png", "other/c/3.png"), "other/ lies beside the parts"),
        (("caf\u00e9/1.png", "cafe\u0301/2.png"), "two classes look the same"),
    ],
)
def test_what_triplets_cannot_be_drawn_from_is_refused(tree, names, message):
    with pytest.raises(DataError, match=message):
        listed_folder(tree(*names), AS_IT_IS)


def test_groups_come_from_the_names(tree):
    root = tree("ok/p1_a.png", "ok/p1_b.png", "ng/p2_a.png")
    files = listed_folder(root, Reading(group_by=r"p\d"))
    assert (files.groups.tolist(), files.group_names) == ([1, 0, 0], ("p1", "p2"))
    with pytest.raises(
        UsageError, match=r"--group-by q: finds nothing in 3 of 3 names, first in ng/p2_a\.png"
    ):
        listed_folder(root, Reading(group_by="q"))


def test_a_folder_of_photos_is_told_from_one_of_idx_files(tree, tmp_path):
    assert is_image_folder(tree("ok/1.png"))
    tree("train-images-idx3-ubyte.gz")
    assert not is_image_folder(tmp_path)
    (tmp_path / "nothing").mkdir()
    assert not is_image_folder(tmp_path / "nothing")
    with pytest.raises(DataError, match="none"):
        is_image_folder(tmp_path / "none")

"""Triplets and pairs as tables: what a row says, that it is what a training sees, and names of any kind."""

import csv
import json
import os
import resource
import sys
from collections import Counter

import numpy as np
import pyarrow.parquet
import pytest

from mitsugo.data.sources import load
from mitsugo.errors import DataError, ResourceError, UsageError
from mitsugo.recipes import RECIPES
from mitsugo.tasks import triplets
from mitsugo.tasks.experiment import assemble, chosen_device, normalisation_of
from mitsugo.tasks.settle import settle
from mitsugo.tasks.triplets import write_triplets
from mitsugo.values import LabeledImages, Split

NASTY = ("=1+1", "-3.png", "+a", "@b", "\tc", "品 7.png", 'quo"te,d', "new\nline", os.fsdecode(b"\xff.png"))


def read(path):
    """The rows of a table, whatever its kind, every value a text."""
    if path.suffix == ".parquet":
        rows = pyarrow.parquet.read_table(path).to_pylist()
    elif path.suffix == ".jsonl":
        rows = [json.loads(line) for line in path.read_text("utf-8").splitlines()]
    else:
        with path.open(encoding="utf-8", errors="surrogateescape", newline="") as file:
            rows = list(csv.DictReader(file))
    return [{key: str(value) for key, value in row.items()} for row in rows]


@pytest.fixture
def named(monkeypatch):
    """A source of nine images, three classes, whose names are as bad as names can be."""

    def give(names=NASTY, classes=("A", "=B", "C")):
        images = LabeledImages(
            pixels=np.arange(9, dtype=np.uint8).reshape(9, 1, 1, 1),
            labels=np.arange(9) % 3,
            class_names=classes,
            names=names,
            split=Split(train=np.arange(6), validation=np.arange(6, 9), test=np.arange(6, 9), how="by hand"),
        )
        monkeypatch.setattr(triplets, "loaded", lambda source, sourcing, talk: images)
        return images

    return give


@pytest.mark.parametrize("kind", [".parquet", ".csv", ".jsonl"])
def test_rows_are_triplets_of_the_training_part(tiny, tmp_path, kind):
    told = write_triplets(str(tiny), tmp_path / f"t{kind}")
    rows = read(tmp_path / f"t{kind}")
    images = load(tiny)
    train = [images.names[row] for row in images.split.train]
    label = dict(zip(images.names, images.labels.tolist(), strict=True))
    assert told == {
        "source": str(tiny),
        "out": str(tmp_path / f"t{kind}"),
        "kind": "triplets",
        "rows": 32,
        "images": 32,
        "classes": 4,
        "seed": 0,
        "split": told["split"],
    }
    assert list(rows[0]) == [
        "anchor", "positive", "negative", "anchor_class", "positive_class", "negative_class"
    ]  # fmt: skip
    assert sorted(row["anchor"] for row in rows) == sorted(train), "every training image once"
    for row in rows:
        assert {row["positive"], row["negative"]} <= set(train)
        assert row["anchor"] != row["positive"]
        assert label[row["anchor"]] == label[row["positive"]] != label[row["negative"]]
        for role in ("anchor", "positive", "negative"):
            assert row[f"{role}_class"] == images.class_names[label[row[role]]]


@pytest.mark.parametrize("kind", [".parquet", ".csv", ".jsonl"])
def test_pairs_have_a_label(tiny, tmp_path, kind):
    told = write_triplets(str(tiny), tmp_path / f"p{kind}", pairs=True, count=500, seed=3)
    rows = read(tmp_path / f"p{kind}")
    assert (told["kind"], told["rows"], len(rows)) == ("pairs", 500, 500)
    assert list(rows[0]) == ["first", "second", "label", "first_class", "second_class"]
    for row in rows:
        assert row["label"] == str(int(row["first_class"] == row["second_class"]))
        assert row["first"] != row["second"]
    assert 200 < sum(row["label"] == "1" for row in rows) < 300, "one in two, 250 ± 11"


@pytest.mark.parametrize(("pairs", "name"), [(False, "article"), (True, "article-siamese")])
def test_the_rows_are_what_a_training_sees_epoch_after_epoch(tiny, tmp_path, pairs, name):
    write_triplets(str(tiny), tmp_path / "t.jsonl", pairs=pairs, count=70, seed=5)
    rows = read(tmp_path / "t.jsonl")
    images, device = load(tiny), chosen_device("cpu")
    ground = settle(str(tiny), images, RECIPES[name], seed=5, device=device)
    normalisation = normalisation_of("", images, ground.split)
    experiment = assemble(
        images, ground.split, ground.recipe, seed=5, preprocessing=normalisation, device=device
    )
    seen = []
    for epoch in (1, 2, 3):
        for inputs, target in experiment.training.train_batches(epoch, 0):
            pixels = [
                np.rint((part.numpy() * normalisation.std + normalisation.mean) * 255) for part in inputs
            ]
            seen += zip(*pixels, *([target.tolist()] if pairs else []), strict=True)
    by_name = dict(zip(images.names, images.pixels, strict=True))
    for row, given in zip(rows, seen[:70], strict=True):
        for role, image in zip(("first", "second") if pairs else ("anchor", "positive", "negative"), given,
                               strict=False):  # fmt: skip
            assert np.array_equal(by_name[row[role]], image)
        if pairs:
            assert float(row["label"]) == given[2]


def test_more_rows_than_images_go_on_with_another_draw(tiny, tmp_path, monkeypatch):
    write_triplets(str(tiny), tmp_path / "whole.csv", count=75)
    monkeypatch.setattr(triplets, "TOGETHER", 7)
    write_triplets(str(tiny), tmp_path / "parts.csv", count=75)
    assert (tmp_path / "whole.csv").read_bytes() == (tmp_path / "parts.csv").read_bytes()
    rows = read(tmp_path / "whole.csv")
    assert len(rows) == 75
    assert set(Counter(row["anchor"] for row in rows[:64]).values()) == {2}
    assert rows[:32] != rows[32:64]
    write_triplets(str(tiny), tmp_path / "few.csv", count=5)
    assert read(tmp_path / "few.csv") == rows[:5]
    write_triplets(str(tiny), tmp_path / "other.csv", count=75, seed=1)
    assert read(tmp_path / "other.csv") != rows


def test_a_parquet_file_says_what_made_it(tiny, tmp_path, monkeypatch):
    monkeypatch.setattr(triplets, "TOGETHER", 10)
    told = write_triplets(str(tiny), tmp_path / "t.parquet", seed=2)
    file = pyarrow.parquet.ParquetFile(tmp_path / "t.parquet")
    assert [file.metadata.row_group(group).num_rows for group in range(file.num_row_groups)] == [
        10,
        10,
        10,
        2,
    ]
    about = json.loads(file.schema_arrow.metadata[b"mitsugo"])
    assert {key: about[key] for key in ("source", "seed", "split")} == {
        key: told[key] for key in ("source", "seed", "split")
    }


def test_names_of_any_kind_survive_and_no_cell_is_a_formula(named, tmp_path):
    named()
    write_triplets("nasty", tmp_path / "t.jsonl", count=200)
    assert {row["anchor"] for row in read(tmp_path / "t.jsonl")} == set(NASTY[:6])
    named(names=NASTY[::-1])
    write_triplets("nasty", tmp_path / "t.jsonl", count=200)
    assert {row["anchor"] for row in read(tmp_path / "t.jsonl")} == set(NASTY[3:])
    write_triplets("nasty", tmp_path / "t.csv", count=200)
    rows = read(tmp_path / "t.csv")
    expected = {
        "'+a" if name == "+a" else f"'{name}" if name in {"@b", "\tc"} else name for name in NASTY[3:]
    }
    assert {row["anchor"] for row in rows} == expected
    assert {row["anchor_class"] for row in rows} == {"A", "'=B", "C"}
    assert all(not value.startswith(tuple("=+-@\t\r\n")) for row in rows for value in row.values())
    assert b"\xff.png" in (tmp_path / "t.csv").read_bytes()


def test_what_a_file_cannot_hold_is_refused_by_name_and_nothing_is_left(named, tmp_path):
    (tmp_path / "t.parquet").write_bytes(b"before")
    named(names=NASTY[::-1])
    with pytest.raises(DataError, match=r"cannot hold the name '\\udcff\.png', which is no UTF-8; rename it"):
        write_triplets("nasty", tmp_path / "t.parquet")
    named(names=("\ud800", *NASTY[:8]))
    with pytest.raises(DataError, match=r"t\.csv: cannot hold the name '\\ud800'"):
        write_triplets("nasty", tmp_path / "t.csv")
    named(names=("\ud800", *NASTY[:8]))
    write_triplets("nasty", tmp_path / "t.jsonl")
    assert "\ud800" in {row["anchor"] for row in read(tmp_path / "t.jsonl")}
    assert sorted(file.name for file in tmp_path.iterdir()) == ["t.jsonl", "t.parquet"]
    assert (tmp_path / "t.parquet").read_bytes() == b"before"


def test_what_cannot_be_meant_is_refused(tiny, tmp_path):
    for name in ("t", "t.txt", "t.npz"):
        with pytest.raises(UsageError, match=f"{name}: expected a name that ends in .parquet, .csv, .jsonl"):
            write_triplets(str(tiny), tmp_path / name)
    with pytest.raises(UsageError, match="--count 0: expected 1 or more"):
        write_triplets(str(tiny), tmp_path / "t.csv", count=0)
    for seed in (-1, 1 << 63):
        with pytest.raises(UsageError, match=f"--seed {seed}: expected 0 to"):
            write_triplets(str(tiny), tmp_path / "t.csv", seed=seed)
    with pytest.raises(UsageError, match="unknown source nothing"):
        write_triplets("nothing", tmp_path / "t.csv")
    with pytest.raises(ResourceError, match="cannot be written: no such file or directory"):
        write_triplets(str(tiny), tmp_path / "none" / "t.csv")
    assert list(tmp_path.iterdir()) == []


def test_classes_without_a_positive_are_named(tiny, named, tmp_path):
    images = named()
    single = Split(
        train=np.array([0, 1, 2, 3, 4]), validation=np.array([6]), test=np.array([7]), how="by hand"
    )
    object.__setattr__(images, "split", single)
    with pytest.raises(DataError, match=r"1 of 3 classes have fewer than two training images: C \(1\)"):
        write_triplets("nasty", tmp_path / "t.csv")


def test_without_pyarrow_the_other_kinds_are_named(tiny, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "pyarrow.parquet", None)
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(
        UsageError, match=r"needs pyarrow, .*`pip install mitsugo\[tables\]`, or name a \.csv"
    ):
        write_triplets(str(tiny), tmp_path / "t.parquet")
    write_triplets(str(tiny), tmp_path / "t.csv")


@pytest.mark.parametrize("kind", [".parquet", ".csv", ".jsonl"])
@pytest.mark.parametrize("room", [0, 300, 900])
def test_a_full_disk_is_told_and_what_was_there_stands(tiny, tmp_path, kind, room):
    out = tmp_path / f"t{kind}"
    out.write_bytes(b"before")
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (room, limits[1]))
    try:
        with pytest.raises(ResourceError, match=f"t{kind}: cannot be written: the disk is full"):
            write_triplets(str(tiny), out, count=1000)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert [file.name for file in tmp_path.iterdir()] == [f"t{kind}"]
    assert out.read_bytes() == b"before"

"""What the command line refuses: one line on stderr, nothing on stdout, no traceback, the right exit code."""

import os
import shutil
from pathlib import Path

import numpy as np
import pytest

from mitsugo import cli
from mitsugo.data import sources as sources_module
from mitsugo.errors import StoreError

pytestmark = pytest.mark.usefixtures("one_thread")

SAMPLE = Path(__file__).parents[1] / "docs" / "sample-digit.png"

USAGE = [
    (["nonsense"], "No such command 'nonsense'; see --help"),
    (["train"], "Missing argument 'source'"),
    (["train", "digits", "--depth", "3"], "No such option: --depth"),
    (["train", "digits", "--epochs", "x"], "Invalid value for '--epochs'"),
    (["train", "digits", "--epochs", "-1"], "--epochs is -1, expected 0 to"),
    (["train", "digits", "--margin", "nan"], "--margin is nan, expected a positive number"),
    (["train", "digits", "--seed", "-1"], "--seed -1: expected 0"),
    (["train", "digits", "--recipe", "artcle"], "did you mean article?"),
    (["train", "digits", "--recipe", "a\nb"], "--recipe a b: there is no such recipe"),
    (["train", "digit"], "unknown source digit: did you mean digits?"),
    (["train", ""], "no source was named"),
    (["compare", "digits", "--seeds", "0"], "Invalid value for '--seeds'"),
    (["compare", "digits", "--recipes", "article"], "names 1, expected two or more"),
    (["embed", "m", "digits"], "Missing option '--out'"),
    (["embed", "m", "digits", "--out", "x.txt"], "expected a name that ends in .npz"),
    (["train", "digits", "--budget"], "Option '--budget' requires an argument"),
    (["compare", "digits", "--recipes", "article,article:depth=3"], "depth is no key of a recipe"),
    (["inspect", "m"], "Missing argument 'IMAGE...'"),
    (["inspect", "m", "i", "-k", "0"], "Invalid value for '-k'"),
    (["recipes", "artcle"], "there is no such recipe"),
]


@pytest.mark.parametrize(("arguments", "words"), USAGE, ids=[" ".join(arguments) for arguments, _ in USAGE])
def test_what_cannot_be_meant_ends_with_2(tmp_path, monkeypatch, refused, arguments, words):
    monkeypatch.chdir(tmp_path)
    assert words in refused(2, *arguments)
    assert list(tmp_path.iterdir()) == []


def test_data_that_cannot_be_used_ends_with_3(tmp_path, tiny, tiny_run, digits_run, refused, write_idx):
    out = ("--out", tmp_path / "run")
    assert "gone: cannot be read: no such file" in refused(3, "train", tmp_path / "gone", *out)
    assert "is no folder" in refused(3, "train", SAMPLE, *out)
    one = write_idx(tmp_path / "one", classes=1)
    assert "all of one class" in refused(3, "train", one, *out)
    cut = write_idx(tmp_path / "cut")
    images = cut / "train-images-idx3-ubyte"
    images.write_bytes(images.read_bytes()[:-1])
    assert "train-images-idx3-ubyte" in refused(3, "train", cut, *out)
    assert "the model takes 1 x 8 x 8" in refused(3, "evaluate", digits_run.run, tiny)
    assert "classes that the model does not know" in refused(3, "evaluate", tiny_run.run, "digits")
    npz = tmp_path / "x.npz"
    assert "the model takes 1 x 8 x 8" in refused(3, "embed", digits_run.run, tiny, "--out", npz)
    assert "gone.png: cannot be read" in refused(3, "inspect", tiny_run.run, "gone.png")
    assert "give --resize" in refused(3, "inspect", digits_run.run, SAMPLE)


def test_a_damaged_model_ends_with_4(tmp_path, tiny, tiny_run, refused):
    content = tiny_run.bundle.read_bytes()
    path = tmp_path / "damaged.mitsugo"
    for damaged in (b"", content[:-1], content[:100], content[:500] + b"?" + content[501:]):
        path.write_bytes(damaged)
        for arguments in (("evaluate", path, tiny), ("inspect", path, SAMPLE)):
            assert "damaged.mitsugo: is " in refused(4, *arguments)
        assert "damaged.mitsugo: is " in refused(4, "embed", path, tiny, "--out", tmp_path / "x.npz")
    assert "cannot be read" in refused(4, "evaluate", tmp_path / "gone", tiny)
    shutil.copytree(tiny_run.run, tmp_path / "run")
    (tmp_path / "run" / "run.json").write_text("{")
    again = ("train", tiny, "--out", tmp_path / "run", "--resume")
    assert "run.json: is damaged; train again with --overwrite" in refused(4, *again)


def test_folders_that_are_not_ours_end_with_2_and_what_the_machine_lacks_with_5(
    tmp_path, tiny, tiny_run, refused
):
    assert "holds another run" in refused(2, "train", tiny, "--out", tiny_run.run)
    assert "holds files that are no run" in refused(2, "train", tiny, "--out", tmp_path.parent)
    assert "cannot be used: file exists" in refused(5, "train", tiny, "--out", SAMPLE)
    assert "--device nonsense" in refused(2, "train", tiny, "--out", tmp_path / "r", "--device", "nonsense")
    npz = tmp_path / "gone" / "x.npz"
    assert "cannot be written" in refused(5, "embed", tiny_run.run, tiny, "--out", npz)


NO_MEMORY = "the memory is full; free some, or train with a smaller --batch-size"


@pytest.mark.parametrize(
    ("error", "code", "words"),
    [
        (MemoryError(), 5, NO_MEMORY),
        (np._core._exceptions._ArrayMemoryError((1 << 40,), np.dtype("u1")), 5, NO_MEMORY),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to"), 5, NO_MEMORY),
        (RuntimeError("CUDA out of memory. Tried to allocate"), 5, NO_MEMORY),
        (StoreError("the gallery\nrefused"), 6, "the gallery refused"),
        (ZeroDivisionError("a\nb"), 1, "a fault of mitsugo: ZeroDivisionError: a b; --debug shows where"),
        (OSError(5, "Input/output error", "x\ny"), 1, "a fault of mitsugo: OSError"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_whatever_fails_is_one_line_and_its_code(monkeypatch, refused, error, code, words):
    def fail():
        raise error

    monkeypatch.setattr(sources_module, "described", fail)
    assert words in refused(code, "sources")


def test_debug_shows_where(monkeypatch):
    def fail():
        raise ZeroDivisionError("here")

    monkeypatch.setattr(sources_module, "described", fail)
    for arguments in (["sources", "--debug"], ["--debug", "sources"]):
        with pytest.raises(ZeroDivisionError, match="here"):
            cli.run(arguments)


def test_names_of_any_bytes_stay_one_line(tmp_path, tiny_run, tiny, refused, command):
    name = os.fsdecode(b"a\nb\xff")
    assert r"'a\nb\udcff" in refused(3, "inspect", tiny_run.run, name)
    assert "a\\nb\\udcff" in refused(3, "train", tmp_path / name)
    assert "a\\nb\\udcff" in refused(4, "evaluate", tmp_path / name, tiny)
    embedded = command("embed", tiny_run.run, tiny, "--out", tmp_path / f"{name}.npz")
    assert embedded.out.count("\n") == 1
    assert embedded.out.rstrip("\n").isprintable()

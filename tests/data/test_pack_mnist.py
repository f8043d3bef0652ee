import subprocess
import sys
from pathlib import Path

from mitsugo.data.idx import idx_header

SCRIPT = Path(__file__).parents[2] / "scripts/pack_mnist.py"


def run(*arguments: str | Path) -> tuple[int, str]:
    done = subprocess.run([sys.executable, SCRIPT, *arguments], capture_output=True, text=True, check=False)
    assert done.stdout == ""
    return done.returncode, done.stderr


def test_it_says_how_it_is_used():
    assert run() == (1, "usage: python scripts/pack_mnist.py FOLDER_OF_IDX OUT.npz\n")


def test_what_is_not_the_original_is_refused_and_nothing_is_left(tmp_path):
    (tmp_path / "train-images-idx3-ubyte").write_bytes(idx_header(1, 1, 1) + b"\7")
    code, message = run(tmp_path, tmp_path / "out.npz")
    assert code == 1
    assert (
        message
        == "train-images-idx3-ubyte: is not MNIST's original (its SHA-256 differs); get the original\n"
    )
    assert sorted(path.name for path in tmp_path.iterdir()) == ["train-images-idx3-ubyte"]


def test_a_missing_file_is_named(tmp_path):
    code, message = run(tmp_path, tmp_path / "out.npz")
    assert code == 1
    assert message.startswith(f"{tmp_path}/train-images-idx3-ubyte.gz: cannot be read: no such file")
    assert list(tmp_path.iterdir()) == []

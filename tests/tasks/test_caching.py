"""What the cache of decoded photos holds, and emptying it."""

import numpy as np
import pytest
from PIL import Image

from mitsugo.cli import run
from mitsugo.data import decoding
from mitsugo.data.cache import usual_folder
from mitsugo.data.sources import fingerprint, load
from mitsugo.errors import UsageError
from mitsugo.tasks.caching import cache


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv("MITSUGO_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def photos(tmp_path, monkeypatch):
    chance = np.random.default_rng(0)
    for number in range(6):
        path = tmp_path / "photos" / ("ok", "ng")[number % 2] / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(chance.integers(0, 256, (8, 9, 3), dtype=np.uint8)).save(path)
    monkeypatch.setattr("mitsugo.data.ingest.SETTLED", -60.0)  # what was just written counts as old
    return tmp_path / "photos"


def test_photos_are_decoded_once_until_the_cache_is_emptied(photos, folder, monkeypatch):
    first = load(photos)
    listed = cache("list")
    (entry,) = listed["entries"]
    assert (entry["images"], entry["image_shape"]) == (6, [3, 8, 9])
    assert listed["bytes"] == entry["bytes"] >= 6 * 3 * 8 * 9
    assert listed["folder"] == str(folder)
    with monkeypatch.context() as patch:
        patch.setattr(decoding, "decode_framed", None)  # nothing is decoded
        assert fingerprint(load(photos)) == fingerprint(first)
    cleared = cache("clear")
    assert (cleared["removed"], cache("list")["entries"]) == (1, [])
    assert cleared["bytes"] >= listed["bytes"]
    assert fingerprint(load(photos)) == fingerprint(first)


def test_without_a_budget_nothing_is_kept(photos, folder):
    load(photos, cache_budget=0)
    assert not folder.exists()
    assert cache("list") == {"folder": str(folder), "bytes": 0, "entries": []}
    assert cache("clear") == {"folder": str(folder), "removed": 0, "bytes": 0}


def test_another_word_is_refused():
    with pytest.raises(UsageError, match="cache empty: expected list or clear"):
        cache("empty")


def test_the_command_says_what_is_there(photos, folder, capsys):
    load(photos)
    assert run(["cache", "list"]) == 0
    line, total = capsys.readouterr().out.splitlines()
    assert "6 images of 9x8x3" in line
    assert total == f"0.0 MB in {folder}"
    assert run(["cache", "clear"]) == 0
    assert capsys.readouterr().out == f"1 sets of decoded photos, 0.0 MB, removed from {folder}\n"


@pytest.mark.parametrize(
    ("platform", "said", "expected"),
    [
        ("linux", {"XDG_CACHE_HOME": "/x"}, "/x/mitsugo"),
        ("linux", {}, "HOME/.cache/mitsugo"),
        ("darwin", {"XDG_CACHE_HOME": "/x"}, "HOME/Library/Caches/mitsugo"),
        ("win32", {"LOCALAPPDATA": "/local"}, "/local/mitsugo/cache"),
        ("win32", {}, "HOME/AppData/Local/mitsugo/cache"),
        ("linux", {"MITSUGO_CACHE": "/here"}, "/here"),
    ],
)
def test_each_system_has_its_place_for_caches(monkeypatch, platform, said, expected, tmp_path):
    for name in ("MITSUGO_CACHE", "XDG_CACHE_HOME", "LOCALAPPDATA"):
        monkeypatch.delenv(name, raising=False)
    for name, value in ({"HOME": str(tmp_path)} | said).items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr("sys.platform", platform)
    assert str(usual_folder()) == expected.replace("HOME", str(tmp_path))

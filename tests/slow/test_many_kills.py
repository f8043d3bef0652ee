"""Many kills: no failure in N bounds the rate of failures at about 3 / N."""

import json

import pytest

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("seed", range(1, 21))
def test_ten_kills_twenty_times(tmp_path, kill_again_and_again, long_hash, seed):
    """Each kill falls somewhere else: while Python starts, in a step, a checkpoint, a line of the history."""
    document, finished = kill_again_and_again(tmp_path / "run", 10, seed)
    assert document["weights_sha256"] == long_hash
    lines = (tmp_path / "run" / "history.jsonl").read_bytes().splitlines()
    assert [line for line in lines if json.loads(line).get("epoch") in finished] == list(finished.values())
    assert not list((tmp_path / "run").glob(".*mitsugo-part"))

"""kill -9 while images are added: what was acknowledged is there, what was not is whole or absent."""

import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

from mitsugo.gallery import opened

FINGERPRINT = "ab" * 32
WRITER = """
import sys
import numpy as np
from mitsugo.gallery import Row, opened

path, first = sys.argv[1], int(sys.argv[2])
from pathlib import Path
with opened(Path(path), fingerprint="ab" * 32, dimension=64, statistics=9, create=True) as store:
    number = first
    while True:
        rows = []
        for one in range(5):
            chance = np.random.default_rng(number)
            rows.append(Row(
                class_name="scratch", name=f"photo {number}", source="/photos",
                digest=number.to_bytes(16, "little"),
                vector=chance.normal(size=64).astype(np.float32),
                statistics=chance.normal(size=9).astype(np.float32), thumbnail=bytes(chance.bytes(3000)),
            ))
            number += 1
        store.add(rows, ng={"scratch": True})
        if number % 25 == 0:
            store.remove(names=[rows[0].name])
            store.undo()
        print(number, flush=True)
"""


def expected(number):
    chance = np.random.default_rng(number)
    vector = chance.normal(size=64).astype(np.float32)
    return vector, chance.normal(size=9).astype(np.float32), chance.bytes(3000)


def killed_again_and_again(path, kills, seed):
    """Let a writer go on from where the last was killed; return how many rows were acknowledged in all."""
    chance = np.random.default_rng(seed)
    acknowledged = first = 1
    for _ in range(kills):
        with subprocess.Popen(
            [sys.executable, "-c", WRITER, str(path), str(first)], stdout=subprocess.PIPE, text=True
        ) as writer:
            line = writer.stdout.readline()  # it has begun
            time.sleep(float(chance.uniform(0, 0.05)))
            os.kill(writer.pid, signal.SIGKILL)
            lines = [line, *writer.stdout.readlines()]
        acknowledged = max(int(line) for line in lines if line.endswith("\n"))
        with opened(path, fingerprint=FINGERPRINT, dimension=64, statistics=9) as store:
            rows = {int.from_bytes(row.digest, "little"): row for row in store.rows()}
            assert set(range(1, acknowledged)) <= rows.keys(), "nothing that was acknowledged is lost"
            assert len(rows) % 5 == 0, "a batch is there as a whole, or not at all"
            first = max(rows) + 1
            assert rows.keys() == set(range(1, first))
            store.verify()
    for number, row in rows.items():
        vector, statistics, thumbnail = expected(number)
        assert np.array_equal(row.vector, vector)
        assert np.array_equal(row.statistics, statistics)
        assert row.thumbnail == thumbnail
    return acknowledged


def test_ten_kills_lose_nothing(tmp_path):
    assert killed_again_and_again(tmp_path / "g.sqlite", 10, 0) > 50


@pytest.mark.slow
def test_two_hundred_kills_lose_nothing(tmp_path):
    assert killed_again_and_again(tmp_path / "g.sqlite", 200, 1) > 1000

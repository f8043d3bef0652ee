"""Killed at any instant, and many at once: what was acknowledged is there, once, and nothing half."""

import numpy as np
import pytest

from mitsugo.gallery import opened

FINGERPRINT = "ab" * 32


@pytest.fixture
def check_after_a_kill(row, after, numbers):
    return lambda reopened, acknowledged: _check_after_a_kill(reopened, row, after, numbers, acknowledged)


def _check_after_a_kill(reopened, row, after, numbers, acknowledged):
    """Each change is there or not, as a whole, and all that was acknowledged is, to the bit."""
    with reopened() as store:
        steps = len(store.log())
        assert acknowledged <= steps <= acknowledged + 1
        assert numbers(store) == after(steps)
        assert all(one.sum() == row(int.from_bytes(one.digest, "little")).sum() for one in store.rows())
        store.verify()
    return steps


@pytest.mark.parametrize("kills", [4, pytest.param(200, marks=pytest.mark.slow)])
def test_a_kill_while_images_are_added_removed_and_brought_back_loses_nothing(
    nursery, path, reopened, kills, check_after_a_kill
):
    chance = np.random.default_rng(kills)
    steps = 0
    for _ in range(kills):
        (said,) = nursery(
            ("changes", {"path": str(path)}),
            heard=int(chance.integers(2, 8)),
            kill_after=float(chance.uniform(0, 0.03)),
        )
        assert not any(": " in word for word in said), said
        acknowledged = max([steps, *(int(word) for word in said if word != "begun")])
        steps = check_after_a_kill(reopened, acknowledged)
    assert steps > kills


@pytest.mark.parametrize("kills", [10, pytest.param(400, marks=pytest.mark.slow)])
def test_a_kill_while_the_file_is_begun_leaves_a_gallery_or_none(
    nursery, tmp_path, kills, check_after_a_kill
):
    chance = np.random.default_rng(kills)
    unfinished = 0
    for kill in range(kills):
        path = tmp_path / f"{kill}.sqlite"
        (said,) = nursery(("changes", {"path": str(path)}), kill_after=float(chance.uniform(0.0, 0.012)))
        acknowledged = max([0, *(int(word) for word in said if word != "begun")])
        unfinished += said in ([], ["begun"])

        def again(path=path):
            return opened(path, fingerprint=FINGERPRINT, dimension=3, statistics=2, create=True)

        check_after_a_kill(again, acknowledged)
        assert {file.name for file in tmp_path.iterdir() if file.name.startswith(f"{kill}.")} == {path.name}
    assert unfinished, "some were killed before the file was whole"


@pytest.mark.parametrize("seconds", [0.0, pytest.param(60.0, marks=pytest.mark.slow)])
def test_eight_writers_and_eight_readers_lose_nothing_and_wait_for_one_another(
    nursery, path, reopened, seconds
):
    reopened().__exit__()
    writers = [
        ("writes", {"path": str(path), "first": 1_000_000 * one, "batches": 12}) for one in range(1, 9)
    ]
    readers = [("reads", {"path": str(path), "times": 12})] * 8
    said = nursery(*writers, *readers, seconds=seconds)
    assert all(len(words) == 1 and words[0].isdigit() for words in said), said
    written = [int(words[0]) for words in said[:8]]
    expected = {1_000_000 * one + i for one, count in enumerate(written, 1) for i in range(count)}
    with reopened() as store:
        found = [int.from_bytes(one.digest, "little") for one in store.rows()]
        assert len(found) == len(set(found)) == sum(written)
        assert set(found) == expected
        assert [batch.number for batch in store.log()] == list(range(1, len(found) + 1))
        store.verify()


def test_the_same_request_from_many_processes_at_once_is_done_once(nursery, path, reopened, numbers):
    reopened().__exit__()
    for number in range(1, 4):
        ask = ("asks", {"path": str(path), "number": number, "request": f"r-{number}"})
        assert nursery(*[ask] * 4) == [[str(number)]] * 4
    with reopened() as store:
        assert numbers(store) == set(range(1, 4))
        assert len(store.log()) == 3

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from mitsugo.space import copies as module
from mitsugo.space.copies import first_copies


def by_loops(rows, copies):
    kept, seen = [], []
    for index, row in enumerate(rows):
        if seen.count(row) < copies:
            kept.append(index)
        seen.append(row)
    return kept


small_rows = st.lists(st.tuples(st.integers(-1, 1), st.integers(0, 1)), min_size=1, max_size=40)


@given(small_rows, st.integers(1, 4), st.sampled_from([1, 60, 1 << 20]))
def test_the_first_copies_are_kept(rows, copies, chunk_bytes):
    tensor = torch.tensor(rows, dtype=torch.float32)
    assert first_copies(tensor, copies, chunk_bytes).tolist() == by_loops(rows, copies)


@pytest.mark.parametrize("key", [0, 7])
def test_keys_that_collide_mislead_nobody(monkeypatch, key):
    rows = [[1.0], [2.0], [1.0], [3.0], [1.0], [2.0]]
    tensor = torch.tensor(rows)
    monkeypatch.setattr(module, "_keys", lambda rows, _: torch.full((len(rows),), key).numpy())
    kept = first_copies(tensor, 1).tolist()
    assert set(by_loops(rows, 1)) <= set(kept)  # more than needed may stay, never fewer
    assert kept == [0, 1, 3, 5]  # only copies of the first row of one key are seen


def test_zero_and_minus_zero_are_equal():
    assert first_copies(torch.tensor([[0.0], [-0.0], [0.0]]), 2).tolist() == [0, 1]


def test_nothing_is_kept_of_nothing():
    assert first_copies(torch.zeros(0, 3), 2).tolist() == []

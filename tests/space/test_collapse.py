"""Spread, scale and effective rank, against their definitions and by head."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from mitsugo.space.collapse import MOST_ROWS, at_two_points, condition, resolution


def by_definition(rows):
    """Spread, scale and participation ratio, from the eigenvalues of the covariance."""
    rows = np.asarray(rows, np.float64)
    mean = sum(rows) / len(rows)
    spread = math.sqrt(sum(sum((row - mean) ** 2) for row in rows) / len(rows))
    scale = math.sqrt(sum(sum(row**2) for row in rows) / len(rows))
    covariance = sum(np.outer(row - mean, row - mean) for row in rows) / len(rows)
    eigenvalues = np.linalg.eigvalsh(covariance)
    return spread, scale, eigenvalues.sum() ** 2 / (eigenvalues**2).sum()


@given(count=st.integers(2, 40), dimension=st.integers(1, 40), seed=st.integers(0, 2**32))
def test_the_condition_is_its_definition_whichever_side_is_longer(count, dimension, seed):
    chance = np.random.default_rng(seed)
    rows = (chance.normal(size=(count, dimension)) * chance.uniform(0.1, 3, dimension) + 2).astype(np.float32)
    seen = condition(torch.tensor(rows))
    assert seen[:3] == pytest.approx(by_definition(rows), rel=1e-6)
    assert 1 <= seen.effective_rank <= min(dimension, count - 1) + 1e-9
    assert seen.finite


@pytest.mark.parametrize("directions", [1, 2, 5])
def test_equal_variance_in_k_directions_is_an_effective_rank_of_k(directions):
    corners = torch.cat((torch.eye(8)[:directions], -torch.eye(8)[:directions])) + 7
    assert condition(corners).effective_rank == pytest.approx(directions, abs=1e-12)


def test_near_a_line_the_effective_rank_is_one_and_twice_what_lies_off_it():
    along, off = 1.0, 1e-3  # variances 1/2 and 1e-6/2: r = 1e-6
    rows = torch.tensor([[along, 0.0], [-along, 0.0], [0.0, off], [0.0, -off]])
    assert condition(rows).effective_rank - 1 == pytest.approx(2e-6, rel=1e-4)


def test_equal_rows_spread_in_no_direction():
    assert condition(torch.tensor([[3.0, 4.0]] * 5)) == (0.0, 5.0, 0.0, True)
    assert condition(torch.zeros(4, 3)) == (0.0, 0.0, 0.0, True)
    assert condition(torch.tensor([[3.0, 4.0]])) == (0.0, 5.0, 0.0, True)
    assert condition(torch.empty(0, 3)) == (0.0, 0.0, 0.0, True)


def test_lengths_that_float32_cannot_square_are_measured_all_the_same():
    seen = condition(torch.tensor([[3e30], [-3e30]]))
    assert seen.finite
    assert seen.spread == pytest.approx(3e30)
    assert condition(torch.tensor([[3e-30], [-3e-30]])).spread == pytest.approx(3e-30)


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_one_number_that_is_none_shows_even_where_no_row_is_looked_at(value):
    rows = torch.zeros(2 * MOST_ROWS, 2)
    rows[1, 1] = value
    seen = condition(rows)
    assert not seen.finite
    assert all(map(math.isnan, seen[:3]))


def test_many_rows_are_looked_at_evenly_apart():
    rows = torch.arange(4.0 * MOST_ROWS).unsqueeze(1)
    assert condition(rows)[:3] == condition(rows[::4])[:3]
    assert condition(rows[: MOST_ROWS + 1])[:3] == condition(rows[: MOST_ROWS + 1 : 2])[:3]


def test_what_was_seen_holds_on_to_no_graph():
    rows = torch.ones(3, 2, requires_grad=True) * torch.arange(3.0).unsqueeze(1)
    assert condition(rows) == condition(rows.detach())


@pytest.mark.parametrize(
    ("rows", "two"),
    [
        ([[0.0, 1.0], [2.0, 1.0], [0.0, 1.0]], True),
        ([[1.0, 1.0]] * 3, True),
        ([[-1.0, 0.0], [0.0, 0.0], [1.0, 0.0]], False),
        ([[0.0, 0.0], [-1.0, 0.0], [1.0, 0.0]], False),  # as far from the first to either side
        ([[0.0, 0.0], [1.0, 0.0], [1.0009, 0.0]], True),
        ([[0.0, 0.0], [1.0, 0.0], [1.0021, 0.0]], False),
        ([], True),
    ],
)
def test_rows_at_two_points_are_told_from_rows_on_a_line(rows, two):
    assert at_two_points(torch.tensor(rows).reshape(-1, 2)) is two


def test_the_spacing_of_numbers_is_that_of_the_type_that_made_them():
    rows = torch.linspace(0.1, 0.9, 7).unsqueeze(1)
    assert resolution(rows) == 2**-23
    assert resolution(rows.double()) == 2**-52
    assert resolution(rows.bfloat16()) == 2**-7
    assert resolution(rows.bfloat16().float()) == 2**-7
    assert resolution(rows.half()) == 2**-10

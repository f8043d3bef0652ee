import math
from functools import partial
from inspect import unwrap

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mitsugo.errors import DataError, UsageError
from mitsugo.space import neighbors as module
from mitsugo.space import screening
from mitsugo.space.neighbors import nearest

CHUNKS = [1, 1_000, 20_000, 1 << 28]


def by_loops(queries, gallery, k, exclude=None):
    """Indices and distances by the definition, for integer coordinates, whose squares are exact."""
    found = []
    for q, query in enumerate(queries):
        ranked = []
        for index, row in enumerate(gallery):
            squared = sum((x - y) ** 2 for x, y in zip(query, row, strict=True))
            if exclude is None or exclude[q] != index:
                ranked.append((float(np.float32(math.sqrt(squared))), index))
        found.append(sorted(ranked)[:k])
    return [[i for _, i in row] for row in found], [[d for d, _ in row] for row in found]


def by_direct_differences(queries, gallery, k):
    """The same in float64 for any coordinates, ordered by (float32 distance, index)."""
    indices = []
    for query in queries.double():
        distances = (gallery.double() - query).square().sum(1).sqrt().float().numpy()
        indices.append(np.lexsort((np.arange(len(distances)), distances))[:k])
    return np.array(indices)


def normal(count, dimension, seed):
    return torch.randn(count, dimension, generator=torch.Generator().manual_seed(seed))


@st.composite
def grids(draw):
    dimension = draw(st.integers(1, 3))
    row = st.lists(st.integers(-2, 2), min_size=dimension, max_size=dimension)
    gallery = draw(st.lists(row, min_size=2, max_size=60))
    queries = draw(st.lists(row, min_size=1, max_size=8))
    k = draw(st.integers(1, len(gallery) - 1))
    exclude = draw(st.lists(st.integers(-1, len(gallery) - 1), min_size=len(queries), max_size=len(queries)))
    return queries, gallery, k, draw(st.one_of(st.none(), st.just(exclude))), draw(st.sampled_from(CHUNKS))


@given(grids())
@settings(max_examples=150, deadline=None)
def test_grids_full_of_ties(grid):
    queries, gallery, k, exclude, chunk_bytes = grid
    found = nearest(
        torch.tensor(queries, dtype=torch.float32),
        torch.tensor(gallery, dtype=torch.float32),
        k,
        exclude=None if exclude is None else torch.tensor(exclude),
        chunk_bytes=chunk_bytes,
    )
    indices, distances = by_loops(queries, gallery, k, exclude)
    assert found.indices.tolist() == indices
    assert found.distances.tolist() == distances


@pytest.mark.parametrize("dimension", [1, 2, 30, 784])
@pytest.mark.parametrize("chunk_bytes", [1 << 15, 1 << 28])
def test_the_definition_on_real_numbers(dimension, chunk_bytes):
    queries, gallery = normal(20, dimension, 1), normal(2500, dimension, 2)
    found = nearest(queries, gallery, 7, chunk_bytes=chunk_bytes)
    assert found.indices.tolist() == by_direct_differences(queries, gallery, 7).tolist()
    for row, query in enumerate(queries):
        direct = (gallery[found.indices[row].tolist()].double() - query.double()).square().sum(1).sqrt()
        assert found.distances[row] == pytest.approx(direct.numpy(), rel=1e-7)
    assert found.distances.dtype == np.float32
    assert found.indices.dtype == np.int64


def test_784_dimensions_of_a_few_integers():
    generator = torch.Generator().manual_seed(3)
    pixels = torch.randint(0, 2, (300, 784), generator=generator)
    pixels[:, 12:] = 0  # few kinds of rows, so ties and copies
    found = nearest(pixels[:10].float(), pixels.float(), 9, exclude=torch.arange(10))
    indices, distances = by_loops(pixels[:10].tolist(), pixels.tolist(), 9, list(range(10)))
    assert found.indices.tolist() == indices
    assert found.distances.tolist() == distances


@pytest.mark.parametrize("dimension", [2, 37])
def test_alone_in_a_batch_and_in_chunks_are_the_same_to_the_bit(dimension):
    queries, gallery = normal(60, dimension, 1), normal(1500, dimension, 2)
    gallery[700:] = (gallery[700:] * 4).round() / 4  # ties and near ties
    queries[30:] = (queries[30:] * 4).round() / 4
    batch = nearest(queries, gallery, 5)
    for chunk_bytes in (4_000, 100_000):
        chunked = nearest(queries, gallery, 5, chunk_bytes=chunk_bytes)
        assert np.array_equal(chunked.indices, batch.indices)
        assert np.array_equal(chunked.distances, batch.distances)
    for index in range(60):
        alone = nearest(queries[index : index + 1], gallery, 5)
        assert np.array_equal(alone.indices[0], batch.indices[index])
        assert np.array_equal(alone.distances[0], batch.distances[index])


def test_what_the_gallery_holds_besides_changes_nothing():
    queries, gallery = normal(20, 16, 1), normal(500, 16, 2)
    far = torch.full((1, 16), 1e6)
    without, beside = nearest(queries, gallery, 4), nearest(queries, torch.cat((gallery, far)), 4)
    assert np.array_equal(without.indices, beside.indices)
    assert np.array_equal(without.distances, beside.distances)


@pytest.mark.parametrize("offset", [0.0, 1000.0])
def test_tight_clusters_far_apart_are_told_apart_within(offset):
    generator = torch.Generator().manual_seed(4)
    centres = torch.randn(3, 20, generator=generator) * 10 + offset
    which = torch.arange(1200) % 3
    points = centres[which] + 1e-3 * torch.randn(1200, 20, generator=generator)
    found = nearest(points[:30], points, 6)
    assert found.indices.tolist() == by_direct_differences(points[:30], points, 6).tolist()
    assert found.indices[:, 0].tolist() == list(range(30))


def test_a_thousand_equal_rows_yield_the_first_ones():
    gallery = torch.cat((normal(10, 8, 1) + 50, torch.ones(1000, 8), torch.zeros(5, 8)))
    queries = torch.ones(3, 8)
    found = nearest(queries, gallery, 4, exclude=torch.tensor([11, 500, -1]))
    assert found.indices.tolist() == [[10, 12, 13, 14], [10, 11, 12, 13], [10, 11, 12, 13]]
    assert found.distances.tolist() == [[0.0] * 4] * 3


def test_a_gallery_of_one_point_only():
    found = nearest(normal(2, 3, 1), torch.full((500, 3), 0.1), 3)
    assert found.indices.tolist() == [[0, 1, 2]] * 2


def test_ties_among_different_rows_widen_the_search():
    gallery = torch.eye(700)
    found = nearest(torch.zeros(2, 700), gallery, 3)  # all at distance 1, and no two are equal
    assert found.indices.tolist() == [[0, 1, 2]] * 2
    assert found.distances.tolist() == [[1.0] * 3] * 2


@pytest.mark.parametrize("far", [1e8, 1e25, 1e37])
def test_a_query_so_far_away_that_all_tie(far):
    found = nearest(torch.full((1, 2), far), normal(200, 2, 1), 2)
    assert found.indices.tolist() == [[0, 1]]
    assert found.distances[0] == pytest.approx([far * math.sqrt(2)] * 2, rel=1e-6)


@pytest.mark.parametrize("scale", [2.0**-140, 2.0**-60, 2.0**100])
def test_any_scale_of_an_embedding_will_do(scale):
    gallery = torch.tensor([[float(i % 17), float(i // 17)] for i in range(200)])
    plain, scaled = nearest(gallery[:5], gallery, 4), nearest(gallery[:5] * scale, gallery * scale, 4)
    assert np.array_equal(plain.indices, scaled.indices)
    assert np.allclose(
        plain.distances.astype(float) * scale, scaled.distances.astype(float), rtol=1e-6, atol=2**-149
    )


def test_distances_beyond_float32_are_refused():
    with pytest.raises(DataError, match="farther apart than float32"):
        nearest(torch.full((1, 2), 3e38), torch.full((30, 2), -3e38), 1)


@pytest.fixture
def coarse_products():
    switch = torch.backends.mkldnn.matmul
    before = switch.fp32_precision
    switch.fp32_precision = "bf16"
    yield
    switch.fp32_precision = before


def test_coarser_products_that_someone_switched_on_are_not_trusted(request):
    queries, gallery = normal(20, 40, 1), normal(800, 40, 2)
    plain = nearest(queries, gallery, 5)
    assert screening.multiplies_in_float32(torch.device("cpu"))
    request.getfixturevalue("coarse_products")
    assert not screening.multiplies_in_float32(torch.device("cpu"))
    coarse = nearest(queries, gallery, 5)
    assert np.array_equal(coarse.indices, plain.indices)
    assert np.array_equal(coarse.distances, plain.distances)


def test_each_device_has_a_switch_of_its_own():
    assert screening.multiplies_in_float32(torch.device("cuda"))


def test_neither_autocast_nor_gradients_reach_in():
    queries, gallery = normal(20, 40, 1), normal(800, 40, 2)
    plain = nearest(queries, gallery, 5)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        cast = nearest(queries.requires_grad_(), gallery.requires_grad_(), 5)
    assert np.array_equal(cast.indices, plain.indices)
    assert np.array_equal(cast.distances, plain.distances)


def searched(gallery, chunk_bytes=1 << 20):
    ground = screening.Ground.of(gallery, chunk_bytes)
    return module._Search(ground, torch.arange(len(gallery)), 3, chunk_bytes)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32, torch.float64])
@pytest.mark.parametrize("spread", [1e-3, 1.0, 100.0])
@pytest.mark.parametrize("chunk_bytes", [1, 1 << 20])  # two slabs, one slab
def test_no_row_that_was_left_out_is_nearer_than_the_bound(dtype, spread, chunk_bytes):
    gallery = normal(600, 24, 1) * spread + 5
    queries = normal(40, 24, 2) * spread + 5
    search = searched(gallery, chunk_bytes)
    screen = module._screened(search, partial(module._slab, search), queries, dtype, 11)
    for query, positions, beyond in zip(queries, screen.positions, screen.beyond, strict=True):
        distances = (gallery.double() - query.double()).square().sum(1).sqrt()
        left_out = torch.ones(600, dtype=torch.bool)
        left_out[positions] = False
        assert len(positions.unique()) == 11
        assert 0 < beyond <= distances[left_out].min()
        # and the bound says something
        assert beyond >= distances[positions].max() * (1 - (2e-2 if dtype == torch.bfloat16 else 1e-3))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32, torch.float64])
def test_rounding_moves_a_point_by_what_is_said(dtype):
    vectors = normal(50, 6, 1)
    search = searched(vectors)
    rounded = torch.empty((50, 6), dtype=dtype)
    squares, shifts = screening._place(search.ground, vectors, rounded)
    for row in range(50):
        exact = [
            (x - c) * search.ground.scale
            for x, c in zip(vectors[row].tolist(), search.ground.centre.tolist(), strict=True)
        ]
        moved = [r - e for r, e in zip(rounded[row].tolist(), exact, strict=True)]
        assert shifts[row].item() == pytest.approx(math.hypot(*moved), rel=1e-6, abs=1e-15)
        assert squares[row].item() == pytest.approx(
            math.fsum(x * x for x in rounded[row].tolist()), rel=1e-14
        )


@pytest.mark.parametrize(("dtype", "count"), [(torch.bfloat16, 3), (torch.float32, 1), (torch.float64, 1)])
def test_pieces_hold_what_float32_could(dtype, count):
    squares = normal(100, 1, 1).double().squeeze(1).exp()
    pieces = torch.empty((100, screening._pieces(dtype)), dtype=dtype)
    screening._split(squares, pieces)
    assert pieces.shape[1] == count
    assert ((pieces.double().sum(1) - squares).abs() <= squares * 2.0**-24).all()


def test_the_lowest_values_are_found_in_groups_or_without():
    values = torch.randperm(8 * 1024, generator=torch.Generator().manual_seed(5)).view(1024, 8)
    for width in (1, 3, 20, 100, 1024):
        found, rows = screening.smallest(values, width)
        assert torch.equal(values.gather(0, rows), found)
        assert torch.equal(found.sort(dim=0).values, values.sort(dim=0).values[:width])


@pytest.fixture(params=[True, False])
def coarse_first(request, monkeypatch):
    """Begin with bfloat16, or not, whatever this processor multiplies fast, and list the screens."""
    monkeypatch.setattr(module, "multiplies_bfloat16", lambda _: request.param)
    screens, screened = [], module._screened

    def noted(search, slab, queries, dtype, width):
        screens.append((dtype, len(queries)))
        return screened(search, slab, queries, dtype, width)

    monkeypatch.setattr(module, "_screened", noted)
    return request.param, screens


def test_a_coarse_screen_finds_the_same(coarse_first):
    coarse, screens = coarse_first
    queries, gallery = normal(300, 12, 1), normal(5000, 12, 2)
    gallery[2000:] = (gallery[2000:] * 4).round() / 4  # ties and copies
    queries[100:] = (queries[100:] * 4).round() / 4
    queries[7], queries[8] = 1e25, -1e37  # too far to multiply
    found = nearest(queries, gallery, 7)
    assert found.indices.tolist() == by_direct_differences(queries, gallery, 7).tolist()
    assert screens[0] == (torch.bfloat16 if coarse else torch.float32, 300)
    assert all(size >= 2 for _, size in screens)  # those two stay open till all is measured
    assert screens[-1] == (torch.float64, 2)


def test_where_coarse_numbers_do_not_tell_finer_ones_take_over_early(coarse_first):
    coarse, screens = coarse_first
    which = torch.arange(4200) % 3
    gallery = normal(3, 20, 1)[which] * 10 + 0.1 * normal(4200, 20, 2)
    queries = gallery[:1100] + 0.01
    found = nearest(queries, gallery, 6)
    assert found.indices.tolist() == by_direct_differences(queries, gallery, 6).tolist()
    tried = [(torch.bfloat16, 128), (torch.bfloat16, 128)] if coarse else []  # the trials, and no more of it
    assert screens[: len(tried)] == tried
    assert {dtype for dtype, _ in screens[len(tried) :]} == {torch.float32}


def test_bfloat16_is_not_trusted_everywhere(monkeypatch):
    device = torch.device("cpu")
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"amx_bf16": True})
    monkeypatch.setattr(torch.backends.mkldnn, "enabled", True)
    assert screening.multiplies_bfloat16(device)
    assert not screening.multiplies_bfloat16(torch.device("cuda"))
    with monkeypatch.context() as patch:
        patch.setattr(torch, "ones", lambda *shape, dtype: torch.full(shape, 0.5, dtype=dtype))  # wrong sums
        assert not screening.multiplies_bfloat16(device)
    monkeypatch.setattr(torch.cpu, "get_capabilities", dict)
    assert not screening.multiplies_bfloat16(device)
    monkeypatch.setattr(torch.backends.mkldnn, "enabled", False)
    assert not screening.multiplies_bfloat16(device)


def test_the_order_of_summation_is_one_for_every_batch():
    terms = torch.rand(7, 100, generator=torch.Generator().manual_seed(6), dtype=torch.float64)
    together = screening.summed(terms.clone())
    assert [screening.summed(row.clone()).item() for row in terms] == together.tolist()
    assert together.tolist() == pytest.approx([math.fsum(row) for row in terms.tolist()], rel=1e-14)


def test_no_queries_have_no_neighbours():
    found = nearest(torch.zeros(0, 3), normal(40, 3, 1), 2)
    assert found.indices.shape == found.distances.shape == (0, 2)


@pytest.mark.parametrize("k", [0, -1, 4])
def test_a_k_that_the_gallery_cannot_give_is_refused(k):
    with pytest.raises(UsageError, match=f"k = {k} neighbours of 3 gallery rows; expected 1 to 3"):
        nearest(torch.zeros(1, 2), torch.zeros(3, 2), k)


def test_an_excluded_row_is_not_available():
    with pytest.raises(UsageError, match="k = 3 neighbours of 2 gallery rows"):
        nearest(torch.zeros(1, 2), torch.zeros(3, 2), 3, exclude=torch.tensor([0]))


@pytest.mark.parametrize("row", [-2, 3])
def test_an_excluded_row_that_is_not_there_is_refused(row):
    with pytest.raises(UsageError, match="an excluded row lies outside the gallery; expected -1 to 2"):
        nearest(torch.zeros(1, 2), torch.zeros(3, 2), 1, exclude=torch.tensor([row]))


def test_one_excluded_row_a_query():
    with pytest.raises(UsageError, match=r"exclude has shape \(2,\), expected \(1,\)"):
        unwrap(nearest)(torch.zeros(1, 2), torch.zeros(3, 2), 1, exclude=torch.tensor([0, 1]))


@pytest.mark.parametrize("dimensions", [(2, 3), (0, 0)])
def test_dimensions_that_do_not_fit_are_refused(dimensions):
    with pytest.raises(UsageError, match=f"queries of dimension {dimensions[0]} and a gallery of dimension"):
        unwrap(nearest)(torch.zeros(1, dimensions[0]), torch.zeros(3, dimensions[1]), 1)


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_what_is_not_finite_is_refused(bad):
    good, broken = torch.zeros(3, 2), torch.full((3, 2), bad)
    with pytest.raises(DataError, match="the queries hold a value that is not finite"):
        nearest(broken, good, 1)
    with pytest.raises(DataError, match="the gallery hold a value that is not finite"):
        nearest(good, broken, 1)

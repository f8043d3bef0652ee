"""The collapse watch, on embeddings whose geometry one can work out by head."""

import math

import pytest
import torch

from mitsugo.errors import ModelError
from mitsugo.space.collapse import condition
from mitsugo.watch import CollapseWatch, Sight


def sight(outputs, *, epoch=1, batch=0, loss=0.5, active=None, valid=None, point=1.0):
    outputs = outputs if isinstance(outputs, tuple) else (outputs,)
    return Sight(
        epoch=epoch,
        batch=batch,
        outputs=outputs,
        loss=loss,
        active=active,
        valid=valid,
        collapsed_loss=point if callable(point) else lambda: point,
    )


def cloud(rows=40, dimension=3, seed=0):
    return torch.randn(rows, dimension, generator=torch.Generator().manual_seed(seed))


def line(*, off=0.0, middle=0.0):
    """40 rows on a line through (middle, 0), half a unit to either end, and `off` to its sides in turn."""
    along = torch.linspace(-0.5, 0.5, 40)
    return torch.stack((middle + along, off * torch.tensor([1.0, -1.0]).repeat(20)), dim=1)


def shown(watch, *sights):
    """Show them in turn; return how many were let pass."""
    for count, each in enumerate(sights):
        try:
            watch(each)
        except ModelError:
            return count
    return len(sights)


def asked():
    raise AssertionError("the loss of a single point was asked for")


def test_an_embedding_that_lives_is_let_pass_and_the_loss_of_a_point_is_not_even_asked_for():
    watch = CollapseWatch()
    for batch in range(100):
        watch(sight(cloud(seed=batch), batch=batch, point=asked))
    assert watch.seen == condition(cloud(seed=80))


def test_a_point_is_named_at_the_third_look_with_all_that_was_seen():
    watch = CollapseWatch()
    point = torch.tensor([[3.0, 4.0]] * 40)
    parts = (point[:20], point[20:])
    for batch in range(2):
        watch(sight(parts, batch=batch, loss=0.2, active=18, valid=20, point=0.2))
    with pytest.raises(ModelError) as refusal:
        watch(sight(parts, epoch=4, batch=2, loss=0.2, active=18, valid=20, point=0.2))
    assert str(refusal.value) == (
        "the embedding collapsed to a point in epoch 4, batch 2: spread 0, length 5, "
        "effective rank 0.000 of 2, active 18 of 20, loss 0.2 against 0.2 of a single point; "
        "this step was not taken. Try a smaller "
        "--learning-rate, another --loss or --margin, easier triplets than the hardest (all or semi-hard), "
        "more classes a batch, or look for images that are all alike"
    )


def test_what_is_not_known_is_not_said():
    watch = CollapseWatch()
    with pytest.raises(ModelError, match="of 3, loss 0.5 against 1 of a single point"):
        shown_all(watch, [sight(torch.zeros(40, 3))] * 3)
    watch = CollapseWatch()
    with pytest.raises(ModelError, match="of 3, active 7, loss 0.5"):
        shown_all(watch, [sight(torch.zeros(40, 3), active=7)] * 3)


def shown_all(watch, sights):
    for each in sights:
        watch(each)


def test_two_looks_at_a_point_are_no_collapse_where_the_third_sees_life():
    point, life = sight(torch.zeros(40, 3)), sight(cloud())
    assert shown(CollapseWatch(), *[point, point, life] * 5) == 15
    assert shown(CollapseWatch(), life, point, point, point) == 3


@pytest.mark.parametrize(
    ("share", "loss", "passed"),
    [
        (1e-4, 1.0, 2),  # of the largest spread, at a point's loss: the third look in a row says so
        (1e-4, 1.002, 50),  # the loss still moves
        (4e-4, 1.0, 19),  # the twentieth
        (6e-4, 1.0, 50),
    ],
)
def test_an_embedding_that_shrinks_is_a_point_where_its_loss_is_stuck_there(share, loss, passed):
    watch = CollapseWatch()
    watch(sight(cloud()))
    assert shown(watch, *[sight(share * cloud(), batch=batch, loss=loss) for batch in range(50)]) == passed


@pytest.mark.parametrize(
    ("distance", "loss", "passed"),
    [
        (1.01e5, 1.0, 2),  # spread 1 so far from 0
        (3e4, 1.0, 19),
        (1e4, 1.0, 50),
        (1.01e5, 0.9, 50),
        (2e6, 0.9, 2),  # nothing but rounding, whatever the loss
    ],
)
def test_a_small_spread_far_from_0_is_a_point(distance, loss, passed):
    cluster = torch.tensor([[-1.0], [1.0]]).double().repeat(20, 1) + distance
    assert shown(CollapseWatch(), *[sight(cluster, loss=loss)] * 50) == passed


def test_a_line_is_named():
    watch = CollapseWatch()
    with pytest.raises(ModelError, match=r"collapsed to a line in epoch 1, batch 0: .* rank 1\.000 of 2,"):
        shown_all(watch, [sight(line())] * 3)


@pytest.mark.parametrize(
    ("rows", "passed"),
    [
        # variance 1/12 along it and off² across: effective rank - 1 = 24 off²
        (line(off=1.9e-4), 2),  # 0.87e-6
        (line(off=2.2e-4), 9),  # 1.16e-6
        # far from 0 an arc is so flat: at most 1e-2 (spread / scale)² = 1e-2 / 12 / middle²
        (line(off=5e-5, middle=100), 2),  # 6e-8 of 8.3e-8
        (line(off=8e-5, middle=100), 9),  # 1.5e-7
        (line()[:, :1], 9),  # there is nothing else in one dimension
        (
            torch.tensor([[0.0, 0.0], [1.0, 2.0]]).repeat(20, 1),
            9,
        ),  # two points, and nothing else they could do
    ],
)
def test_only_a_line_is_a_line(rows, passed):
    assert shown(CollapseWatch(), *[sight(rows)] * 9) == passed


@pytest.mark.parametrize(
    ("seen", "passed"),
    [
        ({"loss": 0.049}, 9),
        ({"loss": 0.051}, 2),
        ({"active": 4, "valid": 100}, 9),
        ({"active": 6, "valid": 100}, 2),
        ({"active": 4}, 2),
        ({"active": 0, "valid": 0}, 2),
    ],
)
def test_a_line_that_solves_the_task_is_no_collapse(seen, passed):
    assert shown(CollapseWatch(), *[sight(line(), **seen)] * 9) == passed


def test_in_bfloat16_a_line_is_as_wide_as_its_rounding():
    steep = torch.tensor([[1.0, 0.37, -0.61, 0.83]])
    rows = (line()[:, :1] * steep + 1).bfloat16()
    assert condition(rows).effective_rank - 1 > 1e-6
    assert shown(CollapseWatch(), *[sight(rows)] * 9) == 2
    assert shown(CollapseWatch(), *[sight(rows.float())] * 9) == 2
    assert shown(CollapseWatch(), *[sight(rows.float() + 1e-6 * cloud(40, 4))] * 9) == 9


@pytest.mark.parametrize(
    ("grown", "loss", "seen", "passed"),
    [
        (11, 101.0, {}, 2),
        (9, 101.0, {}, 9),
        (11, 99.0, {}, 9),
        (11, 101.0, {"point": 1.1}, 9),
        (11, 101.0, {"active": 9, "valid": 10}, 9),  # a mean over the active ones alone: 91 over all
        (11, 120.0, {"active": 9, "valid": 10}, 2),
        (1001, 0.5, {}, 9),  # longer than 1e3, but not than 1e4
        (1.1e4, 0.5, {}, 2),
    ],
)
def test_growth_and_a_loss_without_bounds_are_an_explosion(grown, loss, seen, passed):
    watch = CollapseWatch()
    unit = cloud() / condition(cloud()).scale
    watch(sight(unit, loss=1.0))
    assert shown(watch, *[sight(grown * unit, loss=loss, **seen)] * 9) == passed


def test_a_loss_a_hundred_times_the_first_is_meant_where_that_was_the_larger():
    watch = CollapseWatch()
    watch(sight(cloud(), loss=12.0, point=1.0))
    assert shown(watch, *[sight(11 * cloud(), loss=1190.0)] * 9) == 9
    assert shown(watch, *[sight(11 * cloud(), loss=1210.0)] * 9) == 2


def test_long_from_the_start_is_no_explosion_nor_is_an_embedding_that_starts_at_0():
    assert shown(CollapseWatch(), *[sight(1e5 * cloud())] * 9) == 9
    assert shown(CollapseWatch(), sight(torch.zeros(40, 3)), *[sight(cloud(), loss=900.0)] * 9) == 10


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_a_number_that_is_none_is_named_at_once_in_whichever_batch(value):
    watch, broken = CollapseWatch(), cloud()
    for batch in range(77):
        watch(sight(cloud(), batch=batch))
    broken[17, 1] = value
    with pytest.raises(
        ModelError, match=r"an embedding is not finite in epoch 2, batch 77: spread nan, .*images"
    ):
        watch(sight((cloud(), broken), epoch=2, batch=77))


def test_a_length_that_float32_cannot_square_is_named_though_no_hinge_shows_it():
    far = cloud()
    far[3] = 1e25
    with pytest.raises(
        ModelError, match=r"explodes in epoch 1, batch 0: spread 2\.7e\+24, .* loss 0 against"
    ):
        CollapseWatch()(sight(far, loss=0.0))


def test_looks_grow_rarer_but_the_first_batch_of_each_epoch_has_one():
    watch, looked = CollapseWatch(every=30), []
    batches = [(epoch, batch) for epoch in (1, 2, 3) for batch in range(50)]
    for call, (epoch, batch) in enumerate(batches):
        watch.seen = None
        watch(sight(cloud(), epoch=epoch, batch=batch))
        looked += [call] if watch.seen else []
    every_thirtieth = {0, 30, 50, 80, 100, 130}  # of the epochs that begin at 0, 50 and 100
    assert looked == sorted({*range(16), *range(16, 64, 4), *every_thirtieth})


def test_what_looks_wrong_is_looked_at_again_at_once():
    watch = CollapseWatch()
    for batch in range(100):
        watch(sight(cloud(), batch=batch))
    point = [sight(torch.zeros(40, 3), batch=batch) for batch in range(100, 130)]
    assert shown(watch, *point) == 2  # batches 100, 101 and 102


def test_small_batches_are_judged_together():
    # pairs of two rows lie on a line each; eight such rows do not
    watch = CollapseWatch()
    assert shown(watch, *[sight(cloud(2, seed=batch), batch=batch) for batch in range(64)]) == 64
    assert watch.seen.effective_rank > 1.1
    assert shown(CollapseWatch(), *[sight(torch.ones(3, 2), batch=batch) for batch in range(64)]) == 8


def test_nothing_in_a_batch_is_nothing_to_see():
    watch = CollapseWatch()
    watch(sight(torch.empty(0, 3)))
    assert watch.seen is None


def test_the_network_and_chance_are_left_as_they_are():
    chance = torch.get_rng_state()
    outputs = cloud().requires_grad_() * 1.0
    watch = CollapseWatch()
    watch(sight(outputs))
    watch(sight(outputs[:3]))
    outputs.sum().backward()
    assert torch.equal(chance, torch.get_rng_state())
    assert not any(rows.requires_grad for rows in watch._held)

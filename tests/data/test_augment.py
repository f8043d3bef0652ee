"""Changes that a person can derive, one at a time; then chance: what it hangs on and how it is spread."""

import math
from dataclasses import fields, replace

import hypothesis
import hypothesis.extra.numpy
import numpy as np
import pytest
import torch
from hypothesis import strategies

from mitsugo.data import augment
from mitsugo.data.augment import LIMITS, Augmentation, Changes, augmented, changed, drawn
from mitsugo.errors import UsageError

EVERYTHING = Augmentation(
    shift=0.2,
    rotation=20.0,
    scale=0.2,
    shear=10.0,
    brightness=0.2,
    contrast=0.3,
    noise=0.1,
    erase=0.5,
    flip_horizontal=0.5,
    flip_vertical=0.5,
)
OPTIONS = [field.name for field in fields(Augmentation)]
BATCHES = hypothesis.extra.numpy.arrays(
    np.uint8,
    strategies.tuples(
        strategies.integers(0, 4),
        strategies.sampled_from([1, 3]),
        strategies.integers(1, 9),
        strategies.integers(1, 9),
    ),
)


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def images(b=4, c=1, h=12, w=12, seed=1):
    return torch.randint(0, 256, (b, c, h, w), dtype=torch.uint8, generator=seeded(seed))


def flat(value, b=1, c=1, h=20, w=20):
    return torch.full((b, c, h, w), value, dtype=torch.uint8)


def numbers(*values):
    return torch.tensor(values, dtype=torch.float64)


def close(found, expected, within=0.01):
    return bool((found - expected.to(torch.float32)).abs().max() <= within)


def looked_up(image, y, x):
    """Bilinear by the definition: outside, the nearest pixel of the edge."""
    h, w = image.shape
    y, x = min(max(y, 0), h - 1), min(max(x, 0), w - 1)
    top, left = min(int(y), h - 2), min(int(x), w - 2)
    down, across = y - top, x - left
    upper = (1 - across) * image[top, left] + across * image[top, left + 1]
    lower = (1 - across) * image[top + 1, left] + across * image[top + 1, left + 1]
    return (1 - down) * upper + down * lower


# Geometry


def test_with_nothing_on_the_pixels_stay_as_they_are():
    pixels = images()
    found = augmented(pixels, Augmentation(), seeded())
    assert found.dtype == torch.float32
    assert torch.equal(found, pixels.to(torch.float32))


def test_a_shift_by_pixels_moves_the_image_and_repeats_its_edge():
    pixels = images(1, 3, 10, 20)
    # 2 of 20 to the right, 1 of 10 upwards
    found = changed(pixels, Changes(shift=numbers([0.1, -0.1])))
    assert close(found[:, :, :9, 2:], pixels[:, :, 1:, :18])
    assert close(found[:, :, :9, 0], pixels[:, :, 1:, 0])
    assert close(found[:, :, 9, 2:], pixels[:, :, 9, :18])


def test_half_a_pixel_is_the_mean_of_two():
    pixels = torch.tensor([[[[0, 100, 20, 40]]]], dtype=torch.uint8)
    found = changed(pixels, Changes(shift=numbers([0.125, 0.0])))
    assert close(found, torch.tensor([[[[0, 50, 60, 30]]]]))


@pytest.mark.parametrize(("degrees", "turns"), [(90.0, 1), (180.0, 2), (-90.0, 3), (0.0, 0)])
def test_right_angles_turn_counter_clockwise(degrees, turns):
    pixels = images(2, 3, 7, 7)
    found = changed(pixels, Changes(rotation=numbers(degrees, degrees)))
    assert close(found, torch.rot90(pixels, turns, (2, 3)))


def test_a_rotation_stays_one_where_height_and_width_differ():
    pixels = flat(0, h=20, w=40)
    pixels[0, 0, :, 19:21] = 200  # an upright bar in the middle
    found = changed(pixels, Changes(rotation=numbers(90.0)))
    expected = torch.zeros(1, 1, 20, 40)
    expected[0, 0, 9:11] = 200  # lies; its ends, 10 pixels from the centre, are edges that repeat
    assert close(found, expected)


def test_twice_the_scale_doubles_a_square():
    pixels = flat(0, h=16, w=24)
    pixels[0, 0, 6:10, 10:14] = 200
    found = changed(pixels, Changes(scale=numbers(2.0)))[0, 0]
    # the square of 4 becomes one of 8; a transition of one pixel is spread over two
    assert close(found[5:11, 9:15], torch.full((6, 6), 200))
    assert found.sum().item() == pytest.approx(200 * 64, rel=1e-4)
    assert close(found[8, [6, 7, 8, 9]], torch.tensor([0, 50, 150, 200]))


def test_uprights_lean_to_the_right_by_the_sheared_angle():
    pixels = flat(0, h=9, w=15)
    pixels[0, 0, :, 7] = 200
    found = changed(pixels, Changes(shear=numbers(45.0)))[0, 0]
    expected = torch.zeros(9, 15)
    for row in range(9):
        expected[row, 7 + (4 - row)] = 200
    assert close(found, expected)


def test_all_of_it_is_the_definition_read_pixel_by_pixel():
    pixels = images(2, 1, 7, 10)
    changes = Changes(
        shift=numbers([0.1, -0.2], [0.0, 0.05]),
        rotation=numbers(30.0, -70.0),
        scale=numbers(1.3, 0.8),
        shear=numbers(-15.0, 25.0),
    )
    found = changed(pixels, changes)
    for place, image in enumerate(pixels[:, 0].to(torch.float64).numpy()):
        turn, lean = math.radians(changes.rotation[place]), math.tan(math.radians(changes.shear[place]))
        slant = np.array([[1, -lean], [0, 1]])  # y points downwards
        rotation = np.array([[math.cos(turn), math.sin(turn)], [-math.sin(turn), math.cos(turn)]])
        forward = changes.scale[place].item() * rotation @ slant
        middle, moved = np.array([4.5, 3.0]), changes.shift[place].numpy() * (10, 7)
        for y in range(7):
            for x in range(10):
                at = np.linalg.solve(forward, np.array([x, y]) - middle - moved) + middle
                assert found[place, 0, y, x].item() == pytest.approx(looked_up(image, at[1], at[0]), abs=0.01)


def test_flips_are_exact():
    pixels = images(4, 3, 5, 8)
    flips = torch.tensor([[True, False], [False, True], [True, True], [False, False]])
    found = changed(pixels, Changes(flips=flips))
    expected = [pixels[0].flip(2), pixels[1].flip(1), pixels[2].flip(1, 2), pixels[3]]
    assert torch.equal(found, torch.stack(expected).to(torch.float32))


# Light, noise, erasing


def test_brightness_adds_a_fraction_of_full_scale():
    found = changed(flat(100, b=3), Changes(brightness=numbers(0.2, -0.2, 0.8)))
    assert found[:, 0, 0, 0].tolist() == pytest.approx([151, 49, 255])
    assert close(found, found[:, :, :1, :1].expand_as(found), 0)


def test_contrast_is_about_each_channels_mean():
    pixels = torch.tensor([[[[90, 110]], [[0, 40]]]], dtype=torch.uint8)
    found = changed(pixels, Changes(contrast=numbers(1.5)))
    assert found.flatten().tolist() == pytest.approx([85, 115, 0, 50])  # -10 is cut to 0
    assert close(changed(flat(77), Changes(contrast=numbers(3.0))), flat(77), 1e-4)


def test_the_mean_is_exact_where_float32_could_not_sum():
    pixels = flat(255, h=300, w=300)
    pixels[..., ::2] = 254  # the sum of 22,905,000 is beyond 2^24
    assert augment._means(pixels).item() == 254.5


def test_an_erased_rectangle_takes_the_mean_colour():
    pixels = images(1, 3, 10, 20)
    # a tenth of 200 pixels, 0.8 times as high as wide: 4 by 5; places 0.5 of 7 rows and 0.25 of 16 columns
    found = changed(pixels, Changes(erase=numbers([0.1, 0.8, 0.5, 0.25])))
    expected = pixels.to(torch.float32)
    expected[0, :, 3:7, 4:9] = pixels[0].to(torch.float64).mean((1, 2), keepdim=True).to(torch.float32)
    assert close(found, expected, 1e-4)


def test_an_erased_rectangle_is_as_bright_as_its_image():
    found = changed(
        flat(100),
        Changes(erase=numbers([0.2, 1.0, 0.0, 0.0]), brightness=numbers(0.2), contrast=numbers(2.0)),
    )
    assert close(found, flat(151), 1e-3)


@pytest.mark.parametrize("place", [0.0, 0.999999])
def test_an_erased_rectangle_lies_within_the_image_and_is_never_empty(place):
    thin = images(2, 1, 2, 40)
    found = changed(thin, Changes(erase=numbers([0.2, 3.0, place, place], [0.0, 1.0, 0.0, 0.0])))
    # 16 of 80 pixels, three times as high as wide: 7 by 2, of which 2 by 2 fit
    columns = slice(0, 2) if place == 0 else slice(38, 40)
    assert close(found[0, 0, :, columns], thin[0].to(torch.float64).mean().expand(2, 2), 1e-4)
    assert int((found[0] != thin[0]).sum()) == 4
    assert torch.equal(found[1], thin[1].to(torch.float32))


def test_noise_has_the_standard_deviation_that_is_told():
    pixels = flat(128, b=3, c=3, h=64, w=64)
    found = changed(pixels, Changes(noise=numbers([0.1, 0.3], [0.02, 0.9], [0.0, 0.0]), seed=5)) - 128
    # of 12,288 values: the deviation within 5 of its standard errors, the mean likewise
    for noise, sigma in zip(found, (25.5, 5.1), strict=False):
        assert noise.std().item() == pytest.approx(sigma, rel=5 / math.sqrt(2 * 12288))
        assert abs(noise.mean().item()) < 5 * sigma / math.sqrt(12288)
        beyond = (noise.abs() > 1.96 * sigma).to(torch.float64).mean().item()
        assert beyond == pytest.approx(0.05, abs=0.01)
    assert not found[2].any()


def test_the_noise_of_no_row_is_that_of_another():
    found = changed(flat(128, b=2, h=40, w=40), Changes(noise=numbers([0.1, 0.1], [0.1, 0.7]), seed=5))
    agreement = torch.corrcoef(found.reshape(80, 40))
    # of 40 independent pairs a correlation has the standard error 1 / sqrt(40)
    assert (agreement - torch.eye(80)).abs().max() < 5 / math.sqrt(40)


# Chance


def test_the_same_state_gives_the_same_bits_and_another_gives_others():
    pixels = images()
    chance = seeded(3)
    first, second = (augmented(pixels, EVERYTHING, chance) for _ in range(2))
    assert torch.equal(augmented(pixels, EVERYTHING, seeded(3)), first)
    assert not torch.equal(second, first)
    assert not torch.equal(augmented(pixels, EVERYTHING, seeded(4)), first)


def test_the_bits_do_not_hang_on_the_number_of_threads():
    pixels = images(64, 3, 48, 48)
    before = torch.get_num_threads()
    found = []
    try:
        for threads in (1, 2, 3):
            torch.set_num_threads(threads)
            found.append(augmented(pixels, EVERYTHING, seeded()))
    finally:
        torch.set_num_threads(before)
    assert torch.equal(found[0], found[1])
    assert torch.equal(found[0], found[2])


@pytest.mark.parametrize(("c", "h", "w"), [(1, 28, 28), (3, 7, 5), (1, 1, 1)])
def test_a_change_hangs_on_the_place_in_the_batch_alone(c, h, w):
    pixels = images(37, c, h, w)
    whole = augmented(pixels, EVERYTHING, seeded())
    for size in (1, 2, 17):
        assert torch.equal(augmented(pixels[:size], EVERYTHING, seeded()), whole[:size])
    others = pixels.clone()
    others[[0, 1, 3]] = 255 - others[[0, 1, 3]]
    assert torch.equal(augmented(others, EVERYTHING, seeded())[2], whole[2])


def test_all_is_done_on_the_device_of_the_pixels():
    # "meta" holds no values, but refuses to meet a tensor of the CPU as a GPU would
    found = augmented(images(5, 3, 8, 6).to("meta"), EVERYTHING, seeded())
    assert found.device.type == "meta"
    assert found.shape == (5, 3, 8, 6)


@pytest.mark.parametrize("option", OPTIONS)
def test_an_option_draws_the_same_whatever_else_is_on(option):
    name = "flips" if option.startswith("flip") else option
    alone = drawn(9, Augmentation(**{option: getattr(EVERYTHING, option)}), seeded())
    together = drawn(9, EVERYTHING, seeded())
    column = {"flip_horizontal": 0, "flip_vertical": 1}.get(option, ...)
    found, expected = (getattr(changes, name) for changes in (alone, together))
    found, expected = (part if column is ... else part[:, column] for part in (found, expected))
    assert torch.equal(found, expected)
    others = {"flips", "shift", "rotation", "scale", "shear", "contrast", "brightness", "erase", "noise"}
    assert all(getattr(alone, other) is None for other in others - {name})


def spread(values, low, high):
    """Whether values are uniform: the smallest, the largest, mean and deviation of 10,000 of them."""
    side = high - low
    assert low <= values.min() < low + side / 500
    assert high - side / 500 < values.max() <= high
    assert values.mean().item() == pytest.approx((low + high) / 2, abs=5 * side / math.sqrt(12 * 10_000))
    assert values.std().item() == pytest.approx(side / math.sqrt(12), rel=0.03)


def test_what_is_drawn_is_spread_as_is_said():
    found = drawn(10_000, EVERYTHING, seeded())
    for column in (0, 1):
        spread(found.shift[:, column], -0.2, 0.2)
    spread(found.rotation, -20, 20)
    spread(found.shear, -10, 10)
    spread(found.scale.log(), -math.log(1.2), math.log(1.2))
    spread(found.contrast.log(), -math.log(1.3), math.log(1.3))
    spread(found.brightness, -0.2, 0.2)
    spread(found.noise[:, 0], 0, 0.1)
    spread(found.noise[:, 1], 0, 1)
    area, ratio, down, across = found.erase.unbind(1)
    spread(area[area > 0], 0.02, 0.2)
    spread(ratio.log(), -math.log(3), math.log(3))
    spread(down, 0, 1)
    spread(across, 0, 1)
    for share in ((area > 0), found.flips[:, 0], found.flips[:, 1]):
        assert share.to(torch.float64).mean().item() == pytest.approx(0.5, abs=0.025)


def test_the_draws_of_an_image_have_nothing_to_do_with_each_other():
    found = drawn(10_000, EVERYTHING, seeded())
    area = found.erase[:, 0]
    columns = (
        *found.flips.T, *found.shift.T, found.rotation, found.scale, found.shear, found.contrast,
        found.brightness, area > 0, *found.erase[:, 1:].T, *found.noise.T,
    )  # fmt: skip
    agreement = torch.corrcoef(torch.stack([column.to(torch.float64) for column in columns]))
    assert (agreement - torch.eye(len(columns), dtype=torch.float64)).abs().max() < 0.05


@pytest.mark.parametrize("option", OPTIONS)
def test_certain_or_impossible(option):
    """The most of each option is taken, and of probabilities 1 is always and 0 never."""
    most = LIMITS[option][0]
    found = augmented(images(3), Augmentation(**{option: most}), seeded())
    assert not torch.equal(found, images(3).to(torch.float32))
    if option.startswith("flip"):
        axis = 3 if option == "flip_horizontal" else 2
        assert torch.equal(found, images(3).flip(axis).to(torch.float32))


@hypothesis.given(BATCHES, strategies.integers(0, 1 << 32))
def test_every_shape_keeps_its_shape_and_the_range_of_bytes(pixels, seed):
    before = torch.from_numpy(pixels)
    kept = before.clone()
    wild = replace(EVERYTHING, brightness=1.0, contrast=3.0, noise=1.0, shift=1.0, rotation=180.0, shear=60.0)
    found = augmented(before, wild, seeded(seed))
    assert found.shape == before.shape
    assert found.dtype == torch.float32
    assert torch.isfinite(found).all()
    assert ((found >= 0) & (found <= 255)).all()
    assert torch.equal(before, kept)


@hypothesis.given(BATCHES, strategies.integers(0, 1 << 32))
def test_no_geometry_makes_an_image_brighter_or_darker_than_it_is_anywhere(pixels, seed):
    geometry = Augmentation(shift=1.0, rotation=180.0, scale=3.0, shear=60.0)
    for before, after in zip(
        pixels, augmented(torch.from_numpy(pixels), geometry, seeded(seed)), strict=True
    ):
        assert before.min() - 0.001 <= after.min()
        assert after.max() <= before.max() + 0.001


# Options


@pytest.mark.parametrize("option", OPTIONS)
@pytest.mark.parametrize("value", [-0.01, math.nan, math.inf, 1000.0])
def test_what_cannot_be_meant_is_refused_by_the_options_name(option, value):
    dashed = "--" + option.replace("_", "-")
    with pytest.raises(UsageError, match=f"^{dashed} is {value}, expected 0 to .*; 0 leaves it out$"):
        Augmentation(**{option: value})


def test_refusals_say_in_what_the_option_is_counted():
    with pytest.raises(UsageError, match=r"--shift is 2.0, expected 0 to 1 \(a fraction of the side\)"):
        Augmentation(shift=2.0)
    with pytest.raises(UsageError, match=r"--rotation is 181.0, expected 0 to 180 \(degrees\)"):
        Augmentation(rotation=181.0)


def test_every_option_has_its_limits_and_turns_it_on():
    assert list(LIMITS) == OPTIONS
    assert Augmentation().is_off
    for option, (most, _) in LIMITS.items():
        assert not Augmentation(**{option: most}).is_off

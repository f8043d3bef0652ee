import base64
import io

import numpy as np
import pytest
from PIL import Image

from mitsugo.report.sprites import image_of, image_uri, sprite_of


def opened(uri):
    return Image.open(io.BytesIO(base64.b64decode(uri.partition(",")[2])))


def test_a_tile_is_where_the_page_looks_for_it():
    thumbnails = np.random.default_rng(0).integers(0, 256, (5, 1, 4, 6), dtype=np.uint8)
    sprite = sprite_of(thumbnails)
    assert (sprite.columns, sprite.width, sprite.height) == (3, 6, 4)
    sheet = np.asarray(opened(sprite.uri))
    assert sheet.shape == (2 * 4, 3 * 6)
    for index, thumbnail in enumerate(thumbnails):
        row, column = divmod(index, 3)
        assert np.array_equal(sheet[4 * row : 4 * row + 4, 6 * column : 6 * column + 6], thumbnail[0])


def test_many_photos_are_made_small_enough_for_a_page():
    photos = np.random.default_rng(0).integers(0, 256, (40, 3, 600, 300), dtype=np.uint8)
    sprite = sprite_of(photos)
    assert sprite.uri.startswith("data:image/jpeg;base64,")
    assert (sprite.width, sprite.height) == (48, 96)
    assert opened(sprite.uri).size == (7 * 48, 6 * 96)


def test_no_image_gives_an_empty_sheet():
    assert opened(sprite_of(np.zeros((0, 1, 8, 8), np.uint8)).uri).size == (8, 8)


def test_an_image_is_kept_to_the_pixel_while_it_is_small():
    pixels = np.random.default_rng(0).integers(0, 256, (3, 32, 32), dtype=np.uint8)
    assert np.array_equal(np.asarray(opened(image_uri(pixels))), pixels.transpose(1, 2, 0))
    assert opened(image_uri(np.zeros((1, 400, 800), np.uint8))).size == (192, 96)


@pytest.mark.parametrize("channels", [1, 2, 4])
def test_other_channels_are_shown_as_their_mean(channels):
    pixels = np.full((channels, 2, 2), 10, np.uint8)
    pixels[0] = 10 + 4 * channels
    assert np.asarray(image_of(pixels)).tolist() == [[14, 14], [14, 14]]

"""What a photo becomes is checked before any is read."""

import pytest

from mitsugo.errors import UsageError
from mitsugo.values import Framing

WHOLE = {"channels": 3, "height": 96, "width": 128, "fit": "pad", "crop": (0, 5, 640, 480)}


def test_a_framing_is_what_was_said():
    framing = Framing(**WHOLE)
    assert {name: getattr(framing, name) for name in WHOLE} == WHOLE


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"channels": 2}, "images of 2 channels: expected 1"),
        ({"height": 0}, "--image-size 0: expected 1 to 4096 pixels"),
        ({"width": 4097}, "--image-size 4097: expected 1 to 4096 pixels"),
        ({"fit": "stretch"}, "--fit stretch: expected resize, pad or crop"),
        ({"crop": (-1, 0, 5, 5)}, "--crop -1,0,5,5: expected x,y,width,height"),
        ({"crop": (0, 0, 5, 0)}, "--crop 0,0,5,0: expected x,y,width,height"),
    ],
)
def test_a_size_that_no_image_has_is_refused(changes, message):
    with pytest.raises(UsageError, match=message):
        Framing(**(WHOLE | changes))

"""The limits: what they are unless somebody sets them, and which cannot be meant."""

import math
from dataclasses import fields

import pytest

from mitsugo.data.images import MAX_PIXELS
from mitsugo.errors import UsageError
from mitsugo.service.limits import Limits


def test_the_limits_that_were_promised():
    limits = Limits()
    assert (limits.body_bytes, limits.image_bytes) == (67_108_864, 33_554_432)
    assert (limits.images, limits.fields, limits.field_bytes) == (32, 32, 8192)
    assert (limits.header_seconds, limits.body_seconds, limits.rate) == (10, 60, 0)
    assert limits.pixels == MAX_PIXELS
    assert limits.connections > 500


@pytest.mark.parametrize("field", fields(Limits), ids=lambda field: field.name)
def test_every_limit_is_a_positive_number(field):
    numbers = {int: [-1, 0], float: [-1.0, 0.0, math.nan, math.inf]}[field.type]
    for number in numbers[: 1 if field.name == "rate" else None]:
        with pytest.raises(UsageError, match=f"limit {field.name}: is {number}, expected a positive number"):
            Limits(**{field.name: number})
    assert Limits(rate=0).rate == 0


def test_an_image_is_never_larger_than_its_body():
    with pytest.raises(UsageError, match="more than a whole body of 10"):
        Limits(body_bytes=10, image_bytes=11)

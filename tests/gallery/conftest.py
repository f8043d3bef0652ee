"""Rows and galleries to try things on."""

import numpy as np
import pytest

from mitsugo.gallery import Row, opened

FINGERPRINT = "ab" * 32


def _row(number, class_name="scratch", **changes):
    chance = np.random.default_rng(number)
    usual = {
        "class_name": class_name,
        "name": f"photo {number}.png",
        "source": "/photos",
        "digest": number.to_bytes(16, "little"),
        "vector": chance.normal(size=3).astype(np.float32),
        "statistics": chance.normal(size=2).astype(np.float32),
        "thumbnail": b"PNG" * (number % 5),
    }
    return Row(**usual | changes)


@pytest.fixture(scope="session")
def row():
    """Make a row of a 3-d gallery with two statistics; all of it hangs on a number."""
    return _row


@pytest.fixture
def path(tmp_path):
    return tmp_path / "model.gallery.sqlite"


@pytest.fixture
def reopened(path):
    """Open the gallery at the path, begin it where there is none; the caller closes it."""

    def open_(**changes):
        usual = {"fingerprint": FINGERPRINT, "dimension": 3, "statistics": 2, "create": True}
        return opened(path, **usual | changes)

    return open_


@pytest.fixture
def store(reopened):
    with reopened() as open_store:
        yield open_store

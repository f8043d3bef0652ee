"""All tasks are tried on one thread."""

import pytest


@pytest.fixture(autouse=True, scope="module")
def _on_one_thread(one_thread):
    """Take effect for every test of this folder."""

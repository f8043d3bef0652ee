"""All tasks are tried on one thread; what the tests of the default recipe share: small runs of it."""

import signal

import pytest

from mitsugo.tasks.train import TrainOptions

SHRUNK = ("channels=[4,8]", "hidden=[8]", "images_per_class=2")
"""A ConvNet that takes a millisecond a step; batches of four classes by four images."""


@pytest.fixture(autouse=True, scope="module")
def _on_one_thread(one_thread):
    """Take effect for every test of this folder."""


@pytest.fixture(scope="session")
def small(tmp_path_factory, write_idx):
    """80 training images of 4x4, 72 once a tenth was carved off, and 8 test images; four classes."""
    return write_idx(tmp_path_factory.mktemp("sources") / "small", train=80)


@pytest.fixture(scope="session")
def small_options(small):
    """Options of a run of the default recipe, shrunk: 3 epochs of 5 batches, with what is to be changed."""

    def make(out, *settings, **changes):
        usual = {"source": str(small), "epochs": 3, "batch_size": 16, "dimension": 3, "seed": 4}
        return TrainOptions(out=out, **{"settings": (*SHRUNK, *settings), **usual, **changes})

    return make


class _StopAt:
    """Hears of a training and lets a signal arrive at one step of it; None hears it to its end."""

    def __init__(self, epoch=None, batch=None, number=signal.SIGTERM):
        self.at, self.number, self.said, self.warned = (epoch, batch), number, [], []

    def say(self, sentence):
        self.said.append(sentence)

    def warn(self, sentence):
        self.warned.append(sentence)

    def progress(self, progress, epochs):
        if self.at == (progress.epoch, progress.batch):
            signal.raise_signal(self.number)

    def reading(self, done, total):
        pass

    def epoch(self, epoch, epochs):
        if self.at == (epoch.epoch, None):
            signal.raise_signal(self.number)


@pytest.fixture(scope="session")
def hearing():
    """Make a listener that keeps what it hears and can let a signal arrive at one step."""
    return _StopAt

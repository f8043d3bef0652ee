import pytest

from mitsugo.report.content import EpochPoint
from mitsugo.report.curves import plot_of


def history(*losses):
    return [
        EpochPoint(epoch=epoch, train_loss=train, validation_loss=validation)
        for epoch, (train, validation) in enumerate(losses, 1)
    ]


def test_places_lie_where_the_ticks_say():
    plot = plot_of(history((10.0, 8.0), (5.0, 4.0), (2.5, 0.0)))
    up = {tick.text: tick.at for tick in plot.up}
    assert list(up) == ["0", "2", "4", "6", "8", "10"]
    train, validation = plot.curves
    assert [place.x for place in train.places] == [0, 50, 100]
    assert train.places[0].y == pytest.approx(up["10"])
    assert validation.places[0].y == pytest.approx(up["8"])
    assert validation.places[2].y == pytest.approx(up["0"]) == pytest.approx(100)
    assert [(one.epoch, other.epoch) for one, other in train.lines] == [(1, 2), (2, 3)]


def test_epochs_are_whole_numbers_and_no_more_than_fit():
    plot = plot_of(history(*[(1.0, None)] * 100))
    texts = [tick.text for tick in plot.across]
    assert all(text.isdigit() for text in texts)
    assert 4 <= len(texts) <= 11
    assert [curve.name for curve in plot.curves] == ["train"]


@pytest.mark.parametrize("loss", [0.0, 1e-9, -2.0, 1e6])
def test_every_loss_lies_on_the_plot(loss):
    plot = plot_of(history((loss, loss / 2), (loss / 3, None)))
    places = [place for curve in plot.curves for place in curve.places]
    assert all(0 <= place.y <= 100 for place in places)
    assert all(0 <= tick.at <= 100 for tick in plot.up)
    assert len({tick.text for tick in plot.up}) == len(plot.up) >= 2

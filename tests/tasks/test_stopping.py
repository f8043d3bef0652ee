"""Signals: the first one stops where it is asked to, the second one at once."""

import contextlib
import os
import signal
from concurrent.futures import ThreadPoolExecutor

import pytest

from mitsugo.errors import Interrupted
from mitsugo.tasks.stopping import SIGNALS, stopping

NUMBERS = pytest.mark.parametrize(("number", "name", "code"), [(2, "SIGINT", 130), (15, "SIGTERM", 143)])


class Ended(BaseException):
    """What stands for the end of the process."""


def interruption(act):
    """Return how an act inside `stopping` was interrupted."""
    with pytest.raises(Interrupted) as raised, stopping("; go on") as stop:
        act(stop)
    return raised.value


@NUMBERS
def test_a_signal_leaves_as_an_interruption_that_says_what_to_do(number, name, code):
    steps = []

    def act(_stop):
        try:
            signal.raise_signal(number)
        except Exception:  # noqa: BLE001 - what libraries do when something optional fails
            steps.append("swallowed")
        finally:
            steps.append("cleaned")

    error = interruption(act)
    assert (str(error), error.exit_code) == (f"stopped by {name}; go on", code)
    assert steps == ["cleaned"]


@NUMBERS
def test_a_deferred_signal_waits_to_be_looked_at(number, name, code):
    def act(stop):
        with stop.deferred():
            signal.raise_signal(number)
            if stop.asked is not None:
                raise Interrupted(f"saved, then stopped by {name}", stop.asked)

    error = interruption(act)
    assert (str(error), error.exit_code) == (f"saved, then stopped by {name}", code)


def test_a_signal_after_the_last_look_stops_when_the_deferral_ends():
    steps = []

    def act(stop):
        with stop.deferred():
            signal.raise_signal(signal.SIGTERM)
            steps.append("finished what was deferred")
        steps.append("went on")

    assert str(interruption(act)) == "stopped by SIGTERM; go on"
    assert steps == ["finished what was deferred"]


def test_what_fails_because_a_library_swallowed_the_signal_is_told_as_the_interruption():
    def act(_stop):
        with contextlib.suppress(BaseException):  # as a bare except in the midst of an import does
            signal.raise_signal(signal.SIGINT)
        raise AttributeError("module has no attribute that the import was to make")

    error = interruption(act)
    assert str(error) == "stopped by SIGINT; go on"
    assert isinstance(error.__cause__, AttributeError)


def test_the_second_signal_ends_the_process_at_once(monkeypatch):
    def end(code):
        raise Ended(code)

    def act(stop):
        with stop.deferred():
            signal.raise_signal(signal.SIGINT)
            signal.raise_signal(signal.SIGTERM)

    monkeypatch.setattr(os, "_exit", end)
    error = interruption(act)
    assert isinstance(error.__cause__, Ended)
    assert error.__cause__.args == (143,)


def test_other_failures_stay_what_they_are_and_the_handlers_come_back():
    def handlers():
        return [signal.getsignal(number) for number in SIGNALS]

    before, inside = handlers(), []

    def act():
        with stopping():
            inside.append(handlers())
            raise KeyError("mine")

    with pytest.raises(KeyError, match="mine"):
        act()
    assert inside[0] != before
    assert handlers() == before


def test_in_another_thread_nothing_is_changed():
    def handlers():
        return [signal.getsignal(number) for number in SIGNALS]

    def inside():
        with stopping() as stop:
            return handlers(), stop.asked

    with ThreadPoolExecutor(1) as pool:
        assert pool.submit(inside).result() == (handlers(), None)


def test_an_inner_task_answers_for_itself():
    def act(_stop):
        with stopping("; inside"):
            signal.raise_signal(signal.SIGTERM)

    assert str(interruption(act)) == "stopped by SIGTERM; inside"

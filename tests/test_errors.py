"""The exit codes are a promise to scripts; file names of any bytes stay on one line."""

import pytest

from mitsugo import errors

CODES = {
    errors.UsageError: 2,
    errors.DataError: 3,
    errors.ModelError: 4,
    errors.ResourceError: 5,
    errors.StoreError: 6,
}


@pytest.mark.parametrize("kind", CODES)
def test_each_error_has_its_exit_code_and_one_root(kind):
    assert kind("what went wrong").exit_code == CODES[kind]
    assert issubclass(kind, errors.MitsugoError)


def test_only_the_users_mistakes_are_value_errors():
    assert {kind for kind in CODES if issubclass(kind, ValueError)} == {errors.UsageError, errors.DataError}


@pytest.mark.parametrize(("signal_number", "code"), [(2, 130), (15, 143)])
def test_an_interruption_exits_with_128_and_the_signal(signal_number, code):
    error = errors.Interrupted("saved; go on with --resume", signal_number)
    assert (error.exit_code, str(error)) == (code, "saved; go on with --resume")


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("runs/article", "runs/article"),
        ("部品 7.png", "部品 7.png"),
        (b"plain", "plain"),
        ("two\nlines", r"'two\nlines'"),
        ("\x1b[31mred", r"'\x1b[31mred'"),
        (b"caf\xe9", r"'caf\udce9'"),
    ],
)
def test_names_are_shown_on_one_line_whatever_they_are_made_of(name, text):
    assert errors.shown(name) == text
    assert text.isprintable()

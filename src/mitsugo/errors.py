"""What can go wrong, and the exit code that says so.

    MitsugoError
    ├── UsageError (ValueError)      2    an option, a name or an argument
    ├── DataError (ValueError)       3    images, labels, sources
    ├── ModelError                   4    a bundle, a checkpoint, a run folder
    ├── ResourceError                5    disk, memory, device
    ├── StoreError                   6    the gallery that is taught
    └── Interrupted                  130, 143    a signal; the state was saved

A message is one line: what, the value, what was expected, what to do.
"""

from os import PathLike, fsdecode


class MitsugoError(Exception):
    """The root of the tree; `exit_code` is what the command line ends with."""

    exit_code = 1


class UsageError(MitsugoError, ValueError):
    """An option, a name or an argument that cannot be meant."""

    exit_code = 2


class DataError(MitsugoError, ValueError):
    """Images, labels or sources that cannot be used."""

    exit_code = 3


class ModelError(MitsugoError):
    """A bundle, a checkpoint or a run folder that cannot be trusted or does not fit."""

    exit_code = 4


class ResourceError(MitsugoError):
    """The machine lacks something: disk, memory, a device."""

    exit_code = 5


class StoreError(MitsugoError):
    """The gallery store refused."""

    exit_code = 6


class Interrupted(MitsugoError):  # noqa: N818 - an interruption is no error
    """A signal arrived and the state was saved; `exit_code` is 128 + the signal's number."""

    def __init__(self, message: str, signal_number: int) -> None:
        super().__init__(message)
        self.exit_code = 128 + signal_number


def shown(name: str | bytes | PathLike[str]) -> str:
    r"""Return a file name fit for a one-line message, whatever bytes it is made of.

    >>> shown("品番 7.png")
    '品番 7.png'
    >>> shown("a\nb")
    "'a\\nb'"
    """
    text = fsdecode(name)
    return text if text.isprintable() else ascii(text)

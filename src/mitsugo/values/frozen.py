"""What all frozen values share."""

from dataclasses import fields

import numpy as np

__all__ = ["freeze"]


def freeze(value: object) -> None:
    """Make the arrays of a frozen value read-only, at its birth."""
    for slot in fields(value):  # type: ignore[arg-type]
        array = getattr(value, slot.name)
        if isinstance(array, np.ndarray) and array.flags.writeable:
            view = array.view()
            view.flags.writeable = False
            object.__setattr__(value, slot.name, view)

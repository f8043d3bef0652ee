"""Photos as files with what they show, before any is decoded: one noun for folders and tables alike."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ..errors import DataError
from ..values import Split, freeze

__all__ = ["FileSet"]


@dataclass(frozen=True, kw_only=True, eq=False)
class FileSet:
    """Files of photos, in a fixed order that does not depend on the file system's.

    Args:
        paths: of the n files.
        names: n names, as a person would look them up: the path below the folder or the table.
        labels: int64 (n,), indices into `class_names`.
        class_names: a name for each class.
        groups: int64 (n,), indices into `group_names`, or None.
        group_names: a name for each group.
        split: the parts that folders or a table's column name, if any.
        left_out: name and reason of each file that is no photo of a class.

    Raises:
        DataError: not one name and one label for each file.
    """

    paths: tuple[Path, ...]
    names: tuple[str, ...]
    labels: NDArray[np.int64]
    class_names: tuple[str, ...]
    groups: NDArray[np.int64] | None = None
    group_names: tuple[str, ...] = ()
    split: Split | None = None
    left_out: tuple[tuple[str, str], ...] = ()

    def __post_init__(self) -> None:
        if not len(self.paths) == len(self.names) == len(self.labels):
            raise DataError(
                f"{len(self.paths)} files, {len(self.names)} names and {len(self.labels)} labels: "
                f"expected one each a photo"
            )
        freeze(self)

    def __len__(self) -> int:
        return len(self.paths)

"""Results that are appended as they come, so that a benchmark that was stopped goes on."""

import json
import os
import platform
from pathlib import Path
from typing import Any

import torch

__all__ = ["Results", "machine"]

FOLDER = Path(__file__).parent / "results"


class Results:
    """The lines of benchmarks/results/NAME.jsonl.

    Args:
        name: of the benchmark.
        fresh: forget what was measured before.
    """

    def __init__(self, name: str, *, fresh: bool = False) -> None:
        FOLDER.mkdir(exist_ok=True)
        self._path = FOLDER / f"{name}.jsonl"
        if fresh:
            self._path.unlink(missing_ok=True)
        whole = self._path.read_text("utf-8").rpartition("\n")[0] if self._path.exists() else ""
        self._lines: list[dict[str, Any]] = [json.loads(line) for line in whole.splitlines()]

    def find(self, key: dict[str, Any]) -> dict[str, Any] | None:
        """Return the last line that was measured for a key."""
        return next((line for line in reversed(self._lines) if line["key"] == key), None)

    def add(self, key: dict[str, Any], found: dict[str, Any]) -> None:
        """Keep what was measured; a line is whole or is not there."""
        line = {"key": key, **found}
        with self._path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")
        self._lines.append(line)


def machine(threads: int) -> dict[str, Any]:
    """Return what a measurement hangs on beside the code."""
    return {
        "machine": f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores",
        "torch": torch.__version__,
        "threads": threads,
    }

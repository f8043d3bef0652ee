"""Say what images show, from the bundle alone."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final, Literal

import numpy as np
from numpy.typing import NDArray

from ..errors import DataError, UsageError, shown
from ..files import replacing
from ..model.bundle import Model
from ..report.inspection import InspectedImage, SheetContent, inspection_page, inspection_table
from ..values import Verdict
from .exemplars import exemplar_pictures
from .incoming import chunks_of, files_of
from .lots import lot_of
from .talk import SILENT, Talk
from .taught import taught_model

__all__ = ["failures", "inspect", "parsed_failures"]

FAIL_ON: Final = ("ng", "unknown")
MOST_ON_SHEET: Final = 1000
"""So many images are shown on the sheet, those that ask for a look first; the table holds all."""


def inspect(  # noqa: PLR0913 - one for each option
    model_path: Path,
    images: Sequence[Path],
    *,
    k: int | None = None,
    resize: bool = False,
    bad_images: str = "stop",
    csv: Path | None = None,
    html: Path | None = None,
    device: str | None = None,
    talk: Talk = SILENT,
) -> dict[str, Any]:
    """Return a verdict for each image, in order, as plain values, and what they say of the lot together.

    Args:
        model_path: a run folder or a bundle.
        images: image files, folders of any depth, and patterns as `lot-7/*.png`.
        k: how many neighbours vote.
        resize: bring images of another size to the model's; each verdict says so. Otherwise they are refused.
            A model of photos brings every photo to its size, as it did in training, without a word.
        bad_images: "stop" at the first file that is no image, or "skip" and list them all.
        csv: a table to write.
        html: a sheet with the pictures to write.
        device: cpu, cuda or cuda:N.
        talk: who listens.

    Raises:
        ModelError: a bundle that cannot be trusted.
        DataError: a file that is no image, is damaged, or is of another size; nothing to inspect.
        ResourceError: the table or the sheet cannot be written.
    """
    if bad_images not in {"stop", "skip"}:
        raise UsageError(f"--bad-images {shown(bad_images)}: expected stop or skip")
    model = taught_model(model_path, device)
    paths, left_out = files_of(images, skip=bad_images == "skip")
    verdicts: list[Verdict] = []
    pictures: list[NDArray[np.uint8]] = []
    for names, pixels, notes in chunks_of(model, paths, left_out, resize=resize, skip=bad_images == "skip"):
        verdicts += model.classify(pixels, names, k=k, notes=notes)
        if html is not None:
            pictures += list(pixels)
        talk.reading(len(verdicts), len(paths))
    for name, why in left_out:
        talk.warn(f"left out: {shown(name)}: {why}")
    if not verdicts:
        raise DataError("no image is left to inspect; name files, folders or patterns that hold some")
    lot = lot_of(model, verdicts)
    document = {
        "model": str(model_path),
        "fingerprint": model.fingerprint,
        "verdicts": [verdict.plain() for verdict in verdicts],
        "lot": lot,
        "left_out": [{"image": shown(name), "why": why} for name, why in left_out],
    }
    if csv is not None:
        with replacing(csv) as file:
            file.write(inspection_table(verdicts))
    if html is not None:
        _write_sheet(html, model_path, model, verdicts, pictures, lot, talk)
    return document


def parsed_failures(said: str | None) -> frozenset[str]:
    """Return what an inspection shall fail on: "ng", "unknown" or both, with a comma between them.

    Raises:
        UsageError: another word.
    """
    wanted = frozenset() if said is None else frozenset(word.strip() for word in said.split(","))
    if not wanted <= set(FAIL_ON):
        raise UsageError(f"--fail-on {shown(said or '')}: expected ng, unknown or ng,unknown")
    return wanted


def failures(document: Mapping[str, Any], wanted: frozenset[str]) -> bool:
    """Return whether an inspection found what it shall fail on."""
    judged = {str(verdict["judgement"]).lower() for verdict in document["verdicts"]}
    return bool(judged & wanted)


def _write_sheet(
    path: Path,
    model_path: Path,
    model: Model,
    verdicts: Sequence[Verdict],
    pictures: Sequence[NDArray[np.uint8]],
    lot: Mapping[str, Any],
    talk: Talk,
) -> None:
    """Write the sheet: what is not OK first, then what a person should look at, then the others."""
    doubtful = {name: place for place, name in enumerate(lot["look_alikes"])}
    rank: dict[Literal["OK", "NG", "unknown"] | None, int] = {"unknown": 0, "NG": 1}

    def urgency(number: int) -> tuple[int, int]:
        verdict = verdicts[number]
        first = rank.get(verdict.judgement, 3)
        return (2 if first > 2 and verdict.image in doubtful else first), number

    order = sorted(range(len(verdicts)), key=urgency)[:MOST_ON_SHEET]
    wanted = {
        exemplar.name
        for number in order
        for likeness in (verdicts[number].winner, verdicts[number].runner_up)
        if likeness is not None
        for exemplar in likeness.exemplars
    }
    known = exemplar_pictures(model_path, model, wanted, talk)
    content = SheetContent(
        model=str(model_path),
        images=tuple(InspectedImage(verdict=verdicts[n], pixels=pictures[n]) for n in order),
        exemplars=known,
        lot=lot,
    )
    with replacing(path) as file:
        file.write(inspection_page(content).encode())

"""Commands that write what other programs read."""

from pathlib import Path
from typing import Annotated

import typer

from .. import terminal
from ..errors import shown
from ..tasks.stopping import stopping
from .application import answer, app
from .options import (
    BadImages,
    Device,
    GroupBy,
    Json,
    KeepTogether,
    ModelPath,
    Quiet,
    Source,
    SplitKind,
    Strict,
)

__all__ = ["embed", "triplets"]


@app.command()
def embed(
    model: ModelPath,
    source: Source,
    out: Annotated[Path, typer.Option(help="The .npz file to write.")],
    device: Device = None,
    json_: Json = False,
    quiet: Quiet = False,
) -> None:
    """Embed every image of SOURCE into an .npz file: vectors, labels, class names, names, fingerprint."""
    from ..tasks.embed import embed as task

    with terminal.talking(quiet=quiet) as talk, stopping():
        document = task(model, source, out, device=device, talk=talk)
    said = f"{document['images']:,} images in {document['dimension']}-d: {shown(out)}"
    answer(document, json_, lambda: said)


@app.command()
def triplets(
    source: Source,
    out: Annotated[Path, typer.Option(help="The file to write: .parquet, .csv or .jsonl.")],
    pairs: Annotated[bool, typer.Option("--pairs", help="Labelled pairs in place of triplets.")] = False,
    count: Annotated[
        int | None, typer.Option(help="How many rows; default: one for each training image.")
    ] = None,
    seed: Annotated[int, typer.Option(help="Of the draw, and of the split.")] = 0,
    bad_images: BadImages = None,
    group_by: GroupBy = None,
    split: SplitKind = None,
    keep_together: KeepTogether = None,
    strict: Strict = False,
    json_: Json = False,
    quiet: Quiet = False,
) -> None:
    """Write anchor, positive and negative of random triplets of SOURCE, for other trainers."""
    from ..tasks.sourcing import parsed_source
    from ..tasks.triplets import write_triplets as task

    said = {
        "bad_images": bad_images, "group_by": group_by, "split": split, "keep_together": keep_together,
        "strict": strict or None,
    }  # fmt: skip
    sourcing = parsed_source(said)
    with terminal.talking(quiet=quiet) as talk, stopping():
        document = task(source, out, pairs=pairs, count=count, seed=seed, sourcing=sourcing, talk=talk)
    answer(document, json_, lambda: f"{document['rows']:,} {document['kind']}: {shown(out)}")

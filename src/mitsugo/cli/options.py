"""Options that several commands have."""

from pathlib import Path
from typing import Annotated

import typer

__all__ = [
    "BadImages",
    "CacheBudget",
    "Calibration",
    "Crop",
    "Device",
    "Fit",
    "GroupBy",
    "ImageSize",
    "Json",
    "KeepTogether",
    "ModelPath",
    "Ng",
    "PixelKind",
    "Quiet",
    "Resize",
    "Source",
    "SplitKind",
    "Strict",
]

Json = Annotated[bool, typer.Option("--json", help="Print exactly one JSON document on stdout.")]
Quiet = Annotated[bool, typer.Option("--quiet", help="Say nothing but errors and warnings on stderr.")]
Source = Annotated[
    str,
    typer.Argument(help="A folder or a table of photos, mnist, digits, IDX files; see `mitsugo sources`."),
]
ModelPath = Annotated[Path, typer.Argument(metavar="MODEL", help="A run folder or a .mitsugo file.")]
Device = Annotated[str | None, typer.Option(help="cpu, cuda or cuda:N; CUDA is taken where it is present.")]

ImageSize = Annotated[
    str | None, typer.Option(help="What photos are brought to: 128 or WIDTHxHEIGHT. Default: by the photos.")
]
Fit = Annotated[
    str | None, typer.Option(help="A photo of another shape: resize (stretch it), pad or crop its middle.")
]
Crop = Annotated[
    str | None, typer.Option(metavar="X,Y,WIDTH,HEIGHT", help="The part of every photo that counts.")
]
PixelKind = Annotated[
    str | None, typer.Option("--pixels", help="Of photos: grey or rgb. Default: by the photos.")
]
BadImages = Annotated[
    str | None, typer.Option(help="A file that is no image: stop, or skip and list it. Default: stop.")
]
GroupBy = Annotated[
    str | None,
    typer.Option(
        metavar="PATTERN", help="A regular expression; what it finds in a name is the photo's group."
    ),
]
SplitKind = Annotated[
    str | None,
    typer.Option("--split", help="stratified, or unseen-classes: whole classes are held out to test on."),
]
KeepTogether = Annotated[
    str | None, typer.Option(help="What never stands on both sides: equal pixels, or near duplicates, too.")
]
Strict = Annotated[
    bool, typer.Option("--strict", help="Stop at contradictory labels, and at what stands on both sides.")
]
CacheBudget = Annotated[
    str | None, typer.Option(help="What decoded photos may take on the disk, as 20G; 0 keeps nothing.")
]
Ng = Annotated[
    list[str] | None,
    typer.Option(
        "--ng", metavar="CLASS", help="A class that is NG; all others are OK. Counts escapes and overkill."
    ),
]
Calibration = Annotated[
    float | None,
    typer.Option(
        metavar="SHARE",
        help="The share of the images that is kept apart to set thresholds by; 0.15 with --ng, else 0.",
    ),
]
Resize = Annotated[bool, typer.Option("--resize", help="Resize images of another size, and say so.")]

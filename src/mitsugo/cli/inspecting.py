"""Commands that say what images show, and by what."""

from pathlib import Path
from typing import Annotated

import typer

from .. import terminal
from ..tasks.stopping import stopping
from .application import answer, app
from .options import BadImages, Device, GroupBy, Json, ModelPath, Ng, Quiet, Resize

__all__ = ["calibrate", "inspect"]

FAILED = 10
"""The exit code of an inspection that found what it was told to fail on."""


@app.command()
def calibrate(
    model: ModelPath,
    source: Annotated[
        str | None,
        typer.Argument(help="Images that it never saw, by class; left out: those of the last time, again."),
    ] = None,
    false_alarm: Annotated[
        float | None, typer.Option(help="Known images are called unknown at most this often; 0.01.")
    ] = None,
    confidence: Annotated[float | None, typer.Option(help="Of the promises; 0.95.")] = None,
    per_class: Annotated[
        bool | None,
        typer.Option(
            "--per-class/--pooled", help="Promise false alarms for each class, or for all together."
        ),
    ] = None,
    cost_escape: Annotated[
        float | None, typer.Option(help="What an NG part costs that passes as OK.")
    ] = None,
    cost_overkill: Annotated[
        float | None, typer.Option(help="What an OK part costs that is called NG.")
    ] = None,
    ng_share: Annotated[
        float | None, typer.Option(help="The share of NG among the parts to come, for the costs.")
    ] = None,
    escapes: Annotated[
        float | None, typer.Option(help="NG parts pass as OK at most this often, in place of costs.")
    ] = None,
    device: Device = None,
    bad_images: BadImages = None,
    group_by: GroupBy = None,
    ng: Ng = None,
    json_: Json = False,
    quiet: Quiet = False,
) -> None:
    """Set thresholds for "unknown", and between OK and NG, from images that the model never saw."""
    from ..tasks.calibrate import calibrate as task
    from ..tasks.sourcing import parsed_source

    said = {
        "false_alarm": false_alarm, "confidence": confidence, "per_class": per_class,
        "cost_escape": cost_escape, "cost_overkill": cost_overkill, "ng_share": ng_share, "escapes": escapes,
    }  # fmt: skip
    sourcing = parsed_source({"bad_images": bad_images, "group_by": group_by}, ng or ())
    with terminal.talking(quiet=quiet) as talk, stopping():
        document = task(model, source, said, device=device, sourcing=sourcing, talk=talk)
    answer(document, json_, lambda: terminal.calibrated(document))


@app.command()
def inspect(
    model: ModelPath,
    images: Annotated[
        list[Path], typer.Argument(metavar="IMAGE...", help="Files, folders, and patterns as 'lot-7/*.png'.")
    ],
    csv: Annotated[Path | None, typer.Option(help="Write a table of all verdicts.")] = None,
    html: Annotated[Path | None, typer.Option(help="Write a sheet with the pictures.")] = None,
    fail_on: Annotated[
        str | None,
        typer.Option(help="ng, unknown or both with a comma: end with exit code 10 where there is any."),
    ] = None,
    neighbors: Annotated[
        int | None,
        typer.Option("-k", "--neighbors", help="How many vote; default: the model's.", min=1, max=1000),
    ] = None,
    resize: Resize = False,
    bad_images: BadImages = None,
    device: Device = None,
    json_: Json = False,
    quiet: Quiet = False,
) -> None:
    """Say what each image shows: a class, OK or NG, or "unknown", with its evidence."""
    from ..tasks.inspect import failures, parsed_failures
    from ..tasks.inspect import inspect as task

    wanted = parsed_failures(fail_on)
    with terminal.talking(quiet=quiet) as talk, stopping():
        document = task(
            model,
            images,
            k=neighbors,
            resize=resize,
            bad_images=bad_images or "stop",
            csv=csv,
            html=html,
            device=device,
            talk=talk,
        )
    answer(document, json_, lambda: terminal.inspected(document))
    if failures(document, wanted):
        raise typer.Exit(FAILED)

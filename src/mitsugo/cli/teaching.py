"""Commands that teach without training."""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from .. import terminal
from ..tasks.stopping import stopping
from .application import answer, app
from .options import BadImages, Device, Json, ModelPath, Quiet, Resize

__all__ = ["gallery"]

gallery = typer.Typer(
    name="gallery",
    help="Teach images without training, look at what was taught, and take it back.",
    rich_markup_mode=None,
    no_args_is_help=True,
)
app.add_typer(gallery)

Note = Annotated[str, typer.Option(help="Why; it stands in the log.")]
Who = Annotated[str | None, typer.Option(help="Who does it; default: the user's name.")]
Request = Annotated[
    str | None, typer.Option(help="A name for this request: given again, it is not done again.")
]


@gallery.command()
def add(
    model: ModelPath,
    images: Annotated[
        list[Path], typer.Argument(metavar="IMAGE...", help="Files, folders, and patterns as 'lot-7/*.png'.")
    ],
    label: Annotated[str, typer.Option(help="The class that they all show; it may be new.")],
    ok: Annotated[
        bool | None, typer.Option("--ok/--ng", help="What a new class is; NG where the model has NG classes.")
    ] = None,
    gate: Annotated[
        str | None,
        typer.Option(metavar="GOLDEN", help="Labelled images that must stay right, or nothing is taught."),
    ] = None,
    report: Annotated[
        bool, typer.Option("--report", help="Teach all the same, and say what became wrong.")
    ] = False,
    note: Note = "",
    who: Who = None,
    request: Request = None,
    resize: Resize = False,
    bad_images: BadImages = None,
    device: Device = None,
    json_: Json = False,
    quiet: Quiet = False,
) -> None:
    """Teach images of one class, known or new: all of them or none."""
    from ..tasks.gallery import Lesson
    from ..tasks.gallery import add as task

    lesson = Lesson(
        label=label, ng=None if ok is None else not ok, gate=gate, report=report, note=note, who=who,
        request=request, resize=resize, bad_images=bad_images or "stop",
    )  # fmt: skip
    with terminal.talking(quiet=quiet) as talk, stopping():
        document = task(model, images, lesson, device=device, talk=talk)
    answer(document, json_, lambda: terminal.taught(document))


@gallery.command("list")
def list_(model: ModelPath, json_: Json = False) -> None:
    """List what is taught."""
    from ..tasks.gallery import list_ as task

    document = task(model)
    answer(document, json_, lambda: terminal.gallery_listed(document))


@gallery.command()
def remove(
    model: ModelPath,
    names: Annotated[
        list[str] | None, typer.Argument(metavar="NAME...", help="As `list` gives them.")
    ] = None,
    label: Annotated[str | None, typer.Option(help="All images of this class.")] = None,
    note: Note = "",
    who: Who = None,
    request: Request = None,
    json_: Json = False,
) -> None:
    """Take images out of what was taught; `undo` brings them back."""
    from ..tasks.gallery import remove as task

    _changed(task(model, names or (), label=label, note=note, who=who, request=request), json_)


@gallery.command()
def undo(
    model: ModelPath,
    batch: Annotated[
        int | None, typer.Option(help="Which, as `log` numbers them; default: the last.")
    ] = None,
    who: Who = None,
    request: Request = None,
    json_: Json = False,
) -> None:
    """Take a batch back."""
    from ..tasks.gallery import undo as task

    _changed(task(model, batch, who=who, request=request), json_)


@gallery.command()
def log(model: ModelPath, json_: Json = False) -> None:
    """List every change: when, who, what."""
    from ..tasks.gallery import log as task

    document = task(model)
    answer(document, json_, lambda: terminal.gallery_logged(document))


@gallery.command()
def export(
    model: ModelPath,
    out: Annotated[Path, typer.Option(help="NAME.mitsugo: a bundle with all of it; NAME.sqlite: a copy.")],
    salvage: Annotated[
        bool, typer.Option("--salvage", help="Save into the copy what can be read of a damaged gallery.")
    ] = False,
    json_: Json = False,
) -> None:
    """Write what is taught into a new bundle, or a copy."""
    from ..tasks.gallery import export as task

    document = task(model, out, salvage=salvage)
    answer(document, json_, lambda: terminal.gallery_exported(document))


@gallery.command("import")
def import_(
    model: ModelPath,
    file: Annotated[
        Path, typer.Argument(metavar="FILE", help="A gallery of the same model, .gallery.sqlite.")
    ],
    note: Note = "",
    who: Who = None,
    json_: Json = False,
) -> None:
    """Add what another gallery of the same model holds."""
    from ..tasks.gallery import import_ as task

    _changed(task(model, file, note=note, who=who), json_)


@gallery.command()
def verify(model: ModelPath, json_: Json = False) -> None:
    """Look through the whole gallery for damage."""
    from ..tasks.gallery import verify as task

    document = task(model)
    answer(document, json_, lambda: terminal.gallery_verified(document))


def _changed(document: Mapping[str, Any], json_: bool) -> None:
    answer(document, json_, lambda: terminal.gallery_changed(document))

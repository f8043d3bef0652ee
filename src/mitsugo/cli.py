"""The command line: a thin door. Parse, one task, print; data on stdout, talk on stderr."""

import json
import logging
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Annotated, Any

import typer
import typer.exceptions

from . import __version__, terminal
from .errors import MitsugoError, ResourceError, UsageError, shown
from .files import reason
from .tasks.stopping import SIGNALS, stopping

app = typer.Typer(
    name="mitsugo",
    help="Teach a computer to tell images apart: triplets in, an embedding and an honest accuracy out.",
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)

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


@app.command()
def train(
    source: Source,
    recipe: Annotated[
        str | None, typer.Option(help="A name (`mitsugo recipes`) or a .toml file; the default is standard.")
    ] = None,
    out: Annotated[Path | None, typer.Option(help="The run folder; default runs/SOURCE-RECIPE.")] = None,
    epochs: Annotated[int | None, typer.Option(help="The final total.")] = None,
    dimension: Annotated[int | None, typer.Option(help="d of the embedding; 2 is drawn directly.")] = None,
    margin: Annotated[float | None, typer.Option(help="How much farther the negative must be.")] = None,
    batch_size: Annotated[int | None, typer.Option(help="Triplets, pairs or images a batch.")] = None,
    learning_rate: Annotated[float | None, typer.Option(help="Of Adam, at its highest.")] = None,
    loss: Annotated[
        str | None,
        typer.Option(help="triplet, triplet-all, triplet-hard, softmax, …; see `mitsugo recipes`."),
    ] = None,
    precision: Annotated[
        str | None, typer.Option(help="Of the network while it trains: float32, bfloat16 or auto.")
    ] = None,
    set_: Annotated[
        list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Any other key of the recipe.")
    ] = None,
    budget: Annotated[
        str | None, typer.Option(help="Fit the steps to so much training time: 90s, 2m, 1h.")
    ] = None,
    seed: Annotated[int | None, typer.Option(help="The same seed gives the same bits; default 0.")] = None,
    device: Device = None,
    threads: Annotated[
        int | None, typer.Option(help="How many cores; fewer on a busy machine. Default: all.")
    ] = None,
    start_epoch: Annotated[int | None, typer.Option(help="Advance the schedule by so many epochs.")] = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on with the run in --out, or start it.")
    ] = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace the run in --out.")] = False,
    show_augmentation: Annotated[
        Path | None, typer.Option(help="Draw what training sees of some images into this PNG; train nothing.")
    ] = None,
    image_size: ImageSize = None,
    fit: Fit = None,
    crop: Crop = None,
    pixels: PixelKind = None,
    bad_images: BadImages = None,
    group_by: GroupBy = None,
    split: SplitKind = None,
    keep_together: KeepTogether = None,
    strict: Strict = False,
    cache_budget: CacheBudget = None,
    ng: Ng = None,
    tensorboard: Annotated[
        bool, typer.Option("--tensorboard", help="Write the curves for TensorBoard, too, into the run.")
    ] = False,
    json_: Json = False,
    quiet: Quiet = False,
) -> None:
    """Train on SOURCE; leave a model, its scores, the curves and a report in a run folder."""
    from .tasks.sourcing import parsed_source
    from .tasks.train import TrainOptions
    from .tasks.train import train as task

    said = {
        "image_size": image_size, "fit": fit, "crop": crop, "pixels": pixels, "bad_images": bad_images,
        "group_by": group_by, "split": split, "keep_together": keep_together,
        "strict": strict or None,
        "cache_budget": cache_budget,
    }  # fmt: skip
    sourcing = parsed_source(said, ng or ())
    options = TrainOptions(
        source=source, recipe=recipe, out=out, epochs=epochs, dimension=dimension, margin=margin,
        batch_size=batch_size, learning_rate=learning_rate, seed=seed, device=device,
        threads=threads, start_epoch=start_epoch, resume=resume, overwrite=overwrite,
        loss=loss, precision=precision, settings=tuple(set_ or ()), budget=budget,
        sourcing=sourcing, tensorboard=tensorboard,
    )  # fmt: skip
    if show_augmentation is not None:
        from .tasks.show import show_augmentation as show

        with stopping():
            shown_ = show(options, show_augmentation)
        _answer(shown_, json_, lambda: f"what training sees: {shown(show_augmentation)}")
        return
    with terminal.talking(quiet=quiet) as talk, stopping():
        trained = task(options, talk)
    paths = {"run": str(trained.run), "bundle": str(trained.bundle), "report": str(trained.report)}
    document = {**paths, **trained.summary}
    _answer(document, json_, lambda: terminal.trained(document))


@app.command()
def compare(
    source: Source,
    recipes: Annotated[
        str, typer.Option(help="Two or more, with commas; article:epochs=0 changes a setting.")
    ] = "raw-pixels,article-siamese,article",
    seeds: Annotated[int, typer.Option(help="How many seeds each recipe is trained with.", min=1)] = 3,
    epochs: Annotated[int | None, typer.Option(help="The same total for every recipe that trains.")] = None,
    device: Device = None,
    image_size: ImageSize = None,
    fit: Fit = None,
    crop: Crop = None,
    pixels: PixelKind = None,
    bad_images: BadImages = None,
    group_by: GroupBy = None,
    split: SplitKind = None,
    keep_together: KeepTogether = None,
    strict: Strict = False,
    cache_budget: CacheBudget = None,
    json_: Json = False,
    quiet: Quiet = False,
) -> None:
    """Compare recipes on SOURCE in one table, with intervals; "cannot tell" where it cannot be told."""
    from .tasks.compare import compare as task
    from .tasks.sourcing import parsed_source

    said = {
        "image_size": image_size, "fit": fit, "crop": crop, "pixels": pixels, "bad_images": bad_images,
        "group_by": group_by, "split": split, "keep_together": keep_together,
        "strict": strict or None,
        "cache_budget": cache_budget,
    }  # fmt: skip
    sourcing = parsed_source(said)
    with terminal.talking(quiet=quiet) as talk, stopping():
        comparison = task(
            source,
            recipes.split(","),
            seeds=seeds,
            epochs=epochs,
            device=device,
            sourcing=sourcing,
            talk=talk,
        )
    _answer(comparison, json_, lambda: terminal.compared(comparison))


@app.command()
def evaluate(
    model: ModelPath,
    source: Source,
    device: Device = None,
    bad_images: BadImages = None,
    group_by: GroupBy = None,
    ng: Ng = None,
    json_: Json = False,
    quiet: Quiet = False,
) -> None:
    """Score a model's gallery on the test part of SOURCE, or on all of it where it has none."""
    from .tasks.evaluate import evaluate as task
    from .tasks.sourcing import parsed_source

    sourcing = parsed_source({"bad_images": bad_images, "group_by": group_by}, ng or ())
    with terminal.talking(quiet=quiet) as talk, stopping():
        document = task(model, source, device=device, sourcing=sourcing, talk=talk)
    _answer(document, json_, lambda: terminal.evaluated(document))


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
    from .tasks.embed import embed as task

    with terminal.talking(quiet=quiet) as talk, stopping():
        document = task(model, source, out, device=device, talk=talk)
    said = f"{document['images']:,} images in {document['dimension']}-d: {shown(out)}"
    _answer(document, json_, lambda: said)


@app.command()
def inspect(
    model: ModelPath,
    images: Annotated[list[Path], typer.Argument(metavar="IMAGE...", help="Image files.")],
    neighbors: Annotated[
        int | None,
        typer.Option("-k", "--neighbors", help="How many vote; default: the model's.", min=1, max=1000),
    ] = None,
    resize: Annotated[
        bool, typer.Option("--resize", help="Resize images of another size, and say so.")
    ] = False,
    json_: Json = False,
) -> None:
    """Say what each image shows, by the vote of its nearest neighbours, and show them."""
    from .tasks.inspect import inspect as task

    document = task(model, images, k=neighbors, resize=resize)
    _answer(document, json_, lambda: terminal.inspected(document["verdicts"]))


@app.command()
def suspects(
    run_: Annotated[Path, typer.Argument(metavar="RUN", help="A run folder.")],
    most: Annotated[int, typer.Option(help="How many are told and shown.", min=1)] = 100,
    all_: Annotated[bool, typer.Option("--all", help="Examine the test images, too.")] = False,
    device: Device = None,
    json_: Json = False,
    quiet: Quiet = False,
) -> None:
    """Rank likely label errors of a run's images; each is judged by a model that never saw it."""
    from .tasks.suspects import suspects as task

    with terminal.talking(quiet=quiet) as talk, stopping():
        document = task(run_, most=most, everything=all_, device=device, talk=talk)
    _answer(document, json_, lambda: terminal.suspected(document))


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
    from .tasks.sourcing import parsed_source
    from .tasks.triplets import write_triplets as task

    said = {
        "bad_images": bad_images, "group_by": group_by, "split": split, "keep_together": keep_together,
        "strict": strict or None,
    }  # fmt: skip
    sourcing = parsed_source(said)
    with terminal.talking(quiet=quiet) as talk, stopping():
        document = task(source, out, pairs=pairs, count=count, seed=seed, sourcing=sourcing, talk=talk)
    _answer(document, json_, lambda: f"{document['rows']:,} {document['kind']}: {shown(out)}")


@app.command()
def cache(
    action: Annotated[str, typer.Argument(metavar="list|clear", help="List what it holds, or empty it.")],
    json_: Json = False,
) -> None:
    """List the decoded photos that are kept on the disk, or remove them; they are made again when needed."""
    from .tasks.caching import cache as task

    document = task(action)
    _answer(document, json_, lambda: terminal.cached(document))


@app.command()
def recipes(
    name: Annotated[str | None, typer.Argument(help="One recipe, in full.")] = None, json_: Json = False
) -> None:
    """List the recipes, or say what one holds."""
    from .recipes import RECIPES
    from .settings import named

    if name is None:
        listed = {recipe.name: recipe.what for recipe in RECIPES.values()}
        _answer(listed, json_, lambda: terminal.pairs(listed))
    else:
        held = named(name).plain()
        _answer(held, json_, lambda: terminal.pairs(held))


@app.command()
def sources(json_: Json = False) -> None:
    """List what can be named as SOURCE."""
    from .data.sources import described

    listed = {source.name: source.what for source in described()}
    _answer(listed, json_, lambda: terminal.pairs(listed))


def _version(asked: bool) -> bool:
    if asked:
        typer.echo(f"mitsugo {__version__}")
        raise typer.Exit
    return asked


@app.callback(epilog="With --debug an error shows its traceback. Exit codes: docs/reference/errors.md.")
def _main(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    pass


def _answer(document: Any, as_json: bool, text: Callable[[], str]) -> None:  # noqa: ANN401 - JSON
    said = json.dumps(document, ensure_ascii=False, allow_nan=False) if as_json else text()
    try:
        try:
            typer.echo(said)
        except UnicodeEncodeError:  # a terminal without these letters, or a name that is no text at all
            typer.echo(json.dumps(document, allow_nan=False) if as_json else _escaped(said))
    except BrokenPipeError as error:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # or Python complains at its end
        raise ResourceError("stdout: whoever read it went away; the work itself is done") from error
    except OSError as error:
        raise ResourceError(f"stdout: cannot be written: {reason(error)}; the work itself is done") from error


def _escaped(said: str) -> str:
    return said.encode("ascii", "backslashreplace").decode()


def main(arguments: list[str] | None = None) -> None:
    """Run the command line and end the process with its exit code."""
    for library in ("matplotlib", "fontTools"):  # what they find worth telling is no news to our users
        logging.getLogger(library).addHandler(logging.NullHandler())
    for number in SIGNALS:
        signal.signal(number, _ended)
    sys.exit(run(sys.argv[1:] if arguments is None else arguments))


def _ended(number: int, _frame: FrameType | None) -> None:
    """End at once: outside the tasks there is nothing to save, and a stopped import leaves wreckage."""
    os.write(sys.stderr.fileno(), f"mitsugo: stopped by {signal.Signals(number).name}\n".encode())
    os._exit(128 + number)


def run(arguments: list[str]) -> int:
    """Run the command line; return the exit code, print an error as one line on stderr.

    Exit codes: 0 done, 2 usage, 3 data, 4 model or bundle, 5 machine, 6 gallery store, 130 and 143 signals.
    """
    debug = "--debug" in arguments
    try:
        code = app([word for word in arguments if word != "--debug"] or ["--help"], standalone_mode=False)
    except Exception as error:
        if debug:
            raise
        return _failed(*_told(error))
    return code if isinstance(code, int) else 0


def _told(error: Exception) -> tuple[str, int]:
    message = " ".join(str(error).split())
    if isinstance(error, MitsugoError):
        return message, error.exit_code
    if isinstance(error, typer.exceptions.TyperException):
        message = " ".join(error.format_message().split())
        return f"{message.rstrip('.')}; see --help", UsageError.exit_code
    out_of_memory = "can't allocate memory" in message or "out of memory" in message.lower()
    if isinstance(error, MemoryError) or out_of_memory:
        return "the memory is full; free some, or train with a smaller --batch-size", ResourceError.exit_code
    return f"this is a fault of mitsugo: {type(error).__name__}: {message}; --debug shows where", 1


def _failed(message: str, code: int) -> int:
    typer.echo(f"mitsugo: {message}", err=True)
    return code

"""Commands that train, and that say how accurate what was trained is."""

from pathlib import Path
from typing import Annotated

import typer

from .. import terminal
from ..errors import shown
from ..tasks.stopping import stopping
from .application import answer, app
from .options import (
    BadImages,
    CacheBudget,
    Calibration,
    Crop,
    Device,
    Fit,
    GroupBy,
    ImageSize,
    Json,
    KeepTogether,
    ModelPath,
    Ng,
    PixelKind,
    Quiet,
    Source,
    SplitKind,
    Strict,
)

__all__ = ["compare", "evaluate", "suspects", "train"]


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
    calibration: Calibration = None,
    tensorboard: Annotated[
        bool, typer.Option("--tensorboard", help="Write the curves for TensorBoard, too, into the run.")
    ] = False,
    json_: Json = False,
    quiet: Quiet = False,
) -> None:
    """Train on SOURCE; leave a model, its scores, the curves and a report in a run folder."""
    from ..tasks.sourcing import parsed_source
    from ..tasks.train import TrainOptions
    from ..tasks.train import train as task

    said = {
        "image_size": image_size, "fit": fit, "crop": crop, "pixels": pixels, "bad_images": bad_images,
        "group_by": group_by, "split": split, "keep_together": keep_together,
        "strict": strict or None,
        "cache_budget": cache_budget, "calibration": calibration,
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
        from ..tasks.show import show_augmentation as show

        with stopping():
            shown_ = show(options, show_augmentation)
        answer(shown_, json_, lambda: f"what training sees: {shown(show_augmentation)}")
        return
    with terminal.talking(quiet=quiet) as talk, stopping():
        trained = task(options, talk)
    paths = {"run": str(trained.run), "bundle": str(trained.bundle), "report": str(trained.report)}
    document = {**paths, **trained.summary}
    answer(document, json_, lambda: terminal.trained(document))


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
    from ..tasks.compare import compare as task
    from ..tasks.sourcing import parsed_source

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
    answer(comparison, json_, lambda: terminal.compared(comparison))


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
    from ..tasks.evaluate import evaluate as task
    from ..tasks.sourcing import parsed_source

    sourcing = parsed_source({"bad_images": bad_images, "group_by": group_by}, ng or ())
    with terminal.talking(quiet=quiet) as talk, stopping():
        document = task(model, source, device=device, sourcing=sourcing, talk=talk)
    answer(document, json_, lambda: terminal.evaluated(document))


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
    from ..tasks.suspects import suspects as task

    with terminal.talking(quiet=quiet) as talk, stopping():
        document = task(run_, most=most, everything=all_, device=device, talk=talk)
    answer(document, json_, lambda: terminal.suspected(document))

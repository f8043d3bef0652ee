"""Train a recipe on a source into a run folder: go on where it stands, score once, draw the report."""

import dataclasses
import math
import signal
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from ..data.sources import check_trainable, load
from ..data.splits import article_split
from ..errors import Interrupted, UsageError, shown
from ..model.bundle import Model
from ..model.preprocessing import Preprocessing
from ..model.tensors import weights_sha256
from ..recipes import DEFAULT, named
from ..runs import Checkpoint, RunFolder, opened
from ..space.metrics import evaluate
from ..training import Training
from ..training import run as run_epochs
from ..values import Epoch, LabeledImages, Position, Scores, Split
from .experiment import Experiment, assemble, chosen_device, normalisation_of
from .models import embeddings_of, finished_model
from .pictures import Facts, draw
from .plan import Plan, TrainOptions, described, planned, resumed
from .state import captured, restore
from .stopping import Stop, stopping
from .talk import SILENT, Talk

__all__ = ["TrainOptions", "Trained", "train"]

GO_ON = "; what was saved stands: give the same command with --resume to go on"


@dataclass(frozen=True, kw_only=True)
class Trained:
    """A finished run: where it lies, and its scores.json."""

    run: Path
    bundle: Path
    report: Path
    summary: Mapping[str, Any]


@dataclass(frozen=True, kw_only=True, eq=False)
class _Run:
    """What is trained into which folder."""

    folder: RunFolder
    plan: Plan
    images: LabeledImages
    split: Split
    preprocessing: Preprocessing
    description: Mapping[str, Any]


def train(options: TrainOptions, talk: Talk = SILENT) -> Trained:
    """Train, or go on training, until the run folder holds a bundle, its scores and the report.

    Raises:
        UsageError: an option or a name that cannot be meant, or an output folder that holds another run.
        DataError: a source that cannot be used.
        ModelError: a run folder that cannot be gone on with, or a loss that is not finite.
        ResourceError: the disk is full, or another process trains into the folder.
        Interrupted: a signal arrived; the state was saved.
    """
    if not options.resume:
        planned(options)  # a bad option is told before the data is read
    out = options.out or _usual_folder(options)
    images = load(options.source)
    opening = opened(out, resume=options.resume, overwrite=options.overwrite)
    with stopping(GO_ON) as stop, opening as folder:
        before = None if options.overwrite else folder.description()
        run = _begun(folder, options, images, before)
        if options.overwrite:
            folder.clear()  # only now: nothing that can be known beforehand keeps the new run from beginning
        finished = folder.scores()
        if finished and finished.get("epochs") == run.plan.recipe.epochs and folder.report.exists():
            talk.say(f"{shown(out)} is finished: {finished['epochs']} epochs; a larger --epochs would go on")
            return _trained(folder, finished)
        if before and before["versions"] != run.description["versions"]:
            talk.warn("other versions than this run began with: it goes on, but not surely to the same bits")
        folder.describe(run.description)
        talk.say(_opening(run))
        experiment = assemble(
            images,
            run.split,
            run.plan.recipe,
            seed=run.plan.seed,
            preprocessing=run.preprocessing,
            device=chosen_device(run.plan.device),
        )
        history = () if experiment.training is None else _train(run, experiment, stop, talk)
        return _trained(folder, _finish(run, experiment, history, talk))


def _usual_folder(options: TrainOptions) -> Path:
    recipe = named(options.recipe or DEFAULT)
    return Path("runs") / f"{Path(options.source).resolve().name}-{recipe.name}"


def _begun(
    folder: RunFolder, options: TrainOptions, images: LabeledImages, before: dict[str, Any] | None
) -> _Run:
    plan = resumed(options, before, folder.path) if before is not None else planned(options)
    torch.set_num_threads(plan.threads)
    plan = dataclasses.replace(plan, device=str(chosen_device(plan.device)))
    split = article_split(images, plan.seed)
    check_trainable(images, split)
    preprocessing = normalisation_of(options.source, images, split)
    description = described(plan, options, images, split, preprocessing)
    if before and before["source"]["fingerprint"] != description["source"]["fingerprint"]:
        raise UsageError(
            f"SOURCE {shown(options.source)}: the run in {shown(folder.path)} was trained on other images "
            f"({shown(before['source']['name'])}); name that source or choose another --out"
        )
    return _Run(
        folder=folder,
        plan=plan,
        images=images,
        split=split,
        preprocessing=preprocessing,
        description=description,
    )


def _train(run: _Run, experiment: Experiment, stop: Stop, talk: Talk) -> tuple[Epoch, ...]:
    training, epochs = experiment.training, run.plan.recipe.epochs
    assert training is not None
    position, history = _gone_on(run, training, talk)
    with stop.deferred():
        for event in run_epochs(training, epochs, position):
            if isinstance(event, Epoch):
                history += (event,)
                position = Position(epochs=event.epoch)
                _save(run, training, position, history)
                run.folder.append(event)
                talk.epoch(event, epochs)
            else:
                position = event.position
                talk.progress(event, epochs)
            if stop.asked is not None:
                _save(run, training, position, history)
                raise _interrupted(stop.asked, run, position)
    return history


def _gone_on(run: _Run, training: Training, talk: Talk) -> tuple[Position, tuple[Epoch, ...]]:
    checkpoint = run.folder.checkpoint()
    if checkpoint is None:
        run.folder.check_unbegun()
        return Position(epochs=run.plan.start_epoch), ()
    restore(checkpoint.tensors, training.network, training.optimizer)
    run.folder.resume_history(checkpoint)
    position = checkpoint.position
    talk.say(f"going on after epoch {position.epochs}, batch {position.batches} of the next")
    return position, checkpoint.history


def _save(run: _Run, training: Training, position: Position, history: tuple[Epoch, ...]) -> None:
    tensors = captured(training.network, training.optimizer)
    run.folder.save(Checkpoint(tensors=tensors, position=position, history=history))


def _finish(run: _Run, experiment: Experiment, history: tuple[Epoch, ...], talk: Talk) -> dict[str, Any]:
    gallery, test = run.images.take(run.split.train), run.images.take(run.split.test)
    talk.say(f"scoring {len(test):,} test images against {len(gallery):,} training images")
    model = finished_model(experiment, gallery, run.plan.recipe)
    model.save(run.folder.bundle)
    queries = embeddings_of(model, test)
    evaluation = evaluate(model.gallery, queries, seed=run.plan.seed)
    summary = _summary(model, run.plan, history, evaluation.scores)
    talk.say("drawing the curves, the map and the report")
    facts = Facts(recipe=run.plan.recipe, seed=run.plan.seed, history=history, description=run.description)
    draw(facts, evaluation, queries, gallery, test, run.folder.path)
    run.folder.write_scores(summary)
    return summary


def _summary(model: Model, plan: Plan, history: tuple[Epoch, ...], scores: Scores) -> dict[str, Any]:
    return {
        "recipe": plan.recipe.name,
        "dimension": model.architecture.dimension,
        "epochs": plan.recipe.epochs,
        "seed": plan.seed,
        "seconds": math.fsum(epoch.seconds for epoch in history),
        "core_seconds": math.fsum(epoch.core_seconds for epoch in history),
        "images_seen": sum(epoch.images for epoch in history),
        "weights_sha256": weights_sha256(model.network),
        "fingerprint": model.fingerprint,
        **scores.plain(),
        "classes": list(model.class_names),
        "history": [dataclasses.asdict(epoch) for epoch in history],
    }


def _trained(folder: RunFolder, summary: Mapping[str, Any]) -> Trained:
    return Trained(run=folder.path, bundle=folder.bundle, report=folder.report, summary=summary)


def _interrupted(number: int, run: _Run, position: Position) -> Interrupted:
    return Interrupted(
        f"stopped by {signal.Signals(number).name} after epoch {position.epochs} of "
        f"{run.plan.recipe.epochs} and {position.batches} batches; saved in {shown(run.folder.path)}: "
        f"give the same command with --resume to go on",
        number,
    )


def _opening(run: _Run) -> str:
    channels, height, width = run.images.image_shape
    source, plan = shown(run.description["source"]["name"]), run.plan
    return (
        f"{plan.recipe.name} on {source}: {len(run.split.train):,} training and {len(run.split.test):,} test "
        f"images of {width}x{height}x{channels}, {len(run.images.class_names)} classes; "
        f"{plan.recipe.epochs} epochs, seed {plan.seed}, {plan.device}, {plan.threads} threads"
    )

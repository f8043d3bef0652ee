"""Train a recipe on a source into a run folder: go on where it stands, score once, draw the report."""

import dataclasses
import math
import signal
from collections.abc import Mapping
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from ..data.sources import fingerprint
from ..errors import Interrupted, ModelError, UsageError, shown
from ..model.bundle import Model
from ..model.tensors import weights_sha256
from ..recipes import DEFAULT
from ..runs import SEEN, Checkpoint, RunFolder, opened
from ..settings import named
from ..training import Training
from ..training import run as run_epochs
from ..values import Epoch, LabeledImages, Position, Scores
from .experiment import Experiment, assemble, chosen_device
from .features import frozen_features
from .flight import checked, fitted, step_seconds, told
from .judging import Kept, chosen_k, gap_of
from .models import finished_model
from .parting import tell
from .pictures import Facts, draw
from .plan import Plan, TrainOptions, described, planned, resumed
from .scoring import check_ng, learnt, scored
from .settle import Ground, settle
from .show import draw_sheet
from .sourcing import AS_IT_IS, SourceOptions, loaded, remade_source
from .state import captured, restore
from .stopping import Stop, stopping
from .talk import SILENT, Talk
from .tracking import check_tensorboard, tracked

__all__ = ["TrainOptions", "Trained", "train"]

FEW_STEPS, MANY_STEPS = 10, 60
"""Tried before step 1, to tell of the time to go; more where a budget is fitted to them."""
PATIENCE = 2.0
"""Trying takes about so many seconds at most, or a tenth of a longer budget."""
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
    ground: Ground
    experiment: Experiment
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
    if options.tensorboard:
        check_tensorboard()
    out = options.out or _usual_folder(options)
    sourcing = _sourcing(options, out)
    images = loaded(options.source, sourcing, talk)
    check_ng(sourcing.ng, images.class_names, options.source)
    opening = opened(out, resume=options.resume, overwrite=options.overwrite)
    with stopping(GO_ON) as stop, opening as folder:
        before = None if options.overwrite else folder.description()
        plan = _planned(options, before, folder)
        if before and (finished := _finished(folder, options, images, plan, before)):
            talk.say(f"{shown(out)} is finished: {finished['epochs']} epochs; a larger --epochs would go on")
            return _trained(folder, finished)
        run = _begun(folder, plan, options.source, images, before, talk)
        if before and before["versions"] != run.description["versions"]:
            talk.warn("other versions than this run began with: it goes on, but not surely to the same bits")
        if options.overwrite:
            folder.clear()  # only now: nothing that can be known beforehand keeps the new run from beginning
        folder.describe(run.description)
        if images.intake is not None:
            draw_sheet(run.ground, plan.seed, folder.path / SEEN)
        with tracked(folder, talk) if options.tensorboard else nullcontext(talk) as listener:
            history, kept = _train(run, stop, listener)
        return _trained(folder, _finish(run, history, kept, talk))


def _usual_folder(options: TrainOptions) -> Path:
    recipe = named(options.recipe or DEFAULT)
    return Path("runs") / f"{Path(options.source).resolve().name}-{recipe.name}"


def _sourcing(options: TrainOptions, out: Path) -> SourceOptions:
    """Return how the source is to be read: as was said, or as the run began where nothing was."""
    if not options.resume or options.sourcing.plain() != AS_IT_IS.plain():
        return options.sourcing
    before = RunFolder(out).description()
    try:
        began = AS_IT_IS if before is None else remade_source(before["source"])
    except (KeyError, TypeError, ModelError):  # which is told where the plan is read
        return options.sourcing
    return dataclasses.replace(began, cache_budget=options.sourcing.cache_budget)


def _planned(options: TrainOptions, before: dict[str, Any] | None, folder: RunFolder) -> Plan:
    plan = resumed(options, before, folder.path) if before is not None else planned(options)
    torch.set_num_threads(plan.threads)
    return dataclasses.replace(plan, device=str(chosen_device(plan.device)))


def _finished(
    folder: RunFolder, options: TrainOptions, images: LabeledImages, plan: Plan, before: dict[str, Any]
) -> dict[str, Any] | None:
    """Return the scores of a run that has nothing left to do."""
    if before["source"]["fingerprint"] != fingerprint(images):
        raise UsageError(
            f"SOURCE {shown(options.source)}: the run in {shown(folder.path)} was trained on other images "
            f"({shown(before['source']['name'])}); name that source or choose another --out"
        )
    scores = folder.scores()
    done = scores and scores.get("epochs") == plan.recipe.epochs and folder.report.exists()
    return scores if done else None


def _begun(
    folder: RunFolder,
    plan: Plan,
    source: str,
    images: LabeledImages,
    before: dict[str, Any] | None,
    talk: Talk,
) -> _Run:
    """Settle what is open, look ahead, and build what trains; a budget becomes a number of steps, once."""
    device = chosen_device(plan.device)
    rules = plan.sourcing.rules
    ground = settle(source, images, plan.recipe, seed=plan.seed, device=device, rules=rules)
    talk.say(_opening(source, plan, ground))
    if ground.why:
        talk.say(f"network: {ground.why}")
    tell(images, ground.found, rules, talk)

    features = None
    if ground.recipe.frozen:
        features = frozen_features(
            images, ground.split, ground.recipe, seed=plan.seed, device=device, folder=folder.path, talk=talk
        )

    def built() -> Experiment:
        return assemble(
            images,
            ground.split,
            ground.recipe,
            seed=plan.seed,
            preprocessing=ground.preprocessing,
            device=device,
            features=features,
        )

    experiment, flight = built(), None
    if experiment.training is not None:
        flight = checked(ground)
        fitting = plan.budget is not None and before is None
        patience = max(PATIENCE, (plan.budget or 0.0) / 10)
        seconds = step_seconds(experiment.training, MANY_STEPS if fitting else FEW_STEPS, patience)
        if fitting:
            assert plan.budget is not None
            ground = dataclasses.replace(ground, recipe=fitted(ground.recipe, flight, seconds, plan.budget))
            experiment = built()
        told(flight, ground.recipe, seconds, talk)
    plan = dataclasses.replace(plan, recipe=ground.recipe)
    return _Run(
        folder=folder,
        plan=plan,
        ground=ground,
        experiment=experiment,
        description=described(plan, source, ground, flight),
    )


def _train(run: _Run, stop: Stop, talk: Talk) -> tuple[tuple[Epoch, ...], Kept]:
    training, epochs = run.experiment.training, run.plan.recipe.epochs
    kept = Kept(best=run.plan.recipe.keep == "best")
    if training is None:
        return (), kept
    position, history = _gone_on(run, training, kept, talk)
    with stop.deferred():
        for event in run_epochs(training, epochs, position):
            if isinstance(event, Epoch):
                history += (event,)
                position = Position(epochs=event.epoch)
                kept.see(event, run.experiment.network)
                _save(run, training, kept, position, history)
                run.folder.append(event)
                talk.epoch(event, epochs)
            else:
                position = event.position
                talk.progress(event, epochs)
            if stop.asked is not None:
                _save(run, training, kept, position, history)
                raise _interrupted(stop.asked, run, position)
    if any(epoch.empty_batches for epoch in history):
        empty = sum(epoch.empty_batches for epoch in history)
        talk.warn(f"{empty:,} batches held no triplet at all and taught nothing")
    return history, kept


def _gone_on(run: _Run, training: Training, kept: Kept, talk: Talk) -> tuple[Position, tuple[Epoch, ...]]:
    checkpoint = run.folder.checkpoint()
    if checkpoint is None:
        run.folder.check_unbegun()
        return Position(epochs=run.plan.start_epoch), ()
    restore(checkpoint.tensors, training.network, training.optimizer, kept)
    run.folder.resume_history(checkpoint)
    position = checkpoint.position
    kept.remember(checkpoint.history)
    talk.say(f"going on after epoch {position.epochs}, batch {position.batches} of the next")
    return position, checkpoint.history


def _save(run: _Run, training: Training, kept: Kept, position: Position, history: tuple[Epoch, ...]) -> None:
    tensors = captured(training.network, training.optimizer, kept)
    run.folder.save(Checkpoint(tensors=tensors, position=position, history=history))


def _finish(run: _Run, history: tuple[Epoch, ...], kept: Kept, talk: Talk) -> dict[str, Any]:
    kept.put_back(run.experiment.network)
    k = chosen_k(run.experiment.judge)
    model = finished_model(run.experiment, run.ground, run.plan.recipe, k, run.plan.sourcing.ng)
    model.save(run.folder.bundle)
    talk.say(_asked(run.ground, len(model.gallery)))
    found = scored(model, run.ground, seed=run.plan.seed, ng=run.plan.sourcing.ng)
    learning, gap = learnt(model, run.ground, found.queries, run.plan.seed), gap_of(run.experiment.judge)
    summary = _summary(model, run.plan, history, kept, found.evaluation.scores) | {
        "gap": gap and dataclasses.asdict(gap),
        "learning_curve": [dataclasses.asdict(point) for point in learning],
    }
    talk.say("drawing the curves, the map and the report")
    facts = Facts(
        recipe=run.plan.recipe,
        seed=run.plan.seed,
        history=history,
        description=run.description,
        gap=gap,
        learning=learning,
    )
    draw(facts, found, run.ground.test, run.folder.path)
    run.folder.write_scores(summary)
    return summary


def _asked(ground: Ground, gallery: int) -> str:
    test = len(ground.split.test)
    if ground.split.unseen:
        return f"scoring {test:,} test images of classes that were not trained on, each against the others"
    return f"scoring {test:,} test images against {gallery:,} others"


def _summary(
    model: Model, plan: Plan, history: tuple[Epoch, ...], kept: Kept, scores: Scores
) -> dict[str, Any]:
    return {
        "recipe": plan.recipe.name,
        "dimension": model.architecture.dimension,
        "epochs": plan.recipe.epochs,
        "kept_epoch": kept.epoch,
        "k": model.k,
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


def _opening(source: str, plan: Plan, ground: Ground) -> str:
    channels, height, width = ground.images.image_shape
    apart = len(ground.split.calibration)
    epochs = f"{ground.recipe.epochs} {'epoch' if ground.recipe.epochs == 1 else 'epochs'}"
    threads = f"{plan.threads} {'thread' if plan.threads == 1 else 'threads'}"
    return (
        f"{plan.recipe.name} on {shown(source)}: {len(ground.split.train):,} training and "
        f"{len(ground.split.test):,} test images of {width}x{height}x{channels}, "
        f"{f'{apart:,} kept apart to calibrate on, ' if apart else ''}"
        f"{len(ground.images.class_names)} classes; {epochs}, seed {plan.seed}, "
        f"{plan.device}, {threads}"
    )

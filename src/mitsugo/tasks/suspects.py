"""Find likely label errors among a run's images: each is judged by a model that never saw it."""

import dataclasses
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from .. import __version__
from ..data.duplicates import equal_images, fingerprints
from ..data.sources import fingerprint
from ..errors import DataError, ModelError, ResourceError, UsageError, shown
from ..files import reason, remove_leftovers, sha256_of, write_bytes
from ..model.bundle import Model
from ..report.suspects import SuspectsContent, suspects_page, suspects_table
from ..runs import RunFolder, opened
from ..shapes import Int64
from ..space.suspects import doubts, folds_of, ranked
from ..values import LabeledImages, Split, picked
from .experiment import chosen_device
from .models import trained_model
from .plan import Plan, TrainOptions, resumed
from .settle import settle
from .sourcing import loaded
from .stopping import stopping
from .talk import SILENT, Talk

__all__ = ["MOST", "suspects"]

FOLDS: Final = 3
MOST: Final = 100
"""How many suspects are told and shown, where nothing is said; the CSV ranks every image."""
EVIDENCE: Final = 5
"""How many neighbours stand beside a suspect."""
SCHEMA: Final = 1
NAMES: Final = 5
TABLE, PAGE = "suspects.csv", "suspects.html"
GO_ON: Final = "; the folds that are finished stand: give the same command again to go on"

Part = Literal["train", "choose", "all"]
IN_WORDS: Final[dict[Part, str]] = {
    "train": "training images",
    "choose": "training and validation images",
    "all": "images (the test images among them)",
}


@dataclass(frozen=True, kw_only=True, eq=False)
class _Case:
    """What is examined and by which models: `fold` int64 (n,), -1 for an image that trains all of them."""

    run: Path
    source: str
    plan: Plan
    device: torch.device
    part: Part
    images: LabeledImages
    fold: NDArray[np.int64]

    @property
    def folder(self) -> Path:
        return self.run / "folds"

    def bundle(self, number: int) -> Path:
        return self.folder / str(number + 1) / "model.mitsugo"


def suspects(
    run: Path,
    *,
    most: int = MOST,
    everything: bool = False,
    device: str | None = None,
    talk: Talk = SILENT,
) -> dict[str, Any]:
    """Rank a run's images by how much their neighbours speak against their label, out of fold.

    The images are cut into three folds, stratified by class; groups and equal pixels stay together. Three
    models are trained by the run's own recipe and seed, each without one fold, and each judges the fold that
    it never saw (see `space.suspects.doubts`). The models stay in RUN/folds/1 to 3 and are used again while
    they match; a stop loses the fold under way alone. RUN/suspects.csv ranks every image, RUN/suspects.html
    shows the first.

    Args:
        run: a run folder; the source that run.json names is read again.
        most: how many suspects are told and shown.
        everything: examine the test images, too; otherwise they are left alone, as nothing may be chosen by
            them.
        device: the run's own where nothing is said.
        talk: who listens.

    Raises:
        ModelError: no run folder, or a damaged one.
        DataError: a source that cannot be read again, or images that nobody can judge.
        UsageError: a source with other images than the run was trained on, or a split that cannot be drawn
            again.
        ResourceError: the disk is full, or another process works in the folder.
        Interrupted: a signal arrived.
    """
    if most < 1:
        raise UsageError(f"--most {most}: expected 1 or more")
    description = RunFolder(run).description()
    if description is None:
        raise ModelError(
            f"{shown(run)}: is no run folder (it has no run.json); name one that `mitsugo train` made"
        )
    plan = resumed(TrainOptions(source="", resume=True), description, run)
    torch.set_num_threads(plan.threads)
    where = chosen_device(device or plan.device)
    images = _images(run, plan, description, talk)
    part, rows = _examined(run, plan, description, images, where if not everything else None)
    case = _case(run, description["source"]["name"], plan, where, part, _compact(images, rows))
    with stopping(GO_ON), opened(run, resume=True, overwrite=False) as folder:
        _tell_beforehand(case, folder.scores(), talk)
        _prepare(case, {"source": description["source"]["fingerprint"], "rows": _digest(rows)}, talk)
        content = _judged(case, talk)
        write_bytes(run / TABLE, suspects_table(content))
        write_bytes(run / PAGE, suspects_page(content, most).encode())
    return _document(case, content, most)


def _images(run: Path, plan: Plan, description: dict[str, Any], talk: Talk) -> LabeledImages:
    """Return the very images that the run began with."""
    source = description["source"]["name"]
    try:
        images = loaded(source, plan.sourcing, talk)
    except (DataError, UsageError) as error:
        raise DataError(f"the source of the run in {shown(run)} cannot be read again: {error}") from error
    if description["source"]["fingerprint"] != fingerprint(images):
        raise UsageError(
            f"SOURCE {shown(source)}: the run in {shown(run)} was trained on other images; put them back as "
            f"they were, or train again and examine that run"
        )
    return images


def _examined(
    run: Path,
    plan: Plan,
    description: dict[str, Any],
    images: LabeledImages,
    device: torch.device | None,
) -> tuple[Part, NDArray[np.int64]]:
    """Return which images are examined: all where no device is given, else those that are not test images."""
    if device is None:
        return "all", np.arange(len(images))
    source = description["source"]["name"]
    rules = plan.sourcing.rules
    split = settle(source, images, plan.recipe, seed=plan.seed, device=device, rules=rules).split
    if description["split"]["fingerprint"] != _digest(*split.parts):
        raise UsageError(
            f"the run in {shown(run)} was split by another version of mitsugo: which images were its test "
            f"images is not known; examine all by --all, or train again"
        )
    if split.validation_is_test:
        return "train", np.sort(split.train)
    return "choose", np.union1d(split.train, split.validation)


def _compact(images: LabeledImages, rows: NDArray[np.int64]) -> LabeledImages:
    """Return some images, with the classes alone that they show."""
    some = images.take(rows)
    classes, labels = np.unique(some.labels, return_inverse=True)
    names = tuple(images.class_names[label] for label in classes.tolist())
    return dataclasses.replace(some, labels=labels.astype(np.int64), class_names=names)


def _case(
    run: Path, source: str, plan: Plan, device: torch.device, part: Part, images: LabeledImages
) -> _Case:
    fold = folds_of(images.labels, FOLDS, plan.seed, _bound(images))
    if (fold < 0).all():
        raise DataError(
            f"SOURCE {shown(source)}: none of the {len(images):,} images can be judged by a model that never "
            f"saw it: every class needs two images or more outside of each third, so collect more of each "
            f"class, and more groups"
        )
    return _Case(run=run, source=source, plan=plan, device=device, part=part, images=images, fold=fold)


def _bound(images: LabeledImages) -> Int64[np.ndarray, " n"]:
    """Number what must stay in one fold: images of one group, images of equal pixels, and chains of both."""
    equal = equal_images(fingerprints(images.pixels))
    if images.groups is None:
        return equal
    _, group = np.unique(images.groups, return_inverse=True)
    ends = (group, equal + group.max() + 1)
    size = int(ends[1].max()) + 1
    links = coo_array((np.ones(len(images)), ends), shape=(size, size))
    _, parts = connected_components(links, directed=False)
    found: NDArray[np.int64] = parts[group].astype(np.int64)
    return found


def _tell_beforehand(case: _Case, scores: dict[str, Any] | None, talk: Talk) -> None:
    took = (scores or {}).get("seconds", 0.0)
    about = (
        f"; the run itself trained for {took:.0f} s, these {FOLDS} take about twice that" if took >= 1 else ""
    )
    talk.say(
        f"judging {int((case.fold >= 0).sum()):,} {IN_WORDS[case.part]} by {FOLDS} models, each trained "
        f"without those that it judges{about}"
    )
    if (case.fold < 0).any():
        talk.warn(
            f"not judged, as too few of the class (or of its groups) would be left to judge them by: "
            f"{_untried(case)}"
        )


def _prepare(case: _Case, key: dict[str, Any], talk: Talk) -> None:
    """Keep the models that stand there where recipe and images are the same, else remove them."""
    key |= {
        "schema": SCHEMA,
        "recipe": case.plan.recipe.plain(),
        "seed": case.plan.seed,
        "fold": _digest(case.fold),
    }
    file = case.folder / "folds.json"
    bundles = [case.bundle(number) for number in range(FOLDS)]
    try:
        for bundle in bundles:
            bundle.parent.mkdir(parents=True, exist_ok=True)
            remove_leftovers(bundle.parent)
        remove_leftovers(case.folder)
        try:
            known = json.loads(file.read_bytes())
        except (FileNotFoundError, ValueError):
            known = None
        if known == key:
            return
        if any(bundle.exists() for bundle in bundles):
            talk.say("the folds' models that stand there are of other images or another recipe: trained anew")
        for bundle in bundles:
            bundle.unlink(missing_ok=True)
    except OSError as error:
        raise ResourceError(
            f"{shown(case.folder)}: cannot be used: {reason(error)}; move it away, then try again"
        ) from error
    write_bytes(file, json.dumps(key, indent=1).encode() + b"\n")


def _judged(case: _Case, talk: Talk) -> SuspectsContent:
    """Let every fold's model judge the images that it never saw."""
    n, labels = len(case.images), case.images.labels
    score, says = np.zeros(n), np.zeros(n, np.int64)
    near, distances = np.zeros((n, EVIDENCE), np.int64), np.zeros((n, EVIDENCE), np.float32)
    models = []
    for number in np.unique(case.fold[case.fold >= 0]).tolist():
        mine, others = np.flatnonzero(case.fold == number), np.flatnonzero(case.fold != number)
        model = _model(case, number, talk)
        vectors = model.embed(picked(case.images.pixels, mine))
        found = doubts(vectors, labels[mine], model.gallery.vectors, labels[others])
        score[mine], says[mine] = found.score, found.says
        near[mine], distances[mine] = others[found.neighbors.indices], found.neighbors.distances
        models.append((f"model of fold {number + 1}", model.fingerprint))
    judged = np.flatnonzero(case.fold >= 0)
    return SuspectsContent(
        source=shown(case.source),
        recipe=case.plan.recipe.name,
        folds=len(models),
        part=case.part,
        images=case.images,
        order=judged[ranked(score[judged])],
        score=score,
        says=says,
        nearest=near,
        distances=distances,
        details=(
            ("run", shown(case.run)),
            ("seed", str(case.plan.seed)),
            ("images", f"{n:,}"),
            *models,
            ("mitsugo", __version__),
        ),
    )


def _model(case: _Case, number: int, talk: Talk) -> Model:
    """Return the model that never saw a fold: the one that stands there, or a new one that will."""
    others = case.images.take(np.flatnonzero(case.fold != number))
    path = case.bundle(number)
    if path.exists():
        try:
            model = Model.load(path)
            if model.gallery.names == others.names and np.array_equal(model.gallery.labels, others.labels):
                talk.say(f"fold {number + 1} of {FOLDS}: its model stands there")
                model.network.to(case.device)
                return model
            talk.warn(f"{shown(path)}: is of other images; it is trained anew")
        except ModelError as error:
            talk.warn(f"{error}; here it is trained anew")
    talk.say(f"fold {number + 1} of {FOLDS}: training on {len(others):,} images")
    split = Split(
        train=np.flatnonzero(case.fold != number),
        validation=np.empty(0, np.int64),
        test=np.flatnonzero(case.fold == number),
        how=f"fold {number + 1} of {FOLDS}",
    )
    images = dataclasses.replace(case.images, split=split)
    seed = case.plan.seed
    ground = settle(case.source, images, case.plan.recipe, seed=seed, device=case.device)
    model, _ = trained_model(ground, seed, case.device, talk)
    assert model.gallery.names == others.names
    model.save(path)
    return model


def _untried(case: _Case) -> str:
    """Name the classes that are not judged, and how many images of theirs."""
    counts = np.bincount(case.images.labels[case.fold < 0], minlength=len(case.images.class_names))
    few = np.flatnonzero(counts).tolist()
    named = ", ".join(f"{shown(case.images.class_names[c])} ({counts[c]})" for c in few[:NAMES])
    return named + (f" and {len(few) - NAMES} more" if len(few) > NAMES else "")


def _document(case: _Case, content: SuspectsContent, most: int) -> dict[str, Any]:
    return {
        "run": str(case.run),
        "csv": str(case.run / TABLE),
        "html": str(case.run / PAGE),
        "part": IN_WORDS[case.part],
        "examined": len(content.order),
        "not_examined": content.untried,
        "folds": content.folds,
        "doubted": len(content.doubted),
        "suspects": [
            {"rank": rank, **_suspect(content, row)}
            for rank, row in enumerate(content.doubted[:most].tolist(), start=1)
        ],
    }


def _suspect(content: SuspectsContent, row: int) -> dict[str, Any]:
    names, near = content.images.names, content.nearest[row].tolist()
    return {
        "image": names[row],
        "label": content.class_of(row),
        "looks_like": content.images.class_names[content.says[row]],
        "score": float(content.score[row]),
        "neighbors": [
            {"image": names[other], "label": content.class_of(other), "distance": distance}
            for other, distance in zip(near, content.distances[row].tolist(), strict=True)
        ],
    }


def _digest(*arrays: NDArray[np.int64]) -> str:
    return sha256_of(*(np.ascontiguousarray(array).data for array in arrays))

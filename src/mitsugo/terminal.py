"""What a person reads in a terminal: progress and talk on stderr, results as plain text."""

import contextlib
import sys
import time
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from .errors import shown

if TYPE_CHECKING:
    from rich.progress import Progress as Bar
    from rich.progress import TaskID

    from .tasks.talk import Talk
    from .training import Progress
    from .values import Epoch

__all__ = [
    "cached",
    "calibrated",
    "compared",
    "evaluated",
    "gallery_changed",
    "gallery_exported",
    "gallery_listed",
    "gallery_logged",
    "gallery_verified",
    "inspected",
    "pairs",
    "suspected",
    "talking",
    "taught",
    "trained",
]

SCORE_NAMES = {
    "knn_accuracy": "5-NN accuracy",
    "balanced_accuracy": "balanced accuracy",
    "precision_at_1": "1-NN accuracy",
    "recall_at_2": "recall@2",
    "recall_at_4": "recall@4",
    "recall_at_8": "recall@8",
    "r_precision": "R-precision",
    "map_at_r": "MAP@R",
    "ami": "AMI",
    "silhouette": "silhouette",
    "between_within": "between / within",
}
RATES = {
    "escapes": "escapes",
    "groups_with_escapes": "  in groups",
    "overkill": "overkill",
    "groups_with_overkill": "  in groups",
}
GATES = {"embedding": "far from every class", "statistics": "unusual as a picture"}
MOST_BLOCKS = 20
"""Of more images each has a line alone."""
SECONDS_BETWEEN = 5.0
"""A log hears so often how many files were read."""
PERCENT = {"knn_accuracy", "precision_at_1", "balanced_accuracy", "recall_at_2", "recall_at_4", "recall_at_8"}


class _Lines:
    """Plain lines, for logs and pipes."""

    def __init__(self, *, quiet: bool) -> None:
        self._quiet = quiet
        self._told = time.monotonic()

    def say(self, sentence: str) -> None:
        if not self._quiet:
            print(sentence, file=sys.stderr, flush=True)

    def warn(self, sentence: str) -> None:
        print(f"mitsugo: warning: {sentence}", file=sys.stderr, flush=True)

    def progress(self, progress: "Progress", epochs: int) -> None:
        if progress.loss is not None:
            self.say(f"epoch {progress.epoch}/{epochs}  batch {progress.batch:4d}  loss {progress.loss:.4f}")

    def epoch(self, epoch: "Epoch", epochs: int) -> None:
        self.say(_epoch_line(epoch, epochs))

    def reading(self, done: int, total: int) -> None:
        now = time.monotonic()
        if now - self._told >= SECONDS_BETWEEN:
            self._told = now
            self.say(f"read {done:,} of {total:,} photos")


class _Bar(_Lines):
    """A progress bar for a person who watches."""

    def __init__(self, bar: "Bar", task: "TaskID") -> None:
        super().__init__(quiet=False)
        self._bar = bar
        self._task = task
        self._batches = 0

    def say(self, sentence: str) -> None:
        self._bar.console.print(sentence, markup=False, highlight=False, soft_wrap=True)

    def progress(self, progress: "Progress", epochs: int) -> None:
        self._batches = max(self._batches, progress.batch + 1)
        if progress.loss is not None:
            within = progress.batch / self._batches if progress.epoch > 1 else 0.0
            self._bar.update(
                self._task,
                description=f"epoch {progress.epoch}/{epochs}  loss {progress.loss:.4f}",
                completed=progress.epoch - 1 + within,
                total=epochs,
                visible=True,
            )

    def epoch(self, epoch: "Epoch", epochs: int) -> None:
        super().epoch(epoch, epochs)
        self._bar.update(self._task, completed=epoch.epoch, total=epochs, visible=epoch.epoch < epochs)

    def reading(self, done: int, total: int) -> None:
        self._bar.update(
            self._task, description="reading photos", completed=done, total=total, visible=done < total
        )


@contextlib.contextmanager
def talking(*, quiet: bool) -> "Iterator[Talk]":
    """Listen to a task: a progress bar where stderr is a terminal, else plain lines there."""
    if quiet or not sys.stderr.isatty():
        yield _Lines(quiet=quiet)
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        yield _Bar(bar, bar.add_task("", total=None, visible=False))


def trained(document: Mapping[str, Any]) -> str:
    """Return what a finished training says."""
    return "\n".join(
        (
            *_scores(document),
            f"trained   {document['epochs']} epochs in {document['seconds']:.1f} s, seed {document['seed']}",
            f"model   {shown(document['bundle'])}",
            f"report  {shown(document['report'])}",
        )
    )


def compared(comparison: Mapping[str, Any]) -> str:
    """Return the table of a comparison, and what can be told from it."""
    header = ("recipe", "5-NN, %", "1-NN, %", "silhouette", "between/within", "epochs", "images", "core-s")
    rows = [
        (
            row["name"],
            _interval(row["knn_accuracy"], 100.0, 2),
            f"{100 * row['precision_at_1']['value']:.2f}",
            f"{row['silhouette']['value']:.3f}" if "silhouette" in row else "-",
            f"{row['between_within']['value']:.2f}" if "between_within" in row else "-",
            str(row["epochs"]),
            f"{row['images_seen']:,}",
            f"{row['core_seconds']:.1f}",
        )
        for row in comparison["recipes"]
    ]
    lines = (header, *rows)
    widths = [max(len(line[column]) for line in lines) for column in range(len(header))]
    table = ["  ".join(map(str.ljust, line, widths)).rstrip() for line in lines]
    return "\n".join((*table, "", *map(_told, comparison["pairs"]), "", comparison["how"]))


def _told(pair: Mapping[str, Any]) -> str:
    scaled = {"value": pair["difference"], "low": pair["low"], "high": pair["high"]}
    verdict = "cannot tell" if pair["verdict"] == "cannot tell" else f"{pair['one']} is {pair['verdict']}"
    difference = _interval(scaled, 100.0, 2)
    return f"{pair['one']} - {pair['other']}: {difference} points, p = {pair['p_holm']:.4f}: {verdict}"


def evaluated(document: Mapping[str, Any]) -> str:
    """Return the scores of a model on a source."""
    on = f"{shown(document['model'])} on {shown(document['source'])}"
    return "\n".join((on, *_scores(document)))


def inspected(document: Mapping[str, Any]) -> str:
    """Return verdicts with their evidence: a block an image, of many images a line; then the lot."""
    verdicts = document["verdicts"]
    if len(verdicts) <= MOST_BLOCKS:
        told = "\n\n".join(map(_verdict_block, verdicts))
        return f"{told}\n\n{_lot(document['lot'])}" if len(verdicts) > 1 else told
    of_all = [note for note in verdicts[0]["warnings"] if all(note in one["warnings"] for one in verdicts)]
    lines = [
        "  note: ".join([_verdict_line(one), *(note for note in _notes(one) if note not in of_all)])
        for one in verdicts
    ]
    notes = [f"note on all of them: {note}" for note in of_all]
    return "\n".join((*lines, "", *notes, _lot(document["lot"])))


def calibrated(document: Mapping[str, Any]) -> str:
    """Return what thresholds were set, by how many images, and what they promise."""
    alarm, asked = document["false_alarm"], document["asked"]
    sure = f"{100 * alarm['confidence']:g} % confidence"
    among = _count(document["images"], "image")
    if document["independent"] != document["images"]:
        among += f", {document['independent']:,} of them independent (groups, equal images)"
    left = f"; {document['left_out']:,} were left out" if document["left_out"] else ""
    promised = f"at most {100 * alarm['promised']:.3g} % of known images; {sure}"
    lines = [
        f"calibrated on {among}{left}",
        f"unknown     above a strangeness of {alarm['threshold']:.4g}: {promised}",
        f"  {_limits(alarm, per_class=asked['per_class'])}",
    ]
    for name, told in document["classes"].items():
        own = "" if told["threshold"] is None else f", own threshold {told['threshold']:.4g}"
        promise = "" if told["promised"] else ": no promise for this class"
        lines.append(f"  {shown(name)}  {_count(told['independent'], 'independent image')}{own}{promise}")
    found = document["inspecting"]
    if found is not None:
        lines.append(f"NG          from an NG score of {found['threshold']:.4g}")
        lines.append(f"  escapes   {found['escapes']['words']}{_promise(found, sure)}")
        lines.append(f"  overkill  {found['overkill']['words']}")
        if found["cost"] is not None:
            costs = f"an escape {asked['cost_escape']:g}, an overkill {asked['cost_overkill']:g}"
            lines.append(f"  cost      {found['cost']:.4g} a part ({costs})")
        needed = [f"{100 * float(share):g} %: {n:,}" for share, n in found["stricter"].items()]
        if needed:
            lines.append(f"  to promise fewer escapes takes independent NG images: {', '.join(needed)}")
    return "\n".join(lines)


def _limits(alarm: Mapping[str, Any], *, per_class: bool) -> str:
    """Return whether each gate has a limit of its own, and where not, why."""
    if alarm["limits"] is not None:
        limits = ", ".join(f"{gate} {limit:.3g}" for gate, limit in alarm["limits"].items())
        return f"each gate has a limit of its own: {limits}"
    of_both = "one limit for both gates"
    if per_class:
        return f"{of_both}, as each class has a promise of its own"
    return f"{of_both}; from {alarm['images_for_limits']:,} independent images on each has its own"


def taught(document: Mapping[str, Any]) -> str:
    """Return what was taught, and what that did to the golden images."""
    kind = "NG" if document["ng"] else "OK"
    new = f", a new {kind} class" if document["new"] else ""
    lines = [f"taught {_count(document['images'], 'image')} of {shown(document['label'])}{new}"]
    if (gate := document["gate"]) is not None:
        lines.append(f"golden set: {gate['before']} of {gate['images']} right before, {gate['after']} after")
        lines += [f"  became wrong: {shown(name)}" for name in gate["broken"]]
    return "\n".join((*lines, gallery_changed(document)))


def gallery_changed(document: Mapping[str, Any]) -> str:
    """Return which batch a change is, and what stands after it."""
    what = f"batch {document['batch']}"
    if document.get("undoes") is not None:
        what += f" takes back batch {document['undoes']}"
    stand = "stands" if document["taught"] == 1 else "stand"
    told = f"{what}: {_count(document['taught'], 'taught image')} {stand} in {shown(document['gallery'])}"
    stale = "; the thresholds were set for another state: mitsugo calibrate scores them again"
    return told + (stale if document["stale"] else "")


def gallery_listed(document: Mapping[str, Any]) -> str:
    """Return what is taught, an image a line, then the classes."""
    lines = [
        f"{shown(one['image'])}  {shown(one['label'])}  {shown(one['source'])}" for one in document["images"]
    ]
    for name, told in document["classes"].items():
        lines.append(f"{_count(told['images'], 'image')} of {shown(name)}{' (NG)' if told['ng'] else ''}")
    return "\n".join(lines) or "nothing is taught"


def gallery_logged(document: Mapping[str, Any]) -> str:
    """Return every batch in a line."""
    lines = []
    for one in document["batches"]:
        what = f"undoes batch {one['undoes']}" if one["kind"] == "undo" else one["kind"]
        gone = f"  (taken back by batch {one['undone']})" if one["undone"] is not None else ""
        note = f"  {shown(one['note'])}" if one["note"] else ""
        classes = ", ".join(map(shown, one["classes"]))
        lines.append(
            f"{one['number']:4d}  {one['at']}  {shown(one['who'])}  {what}  "
            f"{_count(one['images'], 'image')} of {classes}{note}{gone}"
        )
    return "\n".join(lines) or "nothing was ever taught"


def gallery_exported(document: Mapping[str, Any]) -> str:
    """Return what was written, and what could not be read."""
    lost = f"; {document['lost']:,} could not be read" if document["lost"] else ""
    return f"{_count(document['images'], 'taught image')}{lost}: {shown(document['out'])}"


def gallery_verified(document: Mapping[str, Any]) -> str:
    """Return how many images were looked at, none of which is damaged."""
    return f"{_count(document['images'], 'image')}, none damaged: {shown(document['gallery'])}"


def _promise(found: Mapping[str, Any], sure: str) -> str:
    if found["promised"] is None:
        return "; chosen by cost on these very images, so no promise"
    return f"; of parts to come at most {100 * found['promised']:.3g} %, {sure}"


def _verdict_line(verdict: Mapping[str, Any]) -> str:
    label = shown(verdict["label"])
    if verdict["judgement"] not in {None, verdict["label"]}:
        label = f"{verdict['judgement']}  {label}"
    return f"{verdict['image']}: {label}{_evidence(verdict)}"


def _verdict_block(verdict: Mapping[str, Any]) -> str:
    lines = [f"{_verdict_line(verdict)}  ({verdict['agreement']:.0%} of the neighbours)"]
    lines += [
        f"  {n['distance']:8.4f}  {shown(n['label'])}  {shown(n['name'])}" for n in verdict["neighbors"]
    ]
    for what in ("winner", "runner_up"):
        likeness = verdict[what]
        if likeness is not None:
            near = ", ".join(shown(one["name"]) for one in likeness["exemplars"])
            place = what.replace("_", "-")
            times = f"{likeness['scaled']:.3g} x its usual distance"
            lines.append(f"  {place}: {shown(likeness['label'])}, {times}: {near}")
    return "\n".join((*lines, *(f"  note: {note}" for note in _notes(verdict))))


def _notes(verdict: Mapping[str, Any]) -> list[str]:
    """Return what to know before trusting a verdict."""
    if verdict["in_gallery"] is None:
        return list(verdict["warnings"])
    twin = shown(verdict["in_gallery"])
    return [f"this very image is in the gallery ({twin}); it did not vote", *verdict["warnings"]]


def _evidence(verdict: Mapping[str, Any]) -> str:
    told = []
    if verdict["p_value"] is not None:
        told.append(f"p {verdict['p_value']:.3g}")
    if verdict["ng_score"] is not None:
        told.append(f"NG score {verdict['ng_score']:.2f}")
    if verdict["unknown"] and verdict["gate"]:
        told.append(GATES[verdict["gate"]])
        told.append(f"likest {shown(verdict['winner']['label'])}")
    return f"  ({', '.join(told)})" if told else ""


def _lot(lot: Mapping[str, Any]) -> str:
    """Return what a lot comes to."""
    counted = lot["judgements"] or lot["labels"]
    counts = ", ".join(f"{count:,} {shown(name)}" for name, count in counted.items())
    lines = [f"{lot['images']:,} images: {counts}"]
    if lot["judgements"]:
        lines.append("classes: " + ", ".join(f"{n:,} {shown(name)}" for name, n in lot["labels"].items()))
    if lot["calibration"] is None:
        lines.append("no thresholds are set, so nothing is unknown: mitsugo calibrate sets them")
    elif lot["calibration"]["stale"]:
        lines.append("no promise holds until mitsugo calibrate scores the thresholds again")
    if (bound := lot["escapes"]) is not None:
        what = f"{100 * bound['confidence']:g} % confidence" if bound["promised"] else "as seen, no promise"
        lines.append(
            f"of NG parts at most {100 * bound['upper']:.3g} % pass as OK ({what}, "
            f"{_count(bound['independent_ng'], 'independent NG image')})"
        )
    if lot["look_alikes"]:
        lines.append("of those that passed, look at these first: " + ", ".join(lot["look_alikes"]))
    return "\n".join(lines)


def suspected(document: Mapping[str, Any]) -> str:
    """Return the suspects of a run, a line each, and where they can be looked at."""
    lines = [
        f"{suspect['rank']:4d}  {suspect['score']:.3f}  {shown(suspect['image'])}: "
        f"{shown(suspect['label'])}, looks like {shown(suspect['looks_like'])}"
        for suspect in document["suspects"]
    ]
    told = f"{document['doubted']:,} of {document['examined']:,} {document['part']} are doubted"
    return "\n".join((*lines, told, f"table  {shown(document['csv'])}", f"page   {shown(document['html'])}"))


def cached(document: Mapping[str, Any]) -> str:
    """Return what the cache holds, an entry a line, or what was removed from it."""
    folder, size = shown(document["folder"]), document["bytes"] / 1e6
    if "removed" in document:
        return f"{document['removed']:,} sets of decoded photos, {size:,.1f} MB, removed from {folder}"
    lines = []
    for entry in document["entries"]:
        channels, height, width = entry["image_shape"]
        lines.append(
            f"{entry['key'][:12]}  {entry['images']:>9,} images of {width}x{height}x{channels}  "
            f"{entry['bytes'] / 1e6:>10,.1f} MB  used {entry['used']}"
        )
    return "\n".join((*lines, f"{size:,.1f} MB in {folder}"))


def pairs(content: Mapping[str, object]) -> str:
    """Return names and what they hold, in two columns."""
    width = max(map(len, content), default=0)
    return "\n".join(f"{name:<{width}}  {value}" for name, value in content.items())


def _count(number: int, noun: str) -> str:
    """Return a number with what it counts.

    >>> _count(1, "image"), _count(2000, "image")
    ('1 image', '2,000 images')
    """
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def _interval(score: Mapping[str, Any], scale: float, digits: int) -> str:
    value, low, high = (f"{scale * score[key]:.{digits}f}" for key in ("value", "low", "high"))
    return f"{value} ({low} to {high})"


def _epoch_line(event: "Epoch", epochs: int) -> str:
    active = f"  active {event.active / event.valid:.2%}" if event.valid else ""
    accuracy = event.metrics.get("validation_accuracy")
    told = "" if accuracy is None else f"  validation 5-NN {accuracy:.2%}"
    return (
        f"epoch {event.epoch}/{epochs}  training loss {event.train_loss:.4f}{active}  "
        f"validation loss {event.validation_loss:.4f}{told}  rate {event.learning_rate:.3g}  "
        f"{event.seconds:.1f} s"
    )


def _scores(document: Mapping[str, Any]) -> list[str]:
    lines = []
    for name, title in SCORE_NAMES.items():
        if (score := document["scores"].get(name)) is None:
            continue
        scale, unit, digits = (100.0, " %", 2) if name in PERCENT else (1.0, "", 3)
        interval = _interval(score, scale, digits).replace(" (", f"{unit}  (").removesuffix(")")
        among = f" in {score['groups']:,} groups" if score["groups"] is not None else ""
        lines.append(f"{title:<17} {interval}, n = {score['n']:,}{among})")
    inspection = document["inspection"] or {}
    for name, title in RATES.items():
        if (rate := inspection.get(name)) is not None:
            lines.append(f"{title:<17} {rate['words']}  (one-sided 95 %, Clopper-Pearson)")
    return lines

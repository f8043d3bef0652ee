"""Is what is unknown called so, do the promises hold, and what is taught from a few images?

    python benchmarks/verdicts.py [--seeds 5] [--only unknown,foreign,promise,inspection,teaching]
                                  [--device cpu] [--quick]

- unknown: six MNIST digits are known and four are not, drawn by the seed; AUROC and FPR@95 (the share of
  unknown images that pass where 95 % of known ones do), of both gates together, each alone, the plain
  distance to the fifth nearest, and the confidence of a softmax classifier on an embedding that softmax
  trained.
- foreign: all digits are known; Fashion-MNIST, noise, blanks and blurred digits are not.
- promise: 200 random calibrations of 299 and of 1,000 test digits each; how many keep 1 % false alarms on the
  others, beside the chance that the beta-binomial law gives.
- inspection: escapes and overkill on bsd_patches (by group) and elpv, at thresholds by cost and by promise.
- teaching: a digit, an Omniglot character, an elpv level is left out and taught from 1, 5 and 20 images: how
  many of the others of it are found, what the other classes lose, what noise reads then.

A finished measurement is a line of benchmarks/results/verdicts.jsonl: a script that was stopped goes on, and
--fresh begins anew. With --device cuda networks learn there; on two cores all of it takes a night. --quick
takes few images, short trainings and one seed, to see that everything runs; its lines are its own. The
interval of a mean is Student's t over the seeds, which share images: take it as a hint.
"""

import argparse
import dataclasses
import statistics
import sys
from collections.abc import Callable, Sequence
from typing import Any, Final

import numpy as np
import scipy.stats
import torch
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score

import mitsugo
from mitsugo.model.bundle import Model
from mitsugo.model.strangeness import Strangeness
from mitsugo.model.thresholds import calibrated, gate_limits, ng_scores
from mitsugo.recipes import Recipe
from mitsugo.settings import parsed
from mitsugo.space.neighbors import nearest
from mitsugo.space.promises import promised_rank
from mitsugo.space.rates import rate
from mitsugo.tasks.experiment import chosen_device
from mitsugo.tasks.models import trained_model
from mitsugo.tasks.parting import Rules
from mitsugo.tasks.settle import Ground, settle
from mitsugo.tasks.talk import SILENT
from mitsugo.values import Asked, Embeddings, Kept, LabeledImages, Split, Taught, digests_of
from one_shot import training_images
from photo_sets import SETS, few_of, folder, in_size, read_omniglot, split_of
from results import Results, machine

CPU: Final = torch.device("cpu")
PARTS: Final = ("unknown", "foreign", "promise", "inspection", "teaching")
KNOWN_DIGITS: Final = 6
CALIBRATIONS: Final = 200
ASKED: Final = Asked(false_alarm=0.01)
SIZES: Final = (299, 1000)
TAUGHT: Final = (1, 5, 20)
QUICK_IMAGES, QUICK_STEPS, QUICK_TESTS = 1500, 40, 600
NOISES: Final = 1000
BLUR: Final = 3.0
SIDE_OF_PHOTOS: Final = 128

Scores = NDArray[np.float64]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Size:
    """How much is measured."""

    quick: bool
    device: torch.device = CPU

    def recipe(self, text: str) -> Recipe:
        """Return a recipe, with few steps where it is quick."""
        return parsed(f"{text.split(':', maxsplit=1)[0]}:steps={QUICK_STEPS}" if self.quick else text)


def some_digits(known: NDArray[np.int64], size: Size) -> LabeledImages:
    """Return MNIST with its own parts, of these digits alone."""
    images = mitsugo.load("mnist")
    assert images.split is not None
    parts = []
    for part, most in ((images.split.train, QUICK_IMAGES), (images.split.test, QUICK_TESTS)):
        rows = part[np.isin(images.labels[part], known)]
        parts.append(np.sort(np.random.default_rng(0).permutation(rows)[:most]) if size.quick else rows)
    train, test = parts
    chosen = images.take(np.concatenate([train, test]))
    number = np.full(10, -1)
    number[known] = np.arange(len(known))
    return LabeledImages(
        pixels=chosen.pixels,
        labels=number[chosen.labels],
        class_names=tuple(str(digit) for digit in known.tolist()),
        names=chosen.names,
        split=Split(
            train=np.arange(len(train)),
            validation=np.empty(0, np.int64),
            test=np.arange(len(train), len(chosen)),
            how="MNIST's own parts",
        ),
    )


def test_digits(wanted: NDArray[np.int64], size: Size) -> NDArray[np.uint8]:
    """Return the test images of these digits."""
    images = mitsugo.load("mnist")
    assert images.split is not None
    rows = images.split.test[np.isin(images.labels[images.split.test], wanted)]
    return np.asarray(images.pixels[rows[: QUICK_TESTS if size.quick else None]])


def trained(
    images: LabeledImages, text: str, seed: int, size: Size, share: float = 0.1
) -> tuple[Model, Ground]:
    """Train a recipe; some images are kept apart to calibrate on."""
    recipe = size.recipe(text)
    ground = settle("", images, recipe, seed=seed, device=size.device, rules=Rules(calibration=share))
    return trained_model(ground, seed, size.device, SILENT)[0], ground


def strangeness(model: Model, pixels: NDArray[np.uint8]) -> Strangeness:
    """Return how strange images are to a model, its gates weighed as its calibration weighs them."""
    balance = 1.0 if model.calibration is None else model.calibration.balance
    return model.known.strangeness(model.embed(pixels), model.statistics(pixels)).weighed(balance)


def read_off(known: Scores, unknown: Scores) -> dict[str, float]:
    """Return AUROC and FPR@95 of scores that are larger for what is unknown."""
    labels = np.repeat([0, 1], (len(known), len(unknown)))
    threshold = np.quantile(known, 0.95)
    return {
        "auroc": float(roc_auc_score(labels, np.concatenate([known, unknown]))),
        "fpr95": float((unknown <= threshold).mean()),
    }


def scores_of(model: Model, softmax: Model | None, pixels: NDArray[np.uint8]) -> dict[str, Scores]:
    """Return the scores of every contestant, larger for what is unknown."""
    found = strangeness(model, pixels)
    gallery = torch.from_numpy(np.array(model.gallery.vectors))
    far = nearest(torch.from_numpy(model.embed(pixels)), gallery, 5).distances[:, 4]
    scores = {
        "both gates": found.least,
        "embedding's gate": found.embedded,
        "statistics' gate": found.statistics,
        "plain 5th neighbour": far.astype(np.float64),
    }
    if softmax is not None:
        classifier = LogisticRegression(max_iter=200).fit(softmax.gallery.vectors, softmax.gallery.labels)
        scores["softmax confidence"] = -classifier.predict_proba(softmax.embed(pixels)).max(axis=1)
    return scores


def unknown(seed: int, size: Size) -> dict[str, Any]:
    """Six digits are known, four are not."""
    order = np.random.default_rng(seed).permutation(10)
    known, others = np.sort(order[:KNOWN_DIGITS]), np.sort(order[KNOWN_DIGITS:])
    images = some_digits(known, size)
    model, ground = trained(images, "standard", seed, size)
    softmax, _ = trained(images, "standard-softmax", seed, size)
    model = with_thresholds(model, ground)
    one, other = (
        scores_of(model, softmax, pixels)
        for pixels in (np.asarray(ground.test.pixels[:]), test_digits(others, size))
    )
    return {"known": known.tolist(), **{name: read_off(one[name], other[name]) for name in one}}


def foreign(seed: int, size: Size) -> dict[str, Any]:
    """All digits are known; clothes, noise, blanks and blurs are not."""
    model, ground = trained(some_digits(np.arange(10), size), "standard", seed, size)
    softmax, _ = trained(some_digits(np.arange(10), size), "standard-softmax", seed, size)
    model = with_thresholds(model, ground)
    assert model.calibration is not None
    test = np.asarray(ground.test.pixels[:])
    chance = np.random.default_rng(seed)
    blanks = np.repeat(np.arange(256, dtype=np.uint8), 4).reshape(-1, 1, 1, 1) * np.ones(
        (1, 1, 28, 28), np.uint8
    )
    strangers = {
        "noise": chance.integers(0, 256, (NOISES, 1, 28, 28)).astype(np.uint8),
        "blank": blanks,
        "blurred": np.stack([gaussian_filter(image, (0, BLUR, BLUR)) for image in test[:NOISES]]),
    }
    path = folder() / "fashion_mnist"
    if path.is_dir():
        clothes = mitsugo.load(str(path))
        assert clothes.split is not None
        rows = clothes.split.test[: QUICK_TESTS if size.quick else None]
        strangers["Fashion-MNIST"] = np.asarray(clothes.pixels[rows])
    else:
        print(f"Fashion-MNIST is left out: no {path}")
    known = scores_of(model, softmax, test)
    return {
        what: {
            name: read_off(known[name], score) for name, score in scores_of(model, softmax, pixels).items()
        }
        for what, pixels in strangers.items()
    } | {
        "scores": [
            known["embedding's gate"].tolist(),
            (known["statistics' gate"] / model.calibration.balance).tolist(),
        ]
    }


def promise(size: Size, results: Results) -> dict[str, Any]:
    """Draw calibrations from the test digits' scores, and look at the false alarms on the others."""
    found: dict[str, Any] = {}
    lines = [results.find({"part": "foreign", "seed": seed, "quick": size.quick}) for seed in range(5)]
    scores = [np.array(line["scores"]) for line in lines if line is not None]
    if not scores:
        sys.exit("--only promise: expected the scores of foreign; measure them first: --only foreign,promise")
    for n in SIZES if not size.quick else SIZES[:1]:
        rank = promised_rank(n, ASKED.false_alarm)
        assert rank is not None
        kept, chance = [], []
        for seed in range(CALIBRATIONS):
            drawn = np.random.default_rng(seed).permutation(scores[seed % len(scores)], axis=1)
            balance, threshold, _ = gate_limits(drawn[0, :n], drawn[1, :n], ASKED)
            embedded, by_statistics = drawn[:, n:]
            rest = np.maximum(embedded, balance * by_statistics)
            allowed = int(ASKED.false_alarm * len(rest))
            kept.append(int((rest > threshold).sum()) <= allowed)
            chance.append(scipy.stats.betabinom.cdf(allowed, len(rest), n + 1 - rank, rank))
        law = float(np.mean(chance))
        found[str(n)] = {
            "kept": float(np.mean(kept)),
            "law": law,
            "p": float(scipy.stats.binomtest(sum(kept), len(kept), law).pvalue),
        }
    return found


def inspection(name: str, seed: int, size: Size) -> dict[str, Any]:
    """Set thresholds by cost and by promise on a calibration part; read escapes and overkill off the test."""
    photos = SETS[name]()
    if isinstance(photos, str):
        return {"absent": photos}
    if size.quick:
        photos = few_of(photos, 240)
    images = in_size(photos.images, 32 if size.quick else SIDE_OF_PHOTOS)
    bad = "ng" if name == "bsd_patches" else "defective"
    images = dataclasses.replace(images, split=split_of(photos, seed))
    text = f"photos:{photos.extra}"
    recipe = size.recipe(text)
    rules = Rules(calibration=0.2)
    ground = settle("", images, recipe, seed=seed, device=size.device, rules=rules)
    model, _ = trained_model(ground, seed, size.device, SILENT)
    model = dataclasses.replace(model, ng=(bad,))
    apart = images.take(ground.split.calibration)
    kept = kept_of(model, apart, apart.groups)
    test = images.take(ground.split.test)
    found = strangeness(model, np.asarray(test.pixels[:]))
    scores = ng_scores(found.scaled, model.known.ng)
    assert scores is not None
    ng = test.labels == images.class_names.index(bad)
    units = test.groups if test.groups is not None else np.arange(len(test))
    answers: dict[str, Any] = {"calibration": len(kept), "test": len(test)}
    for asked in (
        Asked(cost_escape=100.0, cost_overkill=1.0),
        Asked(escapes=0.1),
    ):
        calibration = calibrated(model.known, kept, asked, "")
        told = calibration.inspecting
        assert told is not None
        missed = ng & (scores < told.threshold)
        by_unit = np.array([missed[units == unit].any() for unit in np.unique(units[ng])])
        answers["cost 100 : 1" if asked.escapes is None else "escapes 10 %"] = {
            "promised": told.promised,
            "ng_units": told.escaping.n,
            "escapes": float(missed.sum() / ng.sum()),
            "escapes_words": rate(missed[ng]).words,
            "escaping_units": float(by_unit.mean()),
            "overkill": float((~ng & (scores >= told.threshold)).sum() / (~ng).sum()),
            "false_alarms": float((found.weighed(calibration.balance).least > calibration.threshold).mean()),
            "false_alarms_promised": calibration.promised,
        }
    return answers


def kept_of(model: Model, images: LabeledImages, groups: NDArray[np.int64] | None) -> Kept:
    """Return images as calibration images."""
    pixels = np.asarray(images.pixels[:])
    return Kept(
        vectors=model.embed(pixels),
        statistics=model.statistics(pixels),
        labels=images.labels,
        class_names=images.class_names,
        groups=np.arange(len(images)) if groups is None else groups,
        digests=digests_of(pixels),
        source="the calibration part",
    )


def taught(model: Model, pixels: NDArray[np.uint8]) -> Model:
    """Return a model that was taught these images as a new class."""
    n = len(pixels)
    return dataclasses.replace(
        model,
        taught=Taught(
            embeddings=Embeddings(
                vectors=model.embed(pixels),
                labels=np.zeros(n, np.int64),
                class_names=("new",),
                names=tuple(f"new {row}" for row in range(n)),
                fingerprint=model.fingerprint,
            ),
            statistics=model.statistics(pixels),
            digests=digests_of(pixels),
            ng=(),
            state="taught",
        ),
    )


def lesson(model: Model, known: LabeledImages, new: NDArray[np.uint8], seed: int) -> dict[str, Any]:
    """Teach a class from some of its images; return recall, points lost elsewhere, and what noise reads."""
    chance = np.random.default_rng(seed)
    pixels = np.asarray(known.pixels[:])
    names = [str(row) for row in range(len(pixels))]
    true = [known.class_names[label] for label in known.labels.tolist()]
    noise = chance.integers(0, 256, (100, *pixels.shape[1:])).astype(np.uint8)

    def right(one: Model) -> NDArray[np.bool_]:
        told = one.classify(pixels, names)
        return np.array(
            [
                verdict.winner is not None and verdict.winner.label == t
                for verdict, t in zip(told, true, strict=True)
            ]
        )

    before = right(model)
    found: dict[str, Any] = {"accuracy": float(before.mean())}
    for count in TAUGHT:
        if count >= len(new):
            continue
        order = chance.permutation(len(new))
        after = taught(model, new[order[:count]])
        rest = new[order[count:]]
        told = after.classify(rest, [str(row) for row in range(len(rest))])
        found[str(count)] = {
            "recall": float(
                np.mean([verdict.winner is not None and verdict.winner.label == "new" for verdict in told])
            ),
            "called": float(np.mean([verdict.label == "new" for verdict in told])),
            "lost": float(100 * (before.mean() - right(after).mean())),
            "noise_unknown": float(
                np.mean(
                    [verdict.unknown for verdict in after.classify(noise, [str(row) for row in range(100)])]
                )
            ),
        }
    return found


def with_thresholds(model: Model, ground: Ground) -> Model:
    """Return a model whose thresholds are set by the calibration part."""
    apart = ground.images.take(ground.split.calibration)
    return dataclasses.replace(
        model, calibration=calibrated(model.known, kept_of(model, apart, None), Asked(), "")
    )


def teach_digit(seed: int, size: Size) -> dict[str, Any]:
    """Leave a digit out, and teach it."""
    order = np.random.default_rng(100 + seed).permutation(10)
    images = some_digits(np.sort(order[1:]), size)
    model, ground = trained(images, "standard", seed, size)
    new = test_digits(order[:1], size)
    return {"digit": int(order[0]), **lesson(with_thresholds(model, ground), ground.test, new, seed)}


def teach_level(seed: int, size: Size) -> dict[str, Any]:
    """Leave one of the four levels of the solar cells out, and teach it."""
    photos = SETS["elpv-four"]()
    if isinstance(photos, str):
        return {"absent": photos}
    images = in_size(photos.images, 32 if size.quick else 64)
    level = seed % len(images.class_names)
    rows = np.flatnonzero(images.labels != level)
    others = images.take(rows)
    number = np.delete(np.arange(len(images.class_names)), level)
    others = dataclasses.replace(
        others,
        labels=np.searchsorted(number, others.labels).astype(np.int64),
        class_names=tuple(images.class_names[one] for one in number.tolist()),
    )
    model, ground = trained(others, f"standard:{photos.extra}", seed, size)
    new = np.asarray(images.pixels[np.flatnonzero(images.labels == level)])
    return {
        "level": images.class_names[level],
        **lesson(with_thresholds(model, ground), ground.test, new, seed),
    }


def teach_character(seed: int, size: Size) -> dict[str, Any]:
    """Train on the background's characters; of 20 others know 19 by ten drawings each, and teach the last."""
    archive = folder() / "omniglot" / "omniglot.tar.xz"
    if not archive.is_file():
        return {"absent": f"omniglot: no {archive}"}
    omniglot = read_omniglot(archive, 28, 40 if size.quick else None)
    images = training_images(omniglot.background)
    recipe = size.recipe("standard")
    ground = settle("omniglot", images, recipe, seed=seed, device=size.device)
    trained_one, _ = trained_model(ground, seed, size.device, SILENT)
    chance = np.random.default_rng(seed)
    evaluation = omniglot.evaluation
    chosen = chance.permutation(len(evaluation.class_names))[:20]
    rows = [chance.permutation(np.flatnonzero(evaluation.labels == one)) for one in chosen.tolist()]

    def part(first: int, last: int) -> LabeledImages:
        every = np.concatenate([own[first:last] for own in rows[1:]])
        some = evaluation.take(every)
        return LabeledImages(
            pixels=some.pixels,
            labels=np.repeat(np.arange(19), [len(own[first:last]) for own in rows[1:]]),
            class_names=tuple(evaluation.class_names[one] for one in chosen[1:].tolist()),
            names=some.names,
        )

    model = Model.of(
        architecture=trained_one.architecture,
        network=trained_one.network,
        preprocessing=trained_one.preprocessing,
        images=part(0, 10),
        recipe=recipe.plain(),
    )
    apart = part(10, 14)
    kept = kept_of(model, apart, None)
    model = dataclasses.replace(model, calibration=calibrated(model.known, kept, Asked(), ""))
    new = np.asarray(evaluation.pixels[rows[0]])
    return lesson(model, part(14, 20), new, seed)


def mean_of(values: Sequence[float]) -> str:
    """Return a mean with its interval."""
    if len(values) < 2:
        return f"{values[0]:.4f}"
    half = scipy.stats.t.ppf(0.975, len(values) - 1) * statistics.stdev(values) / len(values) ** 0.5
    return f"{statistics.fmean(values):.4f} ± {half:.4f}"


def leaves(found: dict[str, Any], path: tuple[str, ...] = ()) -> dict[tuple[str, ...], float]:
    """Return every number of a line by where it stands."""
    told: dict[tuple[str, ...], float] = {}
    for name, value in found.items():
        if isinstance(value, dict):
            told |= leaves(value, (*path, name))
        elif isinstance(value, (int, float)) and not isinstance(value, bool):
            told[*path, name] = float(value)
    return told


def main() -> None:
    """Measure what is not measured yet, and print all of it."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--only", default=",".join(PARTS))
    parser.add_argument("--device", default="cpu", help="where networks learn: cpu, cuda or cuda:N")
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--fresh", action="store_true")
    arguments = parser.parse_args()
    wanted = arguments.only.split(",")
    size = Size(quick=arguments.quick, device=chosen_device(arguments.device))
    jobs: list[tuple[str, str, Callable[[int], dict[str, Any]]]] = [
        ("unknown", "six digits known, four not", lambda seed: unknown(seed, size)),
        ("foreign", "digits known, other images not", lambda seed: foreign(seed, size)),
        ("promise", "1 % false alarms promised", lambda _: promise(size, results)),
        ("inspection: bsd_patches", "by group", lambda seed: inspection("bsd_patches", seed, size)),
        ("inspection: elpv", "sound or defective", lambda seed: inspection("elpv", seed, size)),
        ("teaching: digit", "a digit that was left out", lambda seed: teach_digit(seed, size)),
        ("teaching: elpv", "a level that was left out", lambda seed: teach_level(seed, size)),
        ("teaching: omniglot", "a character among 19 others", lambda seed: teach_character(seed, size)),
    ]
    names = {*PARTS, *(name for name, _, _ in jobs)}
    if set(wanted) - names:
        parser.error(f"--only {arguments.only}: expected some of {', '.join(sorted(names))}")
    results = Results("verdicts", fresh=arguments.fresh)
    seeds = 1 if size.quick else arguments.seeds
    told = machine(torch.get_num_threads())
    print(f"{told['machine']}, torch {told['torch']}, {told['threads']} threads", flush=True)
    for name, what, measure in jobs:
        if not {name, name.partition(":")[0]} & set(wanted):
            continue
        print(f"\n{name}: {what}", flush=True)
        lines = []
        for seed in range(1 if name == "promise" else seeds):
            key = {"part": name, "seed": seed, "quick": size.quick}
            line = results.find(key)
            if line is None:
                results.add(key, measure(seed) | {"machine": told, "device": arguments.device})
                line = results.find(key)
                assert line is not None
            lines.append(
                {
                    key: value
                    for key, value in line.items()
                    if key not in {"key", "machine", "scores", "device"}
                }
            )
            print(f"  seed {seed} measured", flush=True)
        report(lines)


def report(lines: list[dict[str, Any]]) -> None:
    """Print the means over the seeds, a line each."""
    if any("absent" in line for line in lines):
        print(f"  left out: {lines[0]['absent']}")
        return
    numbers = [leaves(line) for line in lines]
    for path in numbers[0]:
        values = [one[path] for one in numbers if path in one]
        print(f"  {' / '.join(path):58s} {mean_of(values)}")


if __name__ == "__main__":
    main()

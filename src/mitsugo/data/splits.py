"""Which images train, and which ones tell what was learnt."""

import dataclasses
import math
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from ..errors import DataError, UsageError, shown
from ..shapes import Bool, Int64, Labels
from ..values import LabeledImages, Split
from .holdout import held_out
from .unseen import held_out_classes

__all__ = ["article_split", "carved_split", "drawn_split", "kept_apart", "stratified_split"]

TEST_SHARE = 0.2
FEWEST_CARVED = 4
"""A class with fewer training images keeps them all to train on."""
MOST_APART = 0.5
ENOUGH_CLASSES = 8
"""From so many training classes on, those to choose by are unseen, too, where the test classes are."""
NAMES = 5
NONE = np.empty(0, np.int64)
NOTHING_CHOSEN = "validation is the test part, and nothing is chosen by it"


def stratified_split(
    labels: Labels, test_share: float, seed: int
) -> tuple[Int64[np.ndarray, " train"], Int64[np.ndarray, " test"]]:
    """Draw a test part that holds the same share of every class.

    A class of n images gives floor(n * test_share + 1/2) of them to the test part, yet at least one and at
    most n - 1, so that a class of two or more stands on both sides; a class of one stays with the training
    images.

    Args:
        labels: int64 (n,).
        test_share: above 0 and below 1.
        seed: of the draw, which depends on nothing else; at least 0.

    Returns:
        The indices of the training and of the test images, each ascending.

    Raises:
        UsageError: a share or a seed out of range.

    >>> train, test = stratified_split(np.array([0, 0, 0, 0, 1, 1]), 0.25, seed=0)
    >>> len(train), len(test)
    (4, 2)
    """
    _check_draw("test", test_share, seed)
    generator = np.random.default_rng(seed)
    by_class = np.argsort(labels, kind="stable")
    _, counts = np.unique(labels, return_counts=True)
    in_test = np.zeros(len(labels), dtype=np.bool_)
    end = 0
    for count in counts.tolist():
        start, end = end, end + count
        share = min(max(math.floor(count * test_share + 0.5), 1), count - 1)
        in_test[generator.permutation(by_class[start:end])[:share]] = True
    return np.flatnonzero(~in_test), np.flatnonzero(in_test)


def article_split(images: LabeledImages, seed: int, test_share: float = TEST_SHARE) -> Split:
    """Split as the walk-through does: its curves are drawn on the test images, and nothing is chosen by them.

    The source's own training and test parts are taken where it has them (a validation part of its own is left
    out), else 80 % of each class train and 20 % test. Validation is the test part itself.

    Raises:
        DataError: there are no images.
    """
    if len(images) == 0:
        raise DataError("there are no images to split; name a source that has some")
    if images.split is not None:
        train, test, how = images.split.train, images.split.test, images.split.how
    else:
        train, test = stratified_split(images.labels, test_share, seed)
        how = f"drawn with seed {seed}: {_of_each_class(test_share)}"
    return Split(train=train, validation=test, test=test, how=f"{how}; {NOTHING_CHOSEN}")


def carved_split(images: LabeledImages, share: float, seed: int, test_share: float = TEST_SHARE) -> Split:
    """Split so that choices have images of their own, carved from each class of the training part.

    The training and test parts are those of `article_split`; a class of fewer than four training images gives
    none away. A source's own validation part is taken where it has one. The test part is looked at once, at
    the end.

    Args:
        images: what is split.
        share: of each class of the training part, above 0 and below 1.
        seed: of the draw.
        test_share: of each class, where the source has no parts of its own.

    Raises:
        DataError: there are no images.
        UsageError: a share or a seed out of range.
    """
    whole = article_split(images, seed, test_share)
    how = whole.how.rpartition(";")[0]
    own = images.split
    if own is not None and own.validation.size and not own.validation_is_test:
        return Split(train=own.train, validation=own.validation, test=own.test, how=how)
    labels = images.labels[whole.train]
    enough = whole.train[np.bincount(labels)[labels] >= FEWEST_CARVED]
    validation = enough[stratified_split(images.labels[enough], share, seed)[1]]
    return Split(
        train=np.setdiff1d(whole.train, validation),
        validation=validation,
        test=whole.test,
        how=f"{how}; {share:.0%} of each class of the training part, drawn with seed {seed}, to choose by",
    )


def drawn_split(
    images: LabeledImages,
    units: Labels,
    *,
    seed: int,
    kind: Literal["stratified", "unseen-classes"] = "stratified",
    test_share: float = TEST_SHARE,
    validation_share: float = 0.0,
) -> Split:
    """Split so that no unit is torn apart.

    Where each image is a unit alone and there are no groups, this is `carved_split` or `article_split`. A
    source's own parts are taken where it has them, even where they tear units apart: the guard's findings
    tell of it. What is drawn hangs on the names of the images, not on their order.

    "stratified" holds out the same share of each class as far as units allow; what all belongs to one unit
    stays in training, and a class that is not tested is named in `how`. "unseen-classes" holds out whole
    classes, the same share of them, at least two; where the source has parts, its test images of those
    classes are tested, its training images of the others train, and the rest is left out. Validation images
    are carved from the training part by units; where classes are unseen and eight or more are left, whole
    classes, too.

    Args:
        images: what is split.
        units: (n,), images of one number stay together.
        seed: of the draws, at least 0.
        kind: what is held out.
        test_share: above 0 and below 1.
        validation_share: of the training part, below 1; 0 takes the test part, to choose nothing by.

    Raises:
        DataError: there are no images.
        UsageError: a share or a seed out of range, or classes that cannot be held out.
    """
    if len(images) == 0:
        raise DataError("there are no images to split; name a source that has some")
    _check_draw("test", test_share, seed)
    if validation_share:
        _check_draw("validation", validation_share, seed)
    if kind == "unseen-classes":
        split = _unseen_split(images, units, test_share, seed)
    elif images.groups is None and len(np.unique(units)) == len(units):
        if validation_share:
            return carved_split(images, validation_share, seed, test_share)
        return article_split(images, seed, test_share)
    elif images.split is not None:
        split = images.split
    else:
        out = held_out(images.labels, units, images.names, test_share, seed)
        how = _how_drawn(images, out, test_share, seed)
        split = Split(train=np.flatnonzero(~out), validation=NONE, test=np.flatnonzero(out), how=how)
    if split.validation.size and not split.validation_is_test and validation_share:
        return split
    return _chosen_by(images, units, split, validation_share, seed)


def kept_apart(images: LabeledImages, units: Labels, split: Split, share: float, seed: int) -> Split:
    """Return a split whose training part gave some images away, to calibrate on: of each class a share.

    No unit is torn apart, and a class of fewer than four training images gives none.

    Args:
        images: what is split.
        units: (n,), images of one number stay together.
        split: whose training part gives.
        share: of all the images that are not test images, above 0 and below 1.
        seed: of the draw.

    Raises:
        UsageError: a share or a seed out of range.
    """
    _check_draw("calibration", share, seed)
    train = split.train
    rest = len(train) + (0 if split.validation_is_test else len(split.validation))
    names = [images.names[i] for i in train.tolist()]
    of_train = min(share * rest / max(1, len(train)), MOST_APART)
    out = held_out(images.labels[train], units[train], names, of_train, seed, FEWEST_CARVED)
    told = f"{int(out.sum()):,} images"
    if images.groups is not None:
        told = f"{told} of {len(np.unique(images.groups[train[out]])):,} groups"
    return dataclasses.replace(
        split,
        train=train[~out],
        calibration=train[out],
        how=f"{split.how}; {told} of the training part kept apart, to calibrate on",
    )


def _chosen_by(images: LabeledImages, units: Labels, split: Split, share: float, seed: int) -> Split:
    """Return a split whose images to choose by are some of its training images, or the test part."""
    if not share:
        how = f"{split.how}; {NOTHING_CHOSEN}"
        return dataclasses.replace(split, validation=split.test, validation_unseen=split.unseen, how=how)
    labels, names = images.labels[split.train], [images.names[i] for i in split.train.tolist()]
    some = _classes_to_choose_by(images, units, split, share, seed) if split.unseen else NONE
    if some.size:
        out = np.isin(labels, some)
        told = f"{_named(images, some)} to choose by"
    else:
        out = held_out(labels, units[split.train], names, share, seed, FEWEST_CARVED)
        told = f"{share:.0%} of each class of the training part, drawn with seed {seed}, to choose by"
        if images.groups is not None:
            groups = len(np.unique(images.groups[split.train[out]]))
            told = f"about {share:.0%} of the training part by group, {groups:,} of them, to choose by"
    return dataclasses.replace(
        split,
        train=split.train[~out],
        validation=split.train[out],
        validation_unseen=some.size > 0,
        how=f"{split.how}; {told}",
    )


def _classes_to_choose_by(
    images: LabeledImages, units: Labels, split: Split, share: float, seed: int
) -> NDArray[np.int64]:
    """Return training classes to hold out whole, too; none where they are few or bound together."""
    labels = images.labels[split.train]
    if len(np.unique(labels)) < ENOUGH_CLASSES:
        return NONE
    try:
        return held_out_classes(labels, units[split.train], images.class_names, share, seed)
    except UsageError:
        return NONE


def _unseen_split(images: LabeledImages, units: Labels, share: float, seed: int) -> Split:
    """Hold out whole classes; a source's own parts stay apart."""
    labels, own = images.labels, images.split
    if own is None:
        held = held_out_classes(labels, units, images.class_names, share, seed)
        out = np.isin(labels, held)
        how = _how_unseen(images, labels[~out], held, seed)
        train, test = np.flatnonzero(~out), np.flatnonzero(out)
        return Split(train=train, validation=NONE, test=test, how=how, unseen=True)
    apart = not np.isin(labels[own.validation], labels[own.train]).any()
    if not np.isin(labels[own.test], labels[own.train]).any():
        return dataclasses.replace(own, unseen=True, validation_unseen=own.validation.size > 0 and apart)
    testable = np.bincount(labels[own.test], minlength=len(images.class_names)) > 1
    held = held_out_classes(labels, units, images.class_names, share, seed, testable)
    train = own.train[~np.isin(labels[own.train], held)]
    validation = own.validation[~np.isin(labels[own.validation], held)]
    return Split(
        train=train,
        validation=NONE if own.validation_is_test else validation,
        test=own.test[np.isin(labels[own.test], held)],
        how=f"{own.how}; of these {_how_unseen(images, labels[train], held, seed)}",
        unseen=True,
    )


def _how_drawn(images: LabeledImages, out: Bool[np.ndarray, " n"], share: float, seed: int) -> str:
    how = f"drawn with seed {seed}, equal images on one side: {_of_each_class(share)}"
    if images.groups is not None:
        train, test = (len(np.unique(images.groups[side])) for side in (~out, out))
        how = f"drawn with seed {seed} by group: {train:,} groups to train on, {test:,} to test on"
    untested = np.setdiff1d(images.labels[~out], images.labels[out])
    if untested.size:
        how += f"; not tested, as their images belong together: {_named(images, untested)}"
    return how


def _how_unseen(images: LabeledImages, seen: Labels, held: NDArray[np.int64], seed: int) -> str:
    to_test = f"{_named(images, held)} to test on"
    return f"whole classes, drawn with seed {seed}: {len(np.unique(seen)):,} to train on, {to_test}"


def _named(images: LabeledImages, classes: NDArray[np.int64]) -> str:
    """Return how many classes they are, with the names of some."""
    some = [shown(images.class_names[label]) for label in classes[:NAMES].tolist()]
    more = f" and {len(classes) - NAMES} more" if len(classes) > NAMES else ""
    return f"{len(classes):,} ({', '.join(some)}{more})"


def _of_each_class(share: float) -> str:
    return f"{round(100 * (1 - share))} % of each class to train on, {round(100 * share)} % to test on"


def _check_draw(part: str, share: float, seed: int) -> None:
    if not 0 < share < 1:
        raise UsageError(f"a {part} share of {share}: expected more than 0 and less than 1")
    if seed < 0:
        raise UsageError(f"a seed of {seed}: expected 0 or more")

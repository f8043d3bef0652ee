"""Which images train, and which ones tell what was learnt."""

import math

import numpy as np

from ..errors import DataError, UsageError
from ..shapes import Int64, Labels
from ..values import LabeledImages, Split
from .holdout import held_out

__all__ = ["article_split", "carved_split", "stratified_split"]

TEST_SHARE = 0.2
FEWEST_CARVED = 4
"""A class with fewer training images keeps them all to train on."""


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
    if not 0 < test_share < 1:
        raise UsageError(f"a test share of {test_share}: expected more than 0 and less than 1")
    if seed < 0:
        raise UsageError(f"a seed of {seed}: expected 0 or more")
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


def article_split(images: LabeledImages, seed: int) -> Split:
    """Split as the walk-through does: its curves are drawn on the test images, and nothing is chosen by them.

    The source's own training and test parts are taken where it has them (a validation part of its own is left
    out), else 80 % of each class train and 20 % test, groups whole. Validation is the test part itself.

    Raises:
        DataError: there are no images.
    """
    if len(images) == 0:
        raise DataError("there are no images to split; name a source that has some")
    if images.split is not None:
        train, test, how = images.split.train, images.split.test, images.split.how
    elif images.groups is not None:
        out = held_out(images.labels, images.groups, images.names, TEST_SHARE, seed)
        train, test = np.flatnonzero(~out), np.flatnonzero(out)
        how = (
            f"drawn with seed {seed} by group: {_groups(images, train)} groups to train on, "
            f"{_groups(images, test)} to test on"
        )
    else:
        train, test = stratified_split(images.labels, TEST_SHARE, seed)
        how = f"drawn with seed {seed}: 80 % of each class to train on, 20 % to test on"
    return Split(
        train=train,
        validation=test,
        test=test,
        how=f"{how}; validation is the test part, and nothing is chosen by it",
    )


def carved_split(images: LabeledImages, share: float, seed: int) -> Split:
    """Split so that choices have images of their own, carved from each class of the training part.

    The training and test parts are those of `article_split`; groups stay whole here, too. A class of fewer
    than four training images gives none away. A source's own validation part is taken where it has one. The
    test part is looked at once, at the end.

    Args:
        images: what is split.
        share: of each class of the training part, above 0 and below 1.
        seed: of the draw.

    Raises:
        DataError: there are no images.
        UsageError: a share or a seed out of range.
    """
    whole = article_split(images, seed)
    how = whole.how.rpartition(";")[0]
    own = images.split
    if own is not None and own.validation.size and not own.validation_is_test:
        return Split(train=own.train, validation=own.validation, test=own.test, how=how)
    if images.groups is not None:
        return _carved_by_group(images, whole, share, seed)
    labels = images.labels[whole.train]
    enough = whole.train[np.bincount(labels)[labels] >= FEWEST_CARVED]
    validation = enough[stratified_split(images.labels[enough], share, seed)[1]]
    return Split(
        train=np.setdiff1d(whole.train, validation),
        validation=validation,
        test=whole.test,
        how=f"{how}; {share:.0%} of each class of the training part, drawn with seed {seed}, to choose by",
    )


def _carved_by_group(images: LabeledImages, whole: Split, share: float, seed: int) -> Split:
    assert images.groups is not None
    names = [images.names[row] for row in whole.train.tolist()]
    out = held_out(
        images.labels[whole.train], images.groups[whole.train], names, share, seed, fewest=FEWEST_CARVED
    )
    validation = whole.train[out]
    return Split(
        train=whole.train[~out],
        validation=validation,
        test=whole.test,
        how=f"{whole.how.rpartition(';')[0]}; {_groups(images, validation)} groups of the training part, "
        f"drawn with seed {seed}, to choose by",
    )


def _groups(images: LabeledImages, rows: Int64[np.ndarray, " m"]) -> int:
    assert images.groups is not None
    return len(np.unique(images.groups[rows]))

"""Triplet networks in scikit-learn's manner: for pipelines, grid searches and cross-validation.

X is what scikit-learn hands around. Images come as (n, h, w), (n, c, h, w) or, with 1 or 3 channels, as
(n, h, w, c); rows (n, features) are folded to `image_shape`, or are no images where none is given. uint8 is
taken as it is. Anything else is mapped on a line, the least value in the X of `fit` to 0 and the greatest to
255, rounded, and cut off there: one line for all values of images, one for each column of rows that are none.

Every row of `fit` trains and votes. Where the recipe chooses by validation images they are carved from the
rows and vote again afterwards; where there are too few nothing is chosen. A class of a single image has no
positive, so its image stands in for one, twice among those that train.
"""

# ruff: noqa: N803 - X is what scikit-learn calls it

import numpy as np
import torch
from sklearn.base import BaseEstimator, ClassifierMixin, ClassNamePrefixFeaturesOutMixin, TransformerMixin
from sklearn.utils import Tags
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_is_fitted, validate_data

from .errors import DataError, UsageError
from .recipes import DEFAULT, Recipe
from .shapes import Float, Int64, Vectors
from .space.neighbors import nearest
from .tasks.experiment import chosen_device
from .tasks.models import trained_model
from .tasks.rows import (
    Data,
    images_of,
    is_count,
    pixels_of,
    range_of,
    recipe_for,
    rows_of,
    seed_of,
    shape_of,
    voting,
    words,
)
from .tasks.settle import settle
from .tasks.talk import SILENT

__all__ = ["TripletClassifier", "TripletEmbedder"]


class TripletEmbedder(ClassNamePrefixFeaturesOutMixin, TransformerMixin, BaseEstimator):  # type: ignore[misc]
    """Learn an embedding by triplets; transform images into it.

    Args:
        recipe: a recipe or its name; a row that is no image takes an MLP in place of a ConvNet, unchanged.
        epochs: the total; None: the recipe's.
        dimension: d of the embedding; None: the recipe's.
        margin: how much farther the negative must be; None: the recipe's.
        image_shape: (h, w) or (c, h, w) that rows are folded to; None: rows are no images.
        random_state: the same gives the same bits. None is 0: nothing is drawn from a global generator.
        device: cpu, cuda or cuda:N; None: CUDA where it is present.

    Attributes:
        model_: the `Model`; its gallery holds the rows of `fit` in their order.
        classes_: the labels, ascending.
        image_shape_: channels, height and width that the network takes.
        range_: the values of X that become 0 and 255, of each column where rows are no images.
        n_features_in_: values of an image.

    >>> X = np.repeat([[0.0, 1.0], [1.0, 0.0]], 4, axis=0)
    >>> embedder = TripletEmbedder(epochs=1, dimension=3)
    >>> embedder.fit_transform(X, ["left"] * 4 + ["right"] * 4).shape
    (8, 3)
    """

    def __init__(
        self,
        recipe: str | Recipe | Data = DEFAULT,
        *,
        epochs: int | Data | None = None,
        dimension: int | Data | None = None,
        margin: float | Data | None = None,
        image_shape: tuple[int, ...] | Data | None = None,
        random_state: Data = 0,
        device: str | Data | None = None,
    ) -> None:
        self.recipe = recipe
        self.epochs = epochs
        self.dimension = dimension
        self.margin = margin
        self.image_shape = image_shape
        self.random_state = random_state
        self.device = device

    def fit(self, X: Data, y: Data = None) -> "TripletEmbedder":
        """Train on images and their labels, strings or numbers.

        Raises:
            UsageError: a parameter that cannot be meant.
            DataError: images that cannot be trained on: all of one class, fewer than five, all alike.
            ModelError: a loss that is not finite, or an embedding that collapsed.
        """
        _fit(self, X, y)
        return self

    def transform(self, X: Data) -> Vectors:
        """Return the embedding of each image, float32 (n, d)."""
        return _embedded(self, X)

    @property
    def _n_features_out(self) -> int:
        return int(self.model_.architecture.dimension)

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.target_tags.required = True
        return _tagged(tags)


class TripletClassifier(
    ClassNamePrefixFeaturesOutMixin,  # type: ignore[misc]
    ClassifierMixin,  # type: ignore[misc]
    TransformerMixin,  # type: ignore[misc]
    BaseEstimator,  # type: ignore[misc]
):
    """Learn an embedding by triplets; classify by the vote of the nearest rows of `fit`.

    Args and attributes are those of `TripletEmbedder`, and one more:
        k: how many vote; None: the best on validation images where there are some, else 5. Fewer rows than k
            vote together.

    >>> X = np.repeat([[0.0, 1.0], [1.0, 0.0]], 4, axis=0)
    >>> classifier = TripletClassifier(epochs=1, dimension=3).fit(X, ["left"] * 4 + ["right"] * 4)
    >>> classifier.predict([[0.1, 0.9]]).tolist()
    ['left']
    """

    def __init__(  # noqa: PLR0913 - scikit-learn reads an estimator's parameters from here
        self,
        recipe: str | Recipe | Data = DEFAULT,
        *,
        epochs: int | Data | None = None,
        dimension: int | Data | None = None,
        margin: float | Data | None = None,
        k: int | Data | None = None,
        image_shape: tuple[int, ...] | Data | None = None,
        random_state: Data = 0,
        device: str | Data | None = None,
    ) -> None:
        self.recipe = recipe
        self.epochs = epochs
        self.dimension = dimension
        self.margin = margin
        self.k = k
        self.image_shape = image_shape
        self.random_state = random_state
        self.device = device

    def fit(self, X: Data, y: Data) -> "TripletClassifier":
        """Train on images and their labels, strings or numbers; errors are those of `TripletEmbedder`."""
        if self.k is not None and not is_count(self.k):
            raise UsageError(f"k = {self.k} neighbours: expected 1 or more")
        _fit(self, X, y)
        return self

    def transform(self, X: Data) -> Vectors:
        """Return the embedding of each image, float32 (n, d)."""
        return _embedded(self, X)

    def predict_proba(self, X: Data) -> Float[np.ndarray, "n classes"]:
        """Return each class's share of the vote, (n, classes) in the order of classes_, summing to 1.

        The nearest row has 1 + 1/2 votes, the second 1 + 1/4, the j-th 1 + 2⁻ʲ. What is beyond 1 adds up to
        less than one vote: it only decides between equal numbers of neighbours, for the class of the nearest.
        """
        vectors = _embedded(self, X)
        gallery = self.model_.gallery
        k = min(int(self.k or self.model_.k), len(gallery))
        found = nearest(torch.from_numpy(vectors), torch.tensor(gallery.vectors), k)
        return _shares(gallery.labels[found.indices], len(self.classes_))

    def predict(self, X: Data) -> Data:
        """Return the class of the largest share: that of most neighbours, of equal ones the nearest's."""
        shares = self.predict_proba(X)
        return self.classes_[shares.argmax(axis=1)]

    @property
    def _n_features_out(self) -> int:
        return int(self.model_.architecture.dimension)

    def __sklearn_tags__(self) -> Tags:
        return _tagged(super().__sklearn_tags__())


def _tagged(tags: Tags) -> Tags:
    """Say to scikit-learn what both take and give."""
    tags.input_tags.three_d_array = True
    tags.transformer_tags.preserves_dtype = ["float32"]
    return tags


def _fit(estimator: Data, X: Data, y: Data) -> None:
    """Train what the estimator's parameters say, and put what was learnt on it."""
    rows, shape = rows_of(X)
    rows, labels = validate_data(estimator, rows, y, ensure_min_samples=2)
    check_classification_targets(labels)
    classes, labels = np.unique(labels, return_inverse=True)
    chosen = shape_of(estimator.image_shape, shape, rows.shape[1])
    is_image = shape is not None or estimator.image_shape is not None
    value_range = range_of(rows, is_image=is_image)
    pixels = pixels_of(rows, value_range).reshape(len(rows), *chosen)
    images = images_of(pixels, labels.astype(np.int64), tuple(str(label) for label in classes.tolist()))
    recipe = recipe_for(estimator, is_image=is_image)
    device, seed = chosen_device(estimator.device), seed_of(estimator.random_state)
    model, _ = trained_model(settle("", images, recipe, seed=seed, device=device), seed, device, SILENT)
    estimator.classes_, estimator.image_shape_, estimator.range_ = classes, chosen, value_range
    estimator.model_ = voting(model, len(rows))


def _embedded(estimator: Data, X: Data) -> Vectors:
    check_is_fitted(estimator, "model_")
    rows, shape = rows_of(X)
    rows = validate_data(estimator, rows, reset=False)
    if shape not in {None, estimator.image_shape_}:
        raise DataError(
            f"images are {words(shape)}, expected {words(estimator.image_shape_)} as in fit "
            f"(channels x height x width); bring them to that shape"
        )
    pixels = pixels_of(rows, estimator.range_)
    vectors: Vectors = estimator.model_.embed(pixels.reshape(len(rows), *estimator.image_shape_))
    return vectors


def _shares(voters: Int64[np.ndarray, "n k"], classes: int) -> Float[np.ndarray, "n classes"]:
    """Return each class's share of the votes, 1 + 2⁻ʲ for the j-th neighbour.

    >>> _shares(np.array([[2, 1, 1], [2, 1, 0]]), classes=3).round(3).tolist()
    [[0.0, 0.613, 0.387], [0.29, 0.323, 0.387]]
    """
    count, k = voters.shape
    votes = np.zeros((count, classes))
    for rank in range(k):
        votes[np.arange(count), voters[:, rank]] += 1 + 0.5 ** (rank + 1)
    shares: Float[np.ndarray, "n classes"] = votes / votes.sum(axis=1, keepdims=True)
    return shares

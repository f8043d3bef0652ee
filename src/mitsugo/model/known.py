"""All that a new image is compared with: the gallery, what was taught since, and what is usual in them."""

from dataclasses import dataclass
from functools import cached_property
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray

from ..errors import ModelError
from ..shapes import Bool, Float32, Int64, Vectors
from ..space.classed import ClassedGallery, ClassNeighbors, classed, nearest_of_each
from ..space.local_means import within_whitener
from ..space.neighbors import nearest
from ..space.strangeness import class_scales, distances_at, usual_by_size
from ..values import Embeddings, Gates, Taught, freeze
from .strangeness import Strangeness

__all__ = ["CLEARANCE", "Known", "joined", "measured_gates"]

EMBEDDED_UNIT, STATISTICS_UNIT = 0.99, 0.999
"""Learnt images that reach the units of the two gates. The second is the higher: it shall speak of what is
wholly different, and leave the rest to the embedding (chosen on MNIST's training digits)."""
CLEARANCE: Final = 1.25
"""The unit of the statistics is so many times what these few reach: one gate that speaks too soon takes from
what the other one tells (chosen likewise)."""
OWN_SHARE: Final = 0.25
"""How much a learnt class's own spread counts. Were it all, whatever lies beside a tight class would be
strange, known or not, and much beside a loose one would not be: 0.987 instead of 0.992 was read (AUROC;
six digits known, four not, on training images). What was taught keeps its own: nothing drew it together."""
MOST_ASKED: Final = 10_000
MOST_BYTES: Final = 64 << 20
TWICE: Final = 2.0
"""A taught class reaches no farther in the statistics, however unlike its images are."""
BESIDE: Final = 0.2
"""Of the squared distance of a taught image from the learnt ones: so far apart its class may lie, though its
few images do not show it: how the learnt ones vary does not tell how others do. Of stains that lie anywhere
on plain surfaces 16 and 37 % were unusual still after five of them, and 1 and 24 % with this; with a third,
noise passed where images are as varied as solar cells."""
FEW: Final = 2
"""Its own spread counts by its images, that of the learnt ones as so many: a distance of many numbers varies
little, so that few of them tell it."""
LEAST_SHARE: Final = 1e-6
"""Of the mean variance of the statistics, standardised, that each direction has at the least."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Known:
    """What a new image is compared with.

    Args:
        embeddings: g images, the base gallery first.
        base: how many of them are of the base gallery.
        digests: uint64 (g, 2) of their pixels, or (0, 2) where they are not known.
        gates: what is usual; None in a bundle that was made without.
        scales: float64 (c,), the usual distance in each class.
        whitened: float64 (t, p), the statistics of taught images, whitened: those of the last t rows.
        reach: float64 (t,), how much farther apart the statistics of a taught image's class lie than those of
            the learnt images; 1 or more.
        new: (c,), whether a class was taught and is none of the model's own.
        ng: (c,), whether a class is NG.
        k: which neighbour distances are measured to.
    """

    embeddings: Embeddings
    base: int
    digests: NDArray[np.uint64]
    gates: Gates | None
    scales: NDArray[np.float64]
    whitened: NDArray[np.float64]
    reach: NDArray[np.float64]
    new: NDArray[np.bool_]
    ng: NDArray[np.bool_]
    k: int

    def __post_init__(self) -> None:
        freeze(self)

    @cached_property
    def ready(self) -> ClassedGallery:
        """The gallery, ready to be searched by class."""
        names = self.embeddings.class_names
        return classed(self.embeddings.vectors, self.embeddings.labels, len(names))

    @cached_property
    def within(self) -> NDArray[np.float64]:
        """What makes differences within the model's own classes alike in all directions, (d, d)."""
        found = self.embeddings
        return within_whitener(found.vectors[: self.base], found.labels[: self.base])

    def prepare(self) -> None:
        """Make ready now what the first answer would wait for."""
        _ = self.ready, self._by_digest
        if self.new.any():
            _ = self.within

    def near(
        self, vectors: Vectors, k: int, exclude: Int64[np.ndarray, "n e"] | None = None
    ) -> ClassNeighbors:
        """Return the nearest images of each class, as many as are voted with and measured to."""
        most = max(k, self.k)
        deepest = most + (0 if exclude is None else exclude.shape[1])
        ready = self.ready
        if deepest > ready.copies:  # many voters, or a gallery of many copies
            found = self.embeddings
            ready = classed(found.vectors, found.labels, len(found.class_names), copies=deepest)
        return nearest_of_each(vectors, ready, most, exclude)

    def strangeness(self, vectors: Vectors, statistics: Float32[np.ndarray, "n p"]) -> Strangeness:
        """Return how strange images are to each class; each answer hangs on its own image alone.

        Raises:
            ModelError: the model holds no gates.
        """
        return self.strangeness_by(self.near(vectors, self.k), statistics)

    def strangeness_by(self, near: ClassNeighbors, statistics: Float32[np.ndarray, "n p"]) -> Strangeness:
        """Return how strange images are whose neighbours are known."""
        gates = self.gates
        if gates is None:
            raise ModelError("it was made before images could be told to be unknown; train again")
        return Strangeness(
            scaled=distances_at(near, self.ready.counts, self.k) / self.scales,
            unit=float(gates.units[0]),
            unusual=self._unusual(statistics) / gates.units[1] ** 2,
        )

    def twins(self, digests: NDArray[np.uint64]) -> list[NDArray[np.int64]]:
        """Return for each image the rows of the gallery that have its very pixels."""
        order, heads = self._by_digest
        found = []
        for digest, first, last in zip(
            digests,
            np.searchsorted(heads, digests[:, 0], "left").tolist(),
            np.searchsorted(heads, digests[:, 0], "right").tolist(),
            strict=True,
        ):
            rows = order[first:last]
            found.append(rows[self.digests[rows, 1] == digest[1]])
        return found

    @cached_property
    def classes(self) -> list[str]:
        """The class of each row, by name."""
        names = self.embeddings.class_names
        return [names[label] for label in self.embeddings.labels.tolist()]

    @cached_property
    def _by_digest(self) -> tuple[NDArray[np.int64], NDArray[np.uint64]]:
        """Rows in order of the first word of their pixels' digests, and that word of each."""
        order = np.argsort(self.digests[:, 0], kind="stable")
        return order, self.digests[order, 0]

    def _unusual(self, statistics: Float32[np.ndarray, "n p"]) -> NDArray[np.float64]:
        """Return the squared Mahalanobis distance to the learnt images, (n, c).

        To a class with taught images it is that to one of these where that is less. What looks like a taught
        stain is no OK part by its pixels, wherever the embedding puts it.

        The square, as in the Mahalanobis-Taguchi system: what is far off outweighs what the embedding finds,
        and what is not does not meddle.
        """
        assert self.gates is not None
        own = _whitened(statistics, self.gates.mean, self.gates.whitener)
        found = np.repeat(np.einsum("np,np->n", own, own)[:, None], len(self.scales), axis=1)
        labels = self.embeddings.labels[len(self.embeddings) - len(self.whitened) :]
        of_class = {label: labels == label for label in np.unique(labels).tolist()}
        step = max(1, MOST_BYTES // (8 * max(1, self.whitened.size)))
        for start in range(0, len(own) if len(self.whitened) else 0, step):
            part = slice(start, start + step)
            apart = own[part, None] - self.whitened
            squares = np.einsum("ntp,ntp->nt", apart, apart) / self.reach**2
            for label, rows in of_class.items():
                nearest, usual = squares[:, rows].min(axis=1), 2 * apart.shape[2]
                # two images of one kind lie twice as far apart, in the square, as one from the mean of its
                # kind; what lies much farther is of another kind, and half of a long way would not be long
                taught = np.maximum(nearest / 2, nearest - usual)
                found[part, label] = np.minimum(found[part, label], taught)
        return found


def measured_gates(
    gallery: Embeddings,
    statistics: Float32[np.ndarray, "n p"],
    fresh: Bool[np.ndarray, " n"],
    k: int,
) -> Gates:
    """Measure what is usual in a gallery.

    Distances are measured from images that were not trained on, where there are some, since those that were
    lie closer to their class than any new image will. The statistics owe training nothing: all images count.

    Args:
        gallery: n images.
        statistics: float32 (n, p), of their pixels.
        fresh: (n,), images that were not trained on.
        k: which neighbour is measured to.
    """
    rows = np.flatnonzero(fresh) if fresh.any() else np.arange(len(gallery))
    asked = np.sort(np.random.default_rng(0).permutation(rows)[:MOST_ASKED])
    classes = len(gallery.class_names)
    by_size = usual_by_size(gallery.vectors, gallery.labels, asked, k)
    scales = class_scales(gallery.vectors, gallery.labels, asked, classes, k, by_size, OWN_SHARE)
    mean, whitener = _whitening(statistics)
    ready = classed(gallery.vectors, gallery.labels, classes)
    near = nearest_of_each(gallery.vectors[asked], ready, k, asked[:, None])
    distances = distances_at(near, ready.counts, k)
    strange = (distances / scales).min(axis=1, initial=np.inf)
    unusual = np.linalg.norm(_whitened(statistics, mean, whitener), axis=1)
    return Gates(
        sizes=np.array(list(by_size), np.int64),
        usual=np.array(list(by_size.values())),
        scales=scales,
        mean=mean,
        whitener=whitener,
        units=np.array([_unit(strange, EMBEDDED_UNIT), CLEARANCE * _unit(unusual, STATISTICS_UNIT)]),
        others=np.empty((0, len(mean))),
        reach=np.empty(0),
        folded=np.zeros(classes, np.uint8),
    )


def joined(
    gallery: Embeddings,
    digests: NDArray[np.uint64],
    gates: Gates | None,
    ng: tuple[str, ...],
    k: int,
    taught: Taught | None,
) -> Known:
    """Return the base gallery with what was taught; a class taught anew comes after the model's own."""
    names = gallery.class_names
    own, reach = (np.empty((0, 0)), np.empty(0)) if gates is None else (gates.others, gates.reach)
    folded = np.zeros(len(names), np.bool_) if gates is None else gates.folded.astype(np.bool_)
    if taught is None or gates is None:
        return Known(
            embeddings=gallery,
            base=len(gallery),
            digests=digests,
            gates=gates,
            scales=np.ones(len(names)) if gates is None else gates.scales,
            whitened=own,
            reach=reach,
            new=folded,
            ng=np.array([name in ng for name in names], np.bool_),
            k=k,
        )
    more = taught.embeddings
    all_names = (*names, *(name for name in more.class_names if name not in names))
    number = np.array([all_names.index(name) for name in more.class_names], np.int64)
    labels = number[more.labels]
    by_size = dict(zip(gates.sizes.tolist(), gates.usual.tolist(), strict=True))
    scales = class_scales(more.vectors, labels, np.arange(len(more)), len(all_names), k, by_size)
    scales[: len(names)] = gates.scales
    whitened = _whitened(taught.statistics, gates.mean, gates.whitener)
    return Known(
        embeddings=Embeddings(
            vectors=np.concatenate([gallery.vectors, more.vectors]),
            labels=np.concatenate([gallery.labels, labels]),
            class_names=all_names,
            names=gallery.names + more.names,
            fingerprint=gallery.fingerprint,
        ),
        base=len(gallery),
        digests=np.concatenate([digests, taught.digests]) if len(digests) == len(gallery) else digests,
        gates=gates,
        scales=scales,
        whitened=np.concatenate([own, whitened]),
        reach=np.concatenate([reach, _reach(whitened, labels)]),
        new=np.concatenate([folded, np.ones(len(all_names) - len(names), np.bool_)]),
        ng=np.array([name in (*ng, *taught.ng) for name in all_names], np.bool_),
        k=k,
    )


def _reach(whitened: NDArray[np.float64], labels: Int64[np.ndarray, " t"]) -> NDArray[np.float64]:
    """Return for each taught image how much wider its class is spread than the learnt images are; 1 to 2.

    The median over the class's images of the distance to the nearest other one, over √2p, which is usual
    between two learnt images; or, if that is more, what its own distance from these lets expect.
    """
    p = whitened.shape[1]
    reach = np.sqrt(BESIDE * np.einsum("tp,tp->t", whitened, whitened) / (2 * p))
    for label in np.unique(labels).tolist():
        rows = np.flatnonzero(labels == label)
        if len(rows) > 1:
            own = torch.from_numpy(whitened[rows].astype(np.float32))
            near = nearest(own, own, 1, exclude=torch.arange(len(rows))).distances
            ratio = float(np.median(near)) / np.sqrt(2 * p)
            shown = np.clip(ratio, 1.0, TWICE) ** (len(rows) / (len(rows) + FEW))
            reach[rows] = np.maximum(reach[rows], shown)
    clipped: NDArray[np.float64] = np.clip(reach, 1.0, TWICE)
    return clipped


def _whitening(statistics: Float32[np.ndarray, "n p"]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return mean and whitener of the statistics, their covariance drawn as Ledoit and Wolf (2004) do."""
    from sklearn.covariance import LedoitWolf  # takes a second, and models that are made need it alone

    values = statistics.astype(np.float64)
    mean = values.mean(axis=0)
    spread = values.std(axis=0)
    # what never varies tells by any difference: by a thousandth of its value or of one grey level
    spread = np.maximum(spread, np.maximum(1e-3 * np.abs(mean), 1e-3))
    if len(values) < 2:  # one image has no spread of its own
        return mean, np.diag(1 / spread)
    covariance = LedoitWolf(assume_centered=True).fit((values - mean) / spread).covariance_
    lengths, axes = np.linalg.eigh(covariance)
    # images of which no two differ in some direction, such as copies of two, still get a finite whitener
    lengths = np.maximum(lengths, max(LEAST_SHARE * lengths.mean(), LEAST_SHARE))
    return mean, axes / np.sqrt(lengths) / spread[:, None]


def _whitened(
    statistics: Float32[np.ndarray, "n p"], mean: NDArray[np.float64], whitener: NDArray[np.float64]
) -> NDArray[np.float64]:
    # not by a matrix product: that rounds by how many images there are
    white: NDArray[np.float64] = np.einsum("np,pq->nq", statistics.astype(np.float64) - mean, whitener)
    return white


def _unit(scores: NDArray[np.float64], share: float) -> float:
    finite = scores[np.isfinite(scores)]
    unit = float(np.quantile(finite, share)) if len(finite) else 1.0
    return unit if unit > 0 else 1.0

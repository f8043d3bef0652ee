"""Embeddings of any dimension, flat: what the scatter draws."""

import numpy as np
import torch
from jaxtyping import Float32

from ..space.neighbors import nearest

__all__ = ["flatten"]

PERPLEXITY = 30
FEWEST = 12  # below it a point has hardly three neighbours, and the principal plane says as much
COARSENESS = 0.8  # Barnes-Hut angle; 0.5 takes 1.6 times as long for the same trustworthiness
EXAGGERATED_STEPS, STEPS = 125, 300  # half of the library's: twice as fast, the same trustworthiness


def flatten(vectors: Float32[np.ndarray, "n d"], seed: int) -> Float32[np.ndarray, "n 2"]:
    """Lay embeddings out in the plane, near ones near each other.

    Two dimensions stay as they are, one lies along the first axis. More are projected by t-SNE (van der
    Maaten and Hinton, 2008) in openTSNE, started from the principal plane (Kobak and Berens, 2019) on exact
    neighbours, on one core, so that the same vectors and seed give the same picture. Fewer than 12 vectors
    are laid on their principal plane; vectors that are all equal, on the origin.

    Args:
        vectors: float32 (n, d), all finite.
        seed: of the jitter that parts vectors with the same place on the principal plane.

    Returns:
        float32 (n, 2).

    >>> flatten(np.array([[3.0], [5.0]], dtype=np.float32), seed=0).tolist()
    [[3.0, 0.0], [5.0, 0.0]]
    """
    n, dimension = vectors.shape
    if dimension == 2:
        return vectors
    if dimension == 1:
        return np.hstack([vectors, np.zeros_like(vectors)])
    centred = vectors - vectors.mean(axis=0, dtype=np.float64) if n else np.zeros((0, dimension))
    spread = np.abs(centred).max(initial=0.0)
    if spread <= np.finfo(np.float32).eps * np.abs(vectors).max(initial=0.0):
        return np.zeros((n, 2), dtype=np.float32)
    scaled = centred / spread
    flat = _principal_plane(scaled) if n < FEWEST else _neighbour_embedding(scaled, seed)
    return flat.astype(np.float32)


def _principal_plane(vectors: np.ndarray) -> np.ndarray:
    left, sizes, right = np.linalg.svd(vectors, full_matrices=False)
    flat = np.zeros((len(vectors), 2))
    axes = min(2, len(sizes))
    signs = np.sign(
        right[np.arange(axes), np.abs(right[:axes]).argmax(axis=1)]
    )  # an axis has no sign of its own
    flat[:, :axes] = left[:, :axes] * sizes[:axes] * signs
    return flat


def _neighbour_embedding(vectors: np.ndarray, seed: int) -> np.ndarray:
    from openTSNE import TSNE, affinity, initialization
    from openTSNE.nearest_neighbors import PrecomputedNeighbors

    n = len(vectors)
    perplexity = min(PERPLEXITY, (n - 1) // 3)
    rows = torch.from_numpy(vectors.astype(np.float32))
    near = nearest(rows, rows, 3 * perplexity, exclude=torch.arange(n))
    affinities = affinity.PerplexityBasedNN(
        perplexity=perplexity,
        knn_index=PrecomputedNeighbors(near.indices, near.distances.astype(np.float64)),
        n_jobs=1,
    )
    start = _principal_plane(vectors)
    initialization.rescale(start, inplace=True)
    initialization.jitter(start, inplace=True, random_state=seed)
    embedding = TSNE(
        perplexity=perplexity,
        initialization=start,
        negative_gradient_method="bh",
        theta=COARSENESS,
        early_exaggeration_iter=EXAGGERATED_STEPS,
        n_iter=STEPS,
        n_jobs=1,
        random_state=seed,
    ).fit(affinities=affinities)
    return np.asarray(embedding)

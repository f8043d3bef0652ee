"""The legend of the shapes that signatures carry.

    b  images of a batch        n  images, rows, embeddings      q  queries
    c  channels                 g  gallery rows                  k  neighbours
    h  height                   d  dimension of the embedding    t  triplets or pairs
    w  width                    s  seeds

They are checked at run time under the tests only (jaxtyping with beartype).
"""

import numpy as np
from jaxtyping import Bool, Float, Float32, Int64, UInt8
from torch import Tensor

# Arrays at rest
Labels = Int64[np.ndarray, " n"]
Indices = Int64[np.ndarray, " m"]
Vectors = Float32[np.ndarray, "n d"]

# Tensors at work
Embedded = Float[Tensor, "b d"]
Distances = Float[Tensor, "q g"]
Scalar = Float[Tensor, ""]

__all__ = [
    "Bool",
    "Distances",
    "Embedded",
    "Float",
    "Float32",
    "Indices",
    "Int64",
    "Labels",
    "Scalar",
    "Tensor",
    "UInt8",
    "Vectors",
]

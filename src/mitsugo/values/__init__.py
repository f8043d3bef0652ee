"""The nouns on the flow: images -> batches -> embeddings -> distances -> neighbours -> verdicts.

Each is a frozen value that is validated once, at birth; its arrays are made read-only.
"""

from .embeddings import Embeddings, Neighbors
from .epochs import Epoch, Position
from .frozen import freeze
from .images import LabeledImages, Split
from .intake import Framing, Intake
from .pixels import LazyPixels, Pixels, picked
from .scores import ClassScore, Gap, Inspection, LearningPoint, Rate, Score, Scores
from .verdicts import Neighbor, Verdict

__all__ = [
    "ClassScore",
    "Embeddings",
    "Epoch",
    "Framing",
    "Gap",
    "Inspection",
    "Intake",
    "LabeledImages",
    "LazyPixels",
    "LearningPoint",
    "Neighbor",
    "Neighbors",
    "Pixels",
    "Position",
    "Rate",
    "Score",
    "Scores",
    "Split",
    "Verdict",
    "freeze",
    "picked",
]

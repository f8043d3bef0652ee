"""The nouns on the flow: images -> batches -> embeddings -> distances -> neighbours -> verdicts.

Each is a frozen value that is validated once, at birth; its arrays are made read-only.
"""

from .calibration import Asked, Calibration, Inspecting, Kept
from .embeddings import Embeddings, Neighbors
from .epochs import Epoch, Position
from .frozen import freeze
from .gates import CALIBRATION, TEST, TRAIN, VALIDATION, Gates, Seen
from .images import LabeledImages, Split
from .intake import Framing, Intake
from .pixels import LazyPixels, Pixels, digests_of, digests_of_names, picked
from .scores import ClassScore, Gap, Inspection, LearningPoint, Rate, Score, Scores
from .taught import Taught
from .verdicts import UNKNOWN, Caution, Likeness, Neighbor, Verdict

__all__ = [
    "CALIBRATION",
    "TEST",
    "TRAIN",
    "UNKNOWN",
    "VALIDATION",
    "Asked",
    "Calibration",
    "Caution",
    "ClassScore",
    "Embeddings",
    "Epoch",
    "Framing",
    "Gap",
    "Gates",
    "Inspecting",
    "Inspection",
    "Intake",
    "Kept",
    "LabeledImages",
    "LazyPixels",
    "LearningPoint",
    "Likeness",
    "Neighbor",
    "Neighbors",
    "Pixels",
    "Position",
    "Rate",
    "Score",
    "Scores",
    "Seen",
    "Split",
    "Taught",
    "Verdict",
    "digests_of",
    "digests_of_names",
    "freeze",
    "picked",
]

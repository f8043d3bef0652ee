"""Labelled embeddings that are taught later: kept in one SQLite file beside the bundle."""

from .feedback import Feedback
from .rows import Batch, Row, check_rows, taught_of
from .store import Store, opened

__all__ = ["Batch", "Feedback", "Row", "Store", "check_rows", "opened", "taught_of"]

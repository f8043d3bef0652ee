"""Labelled embeddings that are taught later: kept in one SQLite file beside the bundle."""

from .rows import Batch, Feedback, Row, check_rows, taught_of
from .store import Store, opened

__all__ = ["Batch", "Feedback", "Row", "Store", "check_rows", "opened", "taught_of"]

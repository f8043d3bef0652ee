"""Batches in, embeddings out; and the one file that carries a model."""

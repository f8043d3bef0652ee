"""Pixels and labels in, batches out."""

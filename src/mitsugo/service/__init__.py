"""Verdicts over HTTP: a page for people and an API for machines, for one model and its gallery."""

"""Scores a model on held-out tasks."""

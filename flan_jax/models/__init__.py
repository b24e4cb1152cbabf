"""Flax NNX models with a pure core."""

"""Instruction tuning in JAX: declare tasks, see the plan, train, score."""

__version__ = "0.1.0"

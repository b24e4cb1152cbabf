"""What is done about losses, gradients and parameters that are not finite."""

from collections.abc import Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from flan_jax.errors import NotFinite

_SHOWN = 5


class SkippedSteps:
    """Counts the steps that changed nothing, as their loss or gradient was not finite.

    Args:
      tasks: names of the plan's tasks, in its order.
      most: so many in a row end the run.

    Attributes:
      total: of the run so far.
      in_a_row: up to the last step that was counted.
    """

    def __init__(self, tasks: Sequence[str], most: int):
        self.tasks, self.most = tasks, most
        self.total, self.in_a_row = 0, 0
        self._last: tuple[int, str] = (0, "")

    def count(self, step: int, metrics: Mapping[str, np.ndarray]) -> list[str]:
        """Counts a step in.

        Args:
          step: its number.
          metrics: what the train step gave.

        Returns:
          Names of the tasks whose loss is not finite; where the gradient alone is not, of all tasks in the batch. None
          for a step that was not skipped.
        """
        if not metrics["skipped"]:
            self.in_a_row = 0
            return []
        self.total, self.in_a_row = self.total + 1, self.in_a_row + 1
        there = metrics["task_weight_sum"] != 0
        at_fault = there & ~np.isfinite(metrics["task_loss_sum"])
        lost = bool(at_fault.any())
        names = [self.tasks[int(index)] for index in np.flatnonzero(at_fault if lost else there)]
        more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
        self._last = step, f"{'loss' if lost else 'gradient'} is not finite ({', '.join(names[:_SHOWN])}{more})"
        return names

    def line(self) -> str:
        """Tells of the step that was skipped last."""
        step, why = self._last
        return f"step {step} is skipped, as its {why}; steps skipped so far: {self.total}"

    def check(self) -> None:
        """Raises `NotFinite` when too many came in a row."""
        if self.in_a_row >= self.most:
            step, why = self._last
            several = f"the last {self.in_a_row} steps were" if self.in_a_row > 1 else "the last step was"
            raise NotFinite(
                f"{several} skipped: at step {step} the {why}. Look at the rows of those "
                "tasks, lower LEARNING_RATE, or let more steps in a row be skipped with Optimizer.max_skipped_steps"
            )


def check_parameters(params: Any, step: int) -> None:
    """Refuses parameters that no checkpoint should hold.

    Args:
      params: any tree of arrays; every process of a run calls this with its part.
      step: after which they are.

    Raises:
      NotFinite: one of them is infinite or not a number.
    """
    if not bool(_all_finite(params)):
        raise NotFinite(f"the parameters after step {step} are not finite, and are not saved; lower LEARNING_RATE")


@jax.jit
def _all_finite(params: Any) -> jax.Array:
    return jnp.all(jnp.stack([jnp.all(jnp.isfinite(leaf)) for leaf in jax.tree.leaves(params)]))

"""What a run takes over of the one that it starts from, beside parameters: the optimiser's statistics."""

import pathlib
from contextlib import closing
from typing import Any

import jax
import jax.numpy as jnp
import optax

from flan_jax.config.kept import load_run
from flan_jax.config.origins import is_run
from flan_jax.config.run_config import RunConfig
from flan_jax.errors import UserError
from flan_jax.training.checkpoints import Checkpoints, OtherState
from flan_jax.training.program import Program
from flan_jax.training.state import TrainState


def over(config: RunConfig, state: TrainState, program: Program) -> TrainState:
    """The state of step 0 with the optimiser's statistics of the run before, where `Run.carry` has "optimizer".

    The steps that schedules count begin anew; those by which moments are corrected for their start go on.

    Args:
      config: the run.
      state: its state of step 0, whose own statistics are given up.
      program: its step.

    Raises:
      UserError: it starts from no run, or from one whose optimiser has other statistics.
    """
    if "optimizer" not in config.carry:
        return state
    folder = str(config.lora.init_from if config.lora and config.lora.init_from else config.init_from)
    if not is_run(folder):
        raise UserError(
            f"Run.carry is {config.carry}, and the run starts from {folder}, which is no run and has no optimiser; "
            "leave it out"
        )
    del state["opt"]  # never held twice
    with closing(Checkpoints(pathlib.Path(folder) / "checkpoints", read_only=True)) as checkpoints:
        step = checkpoints.latest()
        assert step is not None  # its parameters were read
        try:
            statistics = checkpoints.restore_optimizer(step, program.abstract)
        except OtherState as fault:
            ours, theirs = config.optimizer.name, load_run(folder).optimizer.name
            raise UserError(
                f"Run.carry is {config.carry}, and the optimiser of {folder} ({theirs}) has other statistics than this "
                f"run's ({ours}): {fault}"
            ) from fault
    return {**state, "opt": _from_the_first_step(statistics)}


def told(config: RunConfig) -> str:
    """What is new in a run that starts from another.

    >>> told(RunConfig()), told(RunConfig(carry=("optimizer",)))
    ('optimiser and step are new', "the optimiser's statistics go on, the step is new")
    """
    carries = "optimizer" in config.carry
    return "the optimiser's statistics go on, the step is new" if carries else "optimiser and step are new"


def _from_the_first_step(statistics: Any) -> Any:
    """Statistics whose schedules begin anew."""

    def begun(part: Any) -> Any:
        if not isinstance(part, optax.ScaleByScheduleState):
            return part
        return optax.ScaleByScheduleState(jnp.zeros_like(part.count, device=part.count.sharding))

    return jax.tree.map(begun, statistics, is_leaf=lambda part: isinstance(part, optax.ScaleByScheduleState))

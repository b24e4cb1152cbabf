"""What a checkpoint says of its run beside parameters and optimiser: enough, with the plan, to go on exactly."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any


@dataclasses.dataclass(frozen=True)
class RunState:
    """Where a run is after a step.

    Attributes:
      step: steps done.
      plan: fingerprint of the data's plan.
      data: of `run_data.Data.state`: the window of the next row, and the rows before it; of each lane, where there are.
      seed: the run's.
      task_sums: sums by task since the last row of metrics that has them.
      skipped: steps that were skipped, in all and in a row.
      operative: the gin text of all that was bound.
    """

    step: int = 0
    plan: str = ""
    data: Mapping[str, Any] | None = None
    seed: int = 0
    task_sums: Sequence[Any] = ()
    skipped: tuple[int, int] = (0, 0)
    operative: str = ""

    def to_json(self) -> dict[str, Any]:
        """As `Checkpoints.save` takes it."""
        return dataclasses.asdict(self)

    @classmethod
    def of(cls, extra: Mapping[str, Any]) -> "RunState":
        """What `Checkpoints.restore` gives; checkpoints of other versions may have less, or more.

        >>> RunState.of({"step": 3, "of a later version": 1})
        RunState(step=3, plan='', data=None, seed=0, task_sums=(), skipped=(0, 0), operative='')
        """
        known = {field.name for field in dataclasses.fields(cls)}
        return cls(**{name: value for name, value in extra.items() if name in known})

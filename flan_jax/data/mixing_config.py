"""What a run mixes and in which order: plain words and numbers, read without JAX.

Shares are of *trainable tokens*: those that bear loss. Where a share may change in the course of a run it is a number,
or pairs of (part of the run that is done, share), between which it changes evenly:

    ((0.0, 0.5), (1.0, 0.1))      from a half at the first step to a tenth at the last
"""

import dataclasses
import math
import re
from collections.abc import Mapping
from typing import Literal

Schedule = float | tuple[tuple[float, float], ...]


def share_at(schedule: Schedule, done: float) -> float:
    """A scheduled share when this part of the run is done.

    >>> share_at(0.2, 0.7), round(share_at(((0.0, 0.5), (0.5, 0.1)), 0.25), 3), share_at(((0.0, 0.5), (0.5, 0.1)), 0.9)
    (0.2, 0.3, 0.1)
    """
    if isinstance(schedule, int | float):
        return float(schedule)
    later = next((number for number, (at, _) in enumerate(schedule) if at > done), len(schedule))
    if later in (0, len(schedule)):
        return float(schedule[min(later, len(schedule) - 1)][1])
    (start, before), (end, after) = schedule[later - 1 : later + 1]
    return before + (after - before) * (done - start) / (end - start)


def schedule_faults(name: str, schedule: Schedule, below: float = 1.0) -> list[str]:
    """What is wrong with a share or a schedule of shares.

    Args:
      name: the setting's name within its section.
      schedule: its value.
      below: what a share has to stay below.
    """
    if isinstance(schedule, int | float):
        return [] if 0 <= schedule < below else [f"{name} is {schedule}, wanted 0 or more and less than {below:g}"]
    places = [at for at, _ in schedule]
    if not places or places[0] != 0 or any(a >= b for a, b in zip(places, places[1:], strict=False)) or places[-1] > 1:
        return [f"{name} is {schedule}, wanted pairs of (part of the run, share) from 0.0 on, each later, up to 1.0"]
    return [
        f"{name} has {share} at {at}, wanted 0 or more and less than {below:g}"
        for at, share in schedule
        if not 0 <= share < below
    ]


def points_of(*schedules: Schedule) -> list[float]:
    """The parts of a run at which schedules turn, its beginning and its end among them.

    >>> points_of(0.1, ((0.0, 0.5), (0.25, 0.1)))
    [0.0, 0.25, 1.0]
    """
    turns = {at for schedule in schedules if not isinstance(schedule, int | float) for at, _ in schedule}
    return sorted({0.0, 1.0} | turns)


def is_off(schedule: Schedule) -> bool:
    """Whether a share is 0 from the first step to the last.

    >>> is_off(0.0), is_off(((0.0, 0.0), (1.0, 0.1)))
    (True, False)
    """
    return not any(share_at(schedule, at) for at in points_of(schedule))


@dataclasses.dataclass(frozen=True)
class BalanceConfig:
    """How the tasks of MIXTURE share it, in the place of the rates that it declares. All off: these hold.

    Attributes:
      cap: the most examples of a task that count; rates are in proportion to examples then, whatever caps and rates the
        mixture declares.
      temperature: rates are examples to the power of 1 / temperature, at most `cap` of them, or without one as many as
        the mixture's own cap lets count; 1 is in proportion.
      weights: factors of rates, by a task's name, a pattern of names ("super_ni.*") or a cluster. Of several for a task
        its name goes before a pattern, a longer pattern before a shorter one, and a pattern before a cluster. 0 leaves
        a task out.
      budgets: shares of clusters, within which their tasks keep to their rates, and which all other tasks divide the
        rest among: {"nli": 0.3}.
      floor: the least share of any task; those that have more pay for it, of a cluster with a budget within that.
      unit: what rates and shares are of: "examples", "tokens", or "trainable_tokens", of which every task then has its
        share however long its examples are, as the mean over the first draw of each has it.
    """

    cap: int | None = None
    temperature: float | None = None
    weights: dict[str, float] = dataclasses.field(default_factory=dict)
    budgets: dict[str, float] = dataclasses.field(default_factory=dict)
    floor: float = 0.0
    unit: Literal["examples", "tokens", "trainable_tokens"] = "examples"

    @property
    def balances(self) -> bool:
        """Whether anything is set, so that declared rates do not hold."""
        return self != BalanceConfig()

    def faults(self) -> list[str]:
        """Every fault of these settings that shows without data."""
        faults = []
        if self.cap is not None and self.cap < 1:
            faults.append(f"cap is {self.cap}, wanted a positive number of examples, or None")
        if self.temperature is not None and not self.temperature > 0:
            faults.append(f"temperature is {self.temperature}, wanted more than 0: 1 for rates in proportion, or None")
        faults += [
            f"weights has {weight} for {name!r}, wanted 0 or more"
            for name, weight in self.weights.items()
            if not weight >= 0
        ]
        faults += [
            f"budgets has {share} for {name!r}, wanted a share of more than 0 and at most 1"
            for name, share in self.budgets.items()
            if not 0 < share <= 1
        ]
        whole = math.fsum(self.budgets.values())
        if whole > 1 + 1e-9 and all(share <= 1 for share in self.budgets.values()):
            faults.append(f"budgets add up to {whole:g}, wanted shares of at most 1 in all")
        if not 0 <= self.floor <= 1:
            faults.append(f"floor is {self.floor}, wanted a share from 0 to 1")
        return faults


@dataclasses.dataclass(frozen=True)
class PretrainingConfig:
    """Plain text beside the instructions, in the same rows or in rows of its own.

    Attributes:
      mixture: tasks of plain text, which stand beside those of MIXTURE; None: those that MIXTURE holds already.
      fraction: the share of trainable tokens that they have: a number, or a schedule.
      lengths: {"inputs", "targets"}, bounds on one example of theirs; None: as long as their rows.
      rows: {"inputs", "targets"}, the lengths of rows of their own, for the tasks of `mixture`: then a step trains on
        rows of one kind, and is compiled for each; None: they pack into the rows of MIXTURE, of FEATURE_LENGTHS.
      batch_size: how many of those a step takes; None: the multiple of BATCH_SIZE that comes closest to the tokens of a
        step of MIXTURE.
      tokens: how many trainable tokens of each task of `mixture` are prepared, in chunks of its corpus that the seed
        draws; None: what the run comes to.
      loss_weight: factor of the loss of all tasks whose objective is one on plain text; 0: they are read, not learnt.
      eval: whether the loss of their validation split is measured wherever the run is scored, where they have one.
    """

    mixture: str | None = None
    fraction: Schedule = 0.0
    lengths: dict[str, int] | None = None
    rows: dict[str, int] | None = None
    batch_size: int | None = None
    tokens: int | None = None
    loss_weight: float = 1.0
    eval: bool = True

    @property
    def apart(self) -> bool:
        """Whether any plain text is trained on in rows of its own."""
        return self.rows is not None and not is_off(self.fraction)

    def example_lengths(self, feature_lengths: Mapping[str, int]) -> Mapping[str, int]:
        """Bounds on one example, beside the rows of FEATURE_LENGTHS."""
        return self.lengths or self.rows or feature_lengths

    def faults(self) -> list[str]:
        """Every fault of these settings that shows without data."""
        faults = schedule_faults("fraction", self.fraction)
        if not 0 <= self.loss_weight < math.inf:
            faults.append(f"loss_weight is {self.loss_weight}, wanted 0 or more, and finite")
        for name in ("lengths", "rows"):
            value: dict[str, int] | None = getattr(self, name)
            if value is not None and (set(value) != {"inputs", "targets"} or min(value.values(), default=0) < 1):
                faults.append(f"{name} is {value}, wanted a length of 1 or more for 'inputs' and for 'targets'")
        if self.rows is not None and self.mixture is None:
            faults.append(
                f"rows is {self.rows}, and PRETRAINING names no task that they are of; set it, or leave rows out"
            )
        if self.batch_size is not None and self.rows is None:
            faults.append(
                f"batch_size is {self.batch_size}, and rows is None: text is in the rows of MIXTURE; set both"
            )
        if self.batch_size is not None and self.batch_size < 1:
            faults.append(f"batch_size is {self.batch_size}, wanted 1 or more")
        if self.tokens is not None and self.tokens < 1:
            faults.append(f"tokens is {self.tokens}, wanted 1 or more")
        return faults


@dataclasses.dataclass(frozen=True)
class ReplayConfig:
    """Tasks that were trained on before, mixed in so that they are not forgotten.

    Attributes:
      mixture: what is replayed: mixtures or tasks, with commas between. A stage of STAGES replays what the stages
        before it trained on, unless it names some of that.
      fraction: the share of trainable tokens that it has: a number, or a schedule.
    """

    mixture: str | None = None
    fraction: Schedule = 0.0

    def faults(self) -> list[str]:
        """Every fault of these settings that shows without data."""
        return schedule_faults("fraction", self.fraction)


def shares_faults(pretraining: PretrainingConfig, replay: ReplayConfig) -> list[str]:
    """What is wrong with shares that are sound by themselves: together they leave nothing to MIXTURE."""
    shares = pretraining.fraction, replay.fraction
    if pretraining.faults() or replay.faults():
        return []
    for at in points_of(*shares):
        one, other = (share_at(share, at) for share in shares)
        if one + other >= 1:
            when = (
                "" if all(isinstance(share, int | float) for share in shares) else f" when {at:.0%} of the run is done"
            )
            return [
                f"PRETRAINING_FRACTION is {one:g} and REPLAY_FRACTION {other:g}{when}, wanted less than 1 together: "
                "the rest is MIXTURE's"
            ]
    return []


@dataclasses.dataclass(frozen=True)
class CurriculumConfig:
    """In which order examples come; without it every pass is in an order of its own.

    Attributes:
      tasks: names, patterns or clusters of tasks, in the order in which they join; those that none names are there
        from the first step on.
      joins: what part of the run is done when each of `tasks` joins; empty: evenly, the first at once.
      by: what makes an example difficult, the easy ones coming first in a task's first pass: "length" in tokens,
        "loss" as `flan-jax prepare --difficulty RUN` measured it, or "field:NAME", a number in the data's rows.
      hard_first: whether the difficult ones come first.
      measured_by: the run that measured the loss; it may be left out where only one did.
    """

    tasks: tuple[str, ...] = ()
    joins: tuple[float, ...] = ()
    by: str | None = None
    hard_first: bool = False
    measured_by: str | None = None

    @property
    def orders(self) -> bool:
        """Whether anything is put in order."""
        return bool(self.tasks) or self.by is not None

    def faults(self) -> list[str]:
        """Every fault of these settings that shows without data."""
        faults = []
        if len(set(self.tasks)) < len(self.tasks):
            faults.append(f"tasks is {self.tasks}, wanted each name once")
        if self.joins and len(self.joins) != len(self.tasks):
            faults.append(f"joins is {self.joins}, wanted a part of the run for each of tasks, {self.tasks}")
        if list(self.joins) != sorted(self.joins) or any(not 0 <= join < 1 for join in self.joins):
            faults.append(f"joins is {self.joins}, wanted parts of the run from 0 to less than 1, none before the last")
        if self.by not in (None, "length", "loss") and not re.fullmatch("field:.+", self.by or ""):
            faults.append(f"by is {self.by!r}, wanted 'length', 'loss' or 'field:NAME'")
        if self.hard_first and self.by is None:
            faults.append(
                "hard_first is True, and by names nothing that makes an example difficult; set it to 'length'"
            )
        if self.measured_by is not None and self.by != "loss":
            faults.append(f"measured_by is {self.measured_by!r}, which goes with by = 'loss'; by is {self.by!r}")
        return faults

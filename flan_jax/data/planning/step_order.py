"""Which rows each step trains on where a run has rows of several shapes: a compiled step takes rows of one.

    lane     a plan whose rows have a shape of their own
    step s   the next step of one lane: each has its share of the steps, spread evenly

Lanes are split off one after the other: of t steps the first has (t * share + phase) >> 40, and of what is left the
second has its part by the same rule, and so on. So every step is exactly one lane's, any step's is known without those
before it, and of two lanes each is within one step of its share at any time; of K, within K - 1.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

from flan_jax.data.planning.plan import SHARE_BITS, Course
from flan_jax.errors import UserError

MOST_LANES = 4  # each has a step of its own to be compiled
_WHOLE = 1 << SHARE_BITS


@dataclasses.dataclass(frozen=True)
class _Leg:
    """Shares from a step on: the steps that each lane had before, each lane's part of what those before it leave, and
    how far each is from its next step; the last two in units of 2^-40."""

    start: int
    before: tuple[int, ...]
    parts: tuple[int, ...]
    phases: tuple[int, ...]

    def after(self, time: int) -> tuple[list[int], list[int]]:
        """Steps of each lane in the first `time` steps from the start on, and the phases by then."""
        counts, phases = [], []
        for part, phase in zip(self.parts, self.phases, strict=True):
            total = part * time + phase
            counts.append(total >> SHARE_BITS)
            phases.append(total & (_WHOLE - 1))
            time -= counts[-1]
        return counts, phases


class StepOrder:
    """The order of the steps of lanes.

    Args:
      shares: the part of the steps that each lane has, in units of 2^-40, which add up to 1; see `plan.shares_of`.
      courses: how they change: `Course.start` is a step.

    Raises:
      UserError: there are more lanes than `MOST_LANES`.

    >>> order = StepOrder([3 * 2**38, 2**38])
    >>> [order.of(step) for step in range(5)]
    [(0, 0), (0, 1), (1, 0), (0, 2), (0, 3)]
    >>> order.steps_by(100)
    [75, 25]
    """

    def __init__(self, shares: Sequence[int], courses: Sequence[Course] = ()):
        if len(shares) > MOST_LANES:
            raise UserError(
                f"rows of {len(shares)} shapes are trained on, wanted at most {MOST_LANES}, as a step is compiled for "
                "each; let some share their rows"
            )
        self.shares, self.courses = tuple(shares), tuple(courses)
        half = (_WHOLE // 2,) * len(shares)
        self._legs = [_Leg(0, (0,) * len(shares), _parts(self.shares), half)]
        for course in self.courses:
            last = self._legs[-1]
            if course.start <= last.start:
                raise ValueError(f"a course starts at step {course.start}, the one before at {last.start}")
            counts, phases = last.after(course.start - last.start)
            before = tuple(a + b for a, b in zip(last.before, counts, strict=True))
            self._legs.append(_Leg(course.start, before, _parts(course.shares), tuple(phases)))

    def steps_by(self, step: int) -> list[int]:
        """How many of the first `step` steps each lane has."""
        leg = next(leg for leg in reversed(self._legs) if leg.start <= step)
        return [a + b for a, b in zip(leg.before, leg.after(step - leg.start)[0], strict=True)]

    def of(self, step: int) -> tuple[int, int]:
        """The lane of a step, and which of the lane's steps it is; both count from 0."""
        before, after = self.steps_by(step), self.steps_by(step + 1)
        lane = next(lane for lane, count in enumerate(before) if after[lane] > count)
        return lane, before[lane]

    def describe(self) -> dict[str, Any]:
        """What determines the order, JSON-able; `StepOrder.from_description` makes it again."""
        return {"shares": list(self.shares), "courses": [[one.start, list(one.shares)] for one in self.courses]}

    @classmethod
    def from_description(cls, description: Mapping[str, Any]) -> "StepOrder":
        """Makes an order from what `describe` gave."""
        courses = [Course(start, tuple(shares)) for start, shares in description["courses"]]
        return cls(description["shares"], courses)


def _parts(shares: Sequence[int]) -> tuple[int, ...]:
    """Each lane's part of what the lanes before it leave, in units of 2^-40; the last one's is all.

    >>> [part / 2**40 for part in _parts([2**39, 2**38, 2**38])]
    [0.5, 0.5, 1.0]
    """
    left = [sum(shares[number:]) for number in range(len(shares))]
    parts = [share * _WHOLE // rest if rest else 0 for share, rest in zip(shares, left, strict=True)]
    return (*parts[:-1], _WHOLE)

"""The data plan: which example sits in which row of which step, from integers alone.

    virtual time   0 ........ W ........ 2W ........           cut into windows of W examples
    task i         (T * r_i + u_i) >> 40 of its examples stand before time T: its share r_i of 2^40, its phase u_i
    example j of i epoch j // n_i, place j % n_i in that epoch's keyed permutation
    course         where shares change on the way, task i has r_ik from the start of its course k on; sums go on exactly
    window         all its examples, packed into rows (packing.py), rows in a keyed order
    row            numbered through the run; step s of batch size B trains on rows [s * B, (s + 1) * B)

So the plan is a pure function of (tasks, counts, shares, row shape, seed): steps, hosts and meshes are no part of it,
and any window can be computed without those before it. Only how many rows the windows hold accumulates.

At the end of every window each task has been seen within one example of its share, and none of its examples more than
once oftener than another. Within a window the rows are shuffled, also where a task's epoch ends in it.
"""

import dataclasses
import functools
import hashlib
import json
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from flan_jax.data.planning.order import mix
from flan_jax.data.planning.packing import pack
from flan_jax.errors import UserError

SHARE_BITS = 40
LARGEST_WINDOW = 8192
SMALLEST_WINDOW = 256
RULES = 2  # rises when another version of this file gives other rows for the same plan
_ORDER_OF_EXAMPLES, _ORDER_OF_ROWS = 1, 2  # what a hash is for

#: (task int32 [N], draw int32 [N], index int64 [N]) -> int64 [N, budgets]: tokens of examples, by place in their store.
LengthsOf = Callable[[np.ndarray, np.ndarray, np.ndarray], np.ndarray]


@dataclasses.dataclass(frozen=True)
class PlannedTask:
    """One task of a plan.

    Attributes:
      name: the seqio task.
      count: its examples.
      share: its part of the mixture, in units of 2^-40.
      fingerprint: of what shaped its tokens.
      draws: how many differently drawn stores its epochs go around.
      beside: whether it stands beside what is trained on, as plain text does: then it is no part of an epoch.
      in_order: whether its first pass goes through its examples in their order instead of a permutation's.
    """

    name: str
    count: int
    share: int
    fingerprint: str
    draws: int = 1
    beside: bool = False
    in_order: bool = False


@dataclasses.dataclass(frozen=True)
class Course:
    """Shares that hold from some time on.

    Attributes:
      start: virtual time, in examples of the whole mixture.
      shares: of each task, in units of 2^-40; one may be 0 for a while.
    """

    start: int
    shares: tuple[int, ...]


def shares_of(rates: Sequence[float]) -> list[int]:
    """Turns rates into whole shares of 2^40 that add up exactly, by largest remainder.

    >>> shares_of([3, 1]) == [3 * 2**38, 2**38]
    True
    >>> sum(shares_of([1, 1, 1])) == 2**40
    True
    """
    total = math.fsum(rates)  # rounds once, so that every Python gives the same
    if not 0 < total < math.inf:
        raise UserError(f"the mixture's rates add up to {total}; give its tasks finite rates, one of them above 0")
    exact = np.array(rates, np.float64) / total * 2**SHARE_BITS
    shares = exact.astype(np.int64)
    short = 2**SHARE_BITS - int(shares.sum())
    order = np.argsort(shares - exact, kind="stable")
    shares[order[:short] if short >= 0 else order[short:]] += np.sign(short)
    return shares.tolist()


def phases_of(shares: np.ndarray) -> np.ndarray:
    """How far each task is from its first example at time 0, in units of 2^-40: spread evenly over tasks of like share.

    Without them, a thousand tasks of the same share would have their next example at the same time, and windows would
    be too full or empty. Multiples of the golden ratio; never so close to 0 or 1 that the rounding of shares could
    move the end of an epoch (of up to 2^28 examples).

    >>> (phases_of(np.array([2**39, 2**39], np.uint64)) / 2**40).round(3).tolist()
    [0.618, 0.236]
    """
    rank = np.empty(len(shares), np.uint64)
    rank[np.argsort(shares, kind="stable")] = np.arange(1, len(shares) + 1, dtype=np.uint64)
    fraction = (rank * np.uint64(0x9E3779B97F4A7C15)) >> np.uint64(64 - SHARE_BITS)
    return np.clip(fraction, 2**28, 2**SHARE_BITS - 2**28)


def examples_by(time: int, shares: np.ndarray, phases: np.ndarray) -> np.ndarray:
    """How many examples of each task stand before virtual time `time`: share * time + phase, rounded down.

    Within one of the exact share at every time, and never falling. Exact in 64 bits for times below 2^43.

    Args:
      time: examples of the whole mixture.
      shares: uint64 [T].
      phases: uint64 [T], see `phases_of`.

    Returns:
      int64 [T].

    >>> shares = np.array([3 * 2**38, 2**38], np.uint64)
    >>> examples_by(10, shares, phases_of(shares)).tolist()
    [7, 3]
    """
    from flan_jax.data.planning import plan_kernels

    counts = np.empty(len(shares), np.int64)
    plan_kernels.examples_by(np.uint64(time >> 20), np.uint64(time & (2**20 - 1)), shares, phases, counts)
    return counts


@dataclasses.dataclass(frozen=True)
class _Leg:
    """A course with where its sums begin: what was before it, and how far each task is from its next example."""

    start: int
    shares: np.ndarray
    phases: np.ndarray
    before: np.ndarray


def _legs(shares: np.ndarray, courses: Sequence[Course]) -> list[_Leg]:
    legs = [_Leg(0, shares, phases_of(shares), np.zeros(len(shares), np.int64))]
    for course in courses:
        last = legs[-1]
        time = course.start - last.start
        if time <= 0:
            raise ValueError(f"a course starts at {course.start}, the one before at {last.start}")
        # Beyond 64 bits, so in Python's whole numbers.
        sums = [s * time + p for s, p in zip(last.shares.tolist(), last.phases.tolist(), strict=True)]
        before = last.before + np.array([total >> SHARE_BITS for total in sums], np.int64)
        phases = np.array([total & (2**SHARE_BITS - 1) for total in sums], np.uint64)
        legs.append(_Leg(course.start, np.array(course.shares, np.uint64), phases, before))
    return legs


@dataclasses.dataclass(frozen=True)
class Rows:
    """Packed rows of one window: row k holds entries [first[k], first[k + 1]).

    Attributes:
      first: int64 [R + 1].
      task: int32 [N], index into the plan's tasks.
      index: int64 [N], the example in its task's store.
      draw: int32 [N], which draw's store.
      epoch: int32 [N], which pass over the task.
    """

    first: np.ndarray
    task: np.ndarray
    index: np.ndarray
    draw: np.ndarray
    epoch: np.ndarray

    def __len__(self) -> int:
        return len(self.first) - 1

    def entries(self, row: int) -> range:
        """Which entries a row holds."""
        return range(int(self.first[row]), int(self.first[row + 1]))


class Plan:
    """The plan of one mixture.

    Args:
      tasks: what is mixed.
      capacities: tokens of a row by budget: {"inputs": Li, "targets": Lt}, or {"row": L} where a row holds both.
      seed: of order and permutations.
      packed: False gives every example a row of its own.
      largest_window: bound on the examples that are packed and shuffled together.
      courses: how shares change after those that the tasks have at first; later ones come later.
    """

    def __init__(
        self,
        tasks: Sequence[PlannedTask],
        capacities: Mapping[str, int],
        seed: int,
        packed: bool = True,
        largest_window: int = LARGEST_WINDOW,
        courses: Sequence[Course] = (),
    ):
        self.tasks, self.courses = tuple(tasks), tuple(courses)
        self.capacities = dict(capacities)
        self.seed, self.packed, self.largest_window = seed, packed, largest_window
        self._shares = np.array([task.share for task in self.tasks], np.uint64)
        self._counts = np.array([task.count for task in self.tasks], np.int64)
        self._draws = np.array([task.draws for task in self.tasks], np.int32)
        self._in_order = np.array([task.in_order for task in self.tasks], np.bool_)
        self._legs = _legs(self._shares, self.courses)
        passes = self._passes()
        #: Examples until the first task has been seen once: an epoch of the mixture.
        self.epoch_size = max(1, round(float(passes.min()))) if passes.min() < math.inf else int(self._counts.sum())
        even = passes.max() <= passes.min() * 1.01
        floor = 1 if even else SMALLEST_WINDOW
        parts = max(1, -(-self.epoch_size // largest_window))
        # Windows divide the epoch, so that every example is seen once before any is seen twice.
        self._parts = parts if self.epoch_size >= floor else 1
        self._span = max(self.epoch_size, floor)

    def boundary(self, window: int) -> int:
        """Virtual time at which a window starts."""
        whole, part = divmod(window, self._parts)
        return whole * self._span + self._span * part // self._parts

    def windows_of(self, epochs: float) -> float:
        """How many windows (with a fraction) hold `epochs` epochs of the mixture."""
        return epochs * self.epoch_size / self._span * self._parts

    def counts_by(self, window: int) -> np.ndarray:
        """Examples of each task before a window, int64 [T]."""
        time = self.boundary(window)
        leg = next(leg for leg in reversed(self._legs) if leg.start <= time)
        return leg.before + examples_by(time - leg.start, leg.shares, leg.phases)

    def _passes(self) -> np.ndarray:
        """Virtual time at which each task that makes an epoch has been seen once, float64."""
        ends = [leg.start for leg in self._legs[1:]] + [math.inf]
        left, found = self._counts.astype(np.float64), np.full(len(self.tasks), math.inf)
        for leg, end in zip(self._legs, ends, strict=True):
            shares = leg.shares / 2**SHARE_BITS
            with np.errstate(divide="ignore", invalid="ignore"):
                here = np.where(shares > 0, left / shares, math.inf)
            done = (found == math.inf) & (here <= end - leg.start)
            found[done] = leg.start + here[done]
            left = left - shares * (end - leg.start) if end < math.inf else left
        epoch = np.array([not task.beside for task in self.tasks])
        return found[epoch] if epoch.any() else found

    def examples(self, window: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """The examples of a window, unpacked: task int32 [N], index in the store int64 [N], epoch int32 [N]."""
        from flan_jax.data.planning import plan_kernels

        before, after = self.counts_by(window), self.counts_by(window + 1)
        size = int((after - before).sum())
        task, index, epoch = np.empty(size, np.int32), np.empty(size, np.int64), np.empty(size, np.int32)
        seed = np.uint64(self.seed % 2**64)
        orders = np.uint64(_ORDER_OF_EXAMPLES), self._in_order
        plan_kernels.window_examples(before, after, self._counts, seed, *orders, task, index, epoch)
        return task, index, epoch

    def rows(self, window: int, lengths_of: LengthsOf) -> Rows:
        """Packs a window.

        Args:
          window: which one.
          lengths_of: gives the tokens of examples by budget.
        """
        task, index, epoch = self.examples(window)
        draw = epoch % self._draws[task]
        lengths = lengths_of(task, draw, index)
        row_of = pack(lengths, np.array(list(self.capacities.values()))) if self.packed else np.arange(len(task))
        made = int(row_of.max()) + 1 if len(row_of) else 0
        place = np.empty(made, np.int64)
        hashes = mix(self.seed % 2**64, _ORDER_OF_ROWS, window, np.arange(made))
        place[np.argsort(hashes, kind="stable")] = np.arange(made)
        order = np.argsort(place[row_of], kind="stable")
        first = np.concatenate([[0], np.cumsum(np.bincount(place[row_of], minlength=made))])
        return Rows(first, task[order], index[order], draw[order], epoch[order])

    def draws_reached(self, windows: int) -> list[int]:
        """How many draws of each task the first `windows` windows use."""
        passes = -(-self.counts_by(windows) // self._counts)
        return np.clip(passes, 1, self._draws).tolist()

    def describe(self) -> dict[str, Any]:
        """What determines the plan, JSON-able; `Plan.from_description` makes it again."""
        more = {"courses": [[course.start, list(course.shares)] for course in self.courses]} if self.courses else {}
        return {
            "tasks": [dict(vars(task)) for task in self.tasks],
            **more,
            "rules": RULES,
            "capacities": self.capacities,
            "seed": self.seed,
            "packed": self.packed,
            "largest_window": self.largest_window,
        }

    @classmethod
    def from_description(cls, description: Mapping[str, Any]) -> "Plan":
        """Makes a plan from what `describe` gave.

        Raises:
          UserError: a version of flan_jax with other rules made it.
        """
        if description.get("rules") != RULES:
            raise UserError(
                f"the plan was made by rules {description.get('rules', 1)}, this version of flan_jax plans by {RULES}: "
                f"its batches would be others; use the version that versions.json names"
            )
        tasks = [PlannedTask(**task) for task in description["tasks"]]
        rest = {key: description[key] for key in ("capacities", "seed", "packed", "largest_window")}
        courses = [Course(start, tuple(shares)) for start, shares in description.get("courses", ())]
        return cls(tasks, **rest, courses=courses)

    @functools.cached_property
    def fingerprint(self) -> str:
        """Equal fingerprints mean equal batches."""
        rest = [RULES, list(self.capacities.items()), self.seed, self.packed, self.largest_window]
        whole = hashlib.sha256(json.dumps(rest).encode())
        whole.update("\0".join(text for task in self.tasks for text in (task.name, task.fingerprint)).encode())
        for column in (self._counts, self._shares, self._draws):
            whole.update(column.astype("<i8").tobytes())
        if self.courses or self._in_order.any() or any(task.beside for task in self.tasks):
            flags = [[task.beside, task.in_order] for task in self.tasks]
            whole.update(json.dumps([flags, self.describe().get("courses")]).encode())
        return whole.hexdigest()[:16]


def differences(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[str]:
    """Says in words how two plan descriptions differ; an empty list where they do not.

    >>> a = Plan([PlannedTask("qa", 10, 2**40, "x")], {"row": 8}, seed=0).describe()
    >>> b = Plan([PlannedTask("qa", 12, 2**40, "y")], {"row": 8}, seed=1).describe()
    >>> differences(a, b)
    ['seed was 0, is 1', "task 'qa' has other text or tokens", "task 'qa' had 10 examples, has 12"]
    """
    old = {"rules": 1, **old}  # the first rules had no number
    said = [
        f"{key} was {old[key]}, is {new[key]}"
        for key in ("rules", "seed", "capacities", "packed", "largest_window")
        if old[key] != new[key]
    ]
    if old.get("courses") != new.get("courses"):
        said.append("shares change otherwise in the course of the run (its length, or a schedule, is another)")
    before = {task["name"]: task for task in old["tasks"]}
    after = {task["name"]: task for task in new["tasks"]}
    said += [f"task {name!r} is gone" for name in before if name not in after]
    said += [f"task {name!r} is new" for name in after if name not in before]
    for name in (name for name in before if name in after):
        was, now = before[name], after[name]
        if was["fingerprint"] != now["fingerprint"]:
            same = was["fingerprint"].partition("-")[0] == now["fingerprint"].partition("-")[0]
            what = (
                "is trained on other examples of its store, or in another order" if same else "has other text or tokens"
            )
            said.append(f"task {name!r} {what}")
        if was["count"] != now["count"]:
            said.append(f"task {name!r} had {was['count']} examples, has {now['count']}")
        if was["share"] != now["share"] and was["count"] == now["count"]:
            old_share, new_share = was["share"] / 2**SHARE_BITS, now["share"] / 2**SHARE_BITS
            said.append(f"task {name!r} had {old_share:.4%} of the mixture, has {new_share:.4%}")
    return said

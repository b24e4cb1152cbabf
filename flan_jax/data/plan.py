"""The data plan: which example sits in which row of which step, from integers alone.

    virtual time   0 ........ W ........ 2W ........           cut into windows of W examples
    task i         its share r_i of 2^40 says how many of its examples each window holds
    example j of i epoch j // n_i, place j % n_i in that epoch's keyed permutation
    window         all its examples, packed into rows (packing.py), rows in a keyed order
    row            numbered through the run; step s of batch size B trains on rows [s * B, (s + 1) * B)

So the plan is a pure function of (tasks, counts, shares, row shape, seed): steps, hosts and meshes are no part of it,
and any window can be computed without those before it. Only how many rows the windows hold accumulates.
"""

import dataclasses
import hashlib
import json
import pathlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from flan_jax.data.packing import pack

SHARE_BITS = 40
LARGEST_WINDOW = 8192
SMALLEST_WINDOW = 256
_MASK64 = np.uint64(0xFFFFFFFFFFFFFFFF)

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
    """

    name: str
    count: int
    share: int
    fingerprint: str
    draws: int = 1


def shares_of(rates: Sequence[float]) -> list[int]:
    """Turns rates into whole shares of 2^40 that add up exactly, by largest remainder.

    >>> shares_of([3, 1]) == [3 * 2**38, 2**38]
    True
    >>> sum(shares_of([1, 1, 1])) == 2**40
    True
    """
    total = float(sum(rates))
    exact = [rate / total * 2**SHARE_BITS for rate in rates]
    shares = [int(value) for value in exact]
    short = 2**SHARE_BITS - sum(shares)
    for i in sorted(range(len(rates)), key=lambda i: (shares[i] - exact[i], i))[:short]:
        shares[i] += 1
    return shares


def examples_by(time: int, shares: np.ndarray) -> np.ndarray:
    """How many examples of each task stand before virtual time `time`: share * time, rounded to nearest.

    Within one of the exact share at every time, and never falling. Exact in 64 bits for times below 2^43.

    >>> examples_by(10, np.array([3 * 2**38, 2**38], np.uint64)).tolist()
    [8, 3]
    """
    high, low = np.uint64(time >> 20), np.uint64(time & (2**20 - 1))
    rounded = low * shares + np.uint64(1 << (SHARE_BITS - 1))
    return ((high * shares + (rounded >> np.uint64(20))) >> np.uint64(20)).astype(np.int64)


def mix(*words) -> np.ndarray:
    """A 64-bit hash of integers (SplitMix64's finaliser, chained); arrays broadcast.

    Our own so that no library's change of stream can change a plan. Source: Steele et al., OOPSLA 2014.

    >>> int(mix(1, 2)) == int(mix(1, 2)), int(mix(1, 2)) == int(mix(2, 1))
    (True, False)
    """
    state: Any = np.uint64(0x9E3779B97F4A7C15)
    with np.errstate(over="ignore"):
        for word in words:
            z = np.asarray(word, np.uint64) + state
            z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
            z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
            state = (z ^ (z >> np.uint64(31))) + np.uint64(0x9E3779B97F4A7C15)
    return np.asarray(state)


def permute(position: np.ndarray, count: np.ndarray, key: np.ndarray) -> np.ndarray:
    """Where each position goes in a keyed permutation of range(count), in no memory but the answers'.

    A four-round Feistel network over the next power of four, walked until the value is below `count` (cycle walking).

    Args:
      position: int64 [N], each below its count.
      count: int64 [N].
      key: uint64 [N].

    Returns:
      int64 [N].

    >>> sorted(permute(np.arange(7), np.full(7, 7), np.full(7, 5, np.uint64)).tolist())
    [0, 1, 2, 3, 4, 5, 6]
    """
    count = np.asarray(count, np.int64)
    bits = np.maximum(1, np.ceil(np.log2(np.maximum(count, 2)) / 2)).astype(np.uint64)
    mask = (np.uint64(1) << bits) - np.uint64(1)
    value = np.asarray(position).astype(np.uint64)
    todo = np.arange(len(value))
    while len(todo):
        left, right = value[todo] >> bits[todo], value[todo] & mask[todo]
        for step in range(4):
            left, right = right, left ^ (mix(key[todo], step, right) & mask[todo])
        value[todo] = (left << bits[todo]) | right
        todo = todo[value[todo] >= count[todo].astype(np.uint64)]
    return value.astype(np.int64)


def by_store(task: np.ndarray, draw: np.ndarray) -> tuple[np.ndarray, list[tuple[int, int, int, int]]]:
    """Groups examples by the store they are in, in O(N log N) however many tasks there are.

    Args:
      task: int [N].
      draw: int [N].

    Returns:
      order, int64 [N], and (task, draw, start, stop) of each store met: order[start:stop] are the examples in it.

    >>> by_store(np.array([1, 0, 1]), np.array([0, 0, 0]))
    (array([1, 0, 2]), [(0, 0, 0, 1), (1, 0, 1, 3)])
    """
    order = np.lexsort((draw, task))
    if not len(order):
        return order, []
    tasks, draws = task[order], draw[order]
    starts = np.flatnonzero(np.concatenate([[True], (tasks[1:] != tasks[:-1]) | (draws[1:] != draws[:-1])]))
    stops = np.append(starts[1:], len(order))
    found = zip(tasks[starts].tolist(), draws[starts].tolist(), starts.tolist(), stops.tolist(), strict=True)
    return order, list(found)


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
    """

    def __init__(
        self,
        tasks: Sequence[PlannedTask],
        capacities: Mapping[str, int],
        seed: int,
        packed: bool = True,
        largest_window: int = LARGEST_WINDOW,
    ):
        self.tasks = tuple(tasks)
        self.capacities = dict(capacities)
        self.seed, self.packed, self.largest_window = seed, packed, largest_window
        self._shares = np.array([task.share for task in tasks], np.uint64)
        self._counts = np.array([task.count for task in tasks], np.int64)
        self._draws = np.array([task.draws for task in tasks], np.int32)
        passes = self._counts / (self._shares / 2**SHARE_BITS)
        #: Examples until the first task has been seen once: an epoch of the mixture.
        self.epoch_size = max(1, round(float(passes.min())))
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
        return examples_by(self.boundary(window), self._shares)

    def examples(self, window: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """The examples of a window, unpacked: task, index in the store, epoch."""
        before, after = self.counts_by(window), self.counts_by(window + 1)
        each = after - before
        task = np.repeat(np.arange(len(each)), each)
        number = np.arange(len(task)) - np.repeat(np.cumsum(each) - each, each) + before[task]
        epoch, position = np.divmod(number, self._counts[task])
        index = permute(position, self._counts[task], mix(self.seed, 1, task, epoch))
        return task.astype(np.int32), index, epoch.astype(np.int32)

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
        place[np.argsort(mix(self.seed, 2, window, np.arange(made)), kind="stable")] = np.arange(made)
        order = np.argsort(place[row_of], kind="stable")
        first = np.concatenate([[0], np.cumsum(np.bincount(place[row_of], minlength=made))])
        return Rows(first, task[order], index[order], draw[order], epoch[order])

    def draws_reached(self, windows: int) -> list[int]:
        """How many draws of each task the first `windows` windows use."""
        seen = -(-self.counts_by(windows) // self._counts)
        return [int(min(max(1, s), task.draws)) for s, task in zip(seen, self.tasks, strict=True)]

    def describe(self) -> dict[str, Any]:
        """What determines the plan, JSON-able; `Plan.from_description` makes it again."""
        return {
            "tasks": [dataclasses.asdict(task) for task in self.tasks],
            "capacities": self.capacities,
            "seed": self.seed,
            "packed": self.packed,
            "largest_window": self.largest_window,
        }

    @classmethod
    def from_description(cls, description: Mapping[str, Any]) -> "Plan":
        """Makes a plan from what `describe` gave."""
        tasks = [PlannedTask(**task) for task in description["tasks"]]
        rest = {key: description[key] for key in ("capacities", "seed", "packed", "largest_window")}
        return cls(tasks, **rest)

    @property
    def fingerprint(self) -> str:
        """Equal fingerprints mean equal batches."""
        return hashlib.sha256(json.dumps(self.describe(), sort_keys=True).encode()).hexdigest()[:16]


def differences(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[str]:
    """Says in words how two plan descriptions differ; an empty list where they do not.

    >>> a = Plan([PlannedTask("qa", 10, 2**40, "x")], {"row": 8}, seed=0).describe()
    >>> b = Plan([PlannedTask("qa", 12, 2**40, "y")], {"row": 8}, seed=1).describe()
    >>> differences(a, b)
    ['seed was 0, is 1', "task 'qa' has other text or tokens", "task 'qa' had 10 examples, has 12"]
    """
    said = [
        f"{key} was {old[key]}, is {new[key]}"
        for key in ("seed", "capacities", "packed", "largest_window")
        if old[key] != new[key]
    ]
    before = {task["name"]: task for task in old["tasks"]}
    after = {task["name"]: task for task in new["tasks"]}
    said += [f"task {name!r} is gone" for name in before if name not in after]
    said += [f"task {name!r} is new" for name in after if name not in before]
    for name in (name for name in before if name in after):
        was, now = before[name], after[name]
        if was["fingerprint"] != now["fingerprint"]:
            said.append(f"task {name!r} has other text or tokens")
        if was["count"] != now["count"]:
            said.append(f"task {name!r} had {was['count']} examples, has {now['count']}")
        if was["share"] != now["share"] and was["count"] == now["count"]:
            old_share, new_share = was["share"] / 2**SHARE_BITS, now["share"] / 2**SHARE_BITS
            said.append(f"task {name!r} had {old_share:.4%} of the mixture, has {new_share:.4%}")
    return said


class RowIndex:
    """Cumulative rows by window, 8 bytes each; grows as windows become known and can always be computed anew.

    Args:
      plan: the plan.
      lengths_of: see `Plan.rows`.
      path: a file that keeps what is known between runs; None keeps it in memory.
    """

    def __init__(self, plan: Plan, lengths_of: LengthsOf, path: pathlib.Path | None = None):
        self.plan, self.lengths_of, self.path = plan, lengths_of, path
        self._ends: list[int] = []
        self._kept: dict[int, Rows] = {}
        if path is not None and path.exists():
            raw = path.read_bytes()
            self._ends = np.frombuffer(raw[: len(raw) // 8 * 8], "<i8").tolist()
            path.write_bytes(raw[: len(raw) // 8 * 8])  # a torn last entry is dropped

    def window(self, window: int) -> Rows:
        """The rows of a window; the last two are kept."""
        if window not in self._kept:
            while len(self._kept) > 1:
                self._kept.pop(min(self._kept))
            self._kept[window] = self.plan.rows(window, self.lengths_of)
        return self._kept[window]

    def end(self, window: int) -> int:
        """How many rows the windows up to and with this one hold."""
        while len(self._ends) <= window:
            total = (self._ends[-1] if self._ends else 0) + len(self.window(len(self._ends)))
            self._ends.append(total)
            if self.path is not None:
                with self.path.open("ab") as file:
                    file.write(np.int64(total).astype("<i8").tobytes())
        return self._ends[window]

    def locate(self, row: int) -> tuple[Rows, int]:
        """The window that holds the run's row number `row`, and its place there."""
        while not self._ends or self._ends[-1] <= row:
            self.end(len(self._ends))
        window = int(np.searchsorted(np.array(self._ends), row, side="right"))
        start = self._ends[window - 1] if window else 0
        return self.window(window), row - start

    def rows_in(self, epochs: float) -> int:
        """Rows that `epochs` epochs of the mixture fill."""
        windows = self.plan.windows_of(epochs)
        whole = int(windows + 1e-9)
        done = self.end(whole - 1) if whole else 0
        rest = windows - whole
        return done + (round(rest * (self.end(whole) - done)) if rest > 1e-9 else 0)

"""Copies planned rows out of the stores into batches of NumPy arrays, ahead of the step that wants them.

A packed row of an encoder-decoder, two examples, lengths 6 / 5 (EOS is 1, padding 0):

    encoder_input_tokens    7 8 9 4 5 0        decoder_target_tokens   3 1 6 2 1
    encoder_segment_ids     1 1 1 2 2 0        decoder_input_tokens    0 3 0 6 2      shifted within each segment
    encoder_positions       0 1 2 0 1 0        decoder_segment_ids     1 1 2 2 2
                                               decoder_loss_weights    1 1 1 1 1

A decoder-only row holds inputs ++ targets of each example; its loss weights are 0 on the inputs, and
`decoder_prefix_mask` marks the positions whose input token belongs to the inputs. Names are seqio's.
"""

import collections
import concurrent.futures
import dataclasses
from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from flan_jax.data.plan import LengthsOf, Plan, RowIndex, by_store
from flan_jax.data.store import Store, open_store

Batch = dict[str, np.ndarray]


@dataclasses.dataclass(frozen=True)
class Segment:
    """One example as it goes into a row.

    Attributes:
      inputs: int [Li] token ids, may be empty.
      targets: int [Lt] token ids.
      weights: float [Lt] loss weights of the targets, None for ones.
      task: index of its task in the plan.
    """

    inputs: np.ndarray
    targets: np.ndarray
    weights: np.ndarray | None = None
    task: int = 0


@dataclasses.dataclass(frozen=True)
class RowShape:
    """The shape of a row: which architecture reads it, and its lengths in tokens."""

    architecture: str  # "encoder_decoder" or "decoder"
    inputs: int
    targets: int

    @property
    def capacities(self) -> dict[str, int]:
        """The budgets that packing works with."""
        if self.architecture == "decoder":
            return {"row": self.inputs + self.targets}
        return {"inputs": self.inputs, "targets": self.targets}

    def budgets(self, inputs: np.ndarray, targets: np.ndarray) -> np.ndarray:
        """Token counts of examples, [N] each, as packing counts them: int [N, budgets]."""
        if self.architecture == "decoder":
            return (inputs + targets)[:, None]
        return np.stack([inputs, targets], axis=1)


def assemble(rows: Sequence[Sequence[Segment]], shape: RowShape) -> Batch:
    """Lays segments out in rows.

    Args:
      rows: the segments of each of B rows; they must fit.
      shape: architecture and lengths.

    Returns:
      Arrays [B, L], int32 and float32; see the module's docstring.

    >>> one = Segment(np.array([7, 8]), np.array([3, 1]))
    >>> batch = assemble([[one]], RowShape("decoder", 3, 2))
    >>> batch["decoder_input_tokens"].tolist(), batch["decoder_target_tokens"].tolist()
    ([[0, 7, 8, 3, 0]], [[7, 8, 3, 1, 0]])
    >>> batch["decoder_loss_weights"].tolist(), batch["decoder_prefix_mask"].tolist()
    ([[0.0, 0.0, 1.0, 1.0, 0.0]], [[1, 1, 1, 0, 0]])
    """
    joined = shape.architecture == "decoder"
    length = shape.inputs + shape.targets if joined else shape.targets
    names = ["input_tokens", "target_tokens", "segment_ids", "positions", "task_ids"] + ["prefix_mask"] * joined
    batch: Batch = {f"decoder_{name}": np.zeros((len(rows), length), np.int32) for name in names}
    batch["decoder_loss_weights"] = np.zeros((len(rows), length), np.float32)
    if not joined:
        for name in ("input_tokens", "segment_ids", "positions"):
            batch[f"encoder_{name}"] = np.zeros((len(rows), shape.inputs), np.int32)
    for b, row in enumerate(rows):
        enc, dec = 0, 0
        for number, segment in enumerate(row, 1):
            before = len(segment.inputs)
            if joined:
                tokens = np.concatenate([segment.inputs, segment.targets])
            else:
                at = slice(enc, enc + before)
                batch["encoder_input_tokens"][b, at] = segment.inputs
                batch["encoder_segment_ids"][b, at] = number
                batch["encoder_positions"][b, at] = np.arange(before)
                enc += before
                tokens = segment.targets
            end = dec + len(tokens)
            at = slice(dec, end)
            batch["decoder_target_tokens"][b, at] = tokens
            batch["decoder_input_tokens"][b, dec + 1 : end] = tokens[:-1]
            batch["decoder_segment_ids"][b, at] = number
            batch["decoder_positions"][b, at] = np.arange(len(tokens))
            batch["decoder_task_ids"][b, at] = segment.task
            start = dec + before if joined else dec
            batch["decoder_loss_weights"][b, start:end] = 1.0 if segment.weights is None else segment.weights
            if joined and before:
                # The input token of position p is token p - 1: the inputs are read at positions 0 .. before.
                batch["decoder_prefix_mask"][b, dec : min(dec + before + 1, end)] = 1
            dec = end
    return batch


class Loader:
    """Iterates over the batches of a plan from any step, prepared ahead by threads.

    Args:
      plan: the plan.
      folders: the store of each task and draw: folders[task][draw].
      shape: the row shape.
      batch_size: rows of the global batch.
      local_rows: which rows of the global batch this host wants, a slice of range(batch_size).
      index: cumulative rows by window.
      threads: how many threads copy rows; any number gives the same batches.
      prefetch: batches made ahead.
    """

    def __init__(
        self,
        plan: Plan,
        folders: Sequence[Sequence[str]],
        shape: RowShape,
        batch_size: int,
        *,
        local_rows: range | None = None,
        index: RowIndex | None = None,
        threads: int = 1,
        prefetch: int = 2,
    ):
        self.plan, self.folders, self.shape, self.batch_size = plan, folders, shape, batch_size
        self.local_rows = range(batch_size) if local_rows is None else local_rows
        self.index = index or RowIndex(plan, lengths_reader(folders, shape))
        self.threads, self.prefetch = max(1, threads), max(1, prefetch)

    def contents(self, step: int, rows: range | None = None) -> list[list[tuple[int, int, int, int]]]:
        """What each row of a step holds: (task, index in the store, draw, epoch) of every example."""
        rows = range(self.batch_size) if rows is None else rows
        found = []
        for b in rows:
            window, row = self.index.locate(step * self.batch_size + b)
            found.append(
                [
                    (int(window.task[e]), int(window.index[e]), int(window.draw[e]), int(window.epoch[e]))
                    for e in window.entries(row)
                ]
            )
        return found

    def segments(self, contents: list[list[tuple[int, int, int, int]]]) -> list[list[Segment]]:
        """Reads the examples of some rows."""
        rows = []
        for row in contents:
            stored = [(task, self.store(task, draw)[index]) for task, index, draw, _ in row]
            rows.append([Segment(e.inputs, e.targets, e.weights, task) for task, e in stored])
        return rows

    def store(self, task: int, draw: int) -> Store:
        """The store of one task and draw."""
        return open_store(self.folders[task][draw])

    def batch(self, step: int) -> Batch:
        """This host's rows of one step."""
        return assemble(self.segments(self.contents(step, self.local_rows)), self.shape)

    def from_step(self, start: int, stop: int) -> Iterator[tuple[int, Batch]]:
        """Batches of steps [start, stop), in order. An error in a thread is raised at its step."""
        ahead: collections.deque = collections.deque()
        with concurrent.futures.ThreadPoolExecutor(self.threads) as pool:
            try:
                for step in range(start, stop):
                    while len(ahead) < self.prefetch and step + len(ahead) < stop:
                        # Planning stays in this order and thread; only reading and copying is shared out.
                        wanted = self.contents(step + len(ahead), self.local_rows)
                        ahead.append(pool.submit(lambda rows: assemble(self.segments(rows), self.shape), wanted))
                    yield step, ahead.popleft().result()
            finally:
                for future in ahead:
                    future.cancel()


def lengths_reader(folders: Sequence[Sequence[str]], shape: RowShape) -> LengthsOf:
    """Gives a plan the lengths in the stores, read once each."""
    known: dict[tuple[int, int], np.ndarray] = {}

    def lengths_of(task: np.ndarray, draw: np.ndarray, index: np.ndarray) -> np.ndarray:
        order, groups = by_store(task, draw)
        lengths = np.empty((len(task), len(shape.capacities)), np.int64)
        for t, d, start, stop in groups:
            if (t, d) not in known:
                store = open_store(folders[t][d])
                known[t, d] = shape.budgets(store.lengths("inputs"), store.lengths("targets"))
            here = order[start:stop]
            lengths[here] = known[t, d][index[here]]
        return lengths

    return lengths_of


def row_shape(architecture: str, feature_lengths: Mapping[str, int]) -> RowShape:
    """The row shape of a run's FEATURE_LENGTHS."""
    return RowShape(architecture, feature_lengths["inputs"], feature_lengths["targets"])

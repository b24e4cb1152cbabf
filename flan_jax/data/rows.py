"""Lays examples out in rows of token ids.

A packed row of an encoder-decoder, two examples, lengths 6 / 5 (EOS is 1, padding 0):

    encoder_input_tokens    7 8 9 4 5 0        decoder_target_tokens   3 1 6 2 1
    encoder_segment_ids     1 1 1 2 2 0        decoder_input_tokens    0 3 0 6 2      shifted within each segment
    encoder_positions       0 1 2 0 1 0        decoder_segment_ids     1 1 2 2 2
                                               decoder_loss_weights    1 1 1 1 1

A decoder-only row holds inputs ++ targets of each example; its loss weights are 0 on the inputs, and
`decoder_prefix_mask` marks the positions whose input token belongs to the inputs. Names are seqio's.

What is read before an example's first token is `RowShape.begin`: 0 above, a model's beginning-of-sequence token, or -1
for models that have none: then position p reads token p and is to predict token p + 1, and the last predicts nothing.
"""

import dataclasses
from collections.abc import Mapping, Sequence

import numpy as np

Batch = dict[str, np.ndarray]

_DECODER = ("input_tokens", "target_tokens", "segment_ids", "positions", "task_ids", "prefix_mask")
_ENCODER = ("input_tokens", "segment_ids", "positions")


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
    begin: int = 0  # the token before an example's first, -1 for none (a decoder's only)

    @property
    def capacities(self) -> dict[str, int]:
        """The budgets that packing works with."""
        if self.architecture == "decoder":
            return {"row": self.inputs + self.targets}
        return {"inputs": self.inputs, "targets": self.targets}

    def features(self) -> dict[str, tuple[int, type[np.generic]]]:
        """Length and dtype of each array of a batch; see the module's docstring."""
        joined = self.architecture == "decoder"
        length = self.inputs + self.targets if joined else self.targets
        found: dict[str, tuple[int, type[np.generic]]] = {f"decoder_{name}": (length, np.int32) for name in _DECODER}
        if not joined:
            del found["decoder_prefix_mask"]
            found |= {f"encoder_{name}": (self.inputs, np.int32) for name in _ENCODER}
        return {**found, "decoder_loss_weights": (length, np.float32)}

    def budgets(self, inputs: np.ndarray, targets: np.ndarray) -> np.ndarray:
        """Token counts of examples, [N] each, as packing counts them: int [N, budgets]."""
        if self.architecture == "decoder":
            return (inputs + targets)[:, None]
        return np.stack([inputs, targets], axis=1)


def row_shape(architecture: str, feature_lengths: Mapping[str, int], begin: int = 0) -> RowShape:
    """The row shape of a run's FEATURE_LENGTHS."""
    return RowShape(architecture, feature_lengths["inputs"], feature_lengths["targets"], begin)


@dataclasses.dataclass(frozen=True)
class Places:
    """Where N examples lie in memory.

    Attributes:
      table: int64 [parts, 9], the `Part.addresses` of the parts that hold them.
      slot: int32 [N], which of the parts.
      local: int64 [N], which example there.
      owners: what keeps that memory in place.
    """

    table: np.ndarray
    slot: np.ndarray
    local: np.ndarray
    owners: Sequence[object]


def fill(places: Places, row: np.ndarray, task: np.ndarray, rows: int, shape: RowShape, check: bool) -> Batch | int:
    """Lays examples out in `rows` rows.

    Args:
      places: where the N examples lie.
      row: int32 [N], the row of each; those of a row stand together, in order.
      task: int32 [N], the index of each one's task.
      rows: B.
      shape: architecture and lengths.
      check: whether each example is compared with its checksum.

    Returns:
      Arrays [B, L], int32 and float32; see the module's docstring. Or the number of an example that is damaged.
    """
    from flan_jax.data import kernels

    joined = shape.architecture == "decoder"
    length = shape.inputs + shape.targets if joined else shape.targets
    decoder = np.zeros((len(_DECODER), rows, length), np.int32)
    encoder = np.zeros((len(_ENCODER), rows, 0 if joined else shape.inputs), np.int32)
    weights = np.zeros((rows, length), np.float32)
    how = (joined, shape.begin, check)
    bad = kernels.fill(places.table, places.slot, places.local, row, task, *how, decoder, weights, encoder)
    if bad >= 0:
        return bad
    made: Batch = {f"decoder_{name}": array for name, array in zip(_DECODER, decoder, strict=True)}
    made |= {f"encoder_{name}": array for name, array in zip(_ENCODER, encoder, strict=True)}
    made["decoder_loss_weights"] = weights
    return {name: made[name] for name in shape.features()}


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
    >>> batch = assemble([[one]], RowShape("decoder", 3, 2, begin=-1))
    >>> batch["decoder_input_tokens"].tolist(), batch["decoder_target_tokens"].tolist()
    ([[7, 8, 3, 1, 0]], [[8, 3, 1, 0, 0]])
    >>> batch["decoder_loss_weights"].tolist(), batch["decoder_prefix_mask"].tolist()
    ([[0.0, 1.0, 1.0, 0.0, 0.0]], [[1, 1, 0, 0, 0]])
    """
    segments = [segment for row in rows for segment in row]
    columns = _columns(segments)
    addresses = [array.ctypes.data for array in columns]
    table = np.array([[*addresses, 0, 4, len(columns[1]), len(columns[3])]], np.int64)
    count = len(segments)
    places = Places(table, np.zeros(count, np.int32), np.arange(count), columns)
    row = np.repeat(np.arange(len(rows), dtype=np.int32), [len(row) for row in rows])
    task = np.array([segment.task for segment in segments], np.int32)
    batch = fill(places, row, task, len(rows), shape, check=False)
    if isinstance(batch, int):
        one = segments[batch]
        raise ValueError(f"an example of {len(one.inputs)} + {len(one.targets)} tokens does not fit its row {shape}")
    return batch


def _columns(segments: Sequence[Segment]) -> list[np.ndarray]:
    """The segments as a part's columns: offsets and values of inputs and targets, and loss weights."""
    columns = []
    for each in ([s.inputs for s in segments], [s.targets for s in segments]):
        columns.append(np.concatenate([[0], np.cumsum([len(one) for one in each])]).astype(np.int64))
        columns.append(np.concatenate([np.zeros(0), *each]).astype(np.uint32))
    weights = [np.ones(len(s.targets)) if s.weights is None else s.weights for s in segments]
    return [*columns, np.concatenate([np.zeros(0), *weights]).astype(np.float32)]

"""What held-out examples cost a model: the mean loss a token, and the log-likelihood of their targets.

Always by plain cross-entropy, whatever the run trains with, so that runs compare. Logits are read in chunks, as in
training: those of 64 rows of 384 tokens, with 152,000 ids, are 15 GB.
"""

import functools
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from flan_jax.data.planning.packing import pack
from flan_jax.data.rows import RowShape, Segment, assemble
from flan_jax.data.stores.store import Store
from flan_jax.inference.model import InferenceModel, merged, refuse_nan
from flan_jax.parallel.mesh import row_ways
from flan_jax.training.loss import losses_of

_LOT = 4096  # examples that are held at once


def mean_loss(model: InferenceModel, store: Store, shape: RowShape, batch_size: int) -> float:
    """Mean cross-entropy a token, by the examples' own loss weights; examples share rows as in training.

    Raises:
      NotFinite: the logits are not finite.
    """
    rows = [segments for segments, _ in _packed(store, range(store.count), shape)]
    # A batch that is mostly empty costs as much as a full one.
    while batch_size % (2 * row_ways(model.mesh)) == 0 and -(-len(rows) // batch_size) * batch_size > 1.1 * len(rows):
        batch_size //= 2
    total, weight = 0.0, 0.0
    for start in range(0, len(rows), batch_size):
        some = rows[start : start + batch_size]
        batch = assemble(some + [[]] * (batch_size - len(some)), shape)
        total += float(refuse_nan(row_losses(model, batch)).sum())
        weight += float(batch["decoder_loss_weights"].sum())
    return total / max(weight, 1e-9)


def example_losses(
    model: InferenceModel, store: Store, shape: RowShape, batch_size: int, on_progress: Callable[[int], None]
) -> np.ndarray:
    """Mean cross-entropy a token of each example, by its own loss weights; 0 where none of its tokens bears loss.

    Args:
      model: the model.
      store: the examples, which share rows as in training.
      shape: how a row is laid out.
      batch_size: rows at once; the mesh must divide it.
      on_progress: told how many examples are done.

    Returns:
      float64 [examples].

    Raises:
      NotFinite: the logits are not finite.
    """
    found = np.zeros(store.count)
    for first in range(0, store.count, _LOT):
        lot = range(first, min(first + _LOT, store.count))
        rows = _packed(store, lot, shape)
        for start in range(0, len(rows), batch_size):
            some = rows[start : start + batch_size]
            batch = assemble([segments for segments, _ in some] + [[]] * (batch_size - len(some)), shape)
            losses, weights = refuse_nan(token_losses(model, batch)), batch["decoder_loss_weights"]
            for row, (_, numbers) in enumerate(some):
                segments = batch["decoder_segment_ids"][row]
                total, weight = (np.bincount(segments, one[row])[1:] for one in (losses, weights))
                found[numbers] = total / np.maximum(weight, 1e-9)
        on_progress(lot.stop)
    return found


def _packed(store: Store, wanted: range, shape: RowShape) -> list[tuple[list[Segment], list[int]]]:
    """Rows of some of a store's examples: the segments of each, and which examples they are."""
    examples = [store[index] for index in wanted]
    count = lambda feature: np.array([len(getattr(one, feature)) for one in examples], np.int64)
    row_of = pack(shape.budgets(count("inputs"), count("targets")), np.array(list(shape.capacities.values())))
    rows: list[tuple[list[Segment], list[int]]] = [([], []) for _ in range(int(row_of.max(initial=-1)) + 1)]
    for row, one, index in zip(row_of, examples, wanted, strict=True):
        rows[row][0].append(Segment(one.inputs, one.targets, one.weights))
        rows[row][1].append(index)
    return rows


def log_likelihoods(model: InferenceModel, store: Store, shape: RowShape, batch_size: int) -> list[float]:
    """The log-likelihood of every example's targets, summed by their loss weights: seqio's `scores`."""
    found: list[float] = []
    for start in range(0, store.count, batch_size):
        some = [store[i] for i in range(start, min(start + batch_size, store.count))]
        rows: list[list[Segment]] = [[Segment(one.inputs, one.targets, one.weights)] for one in some]
        losses = row_losses(model, assemble(rows + [[]] * (batch_size - len(rows)), shape))
        found += [-float(loss) for loss in losses[: len(rows)]]
    return found


def row_losses(model: InferenceModel, batch: Mapping[str, np.ndarray]) -> np.ndarray:
    """Summed cross-entropy of each row, each token by its loss weight.

    Args:
      model: the model.
      batch: [B, L] arrays, laid out as in training.

    Returns:
      float32 [B].
    """
    placed = dict(zip(batch, model.placed(*batch.values()), strict=True))
    return np.asarray(_losses(model.graph, model.mesh, by_row=True)(model.params, placed))


def token_losses(model: InferenceModel, batch: Mapping[str, np.ndarray]) -> np.ndarray:
    """Cross-entropy of each position by its loss weight, float32 [B, L]; otherwise as `row_losses`."""
    placed = dict(zip(batch, model.placed(*batch.values()), strict=True))
    return np.asarray(_losses(model.graph, model.mesh, by_row=False)(model.params, placed))


@functools.lru_cache(maxsize=16)
def _losses(graph: Any, mesh: Mesh, by_row: bool) -> Any:
    """A jitted `(params, batch) -> losses`, [B] or [B, L], the same on every device."""

    def weighted_losses(params: Any, batch: Mapping[str, jax.Array]) -> jax.Array:
        with jax.sharding.use_abstract_mesh(mesh.abstract_mesh):
            losses, weights = losses_of(merged(graph, params), batch).tokens, batch["decoder_loss_weights"]
            # Of a position without weight the loss means nothing, and may be no number.
            found = jnp.where(weights > 0, losses * weights, 0.0)
            return jnp.sum(found, axis=1) if by_row else found

    return jax.jit(weighted_losses, out_shardings=NamedSharding(mesh, PartitionSpec()))

"""What held-out examples cost a model: the mean loss a token, and the log-likelihood of their targets.

Always by plain cross-entropy, whatever the run trains with, so that runs compare. Logits are read in chunks, as in
training: those of 64 rows of 384 tokens, with 152,000 ids, are 15 GB.
"""

import functools
from collections.abc import Mapping
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


def mean_loss(model: InferenceModel, store: Store, shape: RowShape, batch_size: int) -> float:
    """Mean cross-entropy a token, by the examples' own loss weights; examples share rows as in training.

    Raises:
      NotFinite: the logits are not finite.
    """
    examples = [store[i] for i in range(store.count)]
    count = lambda feature: np.array([len(getattr(one, feature)) for one in examples], np.int64)
    lengths = shape.budgets(count("inputs"), count("targets"))
    row_of = pack(lengths, np.array(list(shape.capacities.values())))
    rows: list[list[Segment]] = [[] for _ in range(int(row_of.max(initial=-1)) + 1)]
    for row, one in zip(row_of, examples, strict=True):
        rows[row].append(Segment(one.inputs, one.targets, one.weights))
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
    return np.asarray(_row_losses(model.graph, model.mesh)(model.params, placed))


@functools.lru_cache(maxsize=16)
def _row_losses(graph: Any, mesh: Mesh) -> Any:
    """A jitted `(params, batch) -> losses [B]`, the same on every device."""

    def losses_of_rows(params: Any, batch: Mapping[str, jax.Array]) -> jax.Array:
        with jax.sharding.use_abstract_mesh(mesh.abstract_mesh):
            losses, weights = losses_of(merged(graph, params), batch).tokens, batch["decoder_loss_weights"]
            # Of a position without weight the loss means nothing, and may be no number.
            return jnp.sum(jnp.where(weights > 0, losses * weights, 0.0), axis=1)

    return jax.jit(losses_of_rows, out_shardings=NamedSharding(mesh, PartitionSpec()))

"""The likeliest tokens at each trained position of a batch, and their log-probabilities: what a teacher gives."""

import functools
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from flan_jax.inference.model import InferenceModel, merged, refuse_nan

_LOGITS = 1 << 24  # held at a time, of how many tokens that may be


def likeliest(
    model: InferenceModel, batch: Mapping[str, np.ndarray], top_k: int, vocab_size: int
) -> tuple[np.ndarray, np.ndarray]:
    """The likeliest next tokens wherever a batch's loss weights are above 0.

    Args:
      model: the model.
      batch: [B, L] arrays, laid out as in training; "decoder_loss_weights" says what is wanted.
      top_k: K.
      vocab_size: ids from this on are rows that only round the model's table up; they are no tokens.

    Returns:
      int32 [N, K] ids and float32 [N, K] log-probabilities, likeliest first, of the N wanted positions, row by row. Of
      a vocabulary smaller than K the last ones have -inf.

    Raises:
      NotFinite: the logits are not finite.
    """
    wanted = int((batch["decoder_loss_weights"] > 0).sum())
    placed = dict(zip(batch, model.placed(*batch.values()), strict=True))
    known = min(top_k, vocab_size)
    found = _likeliest(model.graph, model.mesh, known, vocab_size)(model.params, placed)
    ids, logprobs = (np.asarray(array)[:wanted] for array in found)
    refuse_nan(logprobs)
    more = ((0, 0), (0, top_k - known))
    return np.pad(ids, more), np.pad(logprobs, more, constant_values=-np.inf)


@functools.lru_cache(maxsize=4)
def _likeliest(graph: Any, mesh: Mesh, top_k: int, vocab_size: int) -> Any:
    """A jitted `(params, batch) -> ids, logprobs` whose first rows are those of the wanted positions."""

    def of_batch(params: Any, batch: Mapping[str, jax.Array]) -> tuple[jax.Array, jax.Array]:
        with jax.sharding.use_abstract_mesh(mesh.abstract_mesh):
            model = merged(graph, params)
            x = model.hidden(batch)
            wanted = batch["decoder_loss_weights"].reshape(-1) > 0
            tokens = wanted.size
            chunk = min(tokens, max(64, _LOGITS // vocab_size))
            order = jnp.pad(jnp.argsort(~wanted, stable=True), (0, -tokens % chunk))
            flat = x.reshape(tokens, -1)

            def turn(i: Any, kept: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, jax.Array]:
                here = jax.lax.dynamic_slice_in_dim(order, i * chunk, chunk)
                logits = model.logits(flat[here][None])[0, :, :vocab_size]
                logprobs, ids = jax.lax.top_k(jax.nn.log_softmax(logits, axis=-1), top_k)
                put = lambda into, part: jax.lax.dynamic_update_slice_in_dim(into, part, i * chunk, 0)
                return put(kept[0], ids), put(kept[1], logprobs)

            shape = (order.size, top_k)
            start = jnp.zeros(shape, jnp.int32), jnp.zeros(shape, jnp.float32)
            return jax.lax.fori_loop(0, (jnp.sum(wanted) + chunk - 1) // chunk, turn, start)

    return jax.jit(of_batch, out_shardings=NamedSharding(mesh, PartitionSpec()))

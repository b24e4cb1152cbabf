"""The log-probability of given answers, all options of a prompt at once."""

import functools
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float, Int

from flan_jax.models.model import Model


def score_options(
    model: Model, inputs: Int[Array, "B Lp"], options: Int[Array, "B O Lo"]
) -> tuple[Float[Array, "B O"], Int[Array, "B O"]]:
    """The log-probability of each answer option after its prompt.

    A prompt is read once for all its options, which then only look at what was computed of it.

    Args:
      model: an encoder-decoder or a decoder.
      inputs: one prompt a row, padded right with -1.
      options: token ids of each option, padded right with -1. Whether they end in EOS is the caller's choice.

    Returns:
      The summed log-probability of each option's tokens, and how many these are; -inf and 0 for an option of none.
    """
    graph, params = nnx.split(model, nnx.Param)
    return _score(graph, params, jnp.asarray(inputs), jnp.asarray(options))


@functools.partial(jax.jit, static_argnames="graph")
def _score(graph: Any, params: Any, inputs: Array, options: Array) -> tuple[Array, Array]:
    model = nnx.merge(graph, params)
    room = options.shape[2] - 1  # the last token is predicted, never read
    cache, first = model.prefill(inputs, max(room, 1))

    def one(option: Array) -> tuple[Array, Array]:
        """Scores one option of every row, [B, Lo]; under vmap all options share the prompt's cache."""
        logits = first[:, None]
        if room:
            logits = jnp.concatenate([logits, model.extend(cache, option[:, :-1], 0, inputs)[0]], axis=1)
        log_probs = jax.nn.log_softmax(logits)
        log_probs = jnp.take_along_axis(log_probs, jnp.maximum(option, 0)[:, :, None], axis=-1)[:, :, 0]
        return jnp.where(option >= 0, log_probs, 0.0).sum(axis=1), (option >= 0).sum(axis=1)

    sums, lengths = jax.vmap(one, in_axes=1, out_axes=1)(options)
    return jnp.where(lengths > 0, sums, -jnp.inf), lengths

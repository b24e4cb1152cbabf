"""Decoding and scoring for both architectures: every prompt is read once.

Each function compiles once for a set of shapes, whatever the tokens are: pad prompts and options to fixed lengths. They
may also be called inside a function that is jitted already.
"""

import functools
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float, Int, PRNGKeyArray

from flan_jax.errors import UserError
from flan_jax.models.model import Model


def greedy(
    model: Model, inputs: Int[Array, "B Lp"], max_new_tokens: int, eos_id: int
) -> tuple[Int[Array, "B N"], Float[Array, " B"]]:
    """Continues each prompt with the most probable token, again and again.

    Args:
      model: an encoder-decoder or a decoder.
      inputs: one prompt a row, padded right with 0.
      max_new_tokens: the most tokens N to make.
      eos_id: the token that ends an answer.

    Returns:
      The new tokens, up to and with `eos_id`, 0 after it; and the sum of their log-probabilities.
    """
    graph, params = nnx.split(model, nnx.Param)
    return _generate(graph, params, jnp.asarray(inputs), None, 0.0, 1.0, max_new_tokens, eos_id, 0, False)


def sample(
    model: Model,
    inputs: Int[Array, "B Lp"],
    max_new_tokens: int,
    eos_id: int,
    key: PRNGKeyArray,
    temperature: float = 1.0,
    top_k: int = 0,
    top_p: float = 1.0,
) -> tuple[Int[Array, "B N"], Float[Array, " B"]]:
    """Continues each prompt with tokens drawn from the model.

    Args:
      model: an encoder-decoder or a decoder.
      inputs: one prompt a row, padded right with 0.
      max_new_tokens: the most tokens N to make.
      eos_id: the token that ends an answer.
      key: the same key draws the same tokens.
      temperature: logits are divided by it.
      top_k: draw from the k most probable tokens; 0: from all.
      top_p: draw from the most probable tokens that together have this probability (at least one).

    Returns:
      As `greedy`. Log-probabilities are the model's own, before temperature, top_k and top_p.

    Raises:
      UserError: on a temperature that is not above 0, a negative top_k, or a top_p outside (0, 1].
    """
    faults = [
        *([] if temperature > 0 else [f"temperature is {temperature}, wanted more than 0 (or greedy decoding)"]),
        *([] if top_k >= 0 else [f"top_k is {top_k}, wanted 0 (all tokens) or more"]),
        *([] if 0 < top_p <= 1 else [f"top_p is {top_p}, wanted more than 0 and at most 1"]),
    ]
    if faults:
        raise UserError("Cannot sample: " + "; ".join(faults) + ".")
    graph, params = nnx.split(model, nnx.Param)
    filtered = top_p < 1
    return _generate(
        graph, params, jnp.asarray(inputs), key, temperature, top_p, max_new_tokens, eos_id, top_k, filtered
    )


def score_options(
    model: Model, inputs: Int[Array, "B Lp"], options: Int[Array, "B O Lo"]
) -> tuple[Float[Array, "B O"], Int[Array, "B O"]]:
    """The log-probability of each answer option after its prompt.

    A prompt is read once for all its options, which then only look at what was computed of it.

    Args:
      model: an encoder-decoder or a decoder.
      inputs: one prompt a row, padded right with 0.
      options: token ids of each option, padded right with 0. Whether they end in EOS is the caller's choice.

    Returns:
      The summed log-probability of each option's tokens, and how many these are; -inf and 0 for an option of none.
    """
    graph, params = nnx.split(model, nnx.Param)
    return _score(graph, params, jnp.asarray(inputs), jnp.asarray(options))


@functools.partial(jax.jit, static_argnames=("graph", "max_new_tokens", "top_k", "filtered"))
def _generate(
    graph: Any,
    params: Any,
    inputs: Array,
    key: PRNGKeyArray | None,
    temperature: Array | float,
    top_p: Array | float,
    max_new_tokens: int,
    eos_id: int,
    top_k: int,
    filtered: bool,
) -> tuple[Array, Array]:
    model = nnx.merge(graph, params)
    batch = inputs.shape[0]
    cache, logits = model.start(inputs, max_new_tokens)
    tokens = jnp.zeros((batch, max_new_tokens), jnp.int32)

    def unfinished(state: tuple[Any, ...]) -> Array:
        step, _, _, _, _, done = state
        return (step < max_new_tokens) & ~done.all()

    def advance(state: tuple[Any, ...]) -> tuple[Any, ...]:
        step, cache, logits, tokens, total, done = state
        if key is None:
            token = jnp.argmax(logits, axis=-1).astype(jnp.int32)
        else:
            token = _draw(jax.random.fold_in(key, step), logits / temperature, top_k, top_p if filtered else None)
        log_prob = jnp.take_along_axis(jax.nn.log_softmax(logits), token[:, None], axis=-1)[:, 0]
        total = total + jnp.where(done, 0.0, log_prob)
        token = jnp.where(done, 0, token)
        tokens = jax.lax.dynamic_update_slice_in_dim(tokens, token[:, None], step, axis=1)
        logits, cache = model.extend(cache, token[:, None], step, inputs)
        return step + 1, cache, logits[:, 0], tokens, total, done | (token == eos_id)

    state = (0, cache, logits, tokens, jnp.zeros((batch,)), jnp.zeros((batch,), bool))
    _, _, _, tokens, total, _ = jax.lax.while_loop(unfinished, advance, state)
    return tokens, total


def _draw(key: PRNGKeyArray, logits: Array, top_k: int, top_p: Array | float | None) -> Array:
    """Draws a token a row from logits [B, V]."""
    if not top_k and top_p is None:
        return jax.random.categorical(key, logits).astype(jnp.int32)
    ranked, order = jax.lax.top_k(logits, min(top_k or logits.shape[-1], logits.shape[-1]))
    if top_p is not None:
        probs = jax.nn.softmax(ranked)
        before = jnp.cumsum(probs, axis=-1) - probs  # what the tokens ranked higher have together: 0 for the first
        ranked = jnp.where(before < top_p, ranked, -jnp.inf)
    place = jax.random.categorical(key, ranked)
    return jnp.take_along_axis(order, place[:, None], axis=-1)[:, 0].astype(jnp.int32)


@functools.partial(jax.jit, static_argnames="graph")
def _score(graph: Any, params: Any, inputs: Array, options: Array) -> tuple[Array, Array]:
    model = nnx.merge(graph, params)
    room = options.shape[2] - 1  # the last token is predicted, never read
    cache, first = model.start(inputs, max(room, 1))

    def one(option: Array) -> tuple[Array, Array]:
        """Scores one option of every row, [B, Lo]; under vmap all options share the prompt's cache."""
        logits = first[:, None]
        if room:
            logits = jnp.concatenate([logits, model.extend(cache, option[:, :-1], 0, inputs)[0]], axis=1)
        log_probs = jax.nn.log_softmax(logits)
        log_probs = jnp.take_along_axis(log_probs, option[:, :, None], axis=-1)[:, :, 0]
        return jnp.where(option > 0, log_probs, 0.0).sum(axis=1), (option > 0).sum(axis=1)

    sums, lengths = jax.vmap(one, in_axes=1, out_axes=1)(options)
    return jnp.where(lengths > 0, sums, -jnp.inf), lengths

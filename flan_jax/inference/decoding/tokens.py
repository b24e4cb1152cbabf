"""Decoding token by token: the most probable one each time (greedy), or one drawn from the model."""

import dataclasses
import functools
from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Bool, Float, Int, PRNGKeyArray

from flan_jax.errors import UserError, together
from flan_jax.inference.decoding.choice import draw, ids_of, most_probable, without_end
from flan_jax.inference.decoding.layout import cache_for, laid_out
from flan_jax.models.kv_cache import KVCache, UnstackedKVCache
from flan_jax.models.model import Model


class Decoded(NamedTuple):
    """Answers; R of each prompt in `beam_search`, whose arrays have the dimension R after B.

    Attributes:
      tokens: int32 [B, N], up to and with the token that ends the answer, then -1.
      scores: float32 [B], the sum of the tokens' log-probabilities; in `beam_search` divided by length ** penalty.
      token_scores: float32 [B, N], the log-probability of each token, 0 after the end; before temperature, top_k, top_p
        and min_new_tokens, which are no part of the model.
    """

    tokens: Array
    scores: Array
    token_scores: Array


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Progress:
    """How far decoding has come.

    Attributes:
      made: tokens of every row; the last of them has not been read yet.
      cache: keys and values of what was read.
      tokens: made so far, -1 elsewhere.
      token_scores: their log-probabilities, 0 elsewhere.
      done: rows that have ended.
    """

    made: Int[Array, ""]
    cache: KVCache | UnstackedKVCache
    tokens: Int[Array, "B N"]
    token_scores: Float[Array, "B N"]
    done: Bool[Array, " B"]

    def decoded(self) -> Decoded:
        """The answers so far."""
        return Decoded(self.tokens, self.token_scores.sum(axis=1), self.token_scores)


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Choice:
    """How the next token is chosen.

    Attributes:
      ends: ids that end an answer.
      min_new_tokens: tokens before which none may end; None: it may end at once.
      keys: a key a row to draw with; None takes the most probable token.
      temperature: logits are divided by it.
      top_p: see `sample`; None: all tokens.
      top_k: see `sample`.
    """

    ends: Int[Array, " E"]
    min_new_tokens: Array | int | None = None
    keys: PRNGKeyArray | None = None
    temperature: Array | float = 1.0
    top_p: Array | float | None = None
    top_k: int = dataclasses.field(default=0, metadata={"static": True})

    def __call__(self, logits: Float[Array, "B V"], step: Int[Array, ""]) -> Int[Array, " B"]:
        """Chooses a token a row."""
        if self.min_new_tokens is not None:
            logits = without_end(logits, self.ends, step < self.min_new_tokens)
        if self.keys is None:
            return most_probable(logits)
        keys = jax.vmap(lambda key: jax.random.fold_in(key, step))(self.keys)
        return draw(keys, logits, self.temperature, self.top_k, self.top_p)


def greedy(
    model: Model,
    inputs: Int[Array, "B Lp"],
    max_new_tokens: int,
    eos_id: int | Sequence[int],
    *,
    min_new_tokens: int = 0,
) -> Decoded:
    """Continues each prompt with the most probable token, again and again.

    Args:
      model: an encoder-decoder or a decoder.
      inputs: one prompt a row, padded right with -1.
      max_new_tokens: the most tokens N to make.
      eos_id: the token that ends an answer, or several.
      min_new_tokens: no answer ends before it has so many tokens.
    """
    graph, params = nnx.split(model, nnx.Param)
    return _generate(graph, params, jnp.asarray(inputs), Choice(ids_of(eos_id), min_new_tokens or None), max_new_tokens)


def sample(
    model: Model,
    inputs: Int[Array, "B Lp"],
    max_new_tokens: int,
    eos_id: int | Sequence[int],
    key: PRNGKeyArray,
    temperature: float = 1.0,
    top_k: int = 0,
    top_p: float = 1.0,
    *,
    min_new_tokens: int = 0,
) -> Decoded:
    """Continues each prompt with tokens drawn from the model.

    Args:
      model: an encoder-decoder or a decoder.
      inputs: one prompt a row, padded right with -1.
      max_new_tokens: the most tokens N to make.
      eos_id: the token that ends an answer, or several.
      key: one key, of which row r draws with `fold_in(key, r)`, or a key a row. The same key draws the same tokens
        after the same prompt, whatever else is in the batch.
      temperature: logits are divided by it.
      top_k: draw from the k most probable tokens (and those as probable as the k-th); 0: from all.
      top_p: draw from the most probable tokens that together have this probability (at least one), of those that top_k
        kept.
      min_new_tokens: no answer ends before it has so many tokens.

    Raises:
      UserError: on a temperature that is not above 0, a negative top_k, or a top_p outside (0, 1].
    """
    check_sampling(temperature, top_k, top_p)
    graph, params = nnx.split(model, nnx.Param)
    keys = row_keys(key, inputs.shape[0]) if key.ndim == 0 else key
    choice = Choice(
        ids_of(eos_id), min_new_tokens or None, keys, temperature, None if top_p == 1 else top_p, top_k=top_k
    )
    return _generate(graph, params, jnp.asarray(inputs), choice, max_new_tokens)


def check_sampling(temperature: float, top_k: int, top_p: float) -> None:
    """Refuses settings that nothing can be drawn with.

    Raises:
      UserError: names every fault at once.
    """
    faults = [
        *([] if temperature > 0 else [f"temperature is {temperature}, wanted more than 0 (or greedy decoding)"]),
        *([] if top_k >= 0 else [f"top_k is {top_k}, wanted 0 (all tokens) or more"]),
        *([] if 0 < top_p <= 1 else [f"top_p is {top_p}, wanted more than 0 and at most 1"]),
    ]
    if faults:
        raise UserError(together(faults, "Cannot sample"))


def row_keys(key: PRNGKeyArray, rows: int, first: int = 0) -> PRNGKeyArray:
    """A key for each of `rows` rows, of which the first is row `first` of all that is to be answered."""
    return jax.vmap(lambda row: jax.random.fold_in(key, row))(first + jnp.arange(rows))


def begin(model: Model, inputs: Int[Array, "B Lp"], max_new_tokens: int, choice: Choice) -> Progress:
    """Reads the prompts and makes the first token.

    Args:
      model: an encoder-decoder or a decoder, from `laid_out`.
      inputs: one prompt a row, padded right with -1.
      max_new_tokens: the most tokens to make, at least 1.
      choice: how tokens are chosen.
    """
    start, logits = model.prefill(inputs, max_new_tokens)
    shape = (inputs.shape[0], max_new_tokens)
    tokens, scores = jnp.full(shape, -1, jnp.int32), jnp.zeros(shape)
    return _put(
        Progress(jnp.int32(0), cache_for(model, start), tokens, scores, jnp.zeros(shape[:1], bool)), logits, choice
    )


def advance(
    model: Model, inputs: Int[Array, "B Lp"], progress: Progress, choice: Choice, until: Int[Array, ""] | int
) -> Progress:
    """Makes tokens until there are `until` of every row, or all rows have ended.

    Args:
      model: the one that `progress` began with.
      inputs: the prompts.
      progress: from `begin` or an earlier call.
      choice: how tokens are chosen.
      until: at most `max_new_tokens` of `begin`.
    """

    def unfinished(now: Progress) -> Array:
        return (now.made < until) & ~now.done.all()

    def one(now: Progress) -> Progress:
        last = jax.lax.dynamic_slice_in_dim(now.tokens, now.made - 1, 1, axis=1)
        logits, cache = model.extend(now.cache, last, now.made - 1, inputs)
        return _put(dataclasses.replace(now, cache=cache), logits[:, 0], choice)

    return jax.lax.while_loop(unfinished, one, progress)


def _put(now: Progress, logits: Float[Array, "B V"], choice: Choice) -> Progress:
    """Chooses the next token and puts it behind the others."""
    token = choice(logits, now.made)
    score = jnp.take_along_axis(logits, token[:, None], axis=-1)[:, 0] - jax.nn.logsumexp(logits, axis=-1)
    token, score = jnp.where(now.done, -1, token), jnp.where(now.done, 0.0, score)
    put = lambda rows, column: jax.lax.dynamic_update_slice_in_dim(rows, column[:, None], now.made, axis=1)
    done = now.done | jnp.isin(token, choice.ends)
    return Progress(now.made + 1, now.cache, put(now.tokens, token), put(now.token_scores, score), done)


@functools.partial(jax.jit, static_argnames=("graph", "max_new_tokens"))
def _generate(graph: Any, params: Any, inputs: Array, choice: Choice, max_new_tokens: int) -> Decoded:
    model = laid_out(nnx.merge(graph, params))
    return advance(model, inputs, begin(model, inputs, max_new_tokens, choice), choice, max_new_tokens).decoded()

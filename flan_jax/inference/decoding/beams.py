"""Beam search, step for step that of transformers' `generate`."""

import dataclasses
import functools
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Bool, Float, Int

from flan_jax.errors import UserError, together
from flan_jax.inference.decoding.choice import ids_of, without_end
from flan_jax.inference.decoding.layout import cache_for, laid_out
from flan_jax.inference.decoding.tokens import Decoded
from flan_jax.models.kv_cache import KVCache, UnstackedKVCache
from flan_jax.models.model import Model

WORST = -1e9  # the score of a beam that is not there


def beam_search(
    model: Model,
    inputs: Int[Array, "B Lp"],
    max_new_tokens: int,
    eos_id: int | Sequence[int],
    num_beams: int,
    *,
    length_penalty: float = 1.0,
    early_stopping: bool | str = False,
    num_returned: int = 1,
    min_new_tokens: int = 0,
) -> Decoded:
    """Continues each prompt with the answers of the best score among those that a few beams find.

    A score is the sum of log-probabilities, divided by length ** length_penalty.

    Args:
      model: an encoder-decoder or a decoder.
      inputs: one prompt a row, padded right with -1.
      max_new_tokens: the most tokens N to make.
      eos_id: the token that ends an answer, or several.
      num_beams: answers that are followed at once.
      length_penalty: above 0 favours long answers, below 0 short ones.
      early_stopping: when a prompt's search ends: True, when num_beams answers have ended; False, when moreover no
        unfinished one would be better if it ended now; "never", when none can become better.
      num_returned: how many answers R of each prompt are returned, best first.
      min_new_tokens: no answer ends before it has so many tokens.

    Returns:
      Tokens [B, R, N], scores [B, R] and token_scores [B, R, N].

    Raises:
      UserError: on fewer than 1 beams, another early_stopping, or more answers wanted than there are beams.
    """
    check_beams(num_beams, early_stopping, num_returned)
    graph, params = nnx.split(model, nnx.Param)
    rules = _Rules(
        ids_of(eos_id),
        jnp.asarray(length_penalty, jnp.float32),
        min_new_tokens or None,
        max_new_tokens=max_new_tokens,
        num_beams=num_beams,
        early_stopping=early_stopping,
    )
    return _search(graph, params, jnp.asarray(inputs), rules, num_returned)


def check_beams(num_beams: int, early_stopping: bool | str, num_returned: int = 1) -> None:
    """Refuses settings that no search can be made with.

    Raises:
      UserError: names every fault at once.
    """
    faults = [
        *([] if num_beams >= 1 else [f"num_beams is {num_beams}, wanted 1 or more"]),
        *(
            []
            if early_stopping in (True, False, "never")
            else [f"early_stopping is {early_stopping!r}, wanted True, False or 'never'"]
        ),
        *([] if 1 <= num_returned <= max(num_beams, 1) else [f"num_returned is {num_returned}, wanted 1 to num_beams"]),
    ]
    if faults:
        raise UserError(together(faults, "Cannot search by beams"))


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class _Answers:
    """Answers [B, W, ...]: tokens and their log-probabilities [B, W, N], and a score each."""

    tokens: Array
    token_scores: Array
    scores: Float[Array, "B W"]

    def best(self, scores: Float[Array, "B W"], count: int) -> tuple["_Answers", Int[Array, "B C"]]:
        """The `count` answers of the best scores, with these, and their places."""
        scores, places = jax.lax.top_k(scores, count)
        return _Answers(_taken(self.tokens, places), _taken(self.token_scores, places), scores), places


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class _Search:
    """The state of a search.

    Attributes:
      made: tokens of every running beam; the last of them has not been read yet.
      cache: of what was read; each beam's own keys and values have the beams W after B.
      origins: which beam of the cache each running one goes on from.
      running: the beams, their scores without length penalty.
      ended: the best answers that have ended.
      is_ended: which places of `ended` hold one.
      open: prompts whose answers may still become better.
      stuck: whether no candidate of any prompt goes on.
    """

    made: Int[Array, ""]
    cache: KVCache | UnstackedKVCache
    origins: Int[Array, "B W"]
    running: _Answers
    ended: _Answers
    is_ended: Bool[Array, "B W"]
    open: Bool[Array, "B 1"]
    stuck: Bool[Array, ""]


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class _Rules:
    """What a search goes by; see `beam_search`."""

    ends: Int[Array, " E"]
    length_penalty: Float[Array, ""]
    min_new_tokens: Array | int | None
    max_new_tokens: int = dataclasses.field(metadata={"static": True})
    num_beams: int = dataclasses.field(metadata={"static": True})
    early_stopping: bool | str = dataclasses.field(metadata={"static": True})

    def select(self, now: _Search, logits: Float[Array, "B W V"]) -> _Search:
        """Goes on with the best candidates, and keeps the best of those that end."""
        candidates, origins = self._candidates(now, logits)
        made = now.made + 1
        token = jax.lax.dynamic_index_in_dim(candidates.tokens, now.made, axis=2, keepdims=False)
        stops = jnp.isin(token, self.ends) | (made >= self.max_new_tokens)
        running, places = candidates.best(candidates.scores + WORST * stops, self.num_beams)
        ended, is_ended = self._ended(now, candidates, stops)
        may_improve = self._may_improve(made, running.scores, ended.scores, is_ended)
        return _Search(
            made, now.cache, _taken(origins, places), running, ended, is_ended, now.open & may_improve, stops.all()
        )

    def _candidates(self, now: _Search, logits: Array) -> tuple[_Answers, Array]:
        """The best ways to go on, more than there are beams as some may end here; and the beam each comes from."""
        _, beams, size = logits.shape
        keep = max(2, 1 + len(self.ends)) * beams
        totals = jax.nn.logsumexp(logits, axis=-1, keepdims=True)
        if self.min_new_tokens is not None:
            logits = without_end(logits, self.ends, now.made < self.min_new_tokens)
        # The best of all beams are among the best of each.
        logits, tokens = jax.lax.top_k(logits, min(keep, size))
        log_probs = logits - totals
        scores = (log_probs + now.running.scores[:, :, None]).reshape(len(logits), -1)
        scores, places = jax.lax.top_k(scores, min(keep, scores.shape[1]))
        origins = places // tokens.shape[2]
        put = lambda rows, columns: jax.lax.dynamic_update_slice_in_dim(
            _taken(rows, origins), _taken(columns.reshape(len(logits), -1), places)[:, :, None], now.made, axis=2
        )
        return _Answers(put(now.running.tokens, tokens), put(now.running.token_scores, log_probs), scores), origins

    def _ended(self, now: _Search, candidates: _Answers, stops: Array) -> tuple[_Answers, Array]:
        """The best ended answers, with those of the candidates that just ended."""
        # Only the first num_beams candidates may end; the others are there to go on if these do.
        ending = stops & (jnp.arange(stops.shape[1]) < self.num_beams)
        full = now.is_ended.all(axis=1, keepdims=True) if self.early_stopping is True else False
        scores = candidates.scores / (now.made + 1.0) ** self.length_penalty
        scores = scores + WORST * jnp.asarray(full, jnp.float32) + WORST * ~now.open + WORST * ~ending
        both = jax.tree.map(
            lambda old, new: jnp.concatenate([old, new], axis=1),
            now.ended,
            dataclasses.replace(candidates, scores=scores),
        )
        ended, places = both.best(both.scores, self.num_beams)
        return ended, _taken(jnp.concatenate([now.is_ended, ending], axis=1), places)

    def _may_improve(self, made: Array, running: Array, ended: Array, is_ended: Array) -> Bool[Array, "B 1"]:
        """Whether the best running beam may come to a better score than the worst that ended."""
        length = jnp.asarray(made, jnp.float32)
        if self.early_stopping == "never":
            length = jnp.where(self.length_penalty > 0, float(self.max_new_tokens), length)
        best = running[:, :1] / length**self.length_penalty
        worst = jnp.where(is_ended, ended.min(axis=1, keepdims=True), WORST)
        return (best > worst).any(axis=1, keepdims=True)

    def unfinished(self, now: _Search) -> Bool[Array, ""]:
        """Whether any prompt's search goes on."""
        going_on = now.open.any() & ~now.stuck
        return going_on & ~now.is_ended.all() if self.early_stopping is True else going_on


def _taken(values: Array, places: Int[Array, "B C"]) -> Array:
    """values [B, W, ...] at places of W."""
    return jnp.take_along_axis(values, places.reshape(*places.shape, *[1] * (values.ndim - 2)), axis=1)


def _each_new(cache: KVCache | UnstackedKVCache, change: Callable[[Array, int], Any]) -> KVCache | UnstackedKVCache:
    """The cache with its arrays of new tokens changed by a function of each and of the dimension that is the batch."""
    if isinstance(cache, UnstackedKVCache):
        caches = [
            dataclasses.replace(one, new=jax.tree.map(lambda leaf: change(leaf, 0), one.new)) for one in cache.caches
        ]
        return UnstackedKVCache(tuple(caches))
    return dataclasses.replace(cache, new=jax.tree.map(lambda leaf: change(leaf, 1), cache.new))


def _beams(cache: KVCache | UnstackedKVCache) -> KVCache | UnstackedKVCache:
    """Where the beams are in each array, as vmap wants it; what was computed of the prompt is shared by all."""
    if isinstance(cache, UnstackedKVCache):
        return UnstackedKVCache((KVCache(new=1, prompt=None, memory=None),) * len(cache.caches))  # type: ignore[arg-type]
    return KVCache(new=2, prompt=None, memory=None)  # type: ignore[arg-type]


def _first(cache: KVCache | UnstackedKVCache, batch: int, rules: _Rules) -> _Search:
    """A search in which no token has been made; of the beams, all alike, only the first counts."""
    shape = (batch, rules.num_beams, rules.max_new_tokens)
    nothing = _Answers(jnp.full(shape, -1, jnp.int32), jnp.zeros(shape), jnp.full(shape[:2], WORST))
    running = dataclasses.replace(nothing, scores=nothing.scores.at[:, 0].set(0.0))
    cache = _each_new(
        cache, lambda leaf, batch: jnp.repeat(jnp.expand_dims(leaf, batch + 1), rules.num_beams, batch + 1)
    )
    no, yes = jnp.zeros(shape[:2], bool), jnp.ones((batch, 1), bool)
    return _Search(jnp.int32(0), cache, jnp.zeros(shape[:2], jnp.int32), running, nothing, no, yes, jnp.array(False))


@functools.partial(jax.jit, static_argnames=("graph", "num_returned"))
def _search(graph: Any, params: Any, inputs: Array, rules: _Rules, num_returned: int) -> Decoded:
    model = laid_out(nnx.merge(graph, params))
    start, logits = model.prefill(inputs, rules.max_new_tokens)

    def one(now: _Search) -> _Search:
        cache = _each_new(
            now.cache,
            lambda leaf, batch: (
                _taken(leaf, now.origins) if not batch else jax.vmap(_taken, (0, None))(leaf, now.origins)
            ),
        )
        last = jax.lax.dynamic_slice_in_dim(now.running.tokens, now.made - 1, 1, axis=2)
        beams = _beams(cache)
        extend = jax.vmap(lambda cache, token: model.extend(cache, token, now.made - 1, inputs), (beams, 1), (1, beams))
        logits, cache = extend(cache, last)
        return rules.select(dataclasses.replace(now, cache=cache), logits[:, :, 0])

    wide = jnp.broadcast_to(logits[:, None], (len(logits), rules.num_beams, logits.shape[-1]))
    first = rules.select(_first(cache_for(model, start), len(logits), rules), wide)
    best = jax.lax.while_loop(rules.unfinished, one, first).ended
    return jax.tree.map(lambda leaf: leaf[:, :num_returned], Decoded(best.tokens, best.scores, best.token_scores))

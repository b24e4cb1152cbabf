"""Rows of the embedding, and of a head of its own, for tokens that a model has not seen.

    rows      0 … known-1            known … 343            344 … 383
    before    trained, kept          unused, or not there   not there
    after     the same bits          their mean             their mean

The mean of what is there gives a new token the likeliness of an average one. Rows drawn as at the start of pretraining
may have a logit far above all others, which a tuned model would then say all the time (Hewitt, 2021).
"""

import functools
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx
from jax.sharding import Mesh

from flan_jax.models.config import ModelConfig
from flan_jax.models.model import abstract_model
from flan_jax.parallel.axes import sharding_of

_TABLES = (("embedding", "embedding"), ("embedding", "head"))


Leaves = Iterable[tuple[tuple[Any, ...], nnx.Variable]]


def with_new_rows(leaves: Leaves, config: ModelConfig, known: int, new: Sequence[int], mesh: Mesh) -> Iterator[Any]:
    """Parameters with rows for new tokens; all others are passed on as they are.

    Args:
      leaves: paths and parameters of the model with its own vocabulary, as `nnx.to_flat_state` gives them.
      config: the model with the new one.
      known: how many of the first ids have a trained row.
      new: the ids of the new tokens. What lies behind the old table is filled as they are.
      mesh: where the parameters lie.

    Yields:
      The paths and parameters of the model with the new one.
    """
    shardings = dict(nnx.to_flat_state(sharding_of(nnx.split(abstract_model(config), nnx.Param)[1], mesh)))
    grow = functools.partial(_grown, rows=config.vocab_size, known=known, new=tuple(new))
    for path, leaf in leaves:
        if path in _TABLES:
            leaf = leaf.replace(jax.jit(grow, out_shardings=shardings[path].get_value())(leaf.get_value()))
        yield path, leaf


def _grown(table: jax.Array, rows: int, known: int, new: tuple[int, ...]) -> jax.Array:
    mean = table[:known].astype(jnp.float32).mean(axis=0).astype(table.dtype)
    behind = jnp.broadcast_to(mean, (rows - table.shape[0], table.shape[1]))
    return jnp.concatenate([table, behind]).at[jnp.array(new, jnp.int32)].set(mean)

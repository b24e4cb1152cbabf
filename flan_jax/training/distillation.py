"""A teacher's distribution beside the targets: what a batch holds of it, and its divergence from a student's.

    loss of a token = (1 - w) * cross-entropy + w * T^2 * KL(teacher || student)

both distributions at temperature T (Hinton, Vinyals and Dean 2015: the square keeps the gradient's size). The store
holds the teacher's K likeliest tokens and their log-probabilities alone. Over these K its distribution is brought to a
sum of 1, and all others are taken to have none, much as Gemma 3 was distilled (technical report 2025: K = 256, drawn
instead of the likeliest); the student's is over the whole vocabulary. So at K = V this is the exact divergence.
"""

from collections.abc import Mapping
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from flan_jax.config.training_settings import DistillationConfig
from flan_jax.data.teaching import FEATURES


class Teacher(NamedTuple):
    """What a teacher says of a batch's tokens, at the temperature that is learnt at.

    Attributes:
      ids: its likeliest tokens.
      shares: their probabilities, which add up to 1; all 0 where it says nothing.
      negative_entropy: sum of shares * log shares.
      weight: the part of a token's loss that is its: 0 where it says nothing.
    """

    ids: Int[Array, "B L K"]
    shares: Float[Array, "B L K"]
    negative_entropy: Float[Array, "B L"]
    weight: Float[Array, "B L"]


def teacher_of(batch: Mapping[str, Array], config: DistillationConfig) -> Teacher:
    """What a batch holds of a teacher, with `config.temperature` and `config.weight`."""
    ids, logprobs = (batch[name] for name in FEATURES)
    logprobs = logprobs.astype(jnp.float32) / config.temperature
    speaks = jnp.isfinite(logprobs[..., 0])
    # What is likeliest stands first; of a vocabulary smaller than K the last ones are none.
    log_shares = jax.nn.log_softmax(jnp.where(speaks[..., None], logprobs, 0.0), axis=-1)
    shares = jnp.where(speaks[..., None], jnp.exp(log_shares), 0.0)
    negative_entropy = jnp.sum(jnp.where(shares > 0, shares * log_shares, 0.0), axis=-1)
    weight = jnp.where(speaks, config.weight, 0.0)
    return Teacher(ids, shares, negative_entropy, weight)


def divergences(logits: Float[Array, "B L V"], teacher: Teacher, temperature: float) -> Float[Array, "B L"]:
    """T^2 KL(teacher || student) of every position, in nats; 0 where the teacher says nothing.

    Args:
      logits: the student's, at temperature 1.
      teacher: see `Teacher`.
      temperature: T, that of the teacher's shares.
    """
    scaled = logits.astype(jnp.float32) / temperature
    expected = jnp.sum(teacher.shares * jnp.take_along_axis(scaled, teacher.ids, axis=-1), axis=-1)
    found = teacher.negative_entropy + jax.nn.logsumexp(scaled, axis=-1) - expected
    return jnp.where(teacher.weight > 0, temperature**2 * found, 0.0)

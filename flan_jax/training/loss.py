"""The loss of each target token, in float32."""

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, PRNGKeyArray

from flan_jax.config import named_functions
from flan_jax.config.training_settings import FORMS, DistillationConfig, LossConfig
from flan_jax.errors import UserError
from flan_jax.parallel.mesh import current_platform
from flan_jax.training.chunked_loss import Losses, Readout, chunk_tokens, chunked_losses, local_sizes
from flan_jax.training.distillation import divergences, teacher_of

CROSS_ENTROPY = LossConfig()
"""Plain cross-entropy."""


def cross_entropy(
    logits: Float[Array, "B L V"], targets: Int[Array, "B L"], label_smoothing: float = 0.0
) -> Float[Array, "B L"]:
    """Negative log-probability of each target, in nats.

    Args:
      logits: unnormalised scores over the vocabulary.
      targets: ids in [0, V).
      label_smoothing: share e of the target's probability spread over all V entries:
        `(1 - e) * -log p(target) + e * mean over v of -log p(v)`.

    Returns:
      Losses of every position, padding included: the weights are applied by the caller.

    >>> cross_entropy(jnp.zeros((1, 1, 4)), jnp.zeros((1, 1), int)).tolist() == [[float(jnp.log(4.0))]]
    True
    """
    logits = logits.astype(jnp.float32)
    log_normaliser = jax.nn.logsumexp(logits, axis=-1)
    # Compare and sum, not gather: it fuses, its gradient is no scatter, and a sharded vocabulary stays where it is.
    hit = targets[..., None] == jnp.arange(logits.shape[-1], dtype=targets.dtype)
    losses = log_normaliser - jnp.sum(jnp.where(hit, logits, 0.0), axis=-1)
    if label_smoothing:
        losses = (1 - label_smoothing) * losses + label_smoothing * (log_normaliser - jnp.mean(logits, axis=-1))
    return losses


def z_losses(logits: Float[Array, "B L V"], config: LossConfig) -> Float[Array, "B L"]:
    """The part of `token_losses` that comes from `config.z_loss`: its factor times log Z squared."""
    if not config.z_loss:
        return jnp.zeros(logits.shape[:-1], jnp.float32)
    return config.z_loss * jnp.square(jax.nn.logsumexp(logits.astype(jnp.float32), axis=-1))


def token_losses(
    logits: Float[Array, "B L V"], targets: Int[Array, "B L"], config: LossConfig = CROSS_ENTROPY
) -> Float[Array, "B L"]:
    """What is minimised at each position, before loss weights: the loss and the z-loss together.

    Args:
      logits: unnormalised scores over the vocabulary.
      targets: ids in [0, V).
      config: see `LossConfig`.

    Returns:
      Losses in float32, in nats unless a user's function says otherwise.

    Raises:
      UserError: a user's function gave another shape than that of the targets.
    """
    if config.function is None:
        losses = cross_entropy(logits, targets, config.label_smoothing)
    else:
        form = FORMS["Loss.function"]
        losses = named_functions.call("Loss.function", config.function, form, logits, targets)
        if getattr(losses, "shape", None) != targets.shape:
            gave = f"shape {losses.shape}" if hasattr(losses, "shape") else repr(losses)
            raise UserError(
                f"Loss.function is {named_functions.shown(config.function)}, which gave {gave} for targets of shape "
                f"{targets.shape}, wanted one loss a token: it is called as {form}"
            )
        losses = losses.astype(jnp.float32)
    return losses + z_losses(logits, config) if config.z_loss else losses


def losses_of(
    model: Any,
    batch: Mapping[str, Array],
    config: LossConfig = CROSS_ENTROPY,
    *,
    dropout_key: PRNGKeyArray | None = None,
    distillation: DistillationConfig | None = None,
) -> Losses:
    """What a batch costs a model, with the logits whole or in chunks as `config.chunk` says.

    Args:
      model: one of `flan_jax.models`; a module without their `hidden` and `embedding` is called for whole logits.
      batch: what the model reads, and "decoder_target_tokens" and "decoder_loss_weights" [B, L].
      config: see `LossConfig`.
      dropout_key: None for no dropout.
      distillation: how what the batch holds of a teacher is learnt beside the targets; None: it holds nothing.

    Returns:
      Losses; only their total can be differentiated.
    """
    targets, weights = batch["decoder_target_tokens"], batch["decoder_loss_weights"].astype(jnp.float32)
    teacher = None if distillation is None else teacher_of(batch, distillation)
    temperature = 1.0 if distillation is None else distillation.temperature
    chunk = 0
    if config.function is None and hasattr(model, "hidden"):
        sizes = local_sizes(targets.shape, model.embedding.table.shape[0])
        chunk = chunk_tokens(*sizes, current_platform()) if config.chunk == "auto" else config.chunk
    if chunk:
        shape = model.config
        readout = Readout(shape.embed_dim**-0.5 if shape.scale_logits else 1.0, shape.logit_cap)
        x = model.hidden(batch, dropout_key=dropout_key)
        how: dict[str, Any] = {"readout": readout, "chunk": chunk, "teacher": teacher, "temperature": temperature}
        return chunked_losses(x, model.embedding.table, targets, weights, config, **how)
    logits = model(batch, dropout_key=dropout_key)
    losses, fixed = token_losses(logits, targets, config), jax.lax.stop_gradient
    z = z_losses(logits, config)
    if teacher is None:
        return Losses(jnp.sum(losses * weights), fixed(losses), fixed(z))
    apart = divergences(logits, teacher, temperature)
    losses = (1 - teacher.weight) * (losses - z) + teacher.weight * apart + z
    taught = jnp.where(teacher.weight > 0, weights, 0.0)
    return Losses(jnp.sum(losses * weights), fixed(losses), fixed(z), divergence=(fixed(apart), taught))

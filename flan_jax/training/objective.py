"""What a step minimises: a function of the parameters and a batch, handed to the step.

The default is the likelihood of the batch's targets. A teacher's distribution, a second model or weights by row are
other functions of the same form, with the same trainer around them.
"""

from collections.abc import Callable, Mapping
from typing import Any

from flax import nnx
from jaxtyping import Array, PRNGKeyArray

from flan_jax.config.training_settings import DistillationConfig
from flan_jax.training.chunked_loss import Losses
from flan_jax.training.loss import CROSS_ENTROPY, LossConfig, losses_of

Objective = Callable[[Any, tuple[Any, ...], Mapping[str, Array], PRNGKeyArray | None], Losses]
"""`(params, frozen, batch, key) -> Losses`: what is trained, what stays as it is and is given to each step, a batch or
a part of it, and a key for dropout or None. Only the first is differentiated by."""


def likelihood(graph: Any, config: LossConfig = CROSS_ENTROPY) -> Objective:
    """The loss of a batch's targets, each token by its weight.

    Args:
      graph: the model's graph, from `nnx.split(model, nnx.Param)`, or from `flan_jax.models.lora.parts`.
      config: see `LossConfig`.

    Raises:
      UserError: settings of the loss that make none.
    """
    config.check()

    def objective(params: Any, frozen: tuple[Any, ...], batch: Mapping[str, Array], key: PRNGKeyArray | None) -> Losses:
        return losses_of(nnx.merge(graph, params, *frozen), batch, config, dropout_key=key)

    return objective


def distillation(graph: Any, config: LossConfig, settings: DistillationConfig) -> Objective:
    """The loss of a batch's targets and its divergence from a teacher; see `flan_jax.training.distillation`.

    Where the batch holds nothing of a teacher's, it is the likelihood.

    Args:
      graph: as in `likelihood`.
      config: of the targets' part.
      settings: the teacher's weight and temperature.

    Raises:
      UserError: settings of the loss that make none.
    """
    config.check()

    def objective(params: Any, frozen: tuple[Any, ...], batch: Mapping[str, Array], key: PRNGKeyArray | None) -> Losses:
        return losses_of(nnx.merge(graph, params, *frozen), batch, config, dropout_key=key, distillation=settings)

    return objective

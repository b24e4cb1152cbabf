"""From a config to a model."""

from flax import nnx

from flan_jax.errors import UserError
from flan_jax.models.config import ModelConfig
from flan_jax.models.decoder import Decoder
from flan_jax.models.encoder_decoder import EncoderDecoder

Model = EncoderDecoder | Decoder


def build(config: ModelConfig, rngs: nnx.Rngs) -> Model:
    """Builds a model with fresh parameters.

    It holds no random state: dropout takes its key in the call. Split it once,
    `graph, params = nnx.split(model, nnx.Param)`, and merge inside the jitted function.

    Args:
      config: what to build; `dtype` "auto" is settled by the machine this runs on.
      rngs: parameters are drawn from its stream "params".

    Raises:
      UserError: on a config that cannot be built, or whose vocabulary's size is not known yet.
    """
    config.check()
    if config.vocab_size == 0:
        raise UserError(
            "The model's vocab_size is 0, to be taken from the data, but no data set it; set Model.vocab_size."
        )
    config = config.resolved()
    return (EncoderDecoder if config.architecture == "encoder_decoder" else Decoder)(config, rngs=rngs)


def abstract_model(config: ModelConfig) -> Model:
    """A model of shapes alone: every parameter is a `jax.ShapeDtypeStruct`, and nothing is allocated.

    Args:
      config: as for `build`.
    """
    return nnx.eval_shape(lambda: build(config, nnx.Rngs(0)))

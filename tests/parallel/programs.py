"""Programs for test_ahead.py: they are named to the child, which compiles them for a TPU that is not there."""

import dataclasses

import jax
import jax.numpy as jnp
from flax import nnx
from jax.sharding import NamedSharding, PartitionSpec

from flan_jax.models import ModelConfig, abstract_model
from flan_jax.parallel.axes import sharding_of
from flan_jax.parallel.mesh import batch_sharding

NAMES = (
    "decoder_input_tokens",
    "decoder_target_tokens",
    "decoder_segment_ids",
    "decoder_positions",
    "decoder_prefix_mask",
)


def gradient(mesh, *, batch_size=32, length=64, **config):
    """The loss and gradient of a small model; parameters donated, so that gradients take their place."""
    config = ModelConfig(vocab_size=512, embed_dim=256, mlp_dim=512, head_dim=64, remat="dots", **config).resolved(
        "tpu"
    )
    graph, params = nnx.split(abstract_model(config), nnx.Param)
    shardings = sharding_of(params, mesh)
    names = [
        *NAMES,
        *(("encoder_input_tokens", "encoder_segment_ids") if config.architecture == "encoder_decoder" else ()),
    ]
    rows = jax.ShapeDtypeStruct((batch_size, length), jnp.int32, sharding=batch_sharding(mesh))

    def loss(params, batch):
        log_probs = jax.nn.log_softmax(nnx.merge(graph, params)(batch))
        return -jnp.take_along_axis(log_probs, batch["decoder_target_tokens"][..., None], axis=-1).mean()

    whole = NamedSharding(mesh, PartitionSpec())
    step = jax.jit(jax.value_and_grad(loss), donate_argnums=0, out_shardings=(whole, shardings))
    place = lambda leaf, sharding: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=sharding)
    return step, (jax.tree.map(place, params, shardings), dict.fromkeys(names, rows))


def too_large(mesh):
    """A product whose result no chip can hold."""
    whole = NamedSharding(mesh, PartitionSpec())
    side = jax.ShapeDtypeStruct((200_000, 128), jnp.float32, sharding=whole)
    return jax.jit(lambda x: x @ x.T, out_shardings=whole), (side,)


def broken(mesh):
    """Fails by itself."""
    raise ValueError(f"a fault of the program on {dataclasses.__name__}")

"""A model laid out as tokens are made fastest on this machine."""

import jax
import jax.numpy as jnp
from flax import nnx

from flan_jax.models.fast.choice import decodes_in_few_rows
from flan_jax.models.fast.few_rows import FewRowsLinear
from flan_jax.models.kv_cache import KVCache, UnstackedKVCache
from flan_jax.models.layers import Linear
from flan_jax.models.model import Model
from flan_jax.models.stack import Layer


def laid_out(model: Model) -> Model:
    """A model to decode with: on CPU one whose decoder has its layers twice, stacked and one by one; else the same.

    A scan over layers copies each layer's kernels out of the stack, on CPU, which costs as much again as their product
    with the few rows of one token. Layers one by one also have their kernels transposed (see `fast.few_rows`), and
    those with the same inputs joined. Prompts are read by the stacked layers.

    Args:
      model: any model; it is left as it is. One that is laid out already is returned.
    """
    if not decodes_in_few_rows() or model.decoder.unstacked is not None:
        return model
    model = nnx.merge(*nnx.split(model))
    layers = [model.decoder.layer(number) for number in range(model.decoder.num_layers)]
    for layer in layers:
        _transpose(layer, model.config.compute_dtype)
    model.decoder.unstacked = nnx.List(layers)
    model.embedding.few_rows = True
    return model


def cache_for(model: Model, cache: KVCache) -> KVCache | UnstackedKVCache:
    """A cache from `prefill` in the form that the model, laid out, goes on with."""
    if model.decoder.unstacked is None:
        return cache
    of_layer = lambda number: jax.tree.map(lambda leaf: leaf[number], cache)
    return UnstackedKVCache(tuple(map(of_layer, range(model.decoder.num_layers))))


def _transpose(layer: Layer, dtype: jnp.dtype) -> None:
    """Transposes and joins a layer's kernels, where they are plain: no codes, and no adapter beside them."""
    own, mlp = layer.self_attention, layer.mlp
    if all(map(_plain, (own.query, own.key, own.value))):
        own.query_key_value = _joined(own.query, own.key, own.value, dtype=dtype)
        del own.query, own.key, own.value
    singles = [(own, "out"), (mlp, "down")]
    if not hasattr(mlp, "gate"):
        singles.append((mlp, "up"))
    elif _plain(mlp.gate) and _plain(mlp.up):
        mlp.gate_and_up = _joined(mlp.gate, mlp.up, dtype=dtype)
        del mlp.gate, mlp.up
    if layer.has_cross:
        crossing = layer.cross_attention
        singles += [(crossing, "query"), (crossing, "out")]
        del crossing.key, crossing.value  # the stacked layers have read the encoder's output
    for module, name in singles:
        if _plain(linear := getattr(module, name)):
            setattr(module, name, _joined(linear, dtype=dtype))


def _plain(linear: Linear) -> bool:
    return not hasattr(linear, "kernel_scale") and not hasattr(linear, "lora_a")


def _joined(*linears: Linear, dtype: jnp.dtype) -> FewRowsLinear:
    biases = [linear.bias[...] for linear in linears if hasattr(linear, "bias")]
    return FewRowsLinear([linear.kernel[...].astype(dtype) for linear in linears], biases, linears[0].dims)

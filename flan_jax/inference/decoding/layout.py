"""A model laid out as tokens are made fastest on this machine."""

import math

import jax
import jax.numpy as jnp
from flax import nnx

from flan_jax.models.layers import Linear
from flan_jax.models.model import Model
from flan_jax.models.stack import Apart, Cache, Layer


def laid_out(model: Model) -> Model:
    """A model to decode with: on CPU one whose decoder has its layers twice, stacked and one by one; else the same.

    A scan over layers copies each layer's kernels out of the stack, on CPU, which costs as much again as their product
    with the few rows of one token. Layers one by one also have their kernels turned (see `products.few_rows`), and
    those with the same inputs joined. Prompts are read by the stacked layers.

    Args:
      model: any model; it is left as it is. One that is laid out already is returned.
    """
    if jax.default_backend() != "cpu" or model.decoder.apart is not None:
        return model
    model = nnx.merge(*nnx.split(model))
    layers = [model.decoder.layer(number) for number in range(model.decoder.num_layers)]
    for layer in layers:
        _turn(layer, model.config.compute_dtype)
    model.decoder.apart = nnx.List(layers)
    model.embedding.few_rows = True
    return model


def cache_for(model: Model, cache: Cache) -> Cache | Apart:
    """A cache from `start` in the form that the model, laid out, goes on with."""
    if model.decoder.apart is None:
        return cache
    of_layer = lambda number: jax.tree.map(lambda leaf: leaf[number], cache)
    return Apart(tuple(map(of_layer, range(model.decoder.num_layers))))


def _turn(layer: Layer, dtype: jnp.dtype) -> None:
    """Turns and joins a layer's kernels, where they are plain: no codes, and no adapter beside them."""
    own, mlp = layer.self_attention, layer.mlp
    singles = [own.out, mlp.down]
    if all(map(_plain, (own.query, own.key, own.value))):
        own.query_key_value = _joined(own.query, own.key, own.value, dtype=dtype)
        del own.query, own.key, own.value
    if not hasattr(mlp, "gate"):
        singles.append(mlp.up)
    elif _plain(mlp.gate) and _plain(mlp.up):
        mlp.gate_and_up = _joined(mlp.gate, mlp.up, dtype=dtype)
        del mlp.gate, mlp.up
    own.few_queries = True
    if layer.has_cross:
        crossing = layer.cross_attention
        crossing.few_queries = True
        singles += [crossing.query, crossing.out]
        del crossing.key, crossing.value  # the stacked layers have read the encoder's output
    for linear in filter(_plain, singles):
        _joined(linear, dtype=dtype)


def _plain(linear: Linear) -> bool:
    return not hasattr(linear, "kernel_scale") and not hasattr(linear, "lora_a")


def _joined(first: Linear, *others: Linear, dtype: jnp.dtype) -> Linear:
    """The first, turned, with what the others make behind its own, along the first of the dimensions that come out."""
    linears, dims = (first, *others), first.dims
    kernels = [linear.kernel[...].astype(dtype) for linear in linears]
    turned = [kernel.reshape(math.prod(kernel.shape[:dims]), -1).T for kernel in kernels]
    first.turned = (sum(kernel.shape[dims] for kernel in kernels), *kernels[0].shape[dims + 1 :])
    first.kernel = nnx.Param(jnp.concatenate(turned))
    if hasattr(first, "bias"):
        first.bias = nnx.Param(jnp.concatenate([linear.bias[...] for linear in linears]))
    return first

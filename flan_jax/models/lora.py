"""Low-rank adapters beside a frozen base: where they stand in a model, how they start, and folding them in.

A model with adapters splits into three parts, `graph, adapter, base = nnx.split(model, nnx.LoRAParam, nnx.Param)`. The
adapter is what is trained; `nnx.merge(graph, adapter, base)` gives the model back. Nothing here forms the merged
weights but `folded`.
"""

import math
import zlib
from collections.abc import Iterable, Iterator
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx
from jax.sharding import Mesh

from flan_jax.errors import UserError
from flan_jax.models import quantised
from flan_jax.models.config import ModelConfig
from flan_jax.models.layers import Embedding, Linear
from flan_jax.models.lora_config import QUANTISED, LoraConfig
from flan_jax.models.model import Model, abstract_model, build
from flan_jax.parallel.axes import sharding_of

ROWS = {"embedding_rows": "embedding", "head_rows": "head"}  # what is trained of some rows, and the table they are of
_WIDE = ("kernel", "embedding", "head")  # what `base_dtype` is about; norms, biases and tables stay as they are


def linears(model: nnx.Module) -> Iterator[tuple[str, Linear]]:
    """The projections of a model with their paths."""
    for path, node in nnx.iter_graph(model):
        if isinstance(node, Linear):
            yield ".".join(map(str, path)), node


def add_adapters(model: nnx.Module, lora: LoraConfig, modules: tuple[str, ...]) -> None:
    """Puts adapters of zeros into a model, in place; `draw` starts them.

    Args:
      model: the model; a stacked projection gets an adapter for each layer.
      lora: rank, scale and dropout.
      modules: from `LoraConfig.modules`.
    """
    for name, linear in linears(model):
        if name not in modules:
            continue
        kernel = linear.kernel
        shape, stacked = kernel.get_value().shape, kernel.get_value().ndim - len(kernel.axes)
        front, inputs, outputs = shape[:stacked], shape[stacked:][: linear.dims], shape[stacked:][linear.dims :]
        # Float32 whatever the base is kept in: these are the weights that move.
        linear.lora_a = nnx.LoRAParam(jnp.zeros((*front, *inputs, lora.rank)), axes=(*kernel.axes[: linear.dims], None))
        linear.lora_b = nnx.LoRAParam(
            jnp.zeros((*front, lora.rank, *outputs)), axes=(None, *kernel.axes[linear.dims :])
        )
        linear.lora_scale, linear.lora_dropout = lora.scale, lora.dropout


def add_rows(embedding: Embedding, rows: tuple[int, ...]) -> None:
    """Has rows of an embedding, and of a head of its own, trained beside the frozen tables, in place.

    What is trained is the difference from the frozen row, zero at the start.

    Raises:
      UserError: the embedding has not so many rows.
    """
    size, width = embedding.embedding.get_value().shape
    if rows and max(rows) >= size:
        raise UserError(f"Lora.rows names the token {max(rows)}, the model has {size} rows; name ids below that")
    embedding.rows = tuple(rows)
    for name, table in ROWS.items() if rows else ():
        if hasattr(embedding, table):
            setattr(embedding, name, nnx.LoRAParam(jnp.zeros((len(rows), width)), axes=(None, "embed")))


def parts(config: ModelConfig, lora: LoraConfig) -> tuple[Any, Any, tuple[Any, ...]]:
    """A model as a run keeps it, in shapes: its graph, what is trained, and what is frozen.

    Args:
      config: the model.
      lora: its adapters; of rank 0 for none.

    Returns:
      The graph, the trained parameters, and a tuple of the frozen ones: empty without adapters. Merged by
      `nnx.merge(graph, trained, *frozen)`.

    Raises:
      UserError: a target that matches nothing, or a quantised base without Qwix.
    """
    if not lora:
        graph, params = nnx.split(abstract_model(config), nnx.Param)
        return graph, params, ()

    def made() -> Model:
        model = build(config, nnx.Rngs(0))
        add_adapters(model, lora, lora.modules(config))
        add_rows(model.embedding, lora.rows)
        if lora.base_dtype in QUANTISED:
            for _, linear in linears(model):
                _quantise(linear, lora)
        return model

    graph, adapter, *base = nnx.split(nnx.eval_shape(made), nnx.LoRAParam, nnx.Param)
    return graph, adapter, (_cast(base[0], config, lora),)


def _quantise(linear: Linear, lora: LoraConfig) -> None:
    kernel = linear.kernel
    stacked = kernel.get_value().ndim - len(kernel.axes)
    codes, scale = quantised.quantise(kernel.get_value(), stacked, linear.dims, lora.base_dtype, lora.block)
    linear.kernel, linear.kernel_scale = nnx.Param(codes, axes=kernel.axes), nnx.Param(scale, axes=kernel.axes)


def draw(adapter: Any, seed: int) -> Any:
    """An adapter's parameters at the start: A uniform within 1 / sqrt(inputs), as PEFT draws it, all others zero.

    Args:
      adapter: its shapes, from `parts`.
      seed: every A is drawn from it and from its own path, so that it depends on no other target.
    """

    def one(path: tuple[Any, ...], leaf: nnx.Variable) -> nnx.Variable:
        shape, name = leaf.get_value().shape, ".".join(str(getattr(key, "key", key)) for key in path)
        if not name.endswith("lora_a"):
            return leaf.replace(jnp.zeros(shape))
        bound = math.prod(shape[-len(leaf.axes) : -1]) ** -0.5
        key = jax.random.fold_in(jax.random.key(seed), zlib.crc32(name.encode()))
        return leaf.replace(jax.random.uniform(key, shape, minval=-bound, maxval=bound))

    return jax.tree_util.tree_map_with_path(one, adapter, is_leaf=lambda leaf: isinstance(leaf, nnx.Variable))


def folded(adapter: Any, base: Any, scale: float, dtype: str = "float32", rows: tuple[int, ...] = ()) -> Any:
    """The parameters of the model without adapters that computes the same: W + scale A B.

    A quantised base is unfolded first, as it is this base beside which the adapter was trained.

    Args:
      adapter: its parameters.
      base: the frozen ones.
      scale: from `LoraConfig.scale`.
      dtype: of the result.
      rows: from `LoraConfig.rows`.
    """
    plain = quantised.unfold(base)
    flat = dict(nnx.to_flat_state(plain))
    pairs = dict(nnx.to_flat_state(adapter))
    for path, a in pairs.items():
        if path[-1] == "lora_a":
            kernel = flat[(*path[:-1], "kernel")]
            flat[(*path[:-1], "kernel")] = _fold(kernel, a, pairs[(*path[:-1], "lora_b")], scale)
        elif path[-1] in ROWS:
            table = flat[at := (*path[:-1], ROWS[path[-1]])]
            wide = table.get_value().astype(jnp.float32).at[jnp.array(rows, jnp.int32)].add(a.get_value())
            flat[at] = table.replace(wide)
    return jax.tree.map(lambda leaf: leaf.astype(dtype), nnx.from_flat_state(list(flat.items())))


def _fold(kernel: Any, a: Any, b: Any, scale: float) -> Any:
    weights, left, right = kernel.get_value(), a.get_value(), b.get_value()
    stacked = left.ndim - len(a.axes)
    front, rank = left.shape[:stacked], left.shape[-1]
    product = left.reshape(*front, -1, rank) @ right.reshape(*front, rank, -1)
    return kernel.replace(weights.astype(jnp.float32) + scale * product.reshape(weights.shape))


def stored(base: Iterable[tuple[Any, Any]], config: ModelConfig, lora: LoraConfig, mesh: Mesh) -> Any:
    """A base as it is kept while its adapter is trained; see `LoraConfig.base_dtype`.

    Args:
      base: paths and parameters of the plain model. Used up: their buffers are let go one after another, so that one
        leaf at a time is held in both forms.
      config: the model.
      lora: its adapters.
      mesh: where they lie.
    """
    dims = {name: linear.dims for name, linear in linears(abstract_model(config))}
    (shapes,) = parts(config, lora)[2]
    places = {path: leaf.get_value() for path, leaf in nnx.to_flat_state(sharding_of(shapes, mesh))}
    flat: dict[tuple[Any, ...], nnx.Param] = {}
    for path, leaf in base:
        array, place = leaf.get_value(), places[path]
        if path[-1] == "kernel" and lora.base_dtype in QUANTISED:
            beside = (*path[:-1], "kernel_scale")
            how = (array.ndim - len(leaf.axes), dims[".".join(map(str, path[:-1]))], lora.base_dtype, lora.block)
            codes, scale = quantised.quantiser(*how, (place, places[beside]))(array)
            flat[path], flat[beside] = leaf.replace(codes), leaf.replace(scale)
        elif path[-1] in _WIDE and array.dtype != (target := _target(config, lora)):
            flat[path] = leaf.replace(_astype(array, target.name, place))
        else:
            flat[path] = leaf
            continue
        jax.block_until_ready(flat[path].get_value())
        array.delete()
    return nnx.from_flat_state(list(flat.items()))


def _target(config: ModelConfig, lora: LoraConfig) -> Any:
    """What wide floating leaves of the base are kept in."""
    return config.compute_dtype if lora.base_dtype in ("auto", *QUANTISED) else jnp.dtype(lora.base_dtype)


def _cast(base: Any, config: ModelConfig, lora: LoraConfig) -> Any:
    """The shapes of a base with the dtypes it is kept in."""
    target = _target(config, lora)

    def one(path: tuple[Any, ...], leaf: nnx.Variable) -> nnx.Variable:
        shape = leaf.get_value()
        wide = getattr(path[-1], "key", None) in _WIDE and jnp.issubdtype(shape.dtype, jnp.floating)
        return leaf.replace(jax.ShapeDtypeStruct(shape.shape, target)) if wide else leaf

    return jax.tree_util.tree_map_with_path(one, base, is_leaf=lambda leaf: isinstance(leaf, nnx.Variable))


def _astype(array: jax.Array, dtype: str, place: Any) -> jax.Array:
    return jax.jit(lambda x: x.astype(dtype), out_shardings=place)(array)

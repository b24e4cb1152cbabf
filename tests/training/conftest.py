"""A model small enough to step in milliseconds, with stacked layers, a norm and dropout like the real ones."""

import functools
import types
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

VOCAB, TASKS = 32, 3


class Layer(nnx.Module):
    def __init__(self, dim: int, hidden: int, *, rngs: nnx.Rngs):
        normal = jax.random.normal
        self.norm = nnx.Dict(scale=nnx.Param(jnp.ones(dim), axes=("embed",)))
        self.up = nnx.Param(normal(rngs.params(), (dim, hidden)) * dim**-0.5, axes=("embed", "mlp"))
        self.down = nnx.Param(normal(rngs.params(), (hidden, dim)) * hidden**-0.5, axes=("mlp", "embed"))

    def __call__(self, x: jax.Array, key: jax.Array | None) -> jax.Array:
        h = x * jax.lax.rsqrt(jnp.mean(x * x, -1, keepdims=True) + 1e-6) * self.norm["scale"][...]
        h = jax.nn.relu(h @ self.up[...])
        if key is not None:
            h = jnp.where(jax.random.bernoulli(key, 0.8, h.shape), h / 0.8, 0.0)
        return x + h @ self.down[...]


class Tiny(nnx.Module):
    def __init__(self, *, layers: int = 2, dim: int = 8, hidden: int = 16, rngs: nnx.Rngs):
        self.layers = layers
        self.embed = nnx.Param(jax.random.normal(rngs.params(), (VOCAB, dim)), axes=("vocab", "embed"))
        self.stack = nnx.vmap(lambda r: Layer(dim, hidden, rngs=r))(rngs.split(layers))

    def __call__(self, batch: Any, *, dropout_key: jax.Array | None = None) -> jax.Array:
        graph, stacked = nnx.split(self.stack)
        keys = None if dropout_key is None else jax.random.split(dropout_key, self.layers)
        x = self.embed[...][batch["decoder_input_tokens"]]
        x, _ = jax.lax.scan(lambda x, each: (nnx.merge(graph, each[0])(x, each[1]), None), x, (stacked, keys))
        return (x @ self.embed[...].T).astype(jnp.float32)


def init(seed: int = 0, **sizes: int) -> Any:
    """The parameters alone, to be called under jit or eval_shape."""
    return nnx.split(Tiny(rngs=nnx.Rngs(seed), **sizes), nnx.Param)[1]


@functools.cache
def _made(seed: int, **sizes: int) -> tuple[Any, Any]:
    graph, _ = nnx.split(nnx.eval_shape(lambda: Tiny(rngs=nnx.Rngs(seed), **sizes)), nnx.Param)
    return graph, jax.jit(lambda: init(seed, **sizes))()


def make(seed: int = 0, **sizes: int) -> tuple[Any, Any]:
    """Graph and parameters; made once, in fresh variables each time."""
    graph, params = _made(seed, **sizes)
    return graph, jax.tree.map(lambda leaf: leaf, params)


def make_batch(rows: int = 8, length: int = 6, seed: int = 0) -> dict[str, np.ndarray]:
    """Rows whose weights differ widely, so that microbatches of them do too."""
    draw = np.random.default_rng(seed)
    weights = draw.random((rows, length)) * (np.arange(rows)[:, None] % 4 + 0.25) * (draw.random((rows, length)) < 0.7)
    return {
        "decoder_input_tokens": draw.integers(1, VOCAB, (rows, length), dtype=np.int32),
        "decoder_target_tokens": draw.integers(1, VOCAB, (rows, length), dtype=np.int32),
        "decoder_loss_weights": weights.astype(np.float32),
        "decoder_task_ids": draw.integers(0, TASKS, (rows, length), dtype=np.int32),
    }


@pytest.fixture(scope="session")
def tiny() -> types.SimpleNamespace:
    return types.SimpleNamespace(init=init, make=make, batch=make_batch, vocab=VOCAB, tasks=TASKS)

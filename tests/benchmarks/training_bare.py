"""The control: the same step as a plain jitted JAX function, with nothing of flan_jax in it.

Parameters are a dict of arrays, layers are stacked and scanned, optax's AdamW moves them, and the state is donated.
"""

import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import training_shapes
from training_shapes import Shape

Params = dict[str, Any]


def initial(shape: Shape, key: jax.Array) -> Params:
    """Random parameters."""
    keys = iter(jax.random.split(key, 64))
    layers, d, h, n, k, f = (getattr(shape, name) for name in (
        "num_layers", "embed_dim", "num_heads", "num_kv_heads", "head_dim", "mlp_dim"))  # fmt: skip
    normal = lambda *dims: jax.random.normal(next(keys), dims) * dims[-2] ** -0.5
    attention = lambda: {
        "q": normal(layers, d, h * k), "k": normal(layers, d, n * k), "v": normal(layers, d, n * k),
        "o": normal(layers, h * k, d), "norm": jnp.ones((layers, d)),
    }  # fmt: skip
    mlp = lambda: {
        "gate": normal(layers, d, f), "up": normal(layers, d, f), "down": normal(layers, f, d),
        "norm": jnp.ones((layers, d)),
    }  # fmt: skip
    table = jax.random.normal(next(keys), (shape.vocab_size, d))
    if not shape.encodes:
        own = attention() | {"q_norm": jnp.ones((layers, k)), "k_norm": jnp.ones((layers, k))}
        return {"table": table * 0.02, "decoder": {"self": own, "mlp": mlp()}, "norm": jnp.ones(d)}
    bias = lambda: 0.1 * jax.random.normal(next(keys), (32, h))
    encoder = {"self": attention(), "mlp": mlp()}
    decoder = {"self": attention(), "cross": attention(), "mlp": mlp()}
    for part in (encoder["self"], decoder["self"], decoder["cross"]):
        part["q"] = part["q"] * k**-0.5
    head = jax.random.normal(next(keys), (shape.vocab_size, d)) * d**-0.5
    norms = {"encoder_norm": jnp.ones(d), "norm": jnp.ones(d)}
    biases = {"encoder_bias": bias(), "decoder_bias": bias()}
    return {"table": table, "head": head, "encoder": encoder, "decoder": decoder, **norms, **biases}


def norm(x: jax.Array, scale: jax.Array) -> jax.Array:
    """Root-mean-square norm in float32."""
    wide = x.astype(jnp.float32)
    wide = wide * jax.lax.rsqrt(jnp.mean(wide * wide, axis=-1, keepdims=True) + 1e-6)
    return (wide * scale).astype(x.dtype)


def buckets(distance: np.ndarray, bidirectional: bool) -> np.ndarray:
    """T5's buckets of relative positions (key less query)."""
    count, offset = (16, 16 * (distance > 0)) if bidirectional else (32, 0)
    near = np.abs(distance) if bidirectional else np.maximum(-distance, 0)
    exact = count // 2
    far = exact + (np.log(np.maximum(near, 1) / exact) / math.log(128 / exact) * (count - exact)).astype(int)
    return offset + np.where(near < exact, near, np.minimum(far, count - 1))


def relative_bias(table: jax.Array, length: int, bidirectional: bool) -> jax.Array:
    """[H, L, L], looked up once a distance and laid out as a Toeplitz matrix."""
    steps = np.arange(2 * length)
    by_distance = table[buckets(np.where(steps < length, steps, steps - 2 * length), bidirectional)].T
    tiled = jnp.tile(by_distance, (1, length))[:, : length * (2 * length - 1)]
    return tiled.reshape(-1, length, 2 * length - 1)[:, :, :length]


def rotated(x: jax.Array, turns: tuple[jax.Array, jax.Array]) -> jax.Array:
    """Rotary positions on [B, L, H, K]."""
    first, second = jnp.split(x.astype(jnp.float32), 2, axis=-1)
    cosine, sine = turns
    turned = [first * cosine - second * sine, second * cosine + first * sine]
    return jnp.concatenate(turned, axis=-1).astype(x.dtype)


def attend(p: Params, x: jax.Array, source: jax.Array, bias: jax.Array, shape: Shape, turns: Any = None) -> jax.Array:
    """Attention of `x` over `source`, in grouped form."""
    (b, length, _), keys = x.shape, source.shape[1]
    n, group, width = shape.num_kv_heads, shape.num_heads // shape.num_kv_heads, shape.head_dim
    q = (x @ p["q"].astype(x.dtype)).reshape(b, length, n * group, width)
    k = (source @ p["k"].astype(x.dtype)).reshape(b, keys, n, width)
    v = (source @ p["v"].astype(x.dtype)).reshape(b, keys, n, width)
    if turns is not None:
        q, k = rotated(norm(q, p["q_norm"]), turns) * width**-0.5, rotated(norm(k, p["k_norm"]), turns)
    q = q.reshape(b, length, n, group, width)
    logits = jnp.einsum("blngk,bsnk->bngls", q, k, preferred_element_type=jnp.float32)
    weights = jax.nn.softmax(logits + bias, axis=-1).astype(x.dtype)
    seen = jnp.einsum("bngls,bsnk->blngk", weights, v).reshape(b, length, -1)
    return seen @ p["o"].astype(x.dtype)


def feed_forward(p: Params, x: jax.Array, shape: Shape) -> jax.Array:
    """Gated GELU (T5) or SiLU (Qwen)."""
    act = jax.nn.gelu if shape.encodes else jax.nn.silu
    return (act(x @ p["gate"].astype(x.dtype)) * (x @ p["up"].astype(x.dtype))) @ p["down"].astype(x.dtype)


def logits_of(params: Params, batch: dict[str, jax.Array], shape: Shape, dtype: Any) -> jax.Array:
    """The model."""
    table = params["table"].astype(dtype)
    causal = lambda n: jnp.where(jnp.tril(jnp.ones((n, n), bool)), 0.0, -1e9)
    encoded, turns = None, None
    if shape.encodes:
        bias = relative_bias(params["encoder_bias"], shape.inputs, True)[None, :, None]

        def encode(x: jax.Array, p: Params) -> tuple[jax.Array, None]:
            h = norm(x, p["self"]["norm"])
            x = x + attend(p["self"], h, h, bias, shape)
            return x + feed_forward(p["mlp"], norm(x, p["mlp"]["norm"]), shape), None

        encoded = jax.lax.scan(encode, table[batch["inputs"]], params["encoder"])[0]
        encoded = norm(encoded, params["encoder_norm"])
        own = causal(shape.targets) + relative_bias(params["decoder_bias"], shape.targets, False)[None, :, None]
        x = table[jnp.pad(batch["targets"][:, :-1], ((0, 0), (1, 0)))]
    else:
        own = causal(shape.inputs)
        half = np.arange(0, shape.head_dim, 2) / shape.head_dim
        angles = np.arange(shape.inputs)[:, None] * 1e6**-half
        turns = tuple(jnp.asarray(f(angles), jnp.float32)[None, :, None] for f in (np.cos, np.sin))
        x = table[batch["inputs"]]

    def decode(x: jax.Array, p: Params) -> tuple[jax.Array, None]:
        h = norm(x, p["self"]["norm"])
        x = x + attend(p["self"], h, h, own, shape, turns)
        if "cross" in p:
            x = x + attend(p["cross"], norm(x, p["cross"]["norm"]), encoded, jnp.zeros(()), shape)
        return x + feed_forward(p["mlp"], norm(x, p["mlp"]["norm"]), shape), None

    x = norm(jax.lax.scan(decode, x, params["decoder"])[0], params["norm"])
    read = params["head"].astype(dtype) if shape.encodes else table
    return jnp.einsum("bld,vd->blv", x, read, preferred_element_type=jnp.float32)


def make(shape: Shape, dtype: str) -> tuple[Any, Any, list[Any]]:
    """The jitted step, its first state, and the batches."""
    s = training_shapes
    tx = optax.chain(
        optax.clip_by_global_norm(1.0), optax.adamw(s.LEARNING_RATE, s.B1, s.B2, s.EPS, weight_decay=s.WEIGHT_DECAY)
    )

    def loss(params: Params, batch: dict[str, jax.Array]) -> jax.Array:
        logits = logits_of(params, batch, shape, jnp.dtype(dtype))
        if shape.encodes:
            return optax.softmax_cross_entropy_with_integer_labels(logits, batch["targets"]).mean()
        return optax.softmax_cross_entropy_with_integer_labels(logits[:, :-1], batch["inputs"][:, 1:]).mean()

    def step(state: tuple[Any, Any], batch: dict[str, jax.Array]) -> tuple[Any, jax.Array]:
        params, opt = state
        value, grads = jax.value_and_grad(loss)(params, batch)
        updates, opt = tx.update(grads, opt, params)
        return (optax.apply_updates(params, updates), opt), value

    def start() -> Any:
        params = initial(shape, jax.random.key(0))
        return params, tx.init(params)

    batches = [{name: jnp.asarray(value) for name, value in batch.items()} for batch in shape.batches()]
    return jax.jit(step, donate_argnums=0), jax.jit(start)(), batches

"""The vocabulary loss without the logits: in chunks of tokens, its gradient worked out on the way forward.

A batch's logits [B, L, V] are often the largest array of a training step, and twice over, with their gradient. The loss
is a sum over tokens, so here a chunk's logits are computed, the loss and its gradient with respect to the hidden states
and the table are taken from them at once, and they are dropped. The backward pass then only scales what is there: each
chunk costs the three matrix products that whole logits cost, none is computed twice, and one chunk's logits are held.

Tokens without loss (prompts, padding) are sorted to the end and their chunks are left out, so the cost follows the
tokens that carry loss.

On a mesh each device goes through its own tokens (`shard_map`); the table's gradient is summed over a device's chunks
first and over the mesh once. Left to the compiler, it is summed over the mesh in every chunk.
"""

import dataclasses
import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.sharding import AbstractMesh, PartitionSpec
from jaxtyping import Array, Float, Int

from flan_jax.config.training_settings import LossConfig
from flan_jax.models.activations import capped
from flan_jax.models.fast.cpu_products import transposed
from flan_jax.parallel.axes import fitted_spec, mesh_axes, ways
from flan_jax.training.distillation import Teacher

LEAST_TOKENS = 512  # each chunk reads the table and adds to its gradient: fewer tokens would not pay for that
CHUNK_BYTES = {"cpu": 8 * 2**20}  # what is still in a cache by the second pass
CHUNK_BYTES_ELSEWHERE = 256 * 2**20


class Losses(NamedTuple):
    """What a batch costs.

    Attributes:
      total: the weighted sum, z-loss included; the only one with a gradient.
      tokens: [B, L] of each token, z-loss included, before its weight; 0 where the weight is 0.
      z: [B, L] the z-loss's part of that.
      weights: [B, L] of each token, by which the sum is divided; None: the batch's own loss weights.
      divergence: [B, L] T^2 times how far each token is from a teacher, before that is weighed, and the weight of each,
        0 where the teacher says nothing of it; None without a teacher.
    """

    total: Float[Array, ""]
    tokens: Float[Array, "B L"]
    z: Float[Array, "B L"]
    weights: Float[Array, "B L"] | None = None
    divergence: tuple[Float[Array, "B L"], Float[Array, "B L"]] | None = None


@dataclasses.dataclass(frozen=True)
class Readout:
    """How logits are read off hidden states: `cap * tanh(scale * x @ table.T / cap)`, without a cap if that is 0."""

    scale: float = 1.0
    cap: float = 0.0


@dataclasses.dataclass(frozen=True)
class _Way:
    """What is fixed about a computation, and inside `shard_map` how the arrays are split.

    Attributes:
      tokens: the partition spec of [B, L].
      table: that of the table's gradient [V, D].
    """

    readout: Readout
    z_loss: float
    label_smoothing: float
    chunk: int
    temperature: float = 1.0
    mesh: AbstractMesh | None = None
    tokens: PartitionSpec = PartitionSpec(None, None)
    table: PartitionSpec = PartitionSpec(None, None)

    @property
    def token_axes(self) -> tuple[str, ...]:
        """The mesh axes that tokens are split over, by rows or by length."""
        return mesh_axes(*self.tokens)

    @property
    def vocab_axes(self) -> tuple[str, ...]:
        """The mesh axes that the vocabulary is split over."""
        return mesh_axes(self.table[0])


def chunk_tokens(tokens: int, vocab: int, platform: str) -> int:
    """The tokens in a chunk that suit a device; 0 where the logits are small enough to be held whole.

    Args:
      tokens: tokens of the batch on one device.
      vocab: entries of the vocabulary on one device.
      platform: "cpu", "gpu" or "tpu".

    >>> chunk_tokens(512, 32_128, "cpu"), chunk_tokens(2048, 151_936, "cpu"), chunk_tokens(16_384, 32_128, "tpu")
    (512, 512, 2048)
    """
    fitting = max(1, CHUNK_BYTES.get(platform, CHUNK_BYTES_ELSEWHERE) // (4 * vocab))
    chunk = max(LEAST_TOKENS, 1 << (fitting.bit_length() - 1))
    return 0 if tokens <= fitting else chunk


def local_sizes(tokens: tuple[int, ...], vocab: int) -> tuple[int, int]:
    """How many of a batch's tokens [B, L] and of the table's entries one device of the current mesh holds."""
    mesh = jax.sharding.get_abstract_mesh()
    rows, length, entries = _split(tokens, vocab, mesh)
    return tokens[0] * tokens[1] // ways(mesh_axes(rows, length), mesh), vocab // ways(entries, mesh)


def chunked_losses(
    x: Float[Array, "B L D"],
    table: Float[Array, "V D"],
    targets: Int[Array, "B L"],
    weights: Float[Array, "B L"],
    config: LossConfig,
    *,
    readout: Readout,
    chunk: int,
    teacher: Teacher | None = None,
    temperature: float = 1.0,
) -> Losses:
    """The losses of `flan_jax.training.loss.token_losses`, to rounding, with the memory of one chunk.

    Args:
      x: hidden states; matrix products are in their dtype, sums in float32.
      table: what logits are read with.
      targets: ids in [0, V).
      weights: loss weights.
      config: `z_loss` and `label_smoothing` are read.
      readout: how logits are read.
      chunk: tokens in a chunk, on each device.
      teacher: what a teacher says of the tokens, learnt beside the targets.
      temperature: that of the teacher's shares.

    Returns:
      Losses; only their total can be differentiated, with respect to `x` and `table`. No gradient of a frozen table is
      computed.
    """
    way = _Way(readout, config.z_loss, config.label_smoothing, chunk, temperature)
    mesh = jax.sharding.get_abstract_mesh()
    if not mesh.empty and mesh.size > 1:
        *tokens, entries = _split(targets.shape, table.shape[0], mesh)
        gradient = PartitionSpec(entries, fitted_spec(table.shape, ("vocab", "embed"), mesh)[1])
        way = dataclasses.replace(way, mesh=mesh, tokens=PartitionSpec(*tokens), table=gradient)
    weights = weights.astype(jnp.float32)
    total, tokens, z, divergence = _losses(x, table, targets, weights, teacher, way)
    if teacher is None:
        return Losses(total, tokens, z)
    return Losses(total, tokens, z, divergence=(divergence, jnp.where(teacher.weight > 0, weights, 0.0)))


def _split(tokens: tuple[int, ...], vocab: int, mesh: AbstractMesh) -> PartitionSpec:
    """How logits [B, L, V] are split: devices that share a token's entries have the same tokens."""
    return fitted_spec((*tokens, vocab), ("batch", "length", "vocab"), mesh)


@functools.partial(jax.custom_vjp, nondiff_argnums=(5,))
def _losses(
    x: Array, table: Array, targets: Array, weights: Array, teacher: Teacher | None, way: _Way
) -> tuple[Any, ...]:
    return _placed(x, table, targets, weights, teacher, way, False, False)[0]


def _forward(x: Any, table: Any, targets: Any, weights: Any, teacher: Any, way: _Way) -> tuple[Any, Any]:
    # By symbolic zeros it is known here whether anybody will ask for the table's gradient.
    given = None if teacher is None else Teacher(*(part.value for part in teacher))
    arrays = (x.value, table.value, targets.value, weights.value, given)
    losses, x_grad, table_grad = _placed(*arrays, way, x.perturbed, table.perturbed)
    like = lambda grad, value: None if grad is None else grad.astype(value.dtype)
    return losses, (like(x_grad, x.value), like(table_grad, table.value))


def _backward(way: _Way, kept: tuple[Any, Any], gradients: Any) -> tuple[Any, ...]:
    given = gradients[0]
    if isinstance(given, jax.custom_derivatives.SymbolicZero):
        return None, None, None, None, None
    scaled = [None if grad is None else grad * given.astype(grad.dtype) for grad in kept]
    return *scaled, None, None, None


_losses.defvjp(_forward, _backward, symbolic_zeros=True)


def _placed(
    x: Array,
    table: Array,
    targets: Array,
    weights: Array,
    teacher: Teacher | None,
    way: _Way,
    x_grad: bool,
    table_grad: bool,
) -> tuple[Any, Any, Any]:
    """`_all_chunks` where the arrays are: on each device of the mesh with its own tokens and part of the vocabulary."""
    on_device = functools.partial(_all_chunks, way=way, x_grad=x_grad, table_grad=table_grad)
    table = table.astype(x.dtype)
    if way.mesh is None:
        return on_device(x, table, targets, weights, teacher)
    of_tokens, entries = way.tokens, PartitionSpec(way.table[0])
    of_teacher = None if teacher is None else of_tokens
    losses = (PartitionSpec(), of_tokens, of_tokens, of_teacher)
    out = (losses, of_tokens if x_grad else None, way.table if table_grad else None)
    given = (of_tokens, entries, of_tokens, of_tokens, of_teacher)
    return jax.shard_map(on_device, mesh=way.mesh, in_specs=given, out_specs=out, check_vma=False)(
        x, table, targets, weights, teacher
    )


def _all_chunks(
    x: Array,
    table: Array,
    targets: Array,
    weights: Array,
    teacher: Teacher | None,
    *,
    way: _Way,
    x_grad: bool,
    table_grad: bool,
) -> tuple[Any, Any, Any]:
    """Losses and gradients of one device's tokens; the gradients and the total are summed over the mesh at the end."""
    shape, dim, tokens, chunk = x.shape, x.shape[-1], targets.size, min(way.chunk, targets.size)
    flat = weights.reshape(-1)
    counts = flat != 0
    order = jnp.argsort(~counts, stable=True)
    order = jnp.pad(order, (0, -tokens % chunk), constant_values=tokens)  # taken as 0 below
    sorted_by = lambda a: jnp.take(a, order, axis=0, mode="fill", fill_value=0)
    xs = sorted_by((x * way.readout.scale if way.readout.scale != 1.0 else x).reshape(-1, dim))
    ts, ws = sorted_by(targets.reshape(-1)), sorted_by(flat)
    teacher = jax.tree.map(lambda a: sorted_by(a.reshape(-1, *a.shape[2:])), teacher)
    turns = (jnp.sum(counts) + chunk - 1) // chunk
    if way.vocab_axes:  # devices with the same tokens talk to each other in each turn: let all take as many
        turns = jax.lax.pmax(turns, (*way.token_axes, *way.vocab_axes))

    def turn(i: Array, kept: tuple[Any, ...]) -> tuple[Any, ...]:
        cut = lambda a: jax.lax.dynamic_slice_in_dim(a, i * chunk, chunk)
        put = lambda all_of, part: jax.lax.dynamic_update_slice_in_dim(all_of, part.astype(all_of.dtype), i * chunk, 0)
        *figures, x_sum, table_sum = kept
        of_chunk = (cut(xs), table, cut(ts), cut(ws), jax.tree.map(cut, teacher))
        part, *found = _one_chunk(*of_chunk, way, x_grad or table_grad)
        figures = [None if into is None else put(into, one) for into, one in zip(figures, found, strict=True)]
        if x_grad:
            x_sum = put(x_sum, jnp.einsum("tv,vd->td", part, table, preferred_element_type=jnp.float32))
        if table_grad:
            table_sum = table_sum + jnp.dot(transposed(part), cut(xs), preferred_element_type=jnp.float32)
        return *figures, x_sum, table_sum

    zeros = lambda wanted, *shape: jnp.zeros(shape, jnp.float32) if wanted else None
    size = order.size
    figures: Any = zeros(True, size), zeros(True, size), zeros(teacher is not None, size)
    start = *figures, zeros(x_grad, size, dim), zeros(table_grad, *table.shape)
    *figures, x_sum, table_sum = jax.lax.fori_loop(0, turns, turn, start)

    place = jnp.cumsum(counts) - 1
    unsorted = lambda a: jnp.where(counts.reshape(-1, *[1] * (a.ndim - 1)), a[place], 0.0)
    losses, z, divergence = jax.tree.map(unsorted, tuple(figures))
    total = _over_mesh(jnp.sum(losses * flat), way.token_axes)
    if x_grad:
        x_sum = (_over_mesh(unsorted(x_sum), way.vocab_axes) * way.readout.scale).reshape(shape)
    if table_grad:
        table_sum = _over_mesh(table_sum, way.token_axes, mesh_axes(way.table[1]))
    return (total, *jax.tree.map(lambda a: a.reshape(targets.shape), (losses, z, divergence))), x_sum, table_sum


def _one_chunk(
    x: Array, table: Array, targets: Array, weights: Array, teacher: Teacher | None, way: _Way, with_gradient: bool
) -> tuple[Any, ...]:
    """The weighted losses' gradient [T, V] with respect to `x @ table.T`, and [T] losses, z-losses and divergences."""
    cap, smoothing, vocab = way.readout.cap, way.label_smoothing, table.shape[0]
    logits = capped(jnp.einsum("td,vd->tv", x, table, preferred_element_type=jnp.float32), cap)
    largest = jnp.max(logits, axis=-1)
    if way.vocab_axes:
        largest = jax.lax.pmax(largest, way.vocab_axes)
        targets = targets - jax.lax.axis_index(way.vocab_axes) * vocab
    log_z = largest + jnp.log(_over_mesh(jnp.sum(jnp.exp(logits - largest[:, None]), axis=-1), way.vocab_axes))
    here = (targets >= 0) & (targets < vocab)
    found = jnp.take_along_axis(logits, jnp.clip(targets, 0, vocab - 1)[:, None], axis=-1)[:, 0]
    losses = log_z - _over_mesh(jnp.where(here, found, 0.0), way.vocab_axes)
    if smoothing:
        vocab = vocab * (jax.lax.axis_size(way.vocab_axes) if way.vocab_axes else 1)
        mean = _over_mesh(jnp.sum(logits, axis=-1), way.vocab_axes) / vocab
        losses = (1 - smoothing) * losses + smoothing * (log_z - mean)
    z = way.z_loss * jnp.square(log_z)
    divergence: Any = None
    towards: Any = None
    mine = weights  # how much of a token's weight the targets have
    if teacher is not None:
        divergence, towards = _towards_teacher(logits, largest, teacher, way)
        losses = (1 - teacher.weight) * losses + teacher.weight * divergence
        mine = weights * (1 - teacher.weight)
    if not with_gradient:
        return None, losses + z, z, divergence
    share = weights * (1 + 2 * way.z_loss * log_z)
    if teacher is not None:
        share = share - weights * teacher.weight
    hit = targets[:, None] == jnp.arange(table.shape[0], dtype=targets.dtype)
    gradient = jnp.exp(logits - log_z[:, None]) * share[:, None] - jnp.where(
        hit, ((1 - smoothing) * mine)[:, None], 0.0
    )
    if smoothing:
        gradient = gradient - (smoothing / vocab * mine)[:, None]
    if teacher is not None:
        gradient = gradient + towards * (weights * teacher.weight)[:, None]
    if cap:
        gradient = gradient * (1 - jnp.square(logits / cap))
    return gradient.astype(x.dtype), losses + z, z, divergence


def _towards_teacher(logits: Array, largest: Array, teacher: Teacher, way: _Way) -> tuple[Array, Array]:
    """T^2 KL(teacher || student) of each token [T], and its gradient [T, V] with respect to the logits."""
    t, entries = way.temperature, logits.shape[1]
    ids = teacher.ids - jax.lax.axis_index(way.vocab_axes) * entries if way.vocab_axes else teacher.ids
    shares = jnp.where((ids >= 0) & (ids < entries), teacher.shares, 0.0)
    ids = jnp.clip(ids, 0, entries - 1)
    expected = _over_mesh(jnp.sum(shares * jnp.take_along_axis(logits, ids, axis=-1), axis=-1) / t, way.vocab_axes)
    exponentials = jnp.exp((logits - largest[:, None]) / t)
    normaliser = _over_mesh(jnp.sum(exponentials, axis=-1), way.vocab_axes)
    found = teacher.negative_entropy + largest / t + jnp.log(normaliser) - expected
    theirs = jnp.zeros_like(logits).at[jnp.arange(len(logits))[:, None], ids].add(shares)
    gradient = t * (exponentials / normaliser[:, None] - theirs)
    return jnp.where(teacher.weight > 0, t**2 * found, 0.0), gradient


def _over_mesh(value: Array, axes: tuple[str, ...], scattered: tuple[str, ...] = ()) -> Array:
    """Sums over mesh axes; over those in `scattered` each device keeps its part of the last dimension."""
    for axis in scattered:
        if axis in axes:
            value = jax.lax.psum_scatter(value, axis, scatter_dimension=value.ndim - 1, tiled=True)
        else:
            size = value.shape[-1] // jax.lax.axis_size(axis)
            value = jax.lax.dynamic_slice_in_dim(value, jax.lax.axis_index(axis) * size, size, axis=-1)
    rest = tuple(axis for axis in axes if axis not in scattered)
    return jax.lax.psum(value, rest) if rest else value

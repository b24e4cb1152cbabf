"""Random examples, laid out in rows: what the data side makes, written here by hand so that models are tested alone."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from flan_jax.models import Model, ModelConfig, abstract_model

VOCAB = 50

ENCODER_DECODER = ModelConfig(
    vocab_size=VOCAB, embed_dim=32, mlp_dim=48, num_encoder_layers=2, num_decoder_layers=2, local_heads=True
)
CAUSAL = ModelConfig(
    architecture="decoder", vocab_size=VOCAB, embed_dim=32, mlp_dim=48, num_kv_heads=2, mlp_activation="gated_silu"
)
PREFIX = ModelConfig(
    architecture="decoder",
    vocab_size=VOCAB,
    embed_dim=32,
    mlp_dim=48,
    num_kv_heads=2,
    tie_embeddings=False,
    prefix_lm=True,
)
ALL = {"encoder_decoder": ENCODER_DECODER, "causal": CAUSAL, "prefix": PREFIX}

Example = tuple[np.ndarray, np.ndarray]


def examples(lengths: list[tuple[int, int]], seed: int = 0) -> list[Example]:
    """Examples (inputs, targets) of random tokens from 2 on, of the lengths asked for."""
    rng = np.random.default_rng(seed)
    draw = lambda n: rng.integers(2, VOCAB, n).astype(np.int32)
    return [(draw(n), draw(m)) for n, m in lengths]


def read_and_predicted(tokens: np.ndarray, begin_id: int) -> Example:
    """What a decoder reads and predicts: without a token to begin with, its last token predicts nothing (0)."""
    if begin_id < 0:
        return tokens, np.append(tokens[1:], np.int32(0))
    return np.concatenate([np.full(1, begin_id, np.int32), tokens[:-1]]), tokens


def rows(
    layout: list[list[Example]], config: ModelConfig, inputs_length: int, targets_length: int
) -> dict[str, np.ndarray]:
    """Packs each list of examples into one row of a batch for the config's architecture."""
    both = config.architecture == "encoder_decoder"
    size, length = len(layout), targets_length if both else inputs_length + targets_length
    batch = {f"decoder_{name}": np.zeros((size, length), np.int32) for name in DECODER}
    batch["decoder_loss_weights"] = np.zeros((size, length), np.float32)
    if both:
        batch |= {
            f"encoder_{name}": np.zeros((size, inputs_length), np.int32)
            for name in ("input_tokens", "segment_ids", "positions")
        }
    for row, packed in enumerate(layout):
        at, encoder_at = 0, 0
        for segment, (inputs, targets) in enumerate(packed, 1):
            tokens = targets if both else np.concatenate([inputs, targets])
            here = slice(at, at + len(tokens))
            at += len(tokens)
            places, shift = np.arange(len(tokens)), int(config.begin_id < 0)
            read, predicted = read_and_predicted(tokens, config.begin_id)
            batch["decoder_input_tokens"][row, here] = read
            batch["decoder_target_tokens"][row, here] = predicted
            batch["decoder_segment_ids"][row, here] = segment
            batch["decoder_positions"][row, here] = places
            first = (0 if both else len(inputs)) - shift
            batch["decoder_loss_weights"][row, here] = (places >= first) & (places < len(tokens) - shift)
            batch["decoder_prefix_mask"][row, here] = places <= len(inputs) - shift
            if both:
                there = slice(encoder_at, encoder_at + len(inputs))
                encoder_at += len(inputs)
                batch["encoder_input_tokens"][row, there] = inputs
                batch["encoder_segment_ids"][row, there] = segment
                batch["encoder_positions"][row, there] = np.arange(len(inputs))
        assert at <= length and encoder_at <= inputs_length
    return batch


DECODER = ("input_tokens", "target_tokens", "segment_ids", "positions", "prefix_mask")


@functools.cache
def model_of(config: ModelConfig, seed: int = 0) -> Model:
    """A model with parameters drawn by NumPy, which compiles nothing; norms' scales are drawn too."""
    rng = np.random.default_rng(seed)
    graph, params = nnx.split(abstract_model(config), nnx.Param)

    def draw(path, leaf):
        name = jax.tree_util.keystr(path)
        size = leaf.shape[-1] if "embedding" in name or "scale" in name else np.sqrt(np.prod(leaf.shape[-2:]))
        values = rng.normal(size=leaf.shape) * (1.0 if "embedding']['embedding" in name else size**-0.5)
        return jnp.asarray(values + ("scale" in name), jnp.float32)

    return nnx.merge(graph, jax.tree_util.tree_map_with_path(draw, params))


@functools.partial(jax.jit, static_argnames="graph")
def _forward(graph, params, batch):
    return nnx.merge(graph, params)(batch)


def logits_of(model: Model, batch: dict[str, np.ndarray]) -> np.ndarray:
    """The model's logits, compiled once for all tests with the same config and shapes. [B, L, V]"""
    return np.asarray(_forward(*nnx.split(model, nnx.Param), batch))


def target_log_probs(model: Model, batch: dict[str, np.ndarray]) -> np.ndarray:
    """The log-probability of every target token, teacher-forced. [B, L]"""
    log_probs = np.asarray(jax.nn.log_softmax(logits_of(model, batch), axis=-1))
    return np.take_along_axis(log_probs, batch["decoder_target_tokens"][..., None], axis=-1)[..., 0]

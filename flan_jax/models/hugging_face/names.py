"""Where each tensor of a file belongs: its name, our parameter and layer, and how the two are laid out.

A `torch.nn.Linear` keeps [outputs, inputs] with heads folded in; ours are [inputs, heads, K] and so on, with all layers
of a stack in one array. T5X keeps [inputs, outputs]. The model's settings alone decide which tensors there are.
"""

import dataclasses
import math
from collections.abc import Iterator
from typing import Any

import numpy as np

from flan_jax.models.config import ModelConfig


@dataclasses.dataclass(frozen=True)
class Placement:
    """One tensor of a file.

    Attributes:
      tensor: its name.
      path: our parameter's path.
      shape: our parameter's, of one layer.
      layer: which layer of the parameter; None: it has none.
      file_shape: the tensor's.
      inputs: how many of our first dimensions are the tensor's last, in one; 0: both have the same order.
      aliases: other names under which the tensor may stand, alone or as a copy.
    """

    tensor: str
    path: tuple[str, ...]
    shape: tuple[int, ...]
    layer: int | None
    file_shape: tuple[int, ...]
    inputs: int = 0
    aliases: tuple[str, ...] = ()

    def to_ours(self, array: np.ndarray) -> np.ndarray:
        """A view of the tensor in our layout.

        >>> one = Placement("q", ("query",), (3, 2, 1), 0, (2, 3), inputs=1)
        >>> one.to_ours(np.arange(6).reshape(2, 3))[:, :, 0].tolist()
        [[0, 3], [1, 4], [2, 5]]
        """
        if not self.inputs:
            return array.reshape(self.shape)
        first, last = self.shape[: self.inputs], self.shape[self.inputs :]
        turned = array.reshape(*last, *first)
        return turned.transpose(*range(len(last), turned.ndim), *range(len(last)))

    def to_file(self, array: np.ndarray) -> np.ndarray:
        """The inverse of `to_ours`."""
        if self.inputs:
            array = array.transpose(*range(self.inputs, array.ndim), *range(self.inputs))
        return array.reshape(self.file_shape)


def _linear(tensor: str, path: tuple[str, ...], shape: tuple[int, ...], layer: int | None, inputs: int) -> Placement:
    file_shape = (math.prod(shape[inputs:]), math.prod(shape[:inputs]))
    return Placement(tensor, path, shape, layer, file_shape, inputs)


def _flat(tensor: str, path: tuple[str, ...], shape: tuple[int, ...], layer: int | None) -> Placement:
    return Placement(tensor, path, shape, layer, (math.prod(shape),))


def _same(tensor: str, path: tuple[str, ...], shape: tuple[int, ...], layer: int | None = None) -> Placement:
    return Placement(tensor, path, shape, layer, shape)


def placements(config: ModelConfig) -> list[Placement]:
    """All tensors of a Hugging Face folder for a model, in the order of its layers.

    Args:
      config: with `vocab_size`.
    """
    return list(_encoder_decoder(config) if config.architecture == "encoder_decoder" else _decoder(config))


def _attention(config: ModelConfig, prefix: str, names: tuple[str, ...], path: tuple, i: int) -> Iterator[Placement]:
    embed, heads, kv_heads, width = config.embed_dim, config.num_heads, config.kv_heads, config.width
    ours = ("query", "key", "value", "out")
    shapes = ((embed, heads, width), (embed, kv_heads, width), (embed, kv_heads, width), (heads, width, embed))
    for name, part, shape in zip(names, ours, shapes, strict=True):
        inputs = 2 if part == "out" else 1
        yield _linear(f"{prefix}.{name}.weight", (*path, part, "kernel"), shape, i, inputs)
        if config.attention_out_bias if part == "out" else config.attention_bias:
            yield _flat(f"{prefix}.{name}.bias", (*path, part, "bias"), shape[inputs:], i)


def _mlp(config: ModelConfig, prefix: str, names: dict[str, str], path: tuple, i: int) -> Iterator[Placement]:
    for part, name in names.items():
        shape = (config.embed_dim, config.mlp_dim) if part != "down" else (config.mlp_dim, config.embed_dim)
        yield _linear(f"{prefix}.{name}.weight", (*path, part, "kernel"), shape, i, 1)


DECODER_NORMS = {
    "before": {"self_norm": "input_layernorm", "mlp_norm": "post_attention_layernorm"},
    "after": {"self_after_norm": "post_attention_layernorm", "mlp_after_norm": "post_feedforward_layernorm"},
    "both": {
        "self_norm": "input_layernorm",
        "self_after_norm": "post_attention_layernorm",
        "mlp_norm": "pre_feedforward_layernorm",
        "mlp_after_norm": "post_feedforward_layernorm",
    },
}


def _decoder(config: ModelConfig) -> Iterator[Placement]:
    table, width = (config.vocab_size, config.embed_dim), config.width
    copies = ("lm_head.weight",) if config.tie_embeddings else ()
    embedding = _same("model.embed_tokens.weight", ("embedding", "embedding"), table)
    yield dataclasses.replace(embedding, aliases=copies)
    mlp = {"gate": "gate_proj", "up": "up_proj", "down": "down_proj"}
    if config.mlp_activation == "relu":
        del mlp["gate"]
    for i in range(config.num_decoder_layers):
        prefix, path = f"model.layers.{i}", ("decoder", "layers")
        projections = ("q_proj", "k_proj", "v_proj", "o_proj")
        yield from _attention(config, f"{prefix}.self_attn", projections, (*path, "self_attention"), i)
        if config.qk_norm != "none":
            for norm, ours, heads in (("q", "query", config.num_heads), ("k", "key", config.kv_heads)):
                size = width if config.qk_norm == "head" else heads * width
                at = (*path, "self_attention", f"{ours}_norm", "scale")
                yield _flat(f"{prefix}.self_attn.{norm}_norm.weight", at, (size,), i)
        yield from _mlp(config, f"{prefix}.mlp", mlp, (*path, "mlp"), i)
        for ours, name in DECODER_NORMS[config.norm_placement].items():
            yield _flat(f"{prefix}.{name}.weight", (*path, ours, "scale"), (config.embed_dim,), i)
    yield _flat("model.norm.weight", ("decoder", "norm", "scale"), (config.embed_dim,), None)
    if not config.tie_embeddings:
        yield _same("lm_head.weight", ("embedding", "head"), table)


T5_COPIES = ("encoder.embed_tokens.weight", "decoder.embed_tokens.weight")


def _encoder_decoder(config: ModelConfig) -> Iterator[Placement]:
    table, norm = (config.vocab_size, config.embed_dim), (config.embed_dim,)
    copies = (*T5_COPIES, "lm_head.weight") if config.tie_embeddings else T5_COPIES
    yield dataclasses.replace(_same("shared.weight", ("embedding", "embedding"), table), aliases=copies)
    gated = config.mlp_activation != "relu"
    mlp = {"gate": "wi_0", "up": "wi_1", "down": "wo"} if gated else {"up": "wi", "down": "wo"}
    for stack, layers in (("encoder", config.num_encoder_layers), ("decoder", config.num_decoder_layers)):
        path, last = (stack, "layers"), 1 if stack == "encoder" else 2
        for i in range(layers):
            at = f"{stack}.block.{i}.layer"
            yield from _attention(config, f"{at}.0.SelfAttention", tuple("qkvo"), (*path, "self_attention"), i)
            yield from _t5_bias(config, stack, i)
            yield _flat(f"{at}.0.layer_norm.weight", (*path, "self_norm", "scale"), norm, i)
            if stack == "decoder":
                cross = (*path, "cross_attention")
                yield from _attention(config, f"{at}.1.EncDecAttention", tuple("qkvo"), cross, i)
                yield _flat(f"{at}.1.layer_norm.weight", (*path, "cross_norm", "scale"), norm, i)
            yield from _mlp(config, f"{at}.{last}.DenseReluDense", mlp, (*path, "mlp"), i)
            yield _flat(f"{at}.{last}.layer_norm.weight", (*path, "mlp_norm", "scale"), norm, i)
        yield _flat(f"{stack}.final_layer_norm.weight", (stack, "norm", "scale"), norm, None)
    if not config.tie_embeddings:
        yield _same("lm_head.weight", ("embedding", "head"), table)


def _t5_bias(config: ModelConfig, stack: str, i: int) -> Iterator[Placement]:
    """The relative bias, which the first layer keeps for all or each for itself."""
    name = f"{stack}.block.{i}.layer.0.SelfAttention.relative_attention_bias.weight"
    table = (config.relative_buckets, config.num_heads)
    if config.relative_bias == "per_layer":
        yield _same(name, (stack, "layers", "bias", "table"), table, i)
    elif i == 0:
        yield _same(name, (f"{stack}_bias", "table"), table)


def t5x_placements(config: ModelConfig) -> list[Placement]:
    """All parameters of a T5X checkpoint with unscanned layers, by their names below `target.`.

    Args:
      config: an encoder-decoder with `vocab_size` and a shared relative bias.
    """
    return list(_t5x(config))


def _t5x(config: ModelConfig) -> Iterator[Placement]:
    embed, folded = config.embed_dim, config.num_heads * config.width
    kernels: dict[str, tuple[tuple[int, ...], tuple[int, int]]] = {
        part: ((embed, config.num_heads, config.width), (embed, folded)) for part in ("query", "key", "value")
    }
    kernels["out"] = ((config.num_heads, config.width, embed), (folded, embed))
    gated = config.mlp_activation != "relu"
    mlp = {"gate": "wi_0", "up": "wi_1", "down": "wo"} if gated else {"up": "wi", "down": "wo"}
    yield _same("token_embedder.embedding", ("embedding", "embedding"), (config.vocab_size, embed))

    def attention(prefix: str, path: tuple[Any, ...], i: int) -> Iterator[Placement]:
        for part, (shape, file_shape) in kernels.items():
            yield Placement(f"{prefix}.{part}.kernel", (*path, part, "kernel"), shape, i, file_shape)

    for stack, layers in (("encoder", config.num_encoder_layers), ("decoder", config.num_decoder_layers)):
        own, norm = ("attention", "") if stack == "encoder" else ("self_attention", "self_")
        for i in range(layers):
            at, path = f"{stack}.layers_{i}", (stack, "layers")
            yield from attention(f"{at}.{own}", (*path, "self_attention"), i)
            yield _same(f"{at}.pre_{norm}attention_layer_norm.scale", (*path, "self_norm", "scale"), (embed,), i)
            if stack == "decoder":
                yield from attention(f"{at}.encoder_decoder_attention", (*path, "cross_attention"), i)
                name = f"{at}.pre_cross_attention_layer_norm.scale"
                yield _same(name, (*path, "cross_norm", "scale"), (embed,), i)
            for part, name in mlp.items():
                shape = (config.mlp_dim, embed) if part == "down" else (embed, config.mlp_dim)
                yield _same(f"{at}.mlp.{name}.kernel", (*path, "mlp", part, "kernel"), shape, i)
            yield _same(f"{at}.pre_mlp_layer_norm.scale", (*path, "mlp_norm", "scale"), (embed,), i)
        table = (config.relative_buckets, config.num_heads)
        yield _linear(f"{stack}.relpos_bias.rel_embedding", (f"{stack}_bias", "table"), table, None, 1)
        yield _same(f"{stack}.{stack}_norm.scale", (stack, "norm", "scale"), (embed,))
    if not config.tie_embeddings:
        yield _linear("decoder.logits_dense.kernel", ("embedding", "head"), (config.vocab_size, embed), None, 1)

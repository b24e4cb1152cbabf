"""Folders as transformers writes them, with every tensor's name and shape spelled out here."""

import json
import pathlib
from collections.abc import Mapping
from typing import Any

import ml_dtypes
import numpy as np
from safetensors.numpy import save_file

D, H, N, K, F, V, LAYERS = 16, 4, 2, 4, 24, 40, 2
DECODER = {
    "vocab_size": V,
    "hidden_size": D,
    "intermediate_size": F,
    "num_hidden_layers": LAYERS,
    "num_attention_heads": H,
    "num_key_value_heads": N,
    "head_dim": K,
}
T5 = {
    "vocab_size": V,
    "d_model": D,
    "d_kv": K,
    "d_ff": F,
    "num_layers": LAYERS,
    "num_decoder_layers": 1,
    "num_heads": H,
    "relative_attention_num_buckets": 8,
    "relative_attention_max_distance": 20,
    "decoder_start_token_id": 0,
    "is_encoder_decoder": True,
}
CONFIGS: dict[str, dict[str, Any]] = {
    "llama": {"architectures": ["LlamaForCausalLM"], "model_type": "llama", **DECODER},
    "qwen2": {
        "architectures": ["Qwen2ForCausalLM"],
        "model_type": "qwen2",
        "tie_word_embeddings": True,
        **DECODER,
    },
    "gemma3": {"architectures": ["Gemma3ForCausalLM"], "model_type": "gemma3_text", "sliding_window": 8, **DECODER},
    "olmo2": {"architectures": ["Olmo2ForCausalLM"], "model_type": "olmo2", **DECODER},
    "t5": {"architectures": ["T5ForConditionalGeneration"], "model_type": "t5", **T5},
    "t5_1_1": {
        "architectures": ["T5ForConditionalGeneration"],
        "model_type": "t5",
        "feed_forward_proj": "gated-gelu",
        "tie_word_embeddings": False,
        **T5,
    },
    "umt5": {
        "architectures": ["UMT5ForConditionalGeneration"],
        "model_type": "umt5",
        "feed_forward_proj": "gated-gelu",
        **T5,
    },
}


def decoder_shapes(kind: str) -> dict[str, tuple[int, ...]]:
    """Names and shapes of a decoder's tensors."""
    shapes: dict[str, tuple[int, ...]] = {"model.embed_tokens.weight": (V, D), "model.norm.weight": (D,)}
    norms = {
        "gemma3": (
            "input_layernorm",
            "post_attention_layernorm",
            "pre_feedforward_layernorm",
            "post_feedforward_layernorm",
        ),
        "olmo2": ("post_attention_layernorm", "post_feedforward_layernorm"),
    }.get(kind, ("input_layernorm", "post_attention_layernorm"))
    for i in range(LAYERS):
        at = f"model.layers.{i}."
        shapes |= {f"{at}self_attn.q_proj.weight": (H * K, D), f"{at}self_attn.o_proj.weight": (D, H * K)}
        shapes |= {f"{at}self_attn.{name}_proj.weight": (N * K, D) for name in "kv"}
        shapes |= {f"{at}mlp.{name}_proj.weight": (F, D) for name in ("gate", "up")}
        shapes |= {f"{at}mlp.down_proj.weight": (D, F)}
        shapes |= {f"{at}{name}.weight": (D,) for name in norms}
        if kind == "qwen2":
            shapes |= {f"{at}self_attn.q_proj.bias": (H * K,)}
            shapes |= {f"{at}self_attn.{name}_proj.bias": (N * K,) for name in "kv"}
        if kind == "gemma3":
            shapes |= {f"{at}self_attn.{name}_norm.weight": (K,) for name in "qk"}
        if kind == "olmo2":
            shapes |= {f"{at}self_attn.q_norm.weight": (H * K,), f"{at}self_attn.k_norm.weight": (N * K,)}
    if kind in ("llama", "olmo2"):
        shapes["lm_head.weight"] = (V, D)
    return shapes


def t5_shapes(kind: str) -> dict[str, tuple[int, ...]]:
    """Names and shapes of an encoder-decoder's tensors."""
    shapes: dict[str, tuple[int, ...]] = {"shared.weight": (V, D)}
    up = ("wi",) if kind == "t5" else ("wi_0", "wi_1")
    for stack, layers, parts in (
        ("encoder", LAYERS, ("SelfAttention",)),
        ("decoder", 1, ("SelfAttention", "EncDecAttention")),
    ):
        for i in range(layers):
            for j, part in enumerate(parts):
                at = f"{stack}.block.{i}.layer.{j}."
                shapes |= {f"{at}{part}.{name}.weight": (H * K, D) for name in "qkv"}
                shapes |= {f"{at}{part}.o.weight": (D, H * K), f"{at}layer_norm.weight": (D,)}
            if i == 0 or kind == "umt5":
                shapes[f"{stack}.block.{i}.layer.0.SelfAttention.relative_attention_bias.weight"] = (8, H)
            at = f"{stack}.block.{i}.layer.{len(parts)}."
            shapes |= {f"{at}DenseReluDense.{name}.weight": (F, D) for name in up}
            shapes |= {f"{at}DenseReluDense.wo.weight": (D, F), f"{at}layer_norm.weight": (D,)}
        shapes[f"{stack}.final_layer_norm.weight"] = (D,)
    if kind == "t5_1_1":
        shapes["lm_head.weight"] = (V, D)
    return shapes


def shapes_of(kind: str) -> dict[str, tuple[int, ...]]:
    """Names and shapes of a model's tensors."""
    return t5_shapes(kind) if "t5" in kind else decoder_shapes(kind)


def tensors_of(kind: str, dtype: Any = np.float32, seed: int = 0) -> dict[str, np.ndarray]:
    """Random tensors of a model."""
    rng = np.random.default_rng(seed)
    return {name: (rng.normal(size=shape) * 0.3).astype(dtype) for name, shape in shapes_of(kind).items()}


def write(
    folder: pathlib.Path,
    kind: str = "llama",
    tensors: Mapping[str, np.ndarray] | None = None,
    config: Mapping[str, Any] | None = None,
    shards: int = 1,
) -> pathlib.Path:
    """Writes a folder, in one file or in shards with an index."""
    folder.mkdir(parents=True, exist_ok=True)
    tensors = dict(tensors_of(kind) if tensors is None else tensors)
    (folder / "config.json").write_text(json.dumps(CONFIGS[kind] if config is None else config))
    if shards == 1:
        save_file(tensors, folder / "model.safetensors", {"format": "pt"})
        return folder
    names, weight_map = list(tensors), {}
    for i in range(shards):
        file = f"model-{i + 1:05}-of-{shards:05}.safetensors"
        part = names[i::shards]
        save_file({name: tensors[name] for name in part}, folder / file, {"format": "pt"})
        weight_map |= dict.fromkeys(part, file)
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": weight_map}))
    return folder


BFLOAT16 = np.dtype(ml_dtypes.bfloat16)

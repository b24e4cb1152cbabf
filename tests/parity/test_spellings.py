"""Spellings of config.json that are rarer than those that transformers writes: it and we read the same out of each."""

import json

import pytest
import torch
from transformers import AutoConfig

from flan_jax.models.hugging_face import read_folder
from tests.models.batches import rows
from tests.models.hugging_face.written import DECODER, LAYERS, T5
from tests.models.measured import INPUTS, TARGETS, Ours, examples_of, relative
from tests.parity import families, peer

LINEAR = {"rope_type": "linear", "factor": 2.0}
LLAMA3 = {"rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0}
MIXED = {"sliding_window": 3, "layer_types": ["sliding_attention", "full_attention"]}
LONG = {"max_position_embeddings": 64}
SPELLINGS = {
    # Settings that the family's class does not read.
    "gemma3 with a cap on attention": ("gemma3_text", {"attn_logit_softcapping": 0.5}),
    "gemma3 with a pattern of ours": ("gemma3_text", {"_sliding_window_pattern": 2, "sliding_window": 3}),
    "mistral with biases": ("mistral", {"attention_bias": True}),
    "llama with another activation": ("llama", {"hidden_activation": "gelu"}),
    "gemma2 with another activation": ("gemma2", {"hidden_act": "gelu"}),
    "qwen3 with its window off": ("qwen3", {"sliding_window": 3, "max_window_layers": 0}),
    "mistral with kinds of layers": ("mistral", MIXED),  # which the Auto classes have Ministral's read
    # Settings in two places.
    "both ropes": ("llama", {"rope_scaling": LINEAR, "rope_parameters": {"rope_type": "default", "rope_theta": 300.0}}),
    "an empty older rope": ("llama", {"rope_scaling": {}, "rope_parameters": LINEAR, "rope_theta": 300.0}),
    "gemma3 with both ropes": (
        "gemma3_text",
        {"rope_scaling": LINEAR, "sliding_window": 3, "layer_types": MIXED["layer_types"]},
    ),
    "llama3 from its length": ("llama", {"rope_scaling": LLAMA3, "max_position_embeddings": 16}),
    "llama3 from beside it": (
        "llama",
        {"rope_scaling": LLAMA3 | {"original_max_position_embeddings": 48}, "original_max_position_embeddings": 16},
    ),
    # What is left out.
    "mt5 bare": ("mt5", {}),
    "umt5 bare": ("umt5", {}),
    "llama without key heads": ("llama", {"num_key_value_heads": None}),
    "gemma3 with a cap on logits": ("gemma3_text", {"final_logit_softcapping": 0.5}),
}


@pytest.mark.parametrize("case", SPELLINGS)
def test_both_read_the_same(case, tmp_path):
    kind, changes = SPELLINGS[case]
    sizes = {**T5, "num_decoder_layers": LAYERS} if "t5" in kind else DECODER | {"head_dim": 8}
    raw = json.dumps({"model_type": kind, **LONG, **sizes, **changes})
    (tmp_path / "config.json").write_text(raw)
    config = AutoConfig.from_pretrained(tmp_path)
    torch.manual_seed(0)
    model = families.auto_class(config).from_config(config).float()
    with torch.no_grad():
        for name, value in model.named_parameters():
            value.copy_(torch.randn_like(value) * 0.3 + (0.7 if "norm" in name else 0.0))
    model.save_pretrained(tmp_path)
    (tmp_path / "config.json").write_text(raw)
    folder = read_folder(tmp_path)
    both, begin, examples = folder.model.architecture != "decoder", folder.model.begin_id, examples_of(40, 0)
    layout = [*([one] for one in examples), examples[:2], examples[2:]]
    ours, _ = Ours(folder).logits(rows(layout, folder.model, INPUTS, TARGETS))
    with torch.no_grad():
        out = peer.forward(peer.load(tmp_path), examples, both, begin, use_cache=False)
    assert relative(ours, peer.of_tokens(out.logits, examples, both, begin)) < 1e-5

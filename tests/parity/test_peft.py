"""Adapters against PEFT: a folder of ours gives its logits there, and a folder of PEFT's gives the same logits here."""

import dataclasses
import json

import jax
import numpy as np
import peft
import pytest
import torch
import transformers
from flax import nnx

from flan_jax.models import lora as adapters
from flan_jax.models.hugging_face import load_params, read_folder
from flan_jax.models.hugging_face.peft_folders import fitted, read_adapter
from flan_jax.models.hugging_face.peft_params import load_adapter, save_adapter
from flan_jax.models.lora_config import LoraConfig
from flan_jax.parallel.mesh import make_mesh

SIZES = {"vocab_size": 96, "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2}
SIZES |= {"num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 8, "pad_token_id": 0}
T5 = {"vocab_size": 96, "d_model": 32, "d_kv": 8, "d_ff": 48, "num_heads": 4, "num_layers": 2, "num_decoder_layers": 1}
CONFIGS = {
    "llama": lambda: transformers.LlamaConfig(**SIZES),
    "qwen3": lambda: transformers.Qwen3Config(**SIZES),
    "gemma2": lambda: transformers.Gemma2Config(**SIZES, query_pre_attn_scalar=8, sliding_window=4),
    "t5": lambda: transformers.T5Config(**T5, feed_forward_proj="gated-gelu", tie_word_embeddings=False),
}
WAYS = {
    "llama": LoraConfig(rank=4, dropout=0.1),
    "qwen3": LoraConfig(rank=3, alpha=5, targets="q_proj,v_proj"),
    "gemma2": LoraConfig(rank=4, alpha=8, rs_lora=True, targets="mlp.*,out"),
    "t5": LoraConfig(rank=2, targets=("decoder.layers.cross_attention.query", "encoder.*.value", "up")),
}


@pytest.fixture(scope="module", params=list(CONFIGS))
def base(request, tmp_path_factory):
    """A random model of a family: its folder, and its name."""
    folder = tmp_path_factory.mktemp(request.param)
    torch.manual_seed(0)
    config = CONFIGS[request.param]()
    kind = transformers.AutoModelForSeq2SeqLM if request.param == "t5" else transformers.AutoModelForCausalLM
    kind.from_config(config).save_pretrained(folder)
    return folder, request.param, kind


def random_batch(name):
    draw = np.random.default_rng(1)
    return {part: draw.integers(2, 96, (2, 9)) for part in (("encoder", "decoder") if name == "t5" else ("decoder",))}


def logits_of_peft(model, tokens):
    given = {"input_ids": torch.tensor(tokens.get("encoder", tokens["decoder"]))}
    if "encoder" in tokens:
        given["decoder_input_ids"] = torch.tensor(tokens["decoder"])
    with torch.no_grad():
        return model.eval()(**given).logits.numpy()


def our_logits(graph, parts, tokens):
    batch = {}
    for part, ids in tokens.items():
        batch[f"{part}_input_tokens"] = ids.astype(np.int32)
        batch[f"{part}_segment_ids"] = np.ones_like(ids, np.int32)
        batch[f"{part}_positions"] = np.broadcast_to(np.arange(ids.shape[1], dtype=np.int32), ids.shape)
    return np.asarray(jax.jit(lambda parts: nnx.merge(graph, *parts)(batch))(parts))


def settled(folder):
    config = dataclasses.replace(folder.model, dtype="float32")
    return config, load_params(folder, config), make_mesh({"data": 1}, jax.devices()[:1])


def close(ours, theirs):
    np.testing.assert_allclose(ours, theirs, atol=1e-5 * np.abs(theirs).max(), rtol=0)


def test_an_adapter_of_ours_gives_its_logits_in_peft(base, tmp_path):
    path, name, kind = base
    config, params, _ = settled(read_folder(path))
    lora, tokens = WAYS[name], random_batch(name)
    graph, shapes, _ = adapters.parts(config, lora)
    drawn = adapters.draw(shapes, 0)
    moved = jax.tree.map(lambda a: a + 0.1 * jax.random.normal(jax.random.key(a.size), a.shape), drawn)
    ours = our_logits(graph, (moved, params), tokens)
    plain = our_logits(graph, (drawn, params), tokens)
    assert np.abs(ours - plain).max() > 0.01 * np.abs(plain).max()

    save_adapter(tmp_path / "adapter", moved, config, lora, str(path))
    close(plain, logits_of_peft(kind.from_pretrained(path), tokens))
    there = peft.PeftModel.from_pretrained(kind.from_pretrained(path), tmp_path / "adapter")
    close(ours, logits_of_peft(there, tokens))
    folded = adapters.folded(moved, params, lora.scale)
    plain_graph = adapters.parts(config, LoraConfig())[0]
    close(our_logits(plain_graph, (folded,), tokens), logits_of_peft(there.merge_and_unload(), tokens))


def test_an_adapter_of_pefts_gives_its_logits_here(base, tmp_path):
    path, name, kind = base
    folder = read_folder(path)
    config, params, mesh = settled(folder)
    tokens, decoder = random_batch(name), name != "t5"
    targets = {"llama": "all-linear", "t5": ["q", "v", "wi_0"]}.get(name, ["q_proj", "k_proj", "down_proj"])
    how = peft.LoraConfig(
        r=4,
        lora_alpha=6,
        use_rslora=name == "qwen3",
        target_modules=targets,
        init_lora_weights=False,
        task_type="CAUSAL_LM" if decoder else "SEQ_2_SEQ_LM",
    )
    torch.manual_seed(1)
    model = peft.get_peft_model(kind.from_pretrained(path), how)
    model.save_pretrained(tmp_path / "theirs")
    read = read_adapter(tmp_path / "theirs")
    lora = fitted(read, config)
    adapter = load_adapter(read, config, lora, mesh)
    graph, *_ = adapters.parts(config, lora)
    close(our_logits(graph, (adapter, params), tokens), logits_of_peft(model, tokens))

    # Back out, the tensors are the same, bit for bit.
    save_adapter(tmp_path / "ours", adapter, config, lora, read.base)
    from safetensors.numpy import load_file

    theirs, ours = (load_file(tmp_path / where / "adapter_model.safetensors") for where in ("theirs", "ours"))
    assert theirs.keys() == ours.keys()
    assert all(np.array_equal(ours[key], theirs[key]) for key in theirs)
    assert json.loads((tmp_path / "ours/adapter_config.json").read_text())["use_rslora"] == (name == "qwen3")

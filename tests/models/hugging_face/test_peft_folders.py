"""Folders of PEFT's kind: what is written is read back, and an adapter that does not fit is refused in a sentence."""

import dataclasses
import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from safetensors.numpy import load_file, save_file

from flan_jax.errors import UserError
from flan_jax.models import ModelConfig
from flan_jax.models import lora as adapters
from flan_jax.models.hugging_face import is_folder
from flan_jax.models.hugging_face.peft_folders import base_of, fitted, is_adapter, read_adapter
from flan_jax.models.hugging_face.peft_params import load_adapter, save_adapter
from flan_jax.models.lora_config import LoraConfig
from flan_jax.parallel.mesh import make_mesh

SIZES = {"vocab_size": 40, "embed_dim": 16, "num_heads": 4, "mlp_dim": 24}
DECODER = ModelConfig(architecture="decoder", num_kv_heads=2, mlp_activation="gated_silu", begin_id=-1, **SIZES)
T5 = ModelConfig(**SIZES)
RANK_2 = LoraConfig(rank=2)
MESH = make_mesh({"data": 1}, jax.devices()[:1])


def written(folder, config=DECODER, lora=RANK_2, base=None):
    """An adapter in a folder, with what was written."""
    _, shapes, _ = adapters.parts(config, lora)
    adapter = jax.tree.map(lambda leaf: np.random.default_rng(leaf.size).normal(size=leaf.shape), shapes)
    adapter = jax.tree.map(jnp.float32, adapter)
    save_adapter(folder, adapter, config, lora, base)
    return adapter


def change(folder, **values):
    path = folder / "adapter_config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | values))


@pytest.mark.parametrize(
    ("config", "lora", "names"),
    [
        (DECODER, RANK_2, "down_proj gate_proj k_proj o_proj q_proj up_proj v_proj"),
        (DECODER, LoraConfig(rank=3, alpha=5.0, rs_lora=True, dropout=0.1, targets="query,down"), "down_proj q_proj"),
        (T5, LoraConfig(rank=2, targets="q_proj,up"), "q wi_1"),
        (
            T5,
            LoraConfig(rank=2, targets="encoder.*.query"),
            " ".join(f"encoder.block.{i}.layer.0.SelfAttention.q" for i in range(T5.num_encoder_layers)),
        ),
    ],
)
def test_an_adapter_comes_back_bit_for_bit_with_its_settings(tmp_path, config, lora, names):
    adapter = written(tmp_path / "out", config, lora)
    said = json.loads((tmp_path / "out/adapter_config.json").read_text())
    kind = "CAUSAL_LM" if config is DECODER else "SEQ_2_SEQ_LM"
    assert (said["target_modules"], said["task_type"]) == (names.split(), kind)
    folder = read_adapter(tmp_path / "out")
    found = fitted(folder, config)
    assert (found.rank, found.scale, found.dropout) == (lora.rank, lora.scale, lora.dropout)
    assert found.modules(config) == lora.modules(config)
    again = load_adapter(folder, config, found, MESH)
    jax.tree.map(np.testing.assert_array_equal, dict(nnx.to_flat_state(again)), dict(nnx.to_flat_state(adapter)))


def test_an_adapters_folder_names_its_base(tmp_path):
    (tmp_path / "base").mkdir()
    written(tmp_path / "one", base=str(tmp_path / "base"))
    assert is_adapter(tmp_path / "one") and not is_adapter(tmp_path / "base")
    assert base_of(read_adapter(tmp_path / "one")) == str(tmp_path / "base")
    change(tmp_path / "one", base_model_name_or_path="some-lab/some-model")
    with pytest.raises(UserError, match="'some-lab/some-model' as its base, which is no folder here.*--init_from"):
        base_of(read_adapter(tmp_path / "one"))


@pytest.mark.parametrize(
    ("values", "told"),
    [
        ({"peft_type": "IA3"}, "peft_type 'IA3', of which only 'LORA'"),
        ({"use_dora": True}, "use_dora is True"),
        ({"modules_to_save": ["lm_head"], "bias": "all"}, r"modules_to_save is \['lm_head'\].*bias is 'all'"),
        ({"rank_pattern": {"q_proj": 4}}, "rank_pattern is"),
        ({"init_lora_weights": "pissa"}, "init_lora_weights is 'pissa'"),
        ({"r": 0}, "r is 0"),
        ({"r": True}, "r is True, wanted a whole number above 0"),
        (
            {"r": "two", "lora_alpha": [8], "lora_dropout": "0.1", "use_rslora": "yes", "base_model_name_or_path": 5},
            r"r is 'two'.*lora_alpha is \[8\].*lora_dropout is '0.1'.*use_rslora is 'yes'.*path is 5",
        ),
        ({"lora_alpha": None}, "it has no lora_alpha, wanted a number above 0"),
        ({"lora_dropout": 1.5}, "lora_dropout is 1.5, wanted a number of at least 0 and less than 1"),
        ({"peft_type": ["LORA"]}, r"peft_type \['LORA'\], of which only 'LORA'"),
    ],
)
def test_other_kinds_of_adapters_are_refused(tmp_path, values, told):
    written(tmp_path / "one")
    change(tmp_path / "one", **values)
    with pytest.raises(UserError, match=f"(?s){told}"):
        read_adapter(tmp_path / "one")


def test_an_adapter_for_another_base_is_refused_with_all_that_differs(tmp_path):
    written(tmp_path / "one")
    folder = read_adapter(tmp_path / "one")
    wider = dataclasses.replace(DECODER, mlp_dim=32)
    with pytest.raises(UserError, match=r"another model than base.*down_proj.lora_A is \[2, 24\], wanted \[2, 32\]"):
        fitted(folder, wider, "base")
    with pytest.raises(UserError, match=r"it has no model.layers.0.mlp.down_proj.*and 8 more"):
        fitted(folder, T5)
    with pytest.raises(UserError, match="only some layers of decoder.layers.self_attention.query"):
        fitted(folder, dataclasses.replace(DECODER, num_decoder_layers=3))


def test_damaged_weights_are_refused(tmp_path):
    written(tmp_path / "one")
    weights = tmp_path / "one/adapter_model.safetensors"
    whole, tensors = weights.read_bytes(), load_file(weights)
    name = next(iter(tensors))
    save_file({key: value for key, value in tensors.items() if key != name}, weights)
    with pytest.raises(UserError, match="has lora_B alone"):
        fitted(read_adapter(tmp_path / "one"), DECODER)
    save_file(tensors | {"base_model.model.lm_head.weight": tensors[name]}, weights)
    with pytest.raises(UserError, match="1 of its tensors are no adapter's.*lm_head"):
        read_adapter(tmp_path / "one")
    weights.write_bytes(whole[:-9])
    with pytest.raises(UserError, match="is damaged"):
        read_adapter(tmp_path / "one")
    weights.unlink()
    (tmp_path / "one/adapter_model.bin").write_bytes(b"")
    with pytest.raises(UserError, match="no adapter_model.safetensors .*pickle"):
        read_adapter(tmp_path / "one")
    with pytest.raises(UserError, match="is there already and not an empty folder"):
        written(tmp_path / "one")
    assert is_folder(tmp_path) is False

"""Tensors come into our layout and out of it bit for bit, in every type, on any mesh, in any number of files."""

import dataclasses
import json
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from safetensors.numpy import load_file

from flan_jax.errors import UserError
from flan_jax.models.hugging_face import load_params, read_folder, save_folder
from tests.models.hugging_face.written import BFLOAT16, CONFIGS, D, H, K, N, tensors_of, write


def leaves(params) -> dict[str, np.ndarray]:
    return {".".join(map(str, path)): np.asarray(leaf.get_value()) for path, leaf in nnx.to_flat_state(params)}


def read_back(folder) -> dict[str, np.ndarray]:
    found: dict[str, np.ndarray] = {}
    for path in sorted(folder.glob("*.safetensors")):
        part = load_file(path)
        assert not found.keys() & part.keys()
        found |= part
    return found


def check_same(one, other) -> None:
    assert one.keys() == other.keys()
    for name in one:
        assert one[name].dtype == other[name].dtype and np.array_equal(one[name], other[name]), name


def test_kernels_are_turned_and_layers_stacked(tmp_path):
    tensors = tensors_of("qwen2")
    ours = leaves(load_params(str(write(tmp_path, "qwen2"))))
    at = "decoder.layers.self_attention."
    for i in range(2):
        file = lambda name, i=i: tensors[f"model.layers.{i}.self_attn.{name}"]
        x = np.arange(D, dtype=np.float32)
        seen = np.einsum("d,dhk->hk", x, ours[at + "query.kernel"][i]).reshape(-1) + ours[at + "query.bias"][i].ravel()
        np.testing.assert_allclose(seen, file("q_proj.weight") @ x + file("q_proj.bias"), rtol=1e-5)
        assert np.array_equal(ours[at + "key.kernel"][i][3], file("k_proj.weight")[:, 3].reshape(N, K))
        assert np.array_equal(ours[at + "out.kernel"][i][1, 2], file("o_proj.weight")[:, K + 2])
        up = tensors[f"model.layers.{i}.mlp.up_proj.weight"]
        assert np.array_equal(ours["decoder.layers.mlp.up.kernel"][i], up.T)
    assert ours[at + "query.kernel"].shape == (2, D, H, K)
    assert "embedding.head" not in ours


def test_the_gate_of_a_t5_is_the_half_that_is_activated(tmp_path):
    tensors, ours = tensors_of("umt5"), leaves(load_params(str(write(tmp_path, "umt5"))))
    at = "encoder.block.1.layer."
    assert np.array_equal(ours["encoder.layers.mlp.gate.kernel"][1].T, tensors[f"{at}1.DenseReluDense.wi_0.weight"])
    bias = tensors[f"{at}0.SelfAttention.relative_attention_bias.weight"]
    assert np.array_equal(ours["encoder.layers.bias.table"][1], bias)


@pytest.mark.parametrize("kind", CONFIGS)
def test_out_again_bit_for_bit(kind, tmp_path):
    tensors = tensors_of(kind)
    found = read_folder(write(tmp_path / "in", kind, shards=2))
    files = save_folder(tmp_path / "out", load_params(found), found.model, found.raw, shard_bytes=6000)
    assert len(files) > 1 and all(path.stat().st_size < 6000 + 3000 for path in files)
    check_same(read_back(tmp_path / "out"), tensors)
    index = json.loads((tmp_path / "out/model.safetensors.index.json").read_text())
    assert index["weight_map"].keys() == tensors.keys()
    assert json.loads((tmp_path / "out/config.json").read_text()) == CONFIGS[kind] | {"dtype": "float32"}
    again = read_folder(tmp_path / "out")
    assert again.model == found.model


@pytest.mark.parametrize("dtype", [BFLOAT16, np.dtype(np.float16)], ids=str)
def test_half_precision_in_float32_out_and_back(dtype, tmp_path):
    tensors = tensors_of("llama", dtype)
    tensors["model.norm.weight"] = tensors["model.norm.weight"].astype(np.float32)  # types may differ in one folder
    config = CONFIGS["llama"] | {"torch_dtype": dtype.name}
    found = read_folder(write(tmp_path / "in", tensors=tensors, config=config))
    params = load_params(found)
    assert {leaf.dtype for leaf in jax.tree.leaves(params)} == {jnp.dtype("float32")}
    layout = {name: entry.code for name, entry in found.tensors.items()}
    save_folder(tmp_path / "same", params, found.model, found.raw, dtype=None, layout=layout)
    check_same(read_back(tmp_path / "same"), tensors)
    assert json.loads((tmp_path / "same/config.json").read_text()) == config
    save_folder(tmp_path / "wide", params, found.model, found.raw, layout=layout)
    check_same(read_back(tmp_path / "wide"), {name: array.astype(np.float32) for name, array in tensors.items()})
    assert json.loads((tmp_path / "wide/config.json").read_text()) == config | {"torch_dtype": "float32"}
    kept = load_params(found, dataclasses.replace(found.model, param_dtype="bfloat16"))
    assert {leaf.dtype for leaf in jax.tree.leaves(kept)} == {jnp.dtype("bfloat16")}
    if dtype == BFLOAT16:
        save_folder(tmp_path / "narrow", kept, found.model, found.raw, dtype=None, layout=layout)
        out = read_back(tmp_path / "narrow")
        assert np.array_equal(out["lm_head.weight"], tensors["lm_head.weight"])


def test_copies_of_a_tied_tensor_come_out_again(tmp_path):
    tensors = tensors_of("t5")
    table = tensors["shared.weight"]
    tensors |= {f"{stack}.embed_tokens.weight": table for stack in ("encoder", "decoder")} | {"lm_head.weight": table}
    found = read_folder(write(tmp_path / "in", "t5", tensors))
    layout = {name: entry.code for name, entry in found.tensors.items()}
    save_folder(tmp_path / "out", load_params(found), found.model, found.raw, dtype=None, layout=layout)
    check_same(read_back(tmp_path / "out"), tensors)


def test_a_model_that_the_folder_does_not_hold(tmp_path):
    found = read_folder(write(tmp_path))
    with pytest.raises(UserError, match=r"(?s)another model than MODEL.*q_proj.bias.*gate_proj.weight is \[24, 16\]"):
        load_params(found, dataclasses.replace(found.model, attention_bias=True, mlp_dim=32))


def test_nothing_is_written_over(tmp_path):
    found = read_folder(write(tmp_path))
    with pytest.raises(UserError, match="not an empty folder"):
        save_folder(tmp_path, load_params(found), found.model, found.raw)


EIGHT = """
import sys, jax, numpy as np
from flan_jax.models.hugging_face import load_params, read_folder, save_folder
from flan_jax.parallel.mesh import make_mesh
found = read_folder(sys.argv[1])
mesh = make_mesh({"data": 2, "fsdp": 2, "tensor": 2})
params = load_params(found, mesh=mesh)
query = params["decoder"]["layers"]["self_attention"]["query"]["kernel"].get_value()
assert len(jax.devices()) == 8 and query.addressable_shards[0].data.shape == (2, 8, 2, 4), query.sharding
save_folder(sys.argv[2], params, found.model, found.raw)
"""


def test_on_eight_devices_each_holds_its_share(tmp_path):
    write(tmp_path / "in")
    env = {"JAX_PLATFORMS": "cpu", "XLA_FLAGS": "--xla_force_host_platform_device_count=8", "PATH": "/usr/bin:/bin"}
    words = [sys.executable, "-c", EIGHT, str(tmp_path / "in"), str(tmp_path / "out")]
    done = subprocess.run(words, env=env, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    check_same(read_back(tmp_path / "out"), tensors_of("llama"))

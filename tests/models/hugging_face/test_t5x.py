"""A checkpoint in T5X's published layout, written here by tensorstore: msgpack tree and a zarr array a parameter."""

import numpy as np
import pytest
import tensorstore
from flax import nnx, serialization

from flan_jax.errors import UserError
from flan_jax.models import ModelConfig
from flan_jax.models.hugging_face import t5x

D, H, K, F, V, BUCKETS = 8, 2, 4, 12, 20, 8
CONFIG = ModelConfig(
    vocab_size=V,
    embed_dim=D,
    num_heads=H,
    head_dim=K,
    mlp_dim=F,
    num_encoder_layers=2,
    num_decoder_layers=1,
    tie_embeddings=False,
    scale_logits=False,
    scale_attention=False,
    relative_buckets=BUCKETS,
    relative_max_distance=20,
)


def shapes() -> dict[str, tuple[int, ...]]:
    """Parameters of T5 1.1 as T5X names and shapes them."""
    attention = {"query": (D, H * K), "key": (D, H * K), "value": (D, H * K), "out": (H * K, D)}
    mlp = {"wi_0": (D, F), "wi_1": (D, F), "wo": (F, D)}
    found: dict[str, tuple[int, ...]] = {
        "token_embedder.embedding": (V, D),
        "encoder.relpos_bias.rel_embedding": (H, BUCKETS),
        "decoder.relpos_bias.rel_embedding": (H, BUCKETS),
        "encoder.encoder_norm.scale": (D,),
        "decoder.decoder_norm.scale": (D,),
        "decoder.logits_dense.kernel": (D, V),
    }
    for at, blocks, norms in (
        ("encoder.layers_0", ("attention",), ("attention", "mlp")),
        ("encoder.layers_1", ("attention",), ("attention", "mlp")),
        (
            "decoder.layers_0",
            ("self_attention", "encoder_decoder_attention"),
            ("self_attention", "cross_attention", "mlp"),
        ),
    ):
        found |= {f"{at}.{block}.{name}.kernel": shape for block in blocks for name, shape in attention.items()}
        found |= {f"{at}.mlp.{name}.kernel": shape for name, shape in mlp.items()}
        found |= {f"{at}.pre_{norm}_layer_norm.scale": (D,) for norm in norms}
    return found


@pytest.fixture
def checkpoint(tmp_path):
    """The folder, and its arrays by name."""
    rng, tree = np.random.default_rng(0), {}
    arrays = {name: rng.normal(size=shape).astype(np.float32) for name, shape in shapes().items()}
    for name, array in arrays.items():
        kvstore = {"driver": "file", "path": str(tmp_path / f"target.{name}")}
        how = {"compressor": {"id": "gzip"}, "shape": array.shape, "chunks": array.shape, "dtype": "<f4"}
        spec = {"driver": "zarr", "kvstore": kvstore, "metadata": how}
        tensorstore.open(spec, create=True).result().write(array).result()
        inner = tree
        *above, last = name.split(".")
        for part in above:
            inner = inner.setdefault(part, {})
        inner[last] = {"driver": "zarr", "dtype": "float32", "kvstore": kvstore}
    whole = {"version": 3, "optimizer": {"target": tree, "state": {"step": 1_000_000}}}
    (tmp_path / "checkpoint").write_bytes(serialization.msgpack_serialize(whole))
    return tmp_path, arrays


def test_every_parameter_is_read(checkpoint):
    folder, arrays = checkpoint
    assert t5x.is_checkpoint(folder) and not t5x.is_checkpoint(folder.parent)
    ours = {
        ".".join(map(str, path)): leaf.get_value() for path, leaf in nnx.to_flat_state(t5x.load_params(folder, CONFIG))
    }
    at = "encoder.layers.self_attention."
    query = arrays["encoder.layers_1.attention.query.kernel"]
    assert np.array_equal(ours[f"{at}query.kernel"][1], query.reshape(D, H, K))
    out = arrays["decoder.layers_0.encoder_decoder_attention.out.kernel"]
    assert np.array_equal(ours["decoder.layers.cross_attention.out.kernel"][0], out.reshape(H, K, D))
    assert np.array_equal(ours["encoder.layers.mlp.gate.kernel"][0], arrays["encoder.layers_0.mlp.wi_0.kernel"])
    assert np.array_equal(ours["decoder_bias.table"], arrays["decoder.relpos_bias.rel_embedding"].T)
    assert np.array_equal(ours["embedding.head"], arrays["decoder.logits_dense.kernel"].T)
    norm = arrays["decoder.layers_0.pre_cross_attention_layer_norm.scale"]
    assert np.array_equal(ours["decoder.layers.cross_norm.scale"][0], norm)
    assert sum(array.size for array in arrays.values()) == sum(leaf.size for leaf in ours.values())


def test_another_model_is_told_by_all_that_differs(checkpoint):
    folder, _ = checkpoint
    from dataclasses import replace

    with pytest.raises(UserError, match=r"(?s)missing: .*encoder.layers_2.*unexpected: decoder.logits_dense.kernel"):
        t5x.load_params(folder, replace(CONFIG, num_encoder_layers=3, tie_embeddings=True))
    with pytest.raises(UserError, match=r"(?s)Model.architecture is 'decoder'.*Model.num_kv_heads is 1"):
        t5x.load_params(folder, replace(CONFIG, architecture="decoder", num_kv_heads=1))


def test_scanned_layers_and_damaged_arrays_are_refused(checkpoint):
    folder, _ = checkpoint
    array = folder / "target.encoder.layers_0.mlp.wo.kernel"
    array.rename(folder / "target.encoder.layers.mlp.wo.kernel")
    with pytest.raises(UserError, match="its layers are scanned"):
        t5x.load_params(folder, CONFIG)
    (folder / "target.encoder.layers.mlp.wo.kernel").rename(array)
    (array / "0.0").write_bytes(b"\x1f\x8bnonsense")
    with pytest.raises(UserError, match="wo.kernel cannot be read"):
        t5x.load_params(folder, CONFIG)
    (array / ".zarray").write_text("{")
    with pytest.raises(UserError, match=".zarray cannot be read"):
        t5x.load_params(folder, CONFIG)

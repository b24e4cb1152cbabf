"""The benchmarks of training and decoding run and say what is true; how fast it is, no test asserts."""

import json
import pathlib
import subprocess
import sys

import pytest

HERE = pathlib.Path(__file__).parent


def run(name: str, *argv: str) -> dict:
    command = [sys.executable, str(HERE / name), "--json", "--quick", *argv]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.mark.slow
def test_ours_and_the_bare_step_are_timed_and_no_peer_is_invented():
    found = run("training.py", "--only", "qwen3", "--dtypes", "float32", "--no_depth")
    here = found["qwen3"]["float32"]
    assert set(here["sides"]) == {"ours", "bare"}
    assert set(here["missing"]) == {"transformers", "compiled", "trl", "tunix"}
    assert all(one["seconds"] > 0 and one["first_step_s"] > one["seconds"] for one in here["sides"].values())
    assert all("not installed" in why for why in here["missing"].values())
    # Peers that are not there, among them the one compared by an earlier run's share of transformers' time.
    unmeasured = [text for text, goal in found["goals"].items() if goal["value"] is None]
    assert len(unmeasured) == 5 and not any(found["goals"][text]["reached"] for text in unmeasured)
    assert found["reached"] is False


@pytest.mark.parametrize("name", [pytest.param("t5", marks=pytest.mark.slow), "qwen3"])
def test_the_bare_step_computes_what_ours_does(monkeypatch, name):
    monkeypatch.syspath_prepend(str(HERE))
    import jax
    import numpy as np
    import training_bare
    import training_ours
    from flax import nnx
    from training_shapes import SHAPES, TINY

    from flan_jax.models.model import abstract_model, build

    params = jax.eval_shape(lambda key: training_bare.initial(SHAPES[name], key), jax.random.key(0))
    ours = nnx.split(abstract_model(training_ours.config_of(SHAPES[name], "float32")), nnx.Param)[1]
    count = lambda tree: sum(leaf.size for leaf in jax.tree.leaves(tree))
    assert count(params) == count(ours) > SHAPES[name].parameters > 0.99 * count(ours)

    shape = TINY[name]
    batch = shape.batches(1)[0]
    model = build(training_ours.config_of(shape, "float32"), nnx.Rngs(0))
    bare = same_parameters(model, shape)
    theirs = np.asarray(training_bare.logits_of(bare, batch, shape, np.float32))
    logits = np.asarray(model(training_ours.rows_of(shape, batch)))
    np.testing.assert_allclose(logits, theirs, rtol=1e-4, atol=1e-4 * np.abs(theirs).max())


def same_parameters(model, shape):
    """The product's parameters in the bare step's tree."""

    def attention(part, norm):
        flat = lambda linear, last: linear.kernel[...].reshape(shape.num_layers, *last)
        d = shape.embed_dim
        made = {
            short: flat(getattr(part, name), (d, -1))
            for short, name in zip("qkv", ("query", "key", "value"), strict=True)
        }
        made |= {"o": flat(part.out, (-1, d)), "norm": norm.scale[...]}
        return made | (
            {} if shape.encodes else {"q_norm": part.query_norm.scale[...], "k_norm": part.key_norm.scale[...]}
        )

    def stack(layers):
        mlp = {name: getattr(layers.mlp, name).kernel[...] for name in ("gate", "up", "down")}
        made = {"self": attention(layers.self_attention, layers.self_norm)}
        if layers.has_cross:
            made |= {"cross": attention(layers.cross_attention, layers.cross_norm)}
        return made | {"mlp": mlp | {"norm": layers.mlp_norm.scale[...]}}

    table, norm = model.embedding.embedding[...], model.decoder.norm.scale[...]
    made = {"table": table, "decoder": stack(model.decoder.layers), "norm": norm}
    if not shape.encodes:
        return made
    biases = {"encoder_bias": model.encoder_bias.table[...], "decoder_bias": model.decoder_bias.table[...]}
    encoder = {"encoder": stack(model.encoder.layers), "encoder_norm": model.encoder.norm.scale[...]}
    return made | biases | encoder | {"head": model.embedding.table}


@pytest.mark.slow
def test_every_shape_and_depth_runs():
    found = run("training.py")
    for name in ("t5", "qwen3"):
        assert set(found[name]) == {"float32", "bfloat16", "depth"}
        assert set(found[name]["depth"]["ours"]) == {"4", "32"}


@pytest.mark.slow
def test_decoding_runs():
    found = run("decoding.py")
    for name in ("t5", "qwen3"):
        assert set(found[name]["float32"]["sides"]) == {"ours"}
        assert found[name]["float32"]["sides"]["ours"]["tokens_per_second"] > 0
    assert found["reached"] is False and all(goal["value"] is None for goal in found["goals"].values())


@pytest.mark.slow
def test_each_strategy_is_timed_beside_the_plain_step():
    found = run("strategies.py", "--only", "t5", "--rounds", "1")["t5"]
    assert len(found) == 9 and all(seconds > 0 for seconds in found.values())

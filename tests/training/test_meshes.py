"""Several devices: the same training on every mesh. In a child process, as a process has its devices from the start."""

import dataclasses
import json
import os
import pathlib
import runpy
import subprocess
import sys

import numpy as np
import pytest

MESHES = {"one device": None, "8 x 1 x 1": (8, 1, 1), "2 x 2 x 2": (2, 2, 2)}
STEPS, ROWS = 5, 16
SLOW = [pytest.param(kind, marks=pytest.mark.slow) for kind in ("decoder", "craft")]


def train_on_meshes(folder: str, kind: str) -> dict:
    """Trains on each mesh, saves on the last one, restores onto the others; what it saw as JSON."""
    import jax
    from flax import nnx

    from flan_jax.training.checkpoints import Checkpoints
    from flan_jax.training.objective import likelihood
    from flan_jax.training.optimizer import OptimizerConfig, learning_rate_schedule, make_optimizer
    from flan_jax.training.parameter_groups import moving
    from flan_jax.training.parameter_names import path_names
    from flan_jax.training.state import abstract_state, create_state, state_sharding
    from flan_jax.training.step import make_train_step, place_batch

    init, batches = model_and_batches(kind)
    config = OptimizerConfig(learning_rate=0.02, eps=1e-4, weight_decay=0.01, clip_norm=0.5)
    if kind == "craft":
        groups = {"*.query.*": {"learning_rate_factor": 0.5}, "encoder.*": {"frozen": True}}
        config = dataclasses.replace(config, name="muon", ema=0.9, groups=groups)
    averaged = config.ema is not None
    graph, shapes = nnx.split(nnx.eval_shape(init), nnx.Param)
    tx = make_optimizer(config, STEPS, shapes)
    seen, checkpoints, state = {}, Checkpoints(folder), None
    for name in meshes_of(kind):
        mesh = mesh_of(name)
        state = create_state(lambda: nnx.split(init(), nnx.Param)[1], tx, mesh, averaged=averaged)
        step = make_train_step(
            likelihood(graph),
            tx,
            mesh=mesh,
            state_shardings=state_sharding(state, mesh),
            schedule=learning_rate_schedule(config, STEPS),
            num_tasks=3,
            microbatches=2,
            moving=moving(config, shapes),
            ema=config.ema,
        )
        losses, norms = [], []
        for batch in batches:
            state, metrics = step(state, place_batch(batch, mesh))
            losses.append(float(metrics["loss_sum"] / metrics["weight_sum"]))
            norms.append(float(metrics["grad_norm"]))
        placed = {path_names(p): leaf for p, leaf in jax.tree_util.tree_flatten_with_path(state["params"])[0]}
        moments = [
            (path_names(p), leaf) for p, leaf in jax.tree_util.tree_flatten_with_path(state["opt"])[0] if leaf.ndim
        ]
        moments = [(names, leaf) for names, leaf in moments if names[-1] != "ns_coeffs"]  # Muon's constants
        means = zip(jax.tree.leaves(state.get("averages", ())), placed.values(), strict=False)
        seen[name] = {
            "losses": losses,
            "norms": norms,
            "compiles": step._cache_size(),
            "split": sum(not leaf.sharding.is_fully_replicated for leaf in placed.values()),
            "moments": len(moments),
            "misplaced": [
                names
                for names, leaf in moments
                if leaf.sharding != placed[names[[*names].index("mu" if "mu" in names else "nu") + 1 :]].sharding
            ],
            "misplaced means": sum(mean.sharding != leaf.sharding for mean, leaf in means),
        }
    checkpoints.save(STEPS, state, {"mesh": name})
    checkpoints.wait()
    for name in meshes_of(kind):
        wanted = abstract_state(shapes, tx, mesh_of(name), averaged)
        restored, _ = checkpoints.restore(STEPS, wanted)
        pairs = list(zip(jax.tree.leaves(restored), jax.tree.leaves(state), jax.tree.leaves(wanted), strict=True))
        seen[name]["restored"] = all(np.asarray(a).tobytes() == np.asarray(b).tobytes() for a, b, _ in pairs)
        seen[name]["restored in place"] = all(a.sharding == c.sharding for a, _, c in pairs)
    checkpoints.close()
    return seen


def meshes_of(kind):
    return MESHES if kind == "tiny" else [name for name in MESHES if name != "8 x 1 x 1"]


def mesh_of(name):
    import jax

    from flan_jax.parallel.mesh import make_mesh

    shape = MESHES[name]
    sizes = dict(zip(("data", "fsdp", "tensor"), shape or (1, 1, 1), strict=True))
    return make_mesh(sizes, jax.devices() if shape else jax.devices()[:1])


def model_and_batches(kind):
    from flax import nnx

    tiny = runpy.run_path(str(pathlib.Path(__file__).with_name("conftest.py")))
    batches = [tiny["make_batch"](rows=ROWS, seed=seed) for seed in range(STEPS)]
    if kind == "tiny":
        return lambda: tiny["Tiny"](rngs=nnx.Rngs(0)), batches
    from flan_jax.models import ModelConfig, build

    config = ModelConfig(
        architecture="encoder_decoder" if kind == "craft" else kind,
        vocab_size=tiny["VOCAB"],
        embed_dim=16,
        num_heads=2,
        mlp_dim=32,
        num_encoder_layers=2,
        num_decoder_layers=2,
        dropout_rate=0.1,
        dtype="float32",
    )
    return lambda: build(config, nnx.Rngs(0)), [batch | structure(batch) for batch in batches]


def structure(batch):
    """What the real models want besides: two segments a row, and an encoder's inputs."""
    rows, length = batch["decoder_input_tokens"].shape
    segments = np.repeat(np.int32([[1, 2]]), length // 2, axis=1).repeat(rows, axis=0)
    positions = np.tile(np.arange(length // 2, dtype=np.int32), (rows, 2))
    parts = {"encoder_input_tokens": batch["decoder_target_tokens"][:, ::-1], "decoder_prefix_mask": segments * 0}
    for side in ("encoder", "decoder"):
        parts |= {f"{side}_segment_ids": segments, f"{side}_positions": positions}
    return {name: np.ascontiguousarray(value) for name, value in parts.items()}


@pytest.fixture(scope="module", params=["tiny", "encoder_decoder", *SLOW])
def seen(request, tmp_path_factory):
    environment = {**os.environ, "JAX_PLATFORMS": "cpu", "XLA_FLAGS": "--xla_force_host_platform_device_count=8"}
    command = [sys.executable, __file__, str(tmp_path_factory.mktemp("checkpoints")), request.param]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, env=environment)
    assert done.returncode == 0, done.stderr[-4000:]
    return json.loads(done.stdout.splitlines()[-1])


def test_losses_are_equal_on_every_mesh(seen):
    one = seen["one device"]
    assert len(set(one["losses"])) == STEPS
    for name in seen:
        np.testing.assert_allclose(seen[name]["losses"], one["losses"], rtol=1e-5, err_msg=name)
        np.testing.assert_allclose(seen[name]["norms"], one["norms"], rtol=1e-4, err_msg=name)


def test_each_mesh_compiles_once(seen):
    assert {name: each["compiles"] for name, each in seen.items()} == dict.fromkeys(seen, 1)


def test_moments_lie_like_their_parameters(seen):
    assert seen["2 x 2 x 2"]["split"] > 2
    assert all(each["moments"] > 4 and each["misplaced"] == [] for each in seen.values())
    assert not any(each["misplaced means"] for each in seen.values())


def test_a_checkpoint_of_one_mesh_is_restored_onto_another(seen):
    assert all(each["restored"] and each["restored in place"] for each in seen.values())


if __name__ == "__main__":
    print(json.dumps(train_on_meshes(*sys.argv[1:])))

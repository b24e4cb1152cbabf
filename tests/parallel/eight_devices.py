"""Run by test_devices.py in a process with eight fake devices: the same logits and gradients on every mesh.

Prints a line of JSON: for each architecture and mesh, how far results are from one device's; and whether it decodes to
the same tokens.
"""

import json
import sys

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from flan_jax.inference import decoding
from flan_jax.inference.generation import GenerationConfig
from flan_jax.inference.model import InferenceModel
from flan_jax.models import Model
from flan_jax.parallel.axes import sharding_of
from flan_jax.parallel.mesh import batch_sharding, make_mesh
from tests.models.batches import ALL, examples, model_of, rows

MESHES = {"1": (1, 1, 1), "8x1x1": (8, 1, 1), "1x8x1": (1, 8, 1), "2x2x2": (2, 2, 2), "1x2x4": (1, 2, 4)}


def decodes_alike(model: Model) -> list[bool]:
    """Whether a mesh of all devices answers as one device does: greedily, and by beams."""
    graph, params = nnx.split(model, nnx.Param)
    mesh = make_mesh({"data": 2, "fsdp": 2, "tensor": 2})
    placed = InferenceModel(graph, jax.device_put(params, sharding_of(params, mesh)), mesh, (1, 5))
    prompts = np.full((8, 12), -1, np.int32)
    for row, (tokens, _) in enumerate(examples([(n, 0) for n in (9, 4, 0, 7, 1, 8, 3, 12)])):
        prompts[row, : len(tokens)] = tokens
    greedy = decoding.greedy(model, prompts, 7, (1, 5))
    beams = decoding.beam_search(model, prompts, 7, (1, 5), 2)
    return [
        np.array_equal(placed.generate(prompts, GenerationConfig(7)).tokens, greedy.tokens),
        np.array_equal(placed.generate(prompts, GenerationConfig(7, num_beams=2)).tokens, beams.tokens[:, 0]),
        len(np.unique(greedy.tokens, axis=0)) > 4,
    ]


def main():
    assert jax.device_count() == 8
    report = {}
    for name in sys.argv[1:]:
        config, model = ALL[name], model_of(ALL[name])
        graph, params = nnx.split(model, nnx.Param)
        batch = rows([examples([(5, 3), (6, 2)], seed) for seed in range(8)], config, 16, 8)

        def loss(params, batch, graph=graph):
            logits = nnx.merge(graph, params)(batch)
            log_probs = jax.nn.log_softmax(logits)
            picked = jnp.take_along_axis(log_probs, batch["decoder_target_tokens"][..., None], axis=-1)[..., 0]
            return -(picked * batch["decoder_loss_weights"]).sum(), logits

        outcomes = {}
        for mesh_name, shape in MESHES.items():
            devices = jax.devices()[: int(np.prod(shape))]
            mesh = make_mesh(dict(zip(("data", "fsdp", "tensor"), shape, strict=True)), devices)
            with jax.set_mesh(mesh):
                shardings = sharding_of(params, mesh)
                placed = jax.device_put(params, shardings)
                put = jax.device_put(batch, batch_sharding(mesh))
                step = jax.jit(jax.value_and_grad(loss, has_aux=True), in_shardings=(shardings, batch_sharding(mesh)))
                (value, logits), gradients = step(placed, put)
                split = sum(not leaf.is_fully_replicated for leaf in jax.tree.leaves(placed))
                outcomes[mesh_name] = jax.device_get((value, logits, gradients)), split, step._cache_size()
        reference = outcomes["1"][0]
        for mesh_name, (outcome, split, compiles) in outcomes.items():
            distance = jax.tree.map(lambda a, b: float(np.abs(a - b).max() / np.abs(a).max()), reference, outcome)
            report[f"{name} {mesh_name}"] = {
                "logits": distance[1],
                "gradients": max(jax.tree.leaves(distance[2])),
                "split": split,
                "compiles": compiles,
                "size": float(np.abs(reference[1]).max()),
            }
        if name != "prefix":
            report[f"{name} decodes"] = decodes_alike(model)
    print("report", json.dumps(report))


if __name__ == "__main__":
    main()

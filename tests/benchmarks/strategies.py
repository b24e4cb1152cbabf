"""What a strategy costs in step time: each beside the plain step, on the same batches, in turn in one process.

    python tests/benchmarks/strategies.py [--only t5] [--rounds 4] [--json]

Balance, text beside instructions in one row shape, replay, curricula, inversion, templates, shuffled options and word
dropout change which rows a step reads and leave its program as it is: their cost is that of preparing, and none of a
step. What is timed here changes the program. Of each position of the targets, one in four bears loss, as in
instructions with long prompts; with `Loss.prompt_weight` all do. A figure is the fastest round's, as a share of the
plain step's fastest.
"""

import argparse
import dataclasses
import json
import time
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from training_ours import config_of, rows_of
from training_shapes import SHAPES, TINY, Shape

from flan_jax.config.training_settings import DistillationConfig, LossConfig, OptimizerConfig
from flan_jax.models import lora as adapters
from flan_jax.models.lora_config import LoraConfig
from flan_jax.models.model import build
from flan_jax.parallel.mesh import make_mesh
from flan_jax.tables import table
from flan_jax.training.program import make_program
from flan_jax.training.state import create_state
from flan_jax.training.step import place_batch

TOP_K = 16
ADAMW = OptimizerConfig(learning_rate=1e-4)
MUON = dataclasses.replace(ADAMW, name="muon", groups={"embedding.*": {"name": "adamw"}})
FROZEN = dataclasses.replace(ADAMW, groups={"embedding.*": {"frozen": True}})

#: Of each strategy the arguments of `make_program`, and changes of the model's settings.
STRATEGIES: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "plain: AdamW": ({}, {}),
    "Optimizer.ema": ({"optimizer": dataclasses.replace(ADAMW, ema=0.99)}, {}),
    "frozen embedding": ({"optimizer": FROZEN}, {}),
    "Adafactor": ({"optimizer": dataclasses.replace(ADAMW, name="adafactor")}, {}),
    "Muon for matrices": ({"optimizer": MUON}, {}),
    "Model.embedding_noise": ({}, {"embedding_noise": 5.0}),
    "Loss.prompt_weight": ({}, {}),
    "Distillation": ({"distillation": DistillationConfig(teacher="teacher", top_k=TOP_K, weight=0.5)}, {}),
    "LORA = 16": ({"lora": LoraConfig(rank=16)}, {}),
}


def batch_of(shape: Shape, name: str) -> dict[str, np.ndarray]:
    """A batch whose positions bear loss as the strategy has it."""
    batch = rows_of(shape, shape.batches(1)[0])
    weights = batch["decoder_loss_weights"]
    if name != "Loss.prompt_weight":
        weights[:, : weights.shape[1] * 3 // 4] = 0
    if name == "Distillation":
        size = (*weights.shape, TOP_K)
        batch["decoder_teacher_ids"] = np.broadcast_to(np.arange(TOP_K, dtype=np.int32), size).copy()
        batch["decoder_teacher_logprobs"] = np.full(size, -np.log(TOP_K), np.float16)
    return batch


class Stepping:
    """A strategy's program, after its first step."""

    def __init__(self, shape: Shape, name: str):
        how, changes = STRATEGIES[name]
        mesh, config = make_mesh(), config_of(shape, "float32", **changes)
        how = {"optimizer": ADAMW, "loss": LossConfig(), **how}
        program = make_program(mesh, config, steps=1000, num_tasks=1, **how)
        made, frozen = (lambda: nnx.split(build(config, nnx.Rngs(0)), nnx.Param)[1]), ()
        if "lora" in how:
            made = lambda: adapters.draw(program.abstract["params"], 0)
            frozen = jax.tree.map(lambda leaf: jnp.full(leaf.shape, 0.01, leaf.dtype), program.frozen)
        averaged = how["optimizer"].ema is not None
        self.state = create_state(made, program.tx, mesh, averaged=averaged)
        self.frozen, self.step = frozen, program.step
        self.batch = place_batch(batch_of(shape, name), mesh)
        self()

    def __call__(self) -> float:
        """Seconds of a step."""
        start = time.perf_counter()
        self.state, metrics = self.step(self.state, self.batch, *self.frozen)
        jax.block_until_ready((self.state, metrics))
        return time.perf_counter() - start


def measure(shape: Shape, rounds: int) -> dict[str, float]:
    """The fastest step of each strategy, in seconds."""
    running = {name: Stepping(shape, name) for name in STRATEGIES}
    times: dict[str, list[float]] = {name: [] for name in STRATEGIES}
    for _ in range(rounds):
        for name, one in running.items():
            times[name].append(one())
    return {name: min(found) for name, found in times.items()}


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", choices=sorted(SHAPES))
    parser.add_argument("--rounds", type=int, default=4)
    parser.add_argument("--quick", action="store_true", help="tiny shapes")
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    shapes = TINY if args.quick else SHAPES
    names = [args.only] if args.only else list(shapes)
    found = {name: measure(shapes[name], args.rounds) for name in names}
    if args.json:
        print(json.dumps(found))
        return
    columns = ["strategy", *(f"{name}, {unit}" for name in names for unit in ("ms", "share of plain"))]
    rows = []
    for strategy in STRATEGIES:
        of = [(found[name][strategy], found[name]["plain: AdamW"]) for name in names]
        rows.append([strategy, *(cell for own, plain in of for cell in (round(1000 * own), round(own / plain, 2)))])
    print(table(columns, rows))


if __name__ == "__main__":
    main()

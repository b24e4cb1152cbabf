"""A side that trains, as a process: `training_side.py SIDE '{"shape": {...}, "dtype": "float32", ...}'`.

It tells "built" when model, optimiser and batches are there, and does a step whenever asked (`training_process.serve`).
"""

import json
import sys
import time
from typing import Any

import engine_process
import training_process
from training_shapes import shape_of


def jax_side(kind: str, shape: Any, dtype: str, **changes: Any) -> None:
    """Ours, or the bare step: compiled ahead of the first step, to tell the seconds of that."""
    import jax

    if kind == "ours":
        from training_ours import make
    else:
        from training_bare import make
    step, state, batches = make(shape, dtype, **changes)
    start = time.perf_counter()
    run = step.lower(state, batches[0]).compile()
    more = (step.scalars,) if kind == "ours" else ()
    engine_process.tell("built", compile_s=time.perf_counter() - start)
    held = [state, 0]

    def one() -> None:
        held[0], metrics = run(held[0], batches[held[1] % len(batches)], *more)
        held[1] += 1
        jax.block_until_ready((held[0], metrics))

    training_process.serve({"step": one})


def matmul_side(dtype: str, size: int = 2048) -> None:
    """The rate at which the machine multiplies square matrices through XLA."""
    import jax
    import jax.numpy as jnp

    a, b = (jax.random.normal(jax.random.key(i), (size, size), jnp.dtype(dtype)) for i in (0, 1))
    product = jax.jit(lambda a, b: jnp.dot(a, b, preferred_element_type=jnp.float32))
    jax.block_until_ready(product(a, b))

    def one() -> dict[str, float]:
        times = []
        for _ in range(10):
            start = time.perf_counter()
            jax.block_until_ready(product(a, b))
            times.append(time.perf_counter() - start)
        return {"gflops": 2 * size**3 / min(times) / 1e9}

    engine_process.tell("built")
    training_process.serve({"step": one})


def main() -> None:
    """Becomes the side that is asked for."""
    kind, given = sys.argv[1], json.loads(sys.argv[2])
    shape = shape_of(given.pop("shape")) if "shape" in given else None
    if kind == "matmul":
        matmul_side(**given)
    elif kind in ("ours", "bare"):
        jax_side(kind, shape, **given)
    elif kind == "greedy":
        import training_ours

        training_ours.decode(shape, **given)
    elif kind == "tunix":
        import training_tunix

        training_tunix.run(shape, **given)
    else:
        import training_torch

        training_torch.run(kind, shape, **given)


if __name__ == "__main__":
    main()

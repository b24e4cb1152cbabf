"""Our training step beside those that people use now: same shape, same batches, same dtype, in turn in one run.

    python tests/benchmarks/training.py                      all of it: about half an hour on two cores
    python tests/benchmarks/training.py --only t5 --dtypes float32
    python tests/benchmarks/training.py --json               one JSON object; "reached": true if all goals hold
    python tests/benchmarks/training.py --show FILE          the tables of such an object

Each side is a process that lives through the run and does two steps whenever its turn comes, of which the second
counts; a figure is the minimum over the rounds, its median beside it. Ours is `flan_jax.training.program.make_program`,
the step that `flan-jax train` runs; "bare" is a jitted JAX function of the same mathematics (training_bare.py). The
peers live in environments of their own, one of which is not there is reported as not measured:

    python -m venv WORK/torch && WORK/torch/bin/pip install torch==2.13.0 transformers==5.24.0 trl datasets
    python -m venv WORK/tunix && WORK/tunix/bin/pip install google-tunix
    python tests/benchmarks/training.py --torch WORK/torch/bin/python --tunix WORK/tunix/bin/python

Ours starts with large pages, as `flan-jax train` starts itself, and so does the bare step, which ours is held to; they
save a tenth of a step's time. GLIBC_TUNABLES=glibc.malloc.hugetlb=1 in the environment gives them to every side.

The first line matters: pip takes torch's CPU build. T5X and MaxText are compared by figures of an earlier run on the
same kind of machine, as a share of transformers' time: the index holds no T5X, and MaxText wants another Python.
"""

import argparse
import json
import os
import pathlib
import platform
import sys
import time
from typing import Any

import training_goals
from training_goals import DEPTHS, SIDES, Bench
from training_shapes import TITLES

from flan_jax.tables import Share, table

NAMES = {
    "ours": "flan_jax", "bare": "bare JAX step", "transformers": "transformers, eager",
    "compiled": "transformers, torch.compile", "trl": "TRL SFTTrainer", "tunix": "Tunix",
    "t5x": "T5X (earlier run)", "maxtext": "MaxText (earlier run)", "matmul": "matrix products",
}  # fmt: skip
WHY_BF16 = (
    "bf16 on CPU: XLA uses the processor's bfloat16 instructions in products that come out in float32, as all of ours\n"
    "do (flan_jax.models.fast.cpu_products); most of the bare step's come out in bfloat16 and are computed in float32"
)


def measure(bench: Bench, shapes: list[str], depth: bool) -> dict[str, Any]:
    """Measures the shapes that are asked for."""
    start = time.perf_counter()
    found: dict[str, Any] = {name: {} for name in shapes}
    for name in shapes:
        for dtype in bench.dtypes:
            found[name][dtype] = training_goals.measure_shape(bench, name, dtype)
        if depth:
            found[name]["depth"] = training_goals.measure_depth(bench, name)
    goals = training_goals.goals(found)
    machine = {"cores": os.cpu_count(), "python": platform.python_version(), "load": os.getloadavg()[0]}
    whole = set(shapes) == set(SIDES) and depth and "float32" in bench.dtypes and not bench.quick
    return {
        "reached": whole and all(goal["reached"] for goal in goals.values()),
        "goals": goals,
        **found,
        "rounds": bench.rounds,
        "machine": machine,
        "seconds": time.perf_counter() - start,
    }


def shape_table(name: str, dtype: str, found: dict[str, Any]) -> str:
    """One table of sides."""
    ours = found["sides"].get("ours", {}).get("seconds")
    rows = []
    for kind, side in found["sides"].items():
        ratio = side["seconds"] / ours if ours else None
        figures = [side["seconds"], side["median_s"], side["tokens_per_second"], ratio, Share(side["of_matmul_rate"])]
        rows.append([NAMES[kind], *figures, side["rss_mb"], side["first_step_s"], side["compile_s"]])
    if dtype == "float32":
        for peer, seconds in training_goals.elsewhere(found, name).items():
            ratio = seconds / ours if ours else None
            rows.append([NAMES[peer], seconds, None, found["tokens"] / seconds, ratio, *[None] * 4])
    heads = [f"{TITLES[name]}, {dtype}", "step s", "median s", "tokens/s", "ours is x times", "of matmul rate"]
    lines = [table([*heads, "peak MB", "first step s", "compile s"], rows)]
    lines += [f"matrix products of this machine through XLA: {found['matmul_gflops']:,.0f} GFLOP/s"]
    lines += [f"not measured: {NAMES[kind]}: {why}" for kind, why in found["missing"].items()]
    return "\n".join(lines)


def depth_table(name: str, found: dict[str, Any]) -> str:
    """Compile times."""
    rows = []
    for kind in ("ours",):
        for layers in DEPTHS:
            if one := found.get(kind, {}).get(str(layers)):
                figures = [
                    one[key] for key in ("compile_s", "compile_and_first_less_later_s", "to_first_step_s", "step_s")
                ]
                rows.append([f"{NAMES[kind]}, {layers} layers", *figures])
    heads = [f"{TITLES[name]}, one row", "compile s", "compile + first - later step s", "process start to step s"]
    lines = [table([*heads, "a step s"], rows)]
    lines += [f"not measured: {kind}: {why}" for kind, why in found.get("missing", {}).items()]
    return "\n".join(lines)


def render(found: dict[str, Any]) -> str:
    """All tables that were measured, and every goal with its verdict."""
    texts = []
    for name in SIDES:
        for dtype in ("float32", "bfloat16"):
            if one := found.get(name, {}).get(dtype):
                texts.append(shape_table(name, dtype, one) + (f"\n{WHY_BF16}" if dtype == "bfloat16" else ""))
        if one := found.get(name, {}).get("depth"):
            texts.append(depth_table(name, one))
    lines = []
    for text, goal in found["goals"].items():
        value = "not measured" if goal["value"] is None else f"{goal['value']:.3f}"
        lines.append(f"{str(goal['reached']).lower():5}  {text}: {value}")
    verdict = "ALL GOALS REACHED" if found["reached"] else "not all goals reached"
    return "\n\n".join([*texts, "\n".join(lines), f"{verdict} ({found['rounds']} rounds, {found['seconds']:.0f} s)"])


def options() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true", help="print one JSON object instead of tables")
    parser.add_argument("--show", type=pathlib.Path, metavar="FILE", help="measure nothing: print tables of a --json")
    parser.add_argument("--only", nargs="+", choices=[*SIDES], default=[*SIDES], help="shapes to measure")
    parser.add_argument("--dtypes", nargs="+", choices=["float32", "bfloat16"], default=["float32", "bfloat16"])
    parser.add_argument("--rounds", type=int, default=5, help="timed steps of each side (3 at most in bfloat16)")
    parser.add_argument("--torch", type=pathlib.Path, help="Python of the environment with torch, transformers, TRL")
    parser.add_argument("--tunix", type=pathlib.Path, help="Python of the environment with Tunix")
    parser.add_argument("--leave_out", nargs="+", default=[], metavar="SIDE", help="sides not to measure: compiled, …")
    parser.add_argument("--no_depth", action="store_true", help="leave out compile times at 4 and 32 layers")
    parser.add_argument("--quick", action="store_true", help="tiny sizes: to see that it runs, not how fast")
    return parser.parse_args()


def main() -> None:
    """Runs the benchmark and prints what it found."""
    given = options()
    if given.show:
        print(render(json.loads(given.show.read_text())))
        return
    rounds = min(given.rounds, 2) if given.quick else given.rounds
    bench = Bench(given.torch, given.tunix, rounds, given.quick, tuple(given.dtypes), tuple(given.leave_out))
    found = measure(bench, given.only, not given.no_depth)
    print(json.dumps(found, indent=1) if given.json else render(found))
    sys.stdout.flush()


if __name__ == "__main__":
    main()

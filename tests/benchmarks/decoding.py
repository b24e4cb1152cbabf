"""Our greedy decoding beside transformers' `generate`: same shapes, same prompts, same dtype, in turn in one run.

    python tests/benchmarks/decoding.py --torch WORK/torch/bin/python      a few minutes on two cores
    python tests/benchmarks/decoding.py --json                             one JSON object; "reached" if all goals hold

Eight prompts of 128 tokens are continued by 64, with random weights and no end token, so that every side makes as many.
A side is a process that lives through the run (training_process.py); a figure is the minimum over the rounds, its
median beside it, prompts' reading included. transformers runs with its default cache, which grows, and with its static
one, for which `generate` compiles the forward pass where the platform allows. The environment for torch is made as
training.py says; without it that side is reported as not measured.

However fast the products are, every token reads all weights of the decoder and all keys and values once. How long that
alone takes, at the rate this machine reads memory, stands below each table.
"""

import argparse
import dataclasses
import json
import os
import pathlib
import statistics
import threading
import time
from typing import Any

import numpy as np
from engine_process import say
from training_goals import START_S, Bench
from training_process import LostError
from training_shapes import TITLES, Shape

from flan_jax.tables import table

WANTED = 2.0
SIDES = {"ours": "flan_jax", "dynamic": "transformers, growing cache", "static": "transformers, static cache"}


def shape_of(bench: Bench, name: str) -> Shape:
    """The training shape with prompts for a batch."""
    length = 16 if bench.quick else 128
    return dataclasses.replace(bench.shape(name), batch=2 if bench.quick else 8, inputs=length)


def bytes_per_second(megabytes: int = 256, rounds: int = 8) -> float:
    """How fast all cores together read memory, more of it than fits in their caches."""
    arrays = [np.ones(megabytes << 18, np.float32) for _ in range(os.cpu_count() or 1)]
    times = []
    for _ in range(rounds):
        threads = [threading.Thread(target=array.sum) for array in arrays]
        start = time.perf_counter()
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        times.append(time.perf_counter() - start)
    return sum(array.nbytes for array in arrays) / min(times)


def measure_shape(bench: Bench, name: str, dtype: str, new_tokens: int) -> dict[str, Any]:
    """Every side in turn."""
    shape, live, missing = shape_of(bench, name), {}, {}
    for kind in SIDES:
        say(f"{name}, {dtype}: {kind} starts")
        given = {"shape": dataclasses.asdict(shape), "dtype": dtype, "new_tokens": new_tokens}
        given |= {} if kind == "ours" else {"cache": kind}
        try:
            side = bench.start("greedy" if kind == "ours" else "generate", **given)
            side.wait("built", START_S)
            side.step(START_S)
            side.first = side.at["step"]
            live[kind] = side
        except LostError as lost:
            missing[kind] = str(lost)
    seconds: dict[str, list[float]] = {kind: [] for kind in live}
    for _ in range(bench.rounds):
        for kind in [*live]:
            try:
                seconds[kind].append(live[kind].step())
            except LostError as lost:
                missing[kind] = str(lost)
                del live[kind], seconds[kind]
    sides = {}
    for kind, side in live.items():
        best, made = min(seconds[kind]), side.told["step"]["made"]
        figures = {"seconds": best, "median_s": statistics.median(seconds[kind]), "tokens_per_second": made / best}
        sides[kind] = figures | {"first_s": side.first, "rss_mb": side.end().get("rss_mb")}
    read = new_tokens * shape.bytes_of_token(new_tokens, 2 if dtype == "bfloat16" else 4)
    return {"sides": sides, "missing": missing, "gigabytes": read / 1e9}


def goals(found: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Whether ours is at least twice as fast as each side of transformers, in float32."""
    made = {}
    for name in TITLES:
        sides = found.get(name, {}).get("float32", {}).get("sides")
        if sides is None:
            continue
        for kind in [kind for kind in SIDES if kind != "ours"]:
            there = "ours" in sides and kind in sides
            ratio = sides[kind]["seconds"] / sides["ours"]["seconds"] if there else None
            text = f"{name}: at least {WANTED:g} times {SIDES[kind]}"
            made[text] = {"value": ratio, "reached": ratio is not None and ratio >= WANTED}
    return made


def render(found: dict[str, Any]) -> str:
    """The tables, and every goal with its verdict."""
    texts = []
    for name, title in TITLES.items():
        for dtype, one in found.get(name, {}).items():
            ours = one["sides"].get("ours", {}).get("seconds")
            rows = []
            for kind, side in one["sides"].items():
                ratio = side["seconds"] / ours if ours else None
                figures = [side[key] for key in ("seconds", "median_s", "tokens_per_second")]
                rows.append([SIDES[kind], *figures, ratio, side["rss_mb"], side["first_s"]])
            heads = [f"{title}, {dtype}", "s", "median s", "tokens/s", "ours is x times", "peak MB", "first answer s"]
            lines = [table(heads, rows)]
            rate = found["machine"]["bytes_per_second"] / 1e9
            least = one["gigabytes"] / rate
            lines += [f"reads {one['gigabytes']:.1f} GB, which takes {least:.2f} s at this machine's {rate:.0f} GB/s"]
            lines += [f"not measured: {SIDES[kind]}: {why}" for kind, why in one["missing"].items()]
            texts.append("\n".join(lines))
    lines = []
    for text, goal in found["goals"].items():
        value = "not measured" if goal["value"] is None else f"{goal['value']:.3f}"
        lines.append(f"{str(goal['reached']).lower():5}  {text}: {value}")
    return "\n\n".join([*texts, "\n".join(lines)])


def main() -> None:
    """Runs the benchmark and prints what it found."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true", help="print one JSON object instead of tables")
    parser.add_argument("--only", nargs="+", choices=[*TITLES], default=[*TITLES], help="shapes to measure")
    parser.add_argument("--dtypes", nargs="+", choices=["float32", "bfloat16"], default=["float32"])
    parser.add_argument("--rounds", type=int, default=6, help="timed answers of each side")
    parser.add_argument("--torch", type=pathlib.Path, help="Python of the environment with torch and transformers")
    parser.add_argument("--quick", action="store_true", help="tiny sizes: to see that it runs, not how fast")
    given = parser.parse_args()
    bench = Bench(given.torch, None, min(given.rounds, 2) if given.quick else given.rounds, given.quick)
    new_tokens = 4 if given.quick else 64
    found: dict[str, Any] = {}
    for name in given.only:
        found[name] = {dtype: measure_shape(bench, name, dtype, new_tokens) for dtype in given.dtypes}
    made = goals(found)
    reached = bool(made) and not given.quick and all(goal["reached"] for goal in made.values())
    rate = bytes_per_second(8 if given.quick else 256)
    machine = {"cores": os.cpu_count(), "load": os.getloadavg()[0], "bytes_per_second": rate}
    whole = {"reached": reached, "goals": made, **found, "machine": machine}
    print(json.dumps(whole, indent=1) if given.json else render(whole), flush=True)


if __name__ == "__main__":
    main()

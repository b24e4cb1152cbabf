"""Runs the sides of the training benchmark in turn, and says of each goal whether it is reached."""

import dataclasses
import json
import math
import os
import pathlib
import statistics
from typing import Any

from engine_process import say
from training_process import LostError, Side
from training_shapes import SHAPES, TINY, Shape

from flan_jax import huge_pages

SIDES = {
    "t5": ("ours", "bare", "transformers", "compiled"),
    "qwen3": ("ours", "bare", "transformers", "compiled", "trl", "tunix"),
}
TORCH_SIDES = ("transformers", "compiled", "trl")
# REFERENCE: what was measured before, with the same batches on the same kind of machine, of peers that an index does
# not carry (T5X) or that take a machine of their own (MaxText), as a share of transformers' (eager) time in that run.
ELSEWHERE = {"t5": {"t5x": 2.92 / 2.65}, "qwen3": {"maxtext": 3.46 / 3.46}}
WANTED = {"transformers": 1.2, "compiled": 1.2, "tunix": 1.2, "maxtext": 1.2, "t5x": 1.4, "trl": 1.7}
BARE_SHARE, FIRST_STEP, DEPTH = 0.97, 1.3, 1.3
DEPTHS = (4, 32)
# `flan-jax` starts itself with them, and the bare step, which ours is held to, has what ours has. Peers run as is.
WITH_LARGE_PAGES = ("ours", "greedy", "bare")
START_S = 420  # the most seconds that a side may take to its first step; torch.compile takes a minute or two


@dataclasses.dataclass(frozen=True)
class Bench:
    """What is measured, and where the peers live.

    Attributes:
      torch: the Python of an environment with torch, transformers and TRL; None leaves these out.
      tunix: the Python of an environment with Tunix; None leaves it out.
      rounds: timed steps of each side, after one that is not; no more than 3 in bfloat16, of which no goal is made.
      quick: tiny shapes.
      dtypes: what is computed in.
      leave_out: sides that are not measured.
    """

    torch: pathlib.Path | None
    tunix: pathlib.Path | None
    rounds: int = 5
    quick: bool = False
    dtypes: tuple[str, ...] = ("float32", "bfloat16")
    leave_out: tuple[str, ...] = ()

    def shape(self, name: str) -> Shape:
        """A shape, tiny if asked."""
        return (TINY if self.quick else SHAPES)[name]

    def python(self, side: str) -> str | None:
        """The Python that a side runs in; None: this one.

        Raises:
          LostError: there is none.
        """
        if side not in (*TORCH_SIDES, "generate", "tunix"):
            return None
        there = self.tunix if side == "tunix" else self.torch
        if there is None or not there.exists():
            wanted = "--tunix" if side == "tunix" else "--torch"
            raise LostError(f"not installed: {wanted} names no Python ({there})")
        return str(there)

    def start(self, side: str, **given: Any) -> Side:
        """Starts a side."""
        env = huge_pages.SETTING if side in WITH_LARGE_PAGES and "GLIBC_TUNABLES" not in os.environ else {}
        return Side(side, ["training_side.py", side, json.dumps(given)], self.python(side), env)


def measure_shape(bench: Bench, name: str, dtype: str) -> dict[str, Any]:
    """Steps of every side in turn; the sides are built one after the other, so that none is built beside another."""
    shape, live, missing = bench.shape(name), {}, {}
    for kind in ("matmul", *SIDES[name]):
        say(f"{name}, {dtype}: {kind} starts")
        try:
            if kind in bench.leave_out:
                raise LostError("left out by --leave_out")
            given = {"dtype": dtype} | ({} if kind == "matmul" else {"shape": dataclasses.asdict(shape)})
            given |= {"size": 256} if kind == "matmul" and bench.quick else {}
            side = bench.start(kind, **given)
            side.wait("built", START_S)
            side.step(START_S)
            side.first = side.at["step"]
            if kind == "compiled":
                side.step(START_S)  # it may compile once more
            live[kind] = side
        except LostError as lost:
            missing[kind] = str(lost)
    seconds: dict[str, list[float]] = {kind: [] for kind in live}
    gflops = []
    for turn in range(bench.rounds if dtype == "float32" else min(bench.rounds, 3)):
        for kind in [*live]:
            try:
                # A virtual machine's host takes back what an idle process has freed. The first step after a pause gets
                # it anew, page by page (2 s for ours, which takes 2.7 s otherwise); in training there are no pauses.
                live[kind].step()
                seconds[kind].append(live[kind].step())
            except LostError as lost:
                missing[kind] = f"{lost} (in round {turn + 1})"
                del live[kind], seconds[kind]
        if "matmul" in live:
            gflops.append(live["matmul"].told["step"]["gflops"])
    sides = {}
    for kind, side in live.items():
        usage = side.end()
        if kind != "matmul":
            sides[kind] = _figures(shape, seconds[kind], side, usage, max(gflops, default=math.nan))
    return {"sides": sides, "missing": missing, "matmul_gflops": max(gflops, default=math.nan), "tokens": shape.tokens}


def _figures(shape: Shape, seconds: list[float], side: Side, usage: dict[str, Any], rate: float) -> dict[str, Any]:
    best = min(seconds)
    return {
        "seconds": best,
        "median_s": statistics.median(seconds),
        "tokens_per_second": shape.tokens / best,
        "gflops": shape.flops / best / 1e9,
        "of_matmul_rate": shape.flops / best / 1e9 / rate,
        "rss_mb": usage.get("rss_mb"),
        "first_step_s": side.first,
        "compile_s": side.told["built"].get("compile_s"),
    }


def measure_depth(bench: Bench, name: str) -> dict[str, Any]:
    """Our time to the first step at two depths, of a single row; and the compiler's part of it."""
    found: dict[str, Any] = {}
    for kind in ("ours",):
        for layers in DEPTHS:
            say(f"{name}: {kind} with {layers} layers")
            shape = dataclasses.replace(bench.shape(name), num_layers=layers, batch=1)
            try:
                side = bench.start(kind, shape=dataclasses.asdict(shape), dtype="float32")
                side.wait("built", START_S)
                first = side.step(START_S)
                later = side.step(START_S)
                compile_s = side.told["built"]["compile_s"]
                # What depth adds to the first step in arithmetic is there in every later step too.
                found.setdefault(kind, {})[str(layers)] = {
                    "compile_s": compile_s,
                    "to_first_step_s": side.at["step"],
                    "step_s": later,
                    "compile_and_first_less_later_s": compile_s + first - later,
                }
                side.end()
            except LostError as lost:
                found.setdefault("missing", {})[f"{kind}, {layers} layers"] = str(lost)
    return found


def elsewhere(found: dict[str, Any], name: str) -> dict[str, float]:
    """Seconds of the peers that are only compared by an earlier run, from transformers' time in this one."""
    base = found["sides"].get("transformers")
    return {peer: share * base["seconds"] for peer, share in ELSEWHERE[name].items()} if base else {}


def goals(found: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Each goal with the figure that decides it: `reached` is false too where a side was not measured."""
    made: dict[str, dict[str, Any]] = {}

    def goal(text: str, value: float | None, reached: bool) -> None:
        made[text] = {"value": value, "reached": reached}

    for name in SIDES:
        here = found.get(name, {}).get("float32")
        if here is None:
            continue
        ours, sides = here["sides"].get("ours"), here["sides"]
        seconds = {kind: side["seconds"] for kind, side in sides.items()} | elsewhere(here, name)
        if ours is None:
            goal(f"{name}: ours runs", None, False)
            continue
        for peer in [side for side in (*SIDES[name], *ELSEWHERE[name]) if side in WANTED]:
            ratio = seconds[peer] / ours["seconds"] if peer in seconds else None
            text = f"{name}: at least {WANTED[peer]} times {peer}" + (
                " (earlier run)" if peer in ELSEWHERE[name] else ""
            )
            goal(text, ratio, ratio is not None and ratio >= WANTED[peer])
        bare = sides.get("bare")
        ratio = bare["seconds"] / ours["seconds"] if bare else None
        goal(f"{name}: within 3% of the bare step", ratio, ratio is not None and ratio >= BARE_SHARE)
        ratio = ours["first_step_s"] / bare["first_step_s"] if bare else None
        goal(f"{name}: first step within {FIRST_STEP} times the bare one's", ratio, bool(ratio and ratio <= FIRST_STEP))
        depth = found.get(name, {}).get("depth", {}).get("ours", {})
        if "depth" in found.get(name, {}):
            few, many = (depth.get(str(layers), {}).get("compile_and_first_less_later_s") for layers in DEPTHS)
            ratio = many / few if few and many else None
            text = f"{name}: first step at {DEPTHS[1]} layers within {DEPTH} times that at {DEPTHS[0]}"
            goal(text, ratio, bool(ratio and ratio <= DEPTH))
    return made

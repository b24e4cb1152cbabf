"""The data engine beside seqio's, on the same tasks, vocabulary, lengths and machine, in one run.

    python tests/benchmarks/data_engine.py                       all of it: about half an hour on two cores
    python tests/benchmarks/data_engine.py --only packing scale  some of it
    python tests/benchmarks/data_engine.py --json                one JSON object; "reached": true if all goals hold
    python tests/benchmarks/data_engine.py --show FILE           the tables of such an object

It measures every figure in a fresh process: start-up times count from the start of the process by the parent's clock,
CPU time is that of the process and its threads, memory its largest resident set. The data are the real prompts beside
the clone (`--data`), cut into tasks of 500 examples. A work folder (`--work`) keeps what takes minutes to make: the
tasks' files, the vocabulary and the token stores. The packing goal wants TRL and Grain in an environment of their own:

    python -m venv WORK/peers && WORK/peers/bin/pip install torch==2.13.0 trl datasets grain
"""

import argparse
import json
import os
import pathlib
import platform
import sys
import time
from collections.abc import Callable
from typing import Any

import engine_data
import engine_goals
import engine_packing
import engine_scale
from engine_goals import Bench

from flan_jax.tables import Share, table

PARTS = ("startup", "steady", "packing", "prepare", "restore", "scale")
GOALS = PARTS[:-1]


def measure(bench: Bench, only: list[str], sizes: dict[str, int]) -> dict[str, Any]:
    """Measures the parts that are asked for; the last one uses what the one before it has measured of seqio."""
    parts: dict[str, Callable[[], dict[str, Any]]] = {
        "scale": lambda: engine_scale.measure(sizes["scale_tasks"], sizes["scale_examples"]),
        "restore": lambda: engine_goals.measure_restore(bench),
        "prepare": lambda: engine_goals.measure_prepare(bench),
        "packing": lambda: engine_packing.measure(
            bench.work, bench.data, bench.pieces, sizes["lengths"], sizes["real_lengths"]
        ),
        "steady": lambda: engine_goals.measure_steady(bench),
        "startup": lambda: engine_goals.measure_startup(bench),
    }
    start = time.perf_counter()
    bench.made(for_seqio=bool({"startup", "steady", "prepare"} & set(only)))
    found: dict[str, Any] = {}
    for name in parts:
        if name in only:
            found[name] = parts[name]()
            (bench.work / "figures.json").write_text(json.dumps(found, indent=1))  # should a later part fail
    goals = {name: found[name]["goal"]["reached"] for name in GOALS if name in found}
    machine = {"cores": os.cpu_count(), "python": platform.python_version(), "load": os.getloadavg()[0]}
    return {
        "reached": all(goals.get(name, False) for name in GOALS),
        "goals": {name: goals[name] for name in GOALS if name in goals},
        **found,
        "machine": machine,
        "tasks": list(bench.tasks),
        "examples_per_task": bench.examples,
        "batch_size": bench.batch_size,
        "seconds": time.perf_counter() - start,
    }


def startup_tables(found: dict[str, Any]) -> str:
    """Goal 1."""
    rows = []
    for tasks in sorted({*found["ours"], *found["unprepared"], *found["seqio"]}, key=int):
        ours, fresh, theirs = (found[side].get(tasks, {}) for side in ("ours", "unprepared", "seqio"))
        seconds = [ours.get("seconds"), fresh.get("seconds"), _or_late(theirs)]
        rows.append([f"{tasks} tasks", *seconds, ours.get("rss_mb"), fresh.get("child_mb"), theirs.get("rss_mb")])
    heads = ["process start to first packed batch", "ours, prepared s", "ours, preparing too s", "seqio s"]
    heads += ["ours MB", "largest child MB", "seqio MB"]
    first, plan = found["first_resolve"], found["plan"]
    return "\n".join(
        [
            table(heads, rows),
            f"first resolve of {first['tasks']} tasks (seqio in a child of {first['child_mb']:,.0f} MB), stores there: "
            f"{first['seconds']:.1f} s; warm `flan-jax plan`: {plan['seconds']:.2f} s",
        ]
    )


def _or_late(theirs: dict[str, Any]) -> Any:
    return "none in 190 s" if theirs.get("timed_out") and theirs.get("seconds") is None else theirs.get("seconds")


def steady_tables(found: dict[str, Any]) -> str:
    """Goal 2."""
    rows = []
    for name, here in found.items():
        if name == "goal":
            continue
        ours, theirs, paced = here["ours"], here.get("seqio", {}), here["paced"]
        million = [side.get("tokens_per_cpu_second", 0) / 1e6 or None for side in (ours, theirs)]
        wall = [side.get("tokens_per_second", 0) / 1e6 or None for side in (ours, theirs)]
        full = [Share(ours["full"]), Share(theirs["full"]) if theirs else None]
        waits = f"{paced['late']} of {paced['batches']}, longest {1000 * paced['longest_s']:.1f} ms"
        rows.append([name, *million, here.get("ratio"), *wall, *full, waits])
        if cached := here.get("seqio_cached"):
            pair = [cached["tokens_per_cpu_second"] / 1e6, cached["tokens_per_second"] / 1e6]
            ratio = million[0] / pair[0] if million[0] else None
            rows.append(
                ["  seqio given token ids", None, pair[0], ratio, None, pair[1], None, Share(cached["full"]), ""]
            )
    heads = ["architecture, tasks", "ours M tokens/CPU-s", "seqio", "ratio", "ours M tokens/s", "seqio"]
    return table([*heads, "ours full", "seqio", "waits over 1 ms at one batch per 50 ms"], rows)


def packing_tables(found: dict[str, Any]) -> str:
    """Goal 3."""
    texts = []
    for name, ours in found["ours"].items():
        plan, peers = ours["plan"], found.get("peers", {}).get(name, {})
        rows = [[f"ours, windows of {plan['window']:,} (plan)", *_fill(plan), plan["examples_per_second"] / 1e6]]
        for window, here in ours["windows"].items():
            rows.append([f"ours, window {int(window):,}", *_fill(here), here["examples_per_second"] / 1e6])
            if window in peers.get("trl", {}):
                rows.append([f"TRL best-fit, window {int(window):,}", _full(peers["trl"][window]["fill"]), *[None] * 3])
        rows += [[f"Grain {kind}", _full(one["fill"][0]), *[None] * 3] for kind, one in peers.get("grain", {}).items()]
        heads = [f"{name} ({ours['examples']:,} examples)", "full", "over sum", "over stronger", "M examples/s"]
        texts.append(table(heads, rows))
    texts += [f"NOT MEASURED: {found['not_measured']}"] if "not_measured" in found else []
    texts.append(
        "over sum: rows over those that the tokens of the scarcest budget fill; over stronger: over those that are "
        "needed\nwhen examples that fit beside no other have a row each, and Martello and Toth's L2 bounds the rest"
    )
    return "\n\n".join(texts)


def _fill(figures: dict[str, Any]) -> list[Any]:
    over = [_full(figures[f"over_{bound}_bound"]) for bound in ("sum", "stronger")]
    return [_full(figures["fill"][0]), *over]


def _full(share: float) -> str:
    return f"{100 * share:.2f}%"


def prepare_tables(found: dict[str, Any]) -> str:
    """Goal 4."""
    seqio = found["sides"].get("seqio", {}).get("examples_per_second")
    rows = [
        [kind, one["examples_per_second"], one["examples_per_second"] / seqio if seqio else None, one["seconds"]]
        + [one["cpu_s"], one["together_mb"], one["largest_mb"]]
        for kind, one in found["sides"].items()
    ]
    for size, one in found["memory"].items():
        memory = [None, one["together_mb"], one["largest_mb"]]
        rows.append([f"one task of {int(size):,}", one["examples_per_second"], None, None, *memory])
    heads = [f"preparing {found['examples']:,} examples", "examples/s", "over seqio", "s", "CPU s"]
    return table([*heads, "MB together", "MB largest process"], rows)


def restore_tables(found: dict[str, Any]) -> str:
    """Goal 5."""
    rows = []
    for kind, words in (("with_index", "with the index of rows"), ("state_alone", "from the saved state alone")):
        rows += [[f"step {int(step):,}, {words}", seconds] for step, seconds in found[kind].items()]
    return "\n".join(
        [
            table(["process start to the step's batch", "s"], rows),
            f"data state: {found['state_bytes']} bytes; index of {found['windows']:,} windows: "
            f"{found['index_bytes']:,} bytes beside the run",
        ]
    )


def scale_tables(found: dict[str, Any]) -> str:
    """The simulation."""
    start, steady = found["start"], found["steady"]
    rows = [
        ["process start to plan, s", start["process_s"]],
        ["  of it making the plan, s", start["seconds"]],
        ["restore at step 1,000,000, s", start["restored_s"]],
        ["largest resident memory, MB", found["rss_mb"]],
        ["planning and packing a window, ms", 1000 * steady["seconds_per_window"]],
        ["windows in a step", steady["windows_per_step"]],
        ["a step of one host's rows, ms", 1000 * steady["seconds_per_step"]],
        ["  CPU ms", 1000 * steady["cpu_seconds_per_step"]],
    ]
    heads = [f"{found['stores']:,} tasks × draws, {start['examples']:,} examples, {found['hosts']:,} hosts", ""]
    text = (
        f"a step is {steady['tokens_per_step'] / 1e6:.1f} M positions; lengths are made up, nothing is read from disk"
    )
    return f"{table(heads, rows)}\n{text}"


TABLES = {
    "startup": ("Goal 1, start-up", startup_tables),
    "steady": ("Goal 2, steady state", steady_tables),
    "packing": ("Goal 3, packing", packing_tables),
    "prepare": ("Goal 4, preparing", prepare_tables),
    "restore": ("Goal 5, restoring", restore_tables),
    "scale": ("Simulation of scale", scale_tables),
}


def render(found: dict[str, Any]) -> str:
    """All tables that were measured, each goal with its verdict."""
    texts = []
    for name, (title, tables) in TABLES.items():
        if name in found:
            goal = found[name].get("goal")
            verdict = "" if goal is None else ": REACHED" if goal["reached"] else ": NOT REACHED"
            texts.append(f"{title}{verdict}\n\n{tables(found[name])}")
            if goal is not None and not goal["reached"]:
                texts.append("figures that decide: " + json.dumps(goal["figures"]))
    missing = [name for name in GOALS if name not in found]
    texts.append("ALL FIVE GOALS REACHED" if found["reached"] else "not all five goals reached")
    texts[-1] += f" (not measured: {', '.join(missing)})" if missing else ""
    return "\n\n".join(texts)


def options() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true", help="print one JSON object instead of tables")
    parser.add_argument("--show", type=pathlib.Path, metavar="FILE", help="measure nothing: print tables of a --json")
    parser.add_argument("--only", nargs="+", choices=PARTS, default=list(PARTS), help="what to measure")
    parser.add_argument("--tasks", nargs="+", type=int, default=[10, 300, 1836], help="few, many and most tasks")
    parser.add_argument("--work", type=pathlib.Path, default=pathlib.Path("runs/data_engine_benchmark"))
    parser.add_argument("--data", type=pathlib.Path, default=engine_data.REAL, help="folder that holds t0_train_50k")
    parser.add_argument("--seqio_most", action="store_true", help="give seqio 190 s for the most tasks too")
    parser.add_argument("--no_seqio", action="store_true", help="leave out seqio's side; no goal that needs it holds")
    parser.add_argument("--quick", action="store_true", help="tiny sizes: to see that it runs, not how fast")
    return parser.parse_args()


def main() -> None:
    """Runs the benchmark and prints what it found."""
    given = options()
    if given.show:
        print(render(json.loads(given.show.read_text())))
        return
    place: dict[str, Any] = {"work": given.work.absolute(), "data": given.data.absolute()}
    sides: dict[str, Any] = {"with_seqio": not given.no_seqio, "seqio_most": given.seqio_most}
    tasks = tuple(sorted(given.tasks))
    tasks = (*tasks, tasks[-1]) if len(tasks) == 1 else tasks
    bench = Bench(**place, tasks=tasks, **sides)
    sizes = {"lengths": 50_000, "real_lengths": 10**9, "scale_tasks": 1_250_000, "scale_examples": 10**9}
    if given.quick:
        small: dict[str, Any] = {"examples": 20, "batch_size": 4, "seconds": 1.0, "rounds": 1, "prepare_tasks": 2}
        small |= {"singles": (50, 100), "restore_steps": (1, 40), "vocabulary": "starter"}
        bench = Bench(**place, tasks=tasks, **sides, **small)
        sizes = {"lengths": 3000, "real_lengths": 3000, "scale_tasks": 1250, "scale_examples": 10**6}
    found = measure(bench, given.only, sizes)
    print(json.dumps(found, indent=1) if given.json else render(found))
    sys.stdout.flush()


if __name__ == "__main__":
    main()

"""What 10 million (tasks × draws), a billion examples and 1,024 hosts cost: a simulation on one core.

Real are the plan, its windows, their packing and the look-up of a host's rows; made up are the lengths, a hash of
(task, draw, index), since nobody has such stores at hand. So reading from disk is not in these figures.
"""

import math
import time
from typing import Any

import engine_process
import numpy as np

CAPACITIES = {"row": 2048}
MEAN = 394.0


def made_up(task: np.ndarray, draw: np.ndarray, index: np.ndarray) -> np.ndarray:
    """Tokens of examples, [N, 1]: near log-normal, by a hash of where they are."""
    word = task.astype(np.uint64) * np.uint64(0x9E3779B97F4A7C15) + index.astype(np.uint64)
    word = (word * np.uint64(8) + draw.astype(np.uint64)) * np.uint64(0xBF58476D1CE4E5B9)
    # The sum of 4 bytes is close enough to normal.
    normal = sum(((word >> np.uint64(s)) & np.uint64(255)).astype(np.float64) for s in (24, 32, 40, 48)) - 510.0
    return np.clip(np.exp(normal / 148.0) * MEAN / math.sqrt(math.e), 1, 2048).astype(np.int64)[:, None]


def simulate(tasks: int, draws: int, examples: int, hosts: int, rows_each: int, windows: int) -> None:
    """Tells what a host does: makes the plan, then goes through windows and takes its rows of every step.

    Args:
      tasks: how many tasks; their sizes differ by a factor of a hundred.
      draws: of each.
      examples: of all tasks together.
      hosts: how many share a step.
      rows_each: rows of a step on each host.
      windows: how many windows are gone through, in the middle of a run.
    """
    from flan_jax.data.planning.plan import Plan, PlannedTask, shares_of
    from flan_jax.data.planning.row_index import RowIndex

    before = engine_process.usage()
    start = time.perf_counter()
    weights = np.exp(np.random.default_rng(0).uniform(0, math.log(100), tasks))
    counts = np.maximum(1, np.round(weights / weights.sum() * examples)).astype(np.int64).tolist()
    engine_process.tell("sizes")
    # A third of the tasks is capped, as FLAN caps them.
    cap = sorted(counts)[tasks * 2 // 3]
    shares = shares_of([min(count, cap) for count in counts])
    planned = [
        PlannedTask(f"task_{number}", count, share, f"{number:016x}", draws)
        for number, (count, share) in enumerate(zip(counts, shares, strict=True))
    ]
    plan = Plan(planned, CAPACITIES, seed=0)
    fingerprint = plan.fingerprint
    made_s = time.perf_counter() - start
    batch = hosts * rows_each
    per_window = len(plan.rows(4_000_000, made_up))  # also compiles what the plan wants compiled
    step = 1_000_000
    first = step * batch // per_window
    start = time.perf_counter()
    index = RowIndex(plan, made_up, anchor=(first, step * batch))
    index.locate(step * batch)
    restored_s = time.perf_counter() - start
    engine_process.tell(
        "start", seconds=made_s, restored_s=restored_s, fingerprint=fingerprint, examples=sum(counts), before=before
    )
    end, made, held, steps, start, cpu = step * batch, 0, 0, 0, time.perf_counter(), engine_process.cpu_seconds()
    window_s: list[float] = []
    for window in range(first, first + windows):
        began = time.perf_counter()
        end = index.end(window)
        window_s.append(time.perf_counter() - began)
        while (step + 1) * batch <= end:
            # This host's rows are of one window or two; finding them is all that a step takes of the plan.
            for row in range(step * batch, step * batch + rows_each):
                rows, number = index.locate(row)
                held += len(rows.entries(number))
            step, steps = step + 1, steps + 1
        made += len(index.window(window))
    engine_process.tell(
        "windows",
        windows=windows,
        seconds_per_window=float(np.median(window_s)),
        rows_per_window=made / windows,
        seconds_per_step=(time.perf_counter() - start) / max(1, steps),
        cpu_seconds_per_step=(engine_process.cpu_seconds() - cpu) / max(1, steps),
        steps=steps,
        examples_per_host_and_step=held / max(1, steps),
        tokens_per_step=batch * CAPACITIES["row"],
        windows_per_step=windows / max(1, steps),
    )


def measure(tasks: int, examples: int, hosts: int = 1024) -> dict[str, Any]:
    """The figures of the simulation; a billion examples in 1.25 million tasks of 8 draws, unless told otherwise."""
    how = {"tasks": tasks, "draws": 8, "examples": examples, "hosts": hosts, "rows_each": 8, "windows": 60}
    engine_process.say("simulating scale")
    done = engine_process.run(["engine_scale.py", "simulate", engine_process.json.dumps(how)])
    start = done.told["start"]
    grown = done.usage["rss_mb"] - start.pop("before")["rss_mb"]
    return {
        "stores": tasks * how["draws"],
        "hosts": hosts,
        "start": {"process_s": done.at["start"], **start},
        "steady": done.told["windows"],
        "rss_mb": done.usage["rss_mb"],
        "plan_mb": grown,
    }


if __name__ == "__main__":
    engine_process.answer({"simulate": simulate})

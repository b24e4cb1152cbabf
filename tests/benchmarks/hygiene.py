"""Rates and memory of hygiene: exact and near duplicates, and runs of 13 words against an eval set.

    python tests/benchmarks/hygiene.py [--rows 200000] [--evals 20000] [--words 80] [--cores 2]

The rows are made up: words drawn by Zipf's law, a twentieth of them copies and a twentieth near copies. What a part
costs is spread over forks, as in a run; what compares the parts is one process. For each stage it prints rows a second
and the most memory that a process held, and what 10 million rows would take by the figures in the modules' docstrings.
"""

import argparse
import concurrent.futures
import json
import multiprocessing
import pathlib
import random
import resource
import tempfile
import time
from collections.abc import Callable
from typing import Any

import numpy as np

from flan_jax.data.hygiene import contents, duplicates, overlaps, words

PART = 16_384
SIMILARITY = 0.8


def made(part: int, rows: int, length: int) -> list[tuple[str, str]]:
    """The prompts and answers of a part."""
    draw = np.random.default_rng(part)
    chance = random.Random(part)
    vocabulary = np.minimum(draw.zipf(1.2, (rows, length)), 50_000)
    found: list[tuple[str, str]] = []
    for row in vocabulary:
        kind = chance.random()
        if found and kind < 0.1:
            prompt, answer = chance.choice(found)
            found.append((prompt, answer) if kind < 0.05 else (f"{prompt} more", answer))
            continue
        text = [f"w{number}" for number in row]
        found.append((" ".join(text[:-5]).capitalize() + ".", " ".join(text[-5:])))
    return found


def look(number: int, rows: int, length: int, work: str, stage: str) -> tuple[Any, float, int]:
    """What a fork does with a part: its columns, the seconds that took, and the most memory in kilobytes."""
    texts = made(number, rows, length)
    start = time.perf_counter()
    normal = [(words.normalised(prompt), words.normalised(answer)) for prompt, answer in texts]
    said = [contents.Said(str(row), row, 1) for row in range(len(texts))]
    columns = np.array(
        [contents.column_of(one, *pair) for one, pair in zip(said, normal, strict=True)], contents.COLUMNS
    )
    for lot in contents.lots(normal):
        if stage == "overlaps":
            overlaps.opened(work, 13).overlaps(lot)
    if stage == "near":
        signed = [duplicates.signatures([f"{a} {b}" for a, b in lot]) for lot in contents.lots(normal)]
        duplicates.SignatureFiles(pathlib.Path(work), SIMILARITY).write(number, np.concatenate(signed))
    return columns, time.perf_counter() - start, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def run(stage: str, options: argparse.Namespace, work: str) -> dict[str, Any]:
    """One stage over all rows."""
    sizes = [min(PART, options.rows - start) for start in range(0, options.rows, PART)]
    count = len(sizes)
    context = multiprocessing.get_context("fork")
    with concurrent.futures.ProcessPoolExecutor(options.cores, context) as pool:
        every = (range(count), sizes, [options.words] * count, [work] * count, [stage] * count)
        parts = list(pool.map(look, *every))
    looking = sum(seconds for _, seconds, _ in parts) / options.cores
    columns = np.concatenate([found for found, _, _ in parts])
    ends, order = np.cumsum(sizes), np.arange(len(columns))
    start, left_out = time.perf_counter(), 0
    if stage in ("exact", "near"):
        twin = duplicates.exact(columns, order, np.ones(len(columns), bool))
        left_out = int((twin >= 0).sum())
        if stage == "near":
            files = duplicates.SignatureFiles(pathlib.Path(work), SIMILARITY)
            left_out += int((duplicates.near(files, ends, order, twin < 0).twin >= 0).sum())
    comparing = time.perf_counter() - start
    own = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return {
        "stage": stage,
        "rows": len(columns),
        "left_out": left_out,
        "rows_per_second": round(len(columns) / (looking + comparing)),
        "looking_seconds": round(looking, 2),
        "comparing_seconds": round(comparing, 2),
        "fork_mb": max(memory for *_, memory in parts) // 1024,
        "own_mb": own // 1024,
        "disk_mb": sum(path.stat().st_size for path in pathlib.Path(work).iterdir()) >> 20,
    }


def main() -> None:
    """Prints a line of JSON a stage."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    for name, default in (("rows", 200_000), ("evals", 20_000), ("words", 80), ("cores", 2)):
        parser.add_argument(f"--{name}", type=int, default=default)
    options = parser.parse_args()
    words.runs(["a b"], 2)  # compiled before it is measured
    stages: tuple[str, ...] = ("exact", "near", "overlaps")
    for stage in stages:
        with tempfile.TemporaryDirectory() as work:
            if stage == "overlaps":
                row: Callable[[int], overlaps.EvalRow] = lambda number: overlaps.EvalRow("evals", str(number), "", "")
                found = made(10**6, options.evals, options.words)
                normal = [(words.normalised(prompt), words.normalised(answer)) for prompt, answer in found]
                overlaps.write_index(
                    pathlib.Path(work), ((row(number), *pair) for number, pair in enumerate(normal)), 13
                )
            print(json.dumps(run(stage, options, work)), flush=True)


if __name__ == "__main__":
    main()

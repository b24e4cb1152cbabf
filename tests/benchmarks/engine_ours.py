"""Our side of the benchmark: what runs in a child to measure `flan_jax`'s data engine."""

import dataclasses
import time
from typing import Any

import engine_process

LENGTHS = {"encoder_decoder": {"inputs": 1024, "targets": 256}, "decoder": {"inputs": 1792, "targets": 256}}
TOKENS = {"encoder_decoder": ("encoder_segment_ids", "decoder_segment_ids"), "decoder": ("decoder_segment_ids",)}
LATE_S = 1e-3  # a consumer that waits longer found the queue empty


def configuration(mixture: str, architecture: str, batch_size: int, store_dir: str, **data: Any) -> Any:
    """The run that is measured, as `flan-jax train` would make it from flags."""
    from flan_jax.config.run_config import RunConfig

    start = RunConfig()
    return dataclasses.replace(
        start,
        mixture=mixture,
        modules=("engine_tasks" if mixture.startswith(("ours", "single", "task")) else "engine_seqio_tasks",),
        feature_lengths=LENGTHS[architecture],
        batch_size=batch_size,
        steps=1000,
        store_dir=store_dir,
        model=dataclasses.replace(start.model, architecture=architecture),
        data=dataclasses.replace(start.data, **data),
    )


def opened(run: dict[str, Any]) -> Any:
    """The configuration and data of a run, opened as `train` does; no data process starts if all is prepared."""
    from flan_jax import run_data, setup

    config = configuration(**run)
    with setup.worker_of(config) as worker:
        return config, run_data.open_data(config, worker)


def first_batch(run: dict[str, Any]) -> None:
    """Tells when the first batch is there, having started from nothing."""
    config, data = opened(run)
    engine_process.tell("opened")
    _, batch = next(data.loader(config).from_step(0, 1))
    tokens = tokens_of(batch, run["architecture"])
    engine_process.tell("first_batch", tokens=tokens, rows=len(batch["decoder_segment_ids"]), **engine_process.usage())


def index_rows(run: dict[str, Any], path: str, steps: list[int]) -> None:
    """Plans every window up to the last of some steps, keeping the index of rows; tells the data state at each step."""
    from flan_jax.data.planning.row_index import RowIndex

    config, data = opened(run)
    index = RowIndex(data.plan, data.index.lengths_of, path)
    start, window, states = time.perf_counter(), 0, {}
    for step in sorted(steps):
        while index.end(window) <= step * config.batch_size:
            window += 1
        states[str(step)] = index.state(step, config.batch_size)
    engine_process.tell("index", seconds=time.perf_counter() - start, windows=window + 1, states=states)


def restore(run: dict[str, Any], state: dict[str, int], path: str | None) -> None:
    """Tells when the batch of a saved data state is there; without a path the index of rows is lost."""
    from flan_jax.data.planning.row_index import RowIndex

    config, data = opened(run)
    index = RowIndex(data.plan, data.index.lengths_of, path, (state["window"], state["rows_before"]))
    loader = dataclasses.replace(data, index=index).loader(config)
    at, batch = next(loader.from_step(state["step"], state["step"] + 1))
    assert at == state["step"] and len(batch["decoder_segment_ids"]) == config.batch_size
    engine_process.tell("first_batch")


def tokens_of(batch: dict[str, Any], architecture: str) -> int:
    """Positions that hold tokens."""
    return int(sum((batch[name] > 0).sum() for name in TOKENS[architecture]))


def steady(run: dict[str, Any], seconds: float, period: float, paced_batches: int) -> None:
    """Tells tokens by CPU-second and by second as fast as it goes, then how often a slower consumer has to wait."""
    import numpy as np

    config, data = opened(run)
    loader = data.loader(config)
    batches = loader.from_step(0, 10**9)
    _, batch = next(batches)
    positions = sum(batch[name].size for name in TOKENS[run["architecture"]])
    engine_process.tell("first_batch")
    tokens, steps = 0, 0
    start, cpu = time.perf_counter(), engine_process.cpu_seconds()
    while time.perf_counter() - start < seconds:
        _, batch = next(batches)
        tokens, steps = tokens + tokens_of(batch, run["architecture"]), steps + 1
    wall, cpu = time.perf_counter() - start, engine_process.cpu_seconds() - cpu
    engine_process.tell(
        "steady",
        tokens_per_cpu_second=tokens / cpu,
        tokens_per_second=tokens / wall,
        full=tokens / (positions * steps),
        batches_per_second=steps / wall,
    )
    waits = np.array(paced(loader.from_step(steps, 10**9), period, paced_batches))
    late = int((waits > LATE_S).sum())
    engine_process.tell("paced", batches=len(waits), late=late, longest_s=float(waits.max()))
    batches.close()


def paced(batches: Any, period: float, count: int) -> list[float]:
    """Seconds that each batch after the first was waited for by a consumer that takes one every `period` seconds."""
    next(batches)
    waits, due = [], time.perf_counter()
    for _ in range(count):
        due += period
        time.sleep(max(0.0, due - time.perf_counter()))
        start = time.perf_counter()
        next(batches)
        waits.append(time.perf_counter() - start)
        due = max(due, start)
    batches.close()
    return waits


if __name__ == "__main__":
    engine_process.answer({"first_batch": first_batch, "steady": steady, "index": index_rows, "restore": restore})

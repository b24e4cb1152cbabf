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
    from flan_jax.config import RunConfig

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


def open_loader(run: dict[str, Any]) -> Any:
    """Opens the run's data as `train` does and gives its loader; no data process starts if all is prepared."""
    from flan_jax import setup

    config = configuration(**run)
    with setup.worker_of(config) as worker:
        return setup.open_data(config, worker).loader(config)


def first_batch(run: dict[str, Any], step: int = 0) -> None:
    """Tells when the batch of a step is there, having started from nothing."""
    loader = open_loader(run)
    engine_process.tell("opened")
    batches = loader.from_step(step, step + 1)
    _, batch = next(batches)
    tokens = tokens_of(batch, run["architecture"])
    engine_process.tell("first_batch", tokens=tokens, rows=len(batch["decoder_segment_ids"]), **engine_process.usage())


def tokens_of(batch: dict[str, Any], architecture: str) -> int:
    """Positions that hold tokens."""
    return int(sum((batch[name] > 0).sum() for name in TOKENS[architecture]))


def steady(run: dict[str, Any], seconds: float, period: float, paced_batches: int) -> None:
    """Tells tokens by CPU-second and by second as fast as it goes, then how often a slower consumer has to wait."""
    import numpy as np

    loader = open_loader(run)
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
        counting_s=_counting_time(batch, run["architecture"]) * steps,
    )
    waits = np.array(paced(loader.from_step(steps, 10**9), period, paced_batches))
    late = int((waits > LATE_S).sum())
    engine_process.tell("paced", batches=len(waits), late=late, longest_s=float(waits.max()))
    batches.close()


def _counting_time(batch: dict[str, Any], architecture: str) -> float:
    """Seconds that counting a batch's tokens takes; it is on our account too."""
    start = time.perf_counter()
    for _ in range(10):
        tokens_of(batch, architecture)
    return (time.perf_counter() - start) / 10


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
    engine_process.answer({"first_batch": first_batch, "steady": steady})

"""What a plan says of a run's teacher: how much it reads, what that takes on the disk, and whether it has done so."""

import os
import shutil
from collections.abc import Mapping, Sequence
from typing import Any

from flan_jax.config.run_config import RunConfig
from flan_jax.data import teaching
from flan_jax.data.stores.teacher_lots import entry_dtype
from flan_jax.tables import in_bytes


def teacher_facts(config: RunConfig, rows: Sequence[Mapping[str, Any]], vocab_size: int) -> dict[str, Any]:
    """What is known of the teacher before it reads anything.

    Args:
      config: the run, which has one.
      rows: of the plan's table.
      vocab_size: of the vocabulary.

    Returns:
      {"folder", "weight", "temperature", "top_k", "tokens", "bytes", "free", "read"}: the tokens that it is asked about
      (those of an example that is seen again in the same draw once), the bytes of its answers and those free there,
      and the tasks that it has read.
    """
    settings = config.distillation
    tokens = sum(_once(row, config.data.max_draws) for row in rows)
    note = teaching.read_note(teaching.note_path(config.store_dir, str(settings.teacher), settings.top_k)) or {}
    return {
        "folder": settings.teacher,
        "weight": settings.weight,
        "temperature": settings.temperature,
        "top_k": settings.top_k,
        "tokens": round(tokens),
        "bytes": round(tokens * entry_dtype(settings.top_k, vocab_size).itemsize),
        "free": free_disk(config.store_dir),
        "read": [row["task"] for row in rows if row["task"] in note.get("tasks", ())],
    }


def _once(row: Mapping[str, Any], draws: int) -> float:
    """Trainable tokens of a task's row, those of an example that is seen again in the same draw counted once."""
    return row["trainable"] * min(1.0, draws * row["examples"] / max(1, row["seen"]))


def free_disk(folder: str) -> int:
    """Bytes free where a folder is, or will be."""
    there = os.path.abspath(folder)
    while not os.path.exists(there):
        there = os.path.dirname(there)
    return shutil.disk_usage(there).free


def teacher_line(facts: Mapping[str, Any]) -> str:
    """The same in a line.

    >>> facts = {"folder": "runs/large", "weight": 0.5, "temperature": 2.0, "top_k": 16, "tokens": 1000}
    >>> teacher_line(facts | {"bytes": 64_000, "free": 10**9, "read": ["rte"]})
    'teacher runs/large, weight 0.5, temperature 2: its 16 likeliest of 1,000 tokens are 64.0 kB on disk (1.0 GB free)'
    """
    said = (
        f"teacher {facts['folder']}, weight {facts['weight']:g}, temperature {facts['temperature']:g}: its "
        f"{facts['top_k']} likeliest of {facts['tokens']:,} tokens are {in_bytes(facts['bytes'])} on disk "
        f"({in_bytes(facts['free'])} free)"
    )
    if facts["bytes"] > facts["free"]:
        said += "; THAT IS TOO MUCH: lower Distillation.top_k, or set --store_dir elsewhere"
    return said if facts["read"] else f"{said}; first type `flan-jax prepare --teacher {facts['folder']}`"

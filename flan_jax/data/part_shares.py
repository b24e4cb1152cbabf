"""What a plan tells of its parts: the share of trainable tokens that each comes to, and what text takes on the disk."""

import os
from collections.abc import Mapping, Sequence
from typing import Any

from flan_jax.data.mixing_config import Schedule
from flan_jax.data.resolve import Resolved, ResolvedTask
from flan_jax.data.stores import mirror
from flan_jax.data.stores.store import open_store, read_manifest
from flan_jax.errors import UserError, counted


def parts_table(
    tasks: Sequence[ResolvedTask], rows: Sequence[Mapping[str, Any]], settings: Mapping[str, Schedule]
) -> list[dict[str, Any]]:
    """The parts of a run, its mixture first.

    Args:
      tasks: the plan's.
      rows: what the plan's table says of each, "trainable" tokens among it.
      settings: the share that each part is to have, by its name.

    Returns:
      {"part", "tasks": names, "trainable": tokens, "share": of the run's, "wanted": a number, a schedule or None} each;
      nothing where no part is told apart.
    """
    if not any(task.part for task in tasks):
        return []
    total = sum(row["trainable"] for row in rows)
    found = []
    for name in ("", *settings):
        of = [(task, row) for task, row in zip(tasks, rows, strict=True) if task.part == name]
        if of:
            trainable = sum(row["trainable"] for _, row in of)
            part: dict[str, Any] = {"part": name or "instruction", "tasks": [task.name for task, _ in of]}
            part |= {"trainable": trainable, "share": trainable / max(1, total), "wanted": settings.get(name)}
            found.append(part)
    return found


def prepared_text(resolved: Resolved) -> list[dict[str, Any]]:
    """What is prepared of each task whose text the run bounds: {"task", "tokens", "bytes"}, of its first draw."""
    found = []
    for task in resolved.tasks:
        if task.request is not None and task.request.budget is not None:
            manifest = open_store(task.store()).manifest
            tokens = manifest["tokens"]["inputs"] + manifest["tokens"]["targets"]
            size = sum(part["bytes"] for part in manifest["parts"])
            found.append({"task": task.name, "tokens": tokens, "bytes": size})
    return found


def told(parts: Sequence[Mapping[str, Any]], text: Sequence[Mapping[str, Any]]) -> list[str]:
    """Both in lines.

    >>> told(
    ...     [
    ...         {"part": "instruction", "tasks": ["qa"], "share": 0.9, "wanted": None},
    ...         {"part": "pretraining", "tasks": ["c4_ul2"], "share": 0.1, "wanted": 0.1},
    ...     ],
    ...     [{"task": "c4_ul2", "tokens": 5_000_000, "bytes": 12_300_000}],
    ... )  # doctest: +NORMALIZE_WHITESPACE
    ['trainable tokens: instruction 90.0% (1 task), pretraining 10.0% (1 task; wanted 0.1)',
     "pretraining: 5,000,000 tokens prepared of 'c4_ul2', 12.3 MB of disk"]
    """
    shares = []
    for part in parts:
        wanted = "" if part["wanted"] is None else f"; wanted {part['wanted']}"
        shares.append(f"{part['part']} {part['share']:.1%} ({counted(len(part['tasks']), 'task')}{wanted})")
    lines = [f"trainable tokens: {', '.join(shares)}"] if shares else []
    return lines + [
        f"pretraining: {one['tokens']:,} tokens prepared of {one['task']!r}, {one['bytes'] / 1e6:,.1f} MB of disk"
        for one in text
    ]


def why_other(folders: Mapping[str, str], resolved: Resolved) -> list[str]:
    """Which text was prepared for a run of another length, in words that say how to have it as it was.

    Args:
      folders: of each task's stores as the run was planned before.
      resolved: what it is planned with now.
    """
    said = []
    for task in resolved.tasks:
        before = folders.get(task.name)
        if task.request is None or task.request.budget is None or before is None or before == task.folder:
            continue
        try:
            was = read_manifest(mirror.place(os.path.join(before, "draw-0"))).get("budget")
        except UserError:  # it was removed, and nothing tells
            continue
        if was not in (None, task.request.budget):
            said.append(
                f"of {task.name!r} {was:,} trainable tokens were prepared, and the run's length now asks for "
                f"{task.request.budget:,}: with Pretraining.tokens = {was} it is as it was"
            )
    return said

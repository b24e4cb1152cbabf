"""Everything that is registered; answers `list`."""

import os
from collections.abc import Callable, Sequence
from typing import Any

from flan_jax.data.preparing.registering import watched_files
from flan_jax.data.registrations import PACKAGE, digests
from flan_jax.data.request import WorkerSetup
from flan_jax.files import opened


def list_in_child(*, setup: WorkerSetup, progress: Callable[..., None]) -> dict[str, Any]:
    """Answers `list`: the entries, and the files that they rest on."""
    import seqio

    from flan_jax.mixtures import BROKEN
    from flan_jax.tasks import examples, task_folders

    entries: list[dict[str, Any]] = []
    for name in sorted(seqio.MixtureRegistry.names()):
        members = [task.name for task in seqio.MixtureRegistry.get(name).tasks]
        entries.append({"name": name, "kind": "mixture", "tasks": members})
    for name in sorted(seqio.TaskRegistry.names()):
        described = examples.describe(name)
        templates = len(described.get("templates") or ())
        entries.append({**described, "name": name, "kind": "task", "templates": templates or None})
    entries += [{"name": name, "kind": "broken", "why": why} for name, why in sorted(BROKEN.items())]
    entries += task_folders.entries()
    sources = watched_files(setup.modules)
    read = opened.found(opened.mark(), except_in=os.devnull, known=sources)
    return {"entries": entries, "package": str(PACKAGE), "sources": digests(sources), "read": dict(read)}


def check_templates_in_child(
    *, setup: WorkerSetup, progress: Callable[..., None], words: Sequence[str]
) -> dict[str, Any]:
    """Answers `check templates`: the faults in the declarations whose name or cluster holds every word."""
    from flan_jax.tasks import registry, template_check
    from flan_jax.tasks.instruction import InstructionTask

    declared = [registry.declared(name) for name in registry.names()]
    chosen = {
        task.name: task
        for task in declared
        if isinstance(task, InstructionTask) and all(word in f"{task.name} {task.cluster}".lower() for word in words)
    }
    faults = [fault for task in chosen.values() for fault in template_check.faults(task)]
    templates = sum(len(t.templates) + len(t.held_out_templates) + len(t.inverted_templates) for t in chosen.values())
    return {"faults": faults, "templates": templates, "tasks": len(chosen)}

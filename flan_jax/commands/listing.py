"""`flan-jax tasks`: what is registered, searchable."""

from collections.abc import Sequence
from typing import Any

from flan_jax import setup, tables
from flan_jax.commands.overlap import overlap_report
from flan_jax.config.run_config import RunConfig
from flan_jax.data import registrations
from flan_jax.errors import counted, nearest


def tasks_command(
    config: RunConfig,
    query: str | None = None,
    check: bool = False,
    overlap: Sequence[str] | None = None,
    ngram: int = 13,
    num: int = 3,
) -> int:
    """Prints the registered mixtures and tasks whose name, cluster or kind holds every word of the query; with `check`
    what is wrong with those tasks' templates, see `flan_jax.tasks.template_check`; with `overlap`, the names of two
    mixtures, what rows of one share with rows of the other, see `flan_jax.commands.overlap`.
    """
    if overlap is not None:
        trained, scored = overlap
        return overlap_report(config, trained, scored, ngram, num)
    words = (query or "").lower().split()
    with setup.worker_of(config) as worker:
        if check:
            return _checked(worker.call("check templates", words=words))
        found = registrations.listing(worker)
    chosen = [entry for entry in found if entry["kind"] != "broken" and all(word in _text(entry) for word in words)]
    folders = [entry for entry in chosen if entry["kind"] == "folder"]
    mixtures = [entry for entry in chosen if entry["kind"] == "mixture"]
    tasks = [entry for entry in chosen if entry["kind"] == "task"]
    if mixtures:
        print(tables.table(["mixture", "tasks"], [[m["name"], len(m["tasks"])] for m in mixtures]), end="\n\n")
    if tasks:
        heads = ["task", "cluster", "scored by", "templates", "objective"]
        rows = [
            [t["name"], t.get("cluster") or "-", _scored(t), t.get("templates"), t.get("objective", "-")] for t in tasks
        ]
        print(tables.table(heads, rows))
    for folder in folders:
        print(f"\n{', '.join(folder['gives'])}: {folder['why']}")
    for entry in (entry for entry in found if entry["kind"] == "broken"):
        print(f"\n{entry['name']} cannot be imported ({entry['why']}); mixtures that need it are not registered")
    if not chosen:
        names = [entry["name"] for entry in found]
        print(f"nothing among {len(names)} names matches {query!r}{nearest(query or '', names)}")
        return 1
    there_are = f"{counted(len(mixtures), 'mixture')}, {counted(len(tasks), 'task')}"
    print(f"\n{there_are}; `flan-jax inspect --task NAME` shows examples of one")
    return 0


def _checked(answer: dict[str, Any]) -> int:
    for fault in answer["faults"]:
        print(fault)
    of = f"{counted(answer['templates'], 'template')} of {counted(answer['tasks'], 'declaration')}"
    print(f"{counted(len(answer['faults']), 'fault')} in {of}")
    return 1 if answer["faults"] else 0


def _text(entry: dict[str, Any]) -> str:
    gives = " ".join(entry.get("gives", ()))
    return f"{entry['name']} {entry.get('cluster', '')} {entry['kind']} {entry.get('objective', '')} {gives}".lower()


def _scored(task: dict[str, Any]) -> str:
    kind = {"rank": "ranking", "generate": "generation"}.get(task.get("eval_kind", ""), "-")
    return f"{kind}: {', '.join(task.get('metrics', ())) or '-'}"

"""What a run leaves out of its prepared data, and what of its data it is scored by: asked of the data process once.

Both answers are kept and used again, without a data process, while the stores, the settings and the files they rest on
are the same.
"""

import collections
import dataclasses
import functools
import hashlib
import importlib.metadata
import itertools
import json
import os
import pathlib
import sys
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from flan_jax.data.hygiene_config import HygieneConfig
from flan_jax.data.resolve import Resolved, ResolvedTask
from flan_jax.data.stores import mirror
from flan_jax.data.stores import store as stores
from flan_jax.data.worker import Worker
from flan_jax.errors import UserError, counted
from flan_jax.files import atomic, filesystem

_RULES = 1  # raise it when the same settings come to keep other examples
_PACKAGES = ("rensa", "lingua-language-detector")


@dataclasses.dataclass(frozen=True)
class Selection:
    """What hygiene made of a mixture.

    Attributes:
      tasks: of each task its "name", "examples" before, "count" kept, "left_out" and "reported" by reason.
      dropped: the file with a line of JSON for each row that is left out or reported.
      eval_rows: how many eval rows were compared with.
      skipped: eval tasks that could not be compared with, as their data cannot be had.
    """

    tasks: Sequence[Mapping[str, Any]]
    dropped: str
    eval_rows: int
    skipped: Sequence[str]

    def with_tasks_of(self, other: "Selection") -> "Selection":
        """The same with what was made of the tasks of another mixture, whose rows are listed in a file of their own."""
        return dataclasses.replace(self, tasks=[*self.tasks, *other.tasks])


def select(
    resolved: Resolved, settings: HygieneConfig, evals: Sequence[str], split: str, worker: Worker
) -> tuple[Resolved, Selection | None]:
    """Leaves out of a resolved mixture what hygiene asks for.

    Args:
      resolved: the mixture, all of it.
      settings: what is left out.
      evals: the mixtures that nothing shall be shared with.
      split: the split of theirs that is scored.
      worker: started only where nobody has asked the same before.

    Returns:
      The mixture with what is kept, and what was found; the mixture itself and None where nothing is asked for.

    Raises:
      UserError: nothing is left, a function of the user's fails, a package is missing, …
    """
    if not settings.selects:
        return resolved, None
    how = {"hygiene": settings.described(), "evals_of": list(evals), "split": split}
    if settings.contamination == "keep":
        how |= {"evals_of": [], "split": ""}
    folder = _folder(resolved) / _key(resolved, worker, how)
    known = _read(folder / "answer.json")
    if known is None:
        jobs, missing = jobs_of(resolved), list(resolved.missing)
        known = worker.call("select", request=resolved.request, jobs=jobs, missing=missing, folder=str(folder), **how)
        with stores.told(resolved.request.store_dir):
            keep_answer(folder / "answer.json", known)
    tasks = [_selected(task, one) for task, one in zip(resolved.tasks, known["tasks"], strict=True)]
    selection = Selection(known["tasks"], known["dropped"], known["eval_rows"], known["skipped"])
    # A task of which nothing is left has no place in a plan.
    return dataclasses.replace(resolved, tasks=tuple(task for task in tasks if task.count)), selection


def _selected(task: ResolvedTask, found: Mapping[str, Any]) -> ResolvedTask:
    means = None if found["means"] is None else tuple(found["means"])
    return dataclasses.replace(task, count=found["count"], rate=found["rate"], kept=found["kept"], means=means)


def leaks(resolved: Resolved, scored: str, split: str, worker: Worker, thorough: bool = False) -> list[str]:
    """What a run is trained on that it is scored by.

    Of stores at an address rows are compared only where it is asked for, as all of them are fetched for it.

    Args:
      resolved: what is trained on, as it was selected.
      scored: the eval mixture.
      split: the split that is scored.
      worker: started only where nobody has asked the same before.
      thorough: whether rows are compared wherever the stores are.

    Returns:
      A sentence a finding; empty where there is none.

    Raises:
      UserError: the eval mixture has no such split, …
    """
    kept = {task.name: task.kept for task in resolved.tasks if task.kept}
    rows = thorough or not filesystem.is_remote(resolved.request.store_dir)
    how = {"kept": kept, "scored": scored, "split": split, "rows": rows}
    path = _folder(resolved) / f"leaks-{_key(resolved, worker, how)}.json"
    known = _read(path)
    if known is None:
        known = worker.call("leaks", request=resolved.request, jobs=jobs_of(resolved), **how)
        with stores.told(resolved.request.store_dir):
            path.parent.mkdir(parents=True, exist_ok=True)
            keep_answer(path, known)
        if known["skipped"]:
            print(f"not looked for in what is trained: rows of {', '.join(known['skipped'])}", file=sys.stderr)
    return [
        *_of_tasks(known["tasks"], split),
        *(_of_rows(pair) for pair in known["rows"]),
        *(_of_wording(one) for one in known["wordings"]),
    ]


def _of_tasks(pairs: Sequence[Mapping[str, Any]], split: str) -> Iterator[str]:
    for scored, group in itertools.groupby(pairs, key=lambda pair: pair["scored"]):
        names = ", ".join(repr(pair["trained"]) for pair in group)
        yield f"task {scored!r} is scored on its split {split!r}, which {names} is trained on"


def _of_rows(pair: Mapping[str, Any]) -> str:
    first, are = pair["rows"][0], "is" if pair["evals"] == 1 else "are"
    return (
        f"{counted(pair['evals'], 'row')} that {pair['scored']!r} scores {are} trained on "
        f"in {pair['trained']!r}, such as {first['place']}, which is {first['id']}: {first['text'][:100]!r}"
    )


def _of_wording(one: Mapping[str, Any]) -> str:
    return f"the held-out template {one['template']!r} of {one['scored']!r} words {one['trained']!r}, which is trained"


def dropped(path: str, task: str | None = None) -> Iterator[dict[str, Any]]:
    """The rows that a selection left out or reported, in the mixture's order.

    Args:
      path: `Selection.dropped`.
      task: of this task alone.

    Raises:
      UserError: the file is gone.
    """
    try:
        with open(path, encoding="utf-8") as file:
            for line in file:
                found = json.loads(line)
                if task in (None, found["task"]):
                    yield found
    except (OSError, ValueError) as error:
        raise UserError(
            f"{path} cannot be read ({error}); `flan-jax plan` with the same settings makes it anew"
        ) from None


@functools.lru_cache(maxsize=4096)
def kept_indices(path: str) -> np.ndarray:
    """Which examples of a store are trained on, in order: int64 [kept], mapped.

    Raises:
      UserError: the file is gone or damaged.
    """
    try:
        return np.load(path, mmap_mode="r")
    except (OSError, ValueError) as error:
        raise UserError(
            f"{path}, which says what is trained on of a task, cannot be read ({error}); `flan-jax plan` with the same "
            f"settings makes it anew"
        ) from None


def _folder(resolved: Resolved) -> pathlib.Path:
    return mirror.place(filesystem.absolute(resolved.request.store_dir)) / "selections"


def jobs_of(resolved: Resolved) -> list[list[Any]]:
    """The first draws of a mixture's tasks, as the data process takes them."""
    return [[task.name, task.folder, task.fingerprint, 0] for task in resolved.tasks]


def _key(resolved: Resolved, worker: Worker, how: Mapping[str, Any]) -> str:
    """Names what is asked: the stores by their content, the settings, and what looks."""
    held = [stores.read_manifest(mirror.place(task.store())) for task in resolved.tasks]
    parts = [[part["sha256"] for part in manifest["parts"]] for manifest in held]
    facts = [[task.name, task.fingerprint, *digests] for task, digests in zip(resolved.tasks, parts, strict=True)]
    whole = [_RULES, facts, how, resolved.request.key(worker.setup), {name: _version(name) for name in _PACKAGES}]
    return hashlib.sha256(json.dumps(whole, sort_keys=True).encode()).hexdigest()[:16]


def _version(package: str) -> str:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return ""


def kept_answer(path: pathlib.Path) -> dict[str, Any] | None:
    """An earlier answer, if it is undamaged and nothing that it rests on has changed since."""
    known = atomic.read_sealed(path)
    if known is None or any(filesystem.watched(file) != state for file, state in known["watched"]):
        return None
    return known


def _read(path: pathlib.Path) -> dict[str, Any] | None:
    """An earlier answer whose files are there."""
    if (known := kept_answer(path)) is None:
        return None
    files = [known.get("dropped"), *(task.get("kept") for task in known["tasks"])]
    return known if all(os.path.exists(file) for file in files if file) else None


def keep_answer(path: pathlib.Path, known: Mapping[str, Any]) -> None:
    """Keeps an answer for `kept_answer`."""
    with stores.Lock(path):
        atomic.remove_partial(path.parent, path.name)
        atomic.write_sealed(path, known)


def summary(selection: Selection) -> dict[str, Any]:
    """What a plan tells of a selection, fit for JSON: by task what was left out and reported, by reason."""
    tasks = [
        {key: task[key] for key in ("name", "examples", "count", "left_out", "reported")} for task in selection.tasks
    ]
    total: dict[str, collections.Counter] = {key: collections.Counter() for key in ("left_out", "reported")}
    for task in tasks:
        for key, counts in total.items():
            counts.update(task[key])
    told = {"tasks": [task for task in tasks if task["left_out"] or task["reported"]], "dropped": selection.dropped}
    return {
        **told,
        **{key: dict(counts) for key, counts in total.items()},
        "skipped": list(selection.skipped),
        "eval_rows": selection.eval_rows,
    }

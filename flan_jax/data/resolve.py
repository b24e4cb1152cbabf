"""From a mixture's name to its tasks, stores, counts and rates.

The child does the work with seqio; the parent keeps the answer and uses it again, without a child, for as long as the
request, the package versions, the task modules' sources and the data files are the same.
"""

import dataclasses
import hashlib
import importlib.metadata
import importlib.util
import json
import os
import pathlib
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from flan_jax.data import registrations
from flan_jax.data.planning.plan import Plan, PlannedTask, shares_of
from flan_jax.data.stores import mirror
from flan_jax.data.stores import store as stores
from flan_jax.data.worker import Worker, watched_files
from flan_jax.errors import UserError, nearest
from flan_jax.files import atomic, filesystem

if TYPE_CHECKING:
    from flan_jax.data.preparing.prepare import Job

_VERSIONS = ("flan-jax", "seqio", "tensorflow", "tensorflow-text", "tensorflow-datasets", "sentencepiece", "numpy")


@dataclasses.dataclass(frozen=True)
class Request:
    """What is asked of the data: everything that shapes tokens and rates, and nothing else.

    Attributes:
      mixture: a seqio mixture or task.
      split: of every task.
      lengths: {"inputs": Li, "targets": Lt}, bounds on one example.
      seed: of every draw.
      store_dir: where token stores are kept.
      on_long: what happens to an example that is longer: "truncate", "refuse" or "drop".
      on_bad_row: what happens to a row that cannot be read: "error" or "skip".
      max_draws: how many differently drawn epochs are kept before they repeat.
      limit: examples kept of each task; None keeps all.
      modules: the user's modules.
      data_files: files of `--data`.
      data_fields: which column is which in them.
      data_held_out: how many rows of each are its validation split; None: a tenth, at most 50.
      data_vocabulary: their vocabulary, where it is that of a model that the run starts from.
    """

    mixture: str
    split: str
    lengths: Mapping[str, int]
    seed: int
    store_dir: str
    on_long: str = "truncate"
    on_bad_row: str = "error"
    max_draws: int = 8
    limit: int | None = None
    modules: tuple[str, ...] = ()
    data_files: tuple[str, ...] = ()
    data_fields: Mapping[str, str] = dataclasses.field(default_factory=dict)
    data_held_out: int | None = None
    data_vocabulary: str = ""

    def arguments(self) -> dict[str, Any]:
        """The part that the child is told with each call; modules and files it was started with."""
        names = ("mixture", "split", "seed", "on_long", "on_bad_row", "max_draws", "limit")
        store_dir = filesystem.absolute(self.store_dir)
        return {name: getattr(self, name) for name in names} | {"lengths": dict(self.lengths), "store_dir": store_dir}

    @property
    def key(self) -> str:
        """Names this request; other package versions make another key."""
        whole = {
            **self.arguments(),
            "modules": [[name, _place(name)] for name in self.modules],
            "files": [filesystem.absolute(path) for path in self.data_files],
            "fields": dict(self.data_fields),
            "held_out": self.data_held_out,
            "vocabulary": self.data_vocabulary,
            "versions": {name: _version(name) for name in _VERSIONS},
            "format": stores.FORMAT,
        }
        return hashlib.sha256(json.dumps(whole, sort_keys=True).encode()).hexdigest()[:16]


@dataclasses.dataclass(frozen=True)
class ResolvedTask:
    """One task of a resolved mixture.

    Attributes:
      name: the seqio task.
      folder: the store of draw d is `folder/draw-d`.
      fingerprint: of everything that shapes its tokens.
      count: examples kept.
      rate: its mixing rate, not normalised.
      cap: the cap that was applied to its examples, None where there is none.
      draws: how many draws its epochs go around.
      tally: what reading it counted (read, kept, dropped, truncated, …).
      about: its declaration's facts (cluster, evaluation kind, chance, metrics, …).
    """

    name: str
    folder: str
    fingerprint: str
    count: int
    rate: float
    cap: int | None
    draws: int
    tally: Mapping[str, int]
    about: Mapping[str, Any]

    def store(self, draw: int = 0) -> str:
        """The folder of one draw's store."""
        return os.path.join(self.folder, f"draw-{draw}")


@dataclasses.dataclass(frozen=True)
class Resolved:
    """A resolved mixture: its tasks and the vocabulary they share."""

    request: Request
    tasks: tuple[ResolvedTask, ...]
    vocabulary: Mapping[str, Any]

    def plan(self, capacities: Mapping[str, int], packed: bool, largest_window: int) -> Plan:
        """The plan of training on this mixture."""
        shares = shares_of([task.rate for task in self.tasks])
        planned = [
            PlannedTask(task.name, task.count, share, task.fingerprint, task.draws)
            for task, share in zip(self.tasks, shares, strict=True)
            if share
        ]
        return Plan(planned, capacities, self.request.seed, packed, largest_window)

    def folders(self, plan: Plan) -> list[str]:
        """The folder of each of the plan's tasks; the store of draw d is `draw-d` in it."""
        by_name = {task.name: task for task in self.tasks}
        return [by_name[task.name].folder for task in plan.tasks]


def resolve(request: Request, worker: Worker, setting: str = "MIXTURE") -> Resolved:
    """Resolves a mixture and sees to it that the first draw of every task is prepared.

    Args:
      request: what is wanted.
      worker: started only if the answer of an earlier run cannot be used again.
      setting: what names the mixture, for errors.

    Raises:
      UserError: no such mixture, a task without examples, a bad row, …
    """
    # Kept on this machine also where stores are not: it rests on the times of this machine's files.
    path = mirror.place(request.store_dir) / "resolved" / f"{request.key}.json"
    known = _read(path)
    if known is None:
        with stores.told(request.store_dir):
            path.parent.mkdir(parents=True, exist_ok=True)  # a place that cannot be written is told at once
            if not (request.modules or request.data_files):
                registrations.refuse_unknown(worker, {setting: request.mixture}, ask=True)
            known = worker.call("resolve", **request.arguments())
            for line in known.pop("notes"):
                print(line, file=sys.stderr)
            _keep(path, known)
    tasks = tuple(ResolvedTask(**task) for task in known["tasks"])
    return Resolved(request, tasks, known["vocabulary"])


def check_evals(request: Request, beside: str | None, worker: Worker) -> list[str]:
    """Checks a mixture that is to be scored, without preparing any of it.

    Args:
      request: what will be asked of it.
      beside: the mixture that is trained on, whose vocabulary it must have; None where that is not to be compared.
      worker: started only if the answer of an earlier run cannot be used again.

    Returns:
      The names of its tasks.

    Raises:
      UserError: no such mixture, a task without that split, or another vocabulary.
    """
    key = hashlib.sha256(f"{request.key} {beside}".encode()).hexdigest()[:16]
    path = mirror.place(request.store_dir) / "resolved" / f"evals-{key}.json"
    known = _read(path)
    if known is None:
        how = {"store_dir": filesystem.absolute(request.store_dir), "beside": beside}
        known = worker.call("check evals", mixture=request.mixture, split=request.split, **how)
        with stores.told(request.store_dir):
            path.parent.mkdir(parents=True, exist_ok=True)
            _keep(path, known)
    return known["names"]


def _keep(path: pathlib.Path, known: Mapping[str, Any]) -> None:
    with stores.Lock(path):
        atomic.remove_partial(path.parent, path.name)
        atomic.write_sealed(path, known)


def _read(path: pathlib.Path) -> dict[str, Any] | None:
    """An earlier answer, if it is undamaged and nothing that it rests on has changed since."""
    known = atomic.read_sealed(path)
    if known is None or any(_state_of(file) != state for file, state in known["watched"]):
        return None
    if not all(stores.all_whole([os.path.join(task["folder"], "draw-0") for task in known.get("tasks", ())])):
        return None
    return known


def resolve_in_child(
    *,
    setup: Mapping[str, Any],
    progress: Callable[..., None],
    mixture: str,
    **how: Any,
) -> dict[str, Any]:
    """Answers `resolve`: prepares what is missing, then works out the rates from the counts that were kept."""
    from flan_jax.data.preparing import freshness
    from flan_jax.data.preparing.prepare import fill_stores
    from flan_jax.files import opened
    from flan_jax.tasks import examples, rates, shared_vocabulary

    names = _members(mixture)
    vocabulary, vocabulary_files = shared_vocabulary.shared(names, mixture)
    files = watched_files(setup["modules"]) + setup["data_files"] + vocabulary_files
    for name in names:
        files += [filesystem.absolute(path) for path in examples.source_files(name)]
    began = opened.mark()
    # Before anything is read: what changes from here on must be seen to have changed.
    watched: list[Any] = [[file, _state_of(file)] for file in sorted(set(files))]
    jobs = first_draws(names, how)
    stores.refresh(job.target for job in jobs)
    notes = freshness.drop_stale(jobs, how, progress)
    fill_stores(jobs, how, setup, progress, f"preparing {how['split']}")
    tasks = []
    for name, job in zip(names, jobs, strict=True):
        about, manifest = _about(examples.describe(name)), stores.read_manifest(job.target)
        about |= examples.prompt_facts(name)
        if not manifest["count"]:
            raise none_kept(name, mixture, how["split"], manifest["tally"])
        draws = how["max_draws"] if about.get("random") else 1
        facts = {"folder": job.folder, "fingerprint": job.fingerprint, "count": manifest["count"]}
        facts["tally"] = manifest["tally"]
        tasks.append({"name": name, **facts, "draws": draws, "about": about})
    counts = {task["name"]: task["count"] for task in tasks}
    rate_of = rates.rate_of(mixture, counts)
    caps = rates.caps_of(mixture)
    for task in tasks:
        task["rate"], task["cap"] = rate_of[task["name"]], caps.get(task["name"])
    watched += opened.found(began, except_in=how["store_dir"], known={file for file, _ in watched})
    return {"tasks": tasks, "vocabulary": vocabulary, "watched": watched, "notes": notes}


def check_evals_in_child(
    *,
    setup: Mapping[str, Any],
    progress: Callable[..., None],
    mixture: str,
    split: str,
    beside: str | None,
    store_dir: str,
) -> dict[str, Any]:
    """Answers `check evals`; see `check_evals`."""
    from flan_jax.files import opened
    from flan_jax.tasks import examples, shared_vocabulary

    trained = _members(beside) if beside else []
    names = _members(mixture, "EVAL_MIXTURE")
    began = opened.mark()
    files = watched_files(setup["modules"]) + setup["data_files"]
    lacking = {name: splits for name in names if split not in (splits := examples.splits(name))}
    if lacking:
        name, splits = next(iter(lacking.items()))
        more = f", nor have {len(lacking) - 1} others of it" if len(lacking) > 1 else ""
        raise UserError(
            f"EVAL_MIXTURE {mixture!r}: task {name!r} has no split {split!r} (it has {', '.join(splits)})"
            f"{nearest(split, splits)}{more}; set Evaluation.split, or score another mixture"
        )
    if trained:
        ours, our_files = shared_vocabulary.shared(names, mixture)
        theirs, their_files = shared_vocabulary.shared(trained, beside or "")
        files += our_files + their_files
        if ours["fingerprint"] != theirs["fingerprint"]:
            raise UserError(
                f"EVAL_MIXTURE {mixture!r} has another vocabulary ({ours['size']} tokens, {ours['fingerprint'][:8]}) "
                f"than MIXTURE {beside!r} ({theirs['size']} tokens, {theirs['fingerprint'][:8]}); give their tasks the "
                f"same vocabulary"
            )
    watched: list[Any] = [[file, _state_of(file)] for file in sorted(set(files))]
    watched += opened.found(began, except_in=store_dir, known=set(files))
    return {"names": names, "watched": watched}


def vocabulary_of(task: str) -> Any:
    """The vocabulary of a task's targets."""
    import seqio

    return seqio.get_mixture_or_task(task).output_features["targets"].vocabulary


def first_draws(names: Sequence[str], how: Mapping[str, Any]) -> "list[Job]":
    """The stores that a mixture of these tasks begins with; in the child process."""
    from flan_jax.data.preparing.prepare import Job, store_folder
    from flan_jax.tasks import examples

    fingerprints = {name: examples.fingerprint(name) for name in names}
    return [Job(name, store_folder(name, mark, how), mark, 0) for name, mark in fingerprints.items()]


def _about(described: Mapping[str, Any]) -> dict[str, Any]:
    """What a run needs to know of a task's declaration."""
    names = "kind cluster chance siblings sibling shots eval_kind metrics wants objective random"
    return {name: described[name] for name in names.split() if name in described}


def _members(mixture: str, setting: str = "MIXTURE") -> list[str]:
    """The tasks of a mixture, or the task itself, in a stable order; `setting` is what named it."""
    import seqio

    mixtures, tasks = set(seqio.MixtureRegistry.names()), set(seqio.TaskRegistry.names())
    if mixture in mixtures:
        names = [task.name for task in seqio.MixtureRegistry.get(mixture).tasks]
        return sorted(set(names), key=names.index)
    if mixture in tasks:
        return [mixture]
    raise registrations.unknown(mixture, mixtures | tasks, setting)


def none_kept(task: str, mixture: str, split: str, tally: Mapping[str, int]) -> UserError:
    """What to say of a task of which no row was kept: why, and what mends it."""
    causes = [
        f"{value} {key.replace('_', ' ')}" for key, value in tally.items() if value and key not in ("read", "kept")
    ]
    mend = "raise FEATURE_LENGTHS, which its wording alone fills," if tally.get("too_long") else "check its source,"
    return UserError(
        f"task {task!r} has no examples in split {split!r}: {tally.get('read', 0)} rows were read and none was kept "
        f"({', '.join(causes) or 'the source is empty'}); {mend} or take it out of {mixture!r}"
    )


def _place(module: str) -> str | None:
    """Where a module's top package is found; two projects may share a store and call their modules alike."""
    spec = importlib.util.find_spec(module.partition(".")[0])
    if spec is None:
        return None
    return spec.origin or next(iter(spec.submodule_search_locations or ()), None)


def _state_of(path: str) -> list[Any] | None:
    """What tells whether a file has changed, or None where there is none."""
    try:
        if filesystem.is_remote(path):
            return list(filesystem.state(path))
        return filesystem.times(os.stat(path))
    except (OSError, UserError):
        return None


def _version(package: str) -> str:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return ""

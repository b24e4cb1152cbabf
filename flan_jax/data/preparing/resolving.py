"""Resolves a mixture where seqio is: its tasks, their stores, their rates; answers `resolve` and `check evals`."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from flan_jax.data import registrations
from flan_jax.data.objectives import refuse_not_text, refuse_unfit
from flan_jax.data.preparing import freshness
from flan_jax.data.preparing.filling import fill_stores
from flan_jax.data.preparing.jobs import Job, store_folder
from flan_jax.data.preparing.proof import MEND
from flan_jax.data.preparing.registering import watched_files
from flan_jax.data.request import Request, WorkerSetup
from flan_jax.data.resolve import PRETRAINING
from flan_jax.data.stores import store as stores
from flan_jax.data.wrong_masks import wrong_in, wrong_words
from flan_jax.errors import UserError, counted, nearest, together
from flan_jax.files import filesystem, opened
from flan_jax.names import names_in


def resolve_in_child(
    *,
    setup: WorkerSetup,
    progress: Callable[..., None],
    request: Request,
    architecture: str = "",
    setting: str = "MIXTURE",
) -> dict[str, Any]:
    """Answers `resolve`: prepares what is missing, then works out the rates from the counts that were kept."""
    from flan_jax.tasks import augmenting, examples, rates, shared_vocabulary, task_folders

    mixture = request.mixture
    names = members_of(request, setting)
    if architecture:
        refuse_unfit(_objectives(names), architecture, setting)
    if setting == PRETRAINING:
        refuse_not_text(_objectives(names), setting)
    vocabulary, vocabulary_files = shared_vocabulary.shared(names, mixture)
    files = watched_files(setup.modules) + list(setup.data_files) + vocabulary_files + task_folders.rests_on()
    for name in names:
        files += [filesystem.absolute(path) for path in examples.source_files(name)]
    began = opened.mark()
    # Before anything is read: what changes from here on must be seen to have changed.
    watched: list[Any] = [[file, filesystem.watched(file)] for file in sorted(set(files))]
    jobs = first_draws(names, request)
    stores.refresh(job.target for job in jobs)
    missing = _missing(jobs, request.split, setup)
    jobs = [job for job in jobs if job.task not in missing]
    known = {file for file, _ in watched}
    read = {path for job in jobs for path, *_ in freshness.files_of(job)}
    watched += [[file, filesystem.watched(file)] for file in sorted(read - known)]
    notes = freshness.drop_stale(jobs, request, progress)
    fill_stores(jobs, request, setup, progress, f"preparing {request.split}")
    tasks: list[dict[str, Any]] = []
    empty: list[UserError] = []
    for job in jobs:
        name = job.task
        about = _about(examples.describe(name, request.augment.wording()))
        manifest = stores.read_manifest(job.target)
        about |= examples.prompt_facts(name)
        if not manifest["count"]:
            fault = none_kept(name, mixture, request.split, manifest["tally"], manifest.get("wrong", ()))
            if not may_be_left_out(name, manifest["tally"], names):
                raise fault
            empty.append(fault)
            missing[name] = f"rows were all left out: {counts_of(manifest['tally'])}"
            continue
        draws = request.max_draws if about.get("random") else 1
        facts = {"folder": job.folder, "fingerprint": job.fingerprint, "count": manifest["count"]}
        facts["tally"] = manifest["tally"]
        tasks.append({"name": name, **facts, "draws": draws, "about": about})
        notes += _unlike_declared(name, request, manifest) + _wrong_masks(name, request, manifest)
    if empty and not tasks:
        raise empty[0]
    counts = dict.fromkeys(missing, 0) | {task["name"]: task["count"] for task in tasks}
    rate_of = rates_of(request, counts)
    caps = rates.caps_of(mixture)
    for task in tasks:
        task["rate"], task["cap"] = rate_of[task["name"]], caps.get(task["name"])
    watched += opened.found(began, except_in=request.store_dir, known={file for file, _ in watched})
    notes += [note for name in names_in(mixture) for note in task_folders.notes(name)]
    notes += augmenting.notes(names, request.augment.wording())
    notes += [f"left out: task {name!r}, whose {why}" for name, why in missing.items()]
    return {"tasks": tasks, "vocabulary": vocabulary, "watched": watched, "missing": missing, "notes": notes}


def _missing(jobs: Sequence[Job], split: str, setup: WorkerSetup) -> dict[str, str]:
    """Tasks that are not prepared and whose corpora cannot be had, and why.

    Raises:
      UserError: there are some and the run does not do without them, or there are no others.
    """
    from flan_jax.tasks.sources.source import Unavailable

    why: dict[str, str | None] = {}  # by corpus
    missing = {}
    for job in jobs:
        source = _corpus_source(job.task)
        if source is None or stores.whole(job.target):
            continue
        if source.corpus.name not in why:
            try:
                source.check(split)
                why[source.corpus.name] = None
            except Unavailable as fault:
                why[source.corpus.name] = str(fault)
        if (said := why[source.corpus.name]) is not None:
            missing[job.task] = said
    faults = [said for said in why.values() if said is not None]
    if faults and (setup.on_missing_corpus == "error" or len(missing) == len(jobs)):
        raise UserError(together(faults, many="{} corpora cannot be had:"))
    return missing


def _corpus_source(task: str) -> Any:
    """The `CorpusSource` that a task reads; None for one that reads anything else."""
    from flan_jax.tasks import registry
    from flan_jax.tasks.sources import CorpusSource

    recipe = registry.recipe(task)
    return recipe.source if recipe is not None and isinstance(recipe.source, CorpusSource) else None


def _unlike_declared(name: str, request: Request, manifest: Mapping[str, Any]) -> list[str]:
    """What to say where a corpus gives another number of examples than its task declares, by more than 1%."""
    source = _corpus_source(name)
    if request.limit is not None or request.budget is not None or source is None:
        return []
    # Rows at hand tell nothing: one may make several examples.
    declared, kept = source.corpus.count(request.split), manifest["count"]
    if declared and abs(kept - declared) > 0.01 * declared:
        return [f"task {name!r}: {declared:,} examples are declared, {kept:,} were kept; its rate goes by those"]
    return []


def _wrong_masks(name: str, request: Request, manifest: Mapping[str, Any]) -> list[str]:
    """What to say of a task some of whose examples are left out, as they would be trained on wrongly.

    Raises:
      UserError: such are refused; the store may be of a run that left them out.
    """
    wrong = wrong_in(manifest["tally"])
    if request.is_scored or not wrong:
        return []
    first = manifest.get("wrong", [""])[0]
    if request.on_wrong_mask == "refuse":
        raise UserError(f"{first}. {MEND}")
    return [
        f"task {name!r}: {counted(sum(wrong.values()), 'example')} left out ({wrong_words(wrong)}); the first: {first}"
    ]


def check_evals_in_child(
    *, setup: WorkerSetup, progress: Callable[..., None], request: Request, beside: str | None
) -> dict[str, Any]:
    """Answers `check evals`; see `check_evals`."""
    from flan_jax.tasks import examples, shared_vocabulary, task_folders

    mixture, split = request.mixture, request.split
    trained = members(beside) if beside else []
    names = members(mixture, "EVAL_MIXTURE")
    began = opened.mark()
    files = watched_files(setup.modules) + list(setup.data_files) + task_folders.rests_on()
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
    watched: list[Any] = [[file, filesystem.watched(file)] for file in sorted(set(files))]
    watched += opened.found(began, except_in=request.store_dir, known=set(files))
    return {"names": names, "objectives": _objectives(names), "watched": watched}


def members_in_child(
    *, setup: WorkerSetup, progress: Callable[..., None], request: Request, setting: str
) -> dict[str, Any]:
    """Answers `members`; see `flan_jax.data.resolve.members`."""
    from flan_jax.tasks import examples, task_folders

    began = opened.mark()
    files = watched_files(setup.modules) + list(setup.data_files) + task_folders.rests_on()
    watched: list[Any] = [[file, filesystem.watched(file)] for file in sorted(set(files))]
    names = members(request.mixture, setting)
    objectives = _objectives(names)
    found = {name: {"splits": examples.splits(name), "objective": objectives[name]} for name in names}
    watched += opened.found(began, except_in=request.store_dir, known=set(files))
    return {"members": found, "watched": watched}


def _objectives(names: Sequence[str]) -> dict[str, str]:
    """The objective of each task."""
    from flan_jax.tasks import examples

    return {name: examples.describe(name)["objective"] for name in names}


def vocabulary_of(task: str) -> Any:
    """The vocabulary of a task's targets."""
    import seqio

    return seqio.get_mixture_or_task(task).output_features["targets"].vocabulary


def first_draws(names: Sequence[str], request: Request) -> list[Job]:
    """The stores that a mixture of these tasks begins with."""
    from flan_jax.tasks import examples

    wording = request.augment.wording()
    fingerprints = {name: examples.fingerprint(name, wording) for name in names}
    return [Job(name, store_folder(name, mark, request), mark, 0) for name, mark in fingerprints.items()]


def _about(described: Mapping[str, Any]) -> dict[str, Any]:
    """What a run needs to know of a task's declaration."""
    names = "kind cluster chance siblings sibling shots eval_kind metrics wants objective random"
    return {name: described[name] for name in names.split() if name in described}


def members_of(request: Request, setting: str = "MIXTURE") -> list[str]:
    """The tasks that a request is for: its mixture's, and the inverted ones that the run adds or leaves out."""
    from flan_jax.tasks import augmenting

    names = members(request.mixture, setting)
    return augmenting.with_inversions(names, augmenting.inversions(names, request.augment.inverted))


def rates_of(request: Request, counts: Mapping[str, int]) -> dict[str, float]:
    """The rate of each task that a request is for, by the numbers of examples that were kept."""
    from flan_jax.tasks import augmenting, rates

    names = members(request.mixture)
    found = rates.rate_of(request.mixture, dict.fromkeys(names, 0) | dict(counts))
    for name, inversion in augmenting.inversions(names, request.augment.inverted).items():
        found[name] = inversion.share * found[inversion.of] if counts.get(name) else 0.0
    return found


def members(mixture: str, setting: str = "MIXTURE") -> list[str]:
    """The tasks of a mixture or of several, or the task itself, in a stable order; `setting` is what named it."""
    found = [task for name in names_in(mixture) or [mixture] for task in _members(name, setting)]
    return sorted(set(found), key=found.index)


def _members(mixture: str, setting: str) -> list[str]:
    import seqio

    from flan_jax.mixtures import BROKEN
    from flan_jax.tasks import task_folders

    mixtures, tasks = set(seqio.MixtureRegistry.names()), set(seqio.TaskRegistry.names())
    if mixture in mixtures:
        names = [task.name for task in seqio.MixtureRegistry.get(mixture).tasks]
        return sorted(set(names), key=names.index)
    if mixture in tasks:
        return [mixture]
    raise registrations.unknown(mixture, mixtures | tasks, setting, BROKEN, task_folders.entries())


def may_be_left_out(task: str, tally: Mapping[str, int], members: Sequence[str]) -> bool:
    """Whether a mixture does without a task of which no row was kept: it says that it may be empty, there are others,
    and no setting would have kept a row.
    """
    from flan_jax.tasks import registry

    mended = any(tally.get(key) for key in ("bad_rows", "too_long")) or bool(wrong_in(tally))
    return getattr(registry.declared(task), "may_be_empty", False) and len(members) > 1 and not mended


def counts_of(tally: Mapping[str, int]) -> str:
    """What became of the rows of a task of which none was kept."""
    masks = wrong_in(tally)
    causes = [
        f"{value:,} {key.replace('_', ' ')}"
        for key, value in tally.items()
        if value and key not in ("kept", "proved", *masks)
    ]
    causes += [wrong_words(masks)] if masks else []
    return ", ".join(causes) or "there are none"


def none_kept(task: str, mixture: str, split: str, tally: Mapping[str, int], wrong: Sequence[str] = ()) -> UserError:
    """What to say of a task of which no row was kept: why, and what mends it.

    Args:
      task: its name.
      mixture: that it is of.
      split: that was read.
      tally: what was counted.
      wrong: sentences about examples whose loss mask is wrong.
    """
    from flan_jax.tasks import examples

    files = examples.source_files(task)
    source = f" ({files[0]})" if len(files) == 1 else ""
    causes = {key: value for key, value in tally.items() if key != "read"}
    why = counts_of(causes) if any(causes.values()) else "the source is empty"
    mend = f"check its source{source},"
    if tally.get("too_long"):
        mend = "raise FEATURE_LENGTHS, which its templates alone fill,"
    if wrong:
        mend = f"no loss would be right. {wrong[0]}. Mend the task, or its model's chat template,"
    return UserError(
        f"task {task!r} has no examples in split {split!r}: {tally.get('read', 0)} rows were read and none was kept "
        f"({why}); {mend} or take it out of {mixture!r}"
    )

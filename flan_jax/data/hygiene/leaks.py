"""What a run is trained on that it is scored by; answers `leaks`.

    tasks      a task, or another form of it, that is trained on the split that is scored
    rows       prompts of scored rows that stand in the training data, whatever task or split they are in
    wordings   templates held out for scoring that word a task which is trained

Of the training data nothing but the hashes beside its stores is read, once they are there; see `contents`.
"""

import collections
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from flan_jax.data.hygiene import contents, evals, overlaps, words
from flan_jax.data.hygiene.contents import Piece, spread
from flan_jax.data.planning.order import mix
from flan_jax.data.preparing.jobs import Job
from flan_jax.data.preparing.registering import watched_files
from flan_jax.data.request import Request, WorkerSetup
from flan_jax.data.stores import store as stores
from flan_jax.files import filesystem, opened

_FIELD = re.compile(r"\{[^{}]*\}")
_LEAST_WORDS = 3  # of a template: fewer are a field and little else
_SHOWN = 3  # rows that are named of each pair of tasks


def leaks_in_child(
    *,
    setup: WorkerSetup,
    progress: Callable[..., None],
    request: Request,
    jobs: Sequence[Sequence[Any]],
    kept: Mapping[str, str],
    scored: str,
    split: str,
    rows: bool,
) -> dict[str, Any]:
    """Answers `leaks`.

    Args:
      setup: what this process registered.
      progress: told of each piece.
      request: what the training stores were prepared for.
      jobs: (task, folder, fingerprint, draw) of each training store.
      kept: the files of the indices that are trained on, of tasks that are not trained on whole.
      scored: the eval mixture.
      split: the split that is scored.
      rows: whether rows are compared; else tasks and wordings alone.
    """
    began = opened.mark()
    names = evals.tasks_of([scored], split, "EVAL_MIXTURE")
    files = watched_files(setup.modules) + list(setup.data_files) + evals.files_of(names)
    watched: list[Any] = [[file, filesystem.watched(file)] for file in sorted(set(files))]
    wanted = [Job(*job) for job in jobs]
    trained = [job.task for job in wanted]
    shared = _tasks(trained, names, request.split, split)
    skipped: list[str] = []
    told = lambda done, name: progress(what="reading evals", done=done, total=len(names), unit="task", name=name)
    found = []
    if rows:
        keys, scored_rows = _keys(evals.rows_of(names, split, told, skipped))
        found = _rows(wanted, request, kept, keys, scored_rows, progress)
    same = {(pair["trained"], pair["scored"]) for pair in shared}
    watched += opened.found(began, except_in=request.store_dir, known={file for file, _ in watched})
    return {
        "tasks": shared,
        "rows": [pair for pair in found if (pair["trained"], pair["scored"]) not in same],
        "wordings": _wordings(trained, names),
        "skipped": skipped,
        "watched": watched,
    }


def _tasks(trained: Sequence[str], scored: Sequence[str], split: str, eval_split: str) -> list[dict[str, Any]]:
    """Tasks of one declaration that are trained and scored on the same split."""
    from flan_jax.tasks import examples

    if split != eval_split:
        return []
    of = {name: examples.describe(name)["task"] for name in {*trained, *scored}}
    return [{"trained": one, "scored": other} for other in scored for one in trained if of[one] == of[other]]


def _wordings(trained: Sequence[str], scored: Sequence[str]) -> list[dict[str, Any]]:
    """Held-out templates of scored tasks that word a trained one."""
    from flan_jax.tasks import examples

    held_out = [(name, about) for name in scored if (about := examples.describe(name))["kind"] == "held_out_templates"]
    if not held_out:
        return []
    used: dict[str, str] = {}
    for name in trained:
        for inputs, _ in examples.describe(name)["templates"]:
            used.setdefault(_wording(inputs), name)
    used = {wording: name for wording, name in used.items() if words.count(wording) >= _LEAST_WORDS}
    return [
        {"trained": used[_wording(inputs)], "scored": name, "template": inputs}
        for name, about in held_out
        for inputs, _ in about["templates"]
        if _wording(inputs) in used
    ]


def _wording(template: str) -> str:
    return words.normalised(_FIELD.sub(" ", template))


def _keys(found: Any) -> tuple[np.ndarray, list[overlaps.EvalRow]]:
    """Sorted keys of eval rows, uint64 [N, 2], each with the number of its row."""
    keys: list[tuple[int, int]] = []
    rows = []
    for number, (row, prompt, answer) in enumerate(found):
        keys += [(key, number) for key in overlaps.exact_keys(prompt, answer, row.salt)]
        rows.append(row)
    made = np.array(keys, np.uint64).reshape(-1, 2)
    return made[np.argsort(made[:, 0], kind="stable")], rows


def look(piece: Piece, request: Request, keys: np.ndarray) -> list[tuple[int, int, int]]:
    """The rows of a piece that are eval rows: first example, number of examples, and which eval row.

    Args:
      piece: of a training store.
      request: what it was prepared for.
      keys: from `_keys`.
    """
    columns = contents.columns(piece, request)
    prompt, answer, given = columns["prompt"], columns["answer"], columns["given"].astype(np.int64)
    if evals.is_exchanged(piece.job.task):
        prompt, answer, given = answer, prompt, columns["words"] - given
    found = np.full(len(columns), -1)
    for made, telling in ((prompt, given >= overlaps.TELLING_WORDS), (mix(prompt, answer, 1), given > 0)):
        place = np.searchsorted(keys[:, 0], made)
        place[place == len(keys)] = 0
        met = telling & (keys[place, 0] == made) if len(keys) else np.zeros(len(made), bool)
        found[met] = keys[place[met], 1].astype(np.int64)
    here = np.flatnonzero(found >= 0)
    return list(zip(*(values[here].tolist() for values in (columns["first"], columns["count"], found)), strict=True))


def _rows(
    jobs: Sequence[Job],
    request: Request,
    kept: Mapping[str, str],
    keys: np.ndarray,
    rows: Sequence[overlaps.EvalRow],
    progress: Callable[..., None],
) -> list[dict[str, Any]]:
    """Of each pair of tasks that share rows: how many, and a few of them."""
    pieces = [piece for job in jobs for piece in contents.pieces_of(job, request)]
    told = lambda done, name: progress(
        what="looking for what is scored", done=done, total=len(pieces), unit="part", name=name
    )
    pairs: dict[tuple[str, str], dict[str, Any]] = {}
    met: dict[tuple[str, str], set[int]] = collections.defaultdict(set)
    for piece, found in zip(pieces, spread(look, pieces, request, keys, told=told), strict=True):
        task = piece.job.task
        trained = np.load(kept[task], mmap_mode="r") if task in kept and found else None
        for first, count, number in found:
            if trained is not None and not np.isin(np.arange(first, first + count), trained).any():
                continue
            row = rows[number]
            key = (task, row.task)
            pair = pairs.setdefault(key, {"trained": task, "scored": row.task, "examples": 0, "evals": 0, "rows": []})
            pair["examples"] += count
            met[key].add(number)
            if len(pair["rows"]) < _SHOWN:
                store = stores.open_store(str(piece.job.target))
                pair["rows"].append({"id": store.id(first), "eval": row.id, "place": row.place, "text": row.text[:160]})
    for key, pair in pairs.items():
        pair["evals"] = len(met[key])
    return list(pairs.values())

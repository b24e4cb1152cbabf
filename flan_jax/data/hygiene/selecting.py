"""Selects which examples of prepared stores are trained on; answers `select`.

    filters          length, language, the user's function                a row by itself
    decontamination  runs of words or whole prompts of eval rows          a row against an index
    duplicates       exact, then near                                     what is left, all tasks together

Duplicates come last, so that the twin of each is one that is trained on. No store is changed: what comes out is the
indices that are kept of each task, and a line of JSON for each row that is left out, or reported:

    STORE_DIR/selections/KEY/   kept-12-DIGEST.npy   dropped.jsonl   answer.json, written last
"""

import dataclasses
import hashlib
import io
import json
import pathlib
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from flan_jax.data.hygiene import contents, duplicates, evals, filters, overlaps, words
from flan_jax.data.hygiene.contents import Piece, spread
from flan_jax.data.hygiene_config import HygieneConfig
from flan_jax.data.preparing.jobs import Job
from flan_jax.data.preparing.registering import watched_files
from flan_jax.data.preparing.resolving import rates_of
from flan_jax.data.request import Request, WorkerSetup
from flan_jax.data.stores import store as stores
from flan_jax.errors import UserError
from flan_jax.files import atomic, filesystem, opened


@dataclasses.dataclass(frozen=True)
class _How:
    """What a process that looks at a piece must know.

    Attributes:
      request: what the stores were prepared for.
      settings: the run's.
      work: a folder for what passes between the stages.
    """

    request: Request
    settings: HygieneConfig
    work: str

    @property
    def files(self) -> duplicates.SignatureFiles:
        """Where signatures lie."""
        return duplicates.SignatureFiles(pathlib.Path(self.work), self.settings.similarity)


@dataclasses.dataclass(frozen=True)
class Looked:
    """What was seen of a piece.

    Attributes:
      columns: of its rows.
      out: rows that are left out by themselves, with why and what else there is to say.
      met: rows that share something with an eval row, and what.
    """

    columns: np.ndarray
    out: list[tuple[int, str, dict[str, Any]]]
    met: list[tuple[int, dict[str, Any]]]


def look(piece: Piece, how: _How, numbers: dict[str, int]) -> Looked:
    """Looks at the rows of a piece by themselves, and writes their signatures where near duplicates are wanted.

    Args:
      piece: the piece.
      how: what is looked for.
      numbers: of each piece, by its path.
    """
    settings, request = how.settings, how.request
    near = settings.duplicates == "near"
    if not near and not settings.filters and settings.contamination == "keep":
        return Looked(contents.columns(piece, request), [], [])
    task = piece.job.task
    verdict = filters.verdict_of(settings)
    index = overlaps.opened(how.work, settings.ngram) if settings.contamination != "keep" else None
    exchanged = evals.is_exchanged(task)
    columns: list[tuple[int, ...]] = []
    signed = [np.zeros((0, duplicates.SIZE), np.uint32)]
    out, met = [], []
    for lot in contents.lots(contents.rows_of(piece, request)):
        start = len(columns)
        texts = [(words.normalised(said.prompt), words.normalised(said.answer)) for said in lot]
        columns += [contents.column_of(said, *pair) for said, pair in zip(lot, texts, strict=True)]
        for number, said in enumerate(lot, start):
            found = verdict(task, said.prompt, said.answer, columns[number][2]) if said.known else None
            if found is not None:
                out.append((number, *found))
        if index is not None:
            forward = [(answer, prompt) if exchanged else (prompt, answer) for prompt, answer in texts]
            met += [(number, what) for number, what in enumerate(index.overlaps(forward), start) if what is not None]
        if near:
            salts = [said.salt ^ int(exchanged) for said in lot]
            signed.append(duplicates.signatures([f"{a} {b}".strip() for a, b in texts], salts))
    made = np.array(columns, contents.COLUMNS)
    if contents.kept_columns(piece) is None:
        contents.keep_columns(piece, made)
    if near:
        how.files.write(numbers[str(piece.path)], np.concatenate(signed))
    return Looked(made, out, met)


def select_in_child(
    *,
    setup: WorkerSetup,
    progress: Callable[..., None],
    request: Request,
    jobs: Sequence[Sequence[Any]],
    missing: Sequence[str],
    hygiene: dict[str, Any],
    evals_of: Sequence[str],
    split: str,
    folder: str,
) -> dict[str, Any]:
    """Answers `select`.

    Args:
      setup: what this process registered.
      progress: told of each piece.
      request: what the stores were prepared for.
      jobs: (task, folder, fingerprint, draw) of each store, in the mixture's order.
      missing: tasks of the mixture that have no store.
      hygiene: `HygieneConfig.described`.
      evals_of: the mixtures that are scored.
      split: the split that is scored.
      folder: where the selection goes.
    """
    settings = HygieneConfig.from_description(hygiene)
    if settings.duplicates == "near":
        duplicates.check_installed()
    filters.verdict_of(settings)  # what is wrong with it is told before anything is read
    wanted = [Job(*job) for job in jobs]
    began = opened.mark()
    names = evals.tasks_of(evals_of, split, "Hygiene.against") if settings.contamination != "keep" else []
    files = watched_files(setup.modules) + list(setup.data_files) + evals.files_of(names)
    watched: list[Any] = [[file, filesystem.watched(file)] for file in sorted(set(files))]
    target = pathlib.Path(folder)
    with stores.told(request.store_dir):
        target.parent.mkdir(parents=True, exist_ok=True)
        with stores.Lock(target), tempfile.TemporaryDirectory(dir=target.parent, prefix=".work-") as work:
            how = _How(request, settings, work)
            skipped: list[str] = []
            eval_rows: list[overlaps.EvalRow] = []
            if settings.contamination != "keep":
                told = lambda done, name: progress(
                    what="reading evals", done=done, total=len(names), unit="task", name=name
                )
                overlaps.write_index(pathlib.Path(work), evals.rows_of(names, split, told, skipped), settings.ngram)
                eval_rows = overlaps.Index(pathlib.Path(work), settings.ngram).rows
            made = _Selection(wanted, how, progress, eval_rows).made(target, missing)
    watched += opened.found(began, except_in=request.store_dir, known={file for file, _ in watched})
    return {**made, "watched": watched, "skipped": skipped, "eval_rows": len(eval_rows)}


class _Selection:
    """One call of `select`: all rows of all stores, and what becomes of them."""

    def __init__(
        self, jobs: Sequence[Job], how: _How, progress: Callable[..., None], eval_rows: list[overlaps.EvalRow]
    ):
        self.jobs, self.how, self.eval_rows = list(jobs), how, eval_rows
        self.pieces = [piece for job in self.jobs for piece in contents.pieces_of(job, how.request)]
        numbers = {str(piece.path): number for number, piece in enumerate(self.pieces)}
        told = lambda done, name: progress(
            what="looking for what to leave out", done=done, total=len(self.pieces), unit="part", name=name
        )
        self.found: dict[int, dict[str, Any]] = {}  # by row: what filters and the index of evals say
        self.out: set[int] = set()  # those of them that are left out
        columns = [np.zeros(0, contents.COLUMNS)]
        start = 0
        for one in spread(look, self.pieces, how, numbers, told=told):
            for row, why, more in one.out:
                self.found[start + row] = {"why": why, **more}
                self.out.add(start + row)
            for row, what in one.met:
                self._meet(start + row, what)
            columns.append(one.columns)
            start += len(one.columns)
        self.ends = np.cumsum([len(one) for one in columns[1:]], dtype=np.int64)
        self.columns = np.concatenate(columns)
        self.exact, self.alike = self._twins()

    def _meet(self, row: int, what: dict[str, Any]) -> None:
        other = self.eval_rows[what.pop("row")]
        if row not in self.found:
            named = {"task": other.task, "id": other.id, "place": other.place, "text": other.text}
            self.found[row] = {**what, "with": named}
            if self.how.settings.contamination == "drop":
                self.out.add(row)

    def _twins(self) -> tuple[np.ndarray, duplicates.Twins]:
        """The exact twin of each row, and the near one; -1 without."""
        settings, rows = self.how.settings, len(self.columns)
        none = np.full(rows, -1), duplicates.Twins(np.full(rows, -1), np.ones(rows, np.float32))
        if settings.duplicates == "keep":
            return none
        order = duplicates.order_of(self.columns, settings.stays)
        among = self.columns["words"] > 0
        among[list(self.out)] = False
        exact = duplicates.exact(self.columns, order, among)
        if settings.duplicates == "exact":
            return exact, none[1]
        return exact, duplicates.near(self.how.files, self.ends, order, among & (exact < 0))

    def _place(self, row: int) -> tuple[Job, int]:
        """The store of a row, and its first example there."""
        return self.pieces[int(np.searchsorted(self.ends, row, side="right"))].job, int(self.columns["first"][row])

    def _told(self, row: int) -> tuple[dict[str, Any], bool]:
        """What there is to tell of a row, and whether it is left out."""
        twin = max(int(self.exact[row]), int(self.alike.twin[row]))
        if twin < 0:
            return self.found[row], row in self.out
        job, index = self._place(twin)
        told: dict[str, Any] = {"why": "duplicate"}
        if self.exact[row] < 0:
            told = {"why": "near duplicate", "similarity": round(float(self.alike.similarity[row]), 3)}
        row_id = stores.open_store(str(job.target)).id(index)
        return {**told, "with": {"task": job.task, "index": index, "id": row_id}}, True

    def made(self, folder: pathlib.Path, missing: Sequence[str]) -> dict[str, Any]:
        """Writes the selection, and says what was kept of each task; `missing` are tasks that have no store."""
        folder.mkdir(exist_ok=True)
        atomic.remove_partial(folder)
        told = (self.exact >= 0) | (self.alike.twin >= 0)
        told[list(self.found)] = True
        rows = np.flatnonzero(told)
        pieces = np.searchsorted(self.ends, rows, side="right")
        of_piece = {job: number for number, job in enumerate(self.jobs)}
        job_of = np.array([of_piece[piece.job] for piece in self.pieces], np.int64)[pieces]
        tasks: list[dict[str, Any]] = []

        def lines() -> Iterator[bytes]:
            for number in range(len(self.jobs)):
                keeping = _Keeping(self.jobs[number])
                for row in rows[job_of == number].tolist():
                    yield keeping.line(self.columns[row], *self._told(row))
                tasks.append(keeping.task(folder, number))

        atomic.write_bytes(folder / "dropped.jsonl", lines())
        if not any(task["count"] for task in tasks):
            raise UserError(
                f"Hygiene leaves no example of {self.how.request.mixture!r}: {folder / 'dropped.jsonl'} says why of "
                f"each; loosen it"
            )
        counts = dict.fromkeys(missing, 0) | {task["name"]: task["count"] for task in tasks}
        rate_of = rates_of(self.how.request, counts)
        for task in tasks:
            task["rate"] = rate_of[task["name"]]
        return {"tasks": tasks, "dropped": str(folder / "dropped.jsonl")}


class _Keeping:
    """What is kept of one store."""

    def __init__(self, job: Job):
        self._job, self._store = job, stores.open_store(str(job.target))
        self._keeps = np.ones(self._store.count, bool)
        self._left_out: Counter = Counter()
        self._reported: Counter = Counter()

    def line(self, columns: Any, told: dict[str, Any], left_out: bool) -> bytes:
        """Counts a row, and gives its line of JSON."""
        first, count = int(columns["first"]), int(columns["count"])
        row_id = self._store.id(first).rpartition("#")[0] if count > 1 else self._store.id(first)
        if left_out:
            self._keeps[first : first + count] = False
        (self._left_out if left_out else self._reported)[told["why"]] += count
        line = {"task": self._job.task, "index": first, "examples": count, "id": row_id, "left_out": left_out, **told}
        return json.dumps(line).encode() + b"\n"

    def task(self, folder: pathlib.Path, number: int) -> dict[str, Any]:
        """What is told of the task; the indices that are kept stand in a file, where not all are."""
        count = int(self._keeps.sum())
        task: dict[str, Any] = {"name": self._job.task, "examples": self._store.count, "count": count}
        task |= {"left_out": dict(self._left_out), "reported": dict(self._reported), "kept": None, "means": None}
        if self._left_out:
            file = io.BytesIO()
            np.save(file, np.flatnonzero(self._keeps))
            # By its content, which a plan's fingerprint takes from the name.
            path = folder / f"kept-{number}-{hashlib.sha256(file.getvalue()).hexdigest()[:16]}.npy"
            atomic.write_bytes(path, [file.getvalue()])
            task |= {"kept": str(path), "means": _means(self._store, self._keeps)}
        return task


def _means(store: stores.Store, keeps: np.ndarray) -> list[float]:
    """Tokens that the examples kept have on average, and how many of them bear loss."""
    tokens = store.lengths("inputs") + store.lengths("targets")
    return [float(each[keeps].sum()) / max(1, int(keeps.sum())) for each in (tokens, store.trainable())]

"""What the rows of two mixtures share, straight from their sources and without a store; answers `overlaps`."""

import collections
import pathlib
import tempfile
from collections.abc import Callable, Iterator
from typing import Any

from flan_jax.data.hygiene import contents, evals, overlaps
from flan_jax.data.hygiene.overlaps import EvalRow
from flan_jax.data.request import WorkerSetup


def overlaps_in_child(
    *,
    setup: WorkerSetup,
    progress: Callable[..., None],
    trained: str,
    split: str,
    scored: str,
    eval_split: str,
    ngram: int,
    shown: int,
) -> dict[str, Any]:
    """Answers `overlaps`.

    Args:
      setup: what this process registered.
      progress: told of each task.
      trained: the training mixture.
      split: the split that is trained on.
      scored: the eval mixture.
      eval_split: the split that is scored.
      ngram: words of a run.
      shown: how many rows are shown of each pair of tasks.

    Returns:
      {"pairs": [{"trained", "scored", "rows", "whole", "evals", "shown": [...]}, …], "rows": how many were looked at,
      "evals": how many they were compared with, "skipped": tasks whose data cannot be had}.
    """
    names = evals.tasks_of([trained], split, "TRAIN")
    others = evals.tasks_of([scored], eval_split, "EVAL")
    skipped: list[str] = []
    told = lambda what, count: lambda done, name: progress(what=what, done=done, total=count, unit="task", name=name)
    with tempfile.TemporaryDirectory() as work:
        place = pathlib.Path(work)
        count = overlaps.write_index(
            place, evals.rows_of(others, eval_split, told("reading evals", len(others)), skipped), ngram
        )
        index = overlaps.Index(place, ngram)
        found = evals.rows_of(names, split, told("comparing", len(names)), skipped)
        pairs, looked_at = _pairs(found, index, shown)
    return {"pairs": pairs, "rows": looked_at, "evals": count, "skipped": skipped}


def _pairs(
    found: Iterator[tuple[EvalRow, str, str]], index: overlaps.Index, shown: int
) -> tuple[list[dict[str, Any]], int]:
    """Of each pair of tasks that share something: how many rows do, and the longest overlaps; and all rows read."""
    pairs: dict[tuple[str, str], dict[str, Any]] = {}
    met: dict[tuple[str, str], set[int]] = collections.defaultdict(set)
    looked_at = 0
    for lot in contents.lots(found):
        looked_at += len(lot)
        for (row, _, _), what in zip(lot, index.overlaps([(prompt, answer) for _, prompt, answer in lot]), strict=True):
            if what is None:
                continue
            other = index.rows[what["row"]]
            key = (row.task, other.task)
            pair = pairs.setdefault(
                key, {"trained": row.task, "scored": other.task, "rows": 0, "whole": 0, "evals": 0, "shown": []}
            )
            pair["rows"] += 1
            pair["whole"] += what["why"] == "eval row"
            met[key].add(what["row"])
            pair["shown"].append(
                {
                    **{name: what[name] for name in ("why", "span", "words")},
                    "evals": what["evals"],
                    "row": {"id": row.id, "place": row.place, "text": row.text[:160]},
                    "eval": {"id": other.id, "place": other.place, "text": other.text},
                }
            )
            # The longest say most; of equal ones the first stay.
            pair["shown"] = sorted(pair["shown"], key=lambda one: -one["words"])[:shown]
    for key, pair in pairs.items():
        pair["evals"] = len(met[key])
    return list(pairs.values()), looked_at

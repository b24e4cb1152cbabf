"""Every answer kept: what a model was asked and what it said, for people to read and for other metrics to score.

    RUN/samples/step-2800/TASK.jsonl         of a scoring while training, and of the one at its end
    RUN/samples/eval/TASK.jsonl              of the last `flan-jax eval`

A line is an example, in the order in which the task is scored:

    {"id": "17", "template": 3, "prompt": "…", "target": ["odd"], "prediction": "even", "answer": "even", "score": 0.0,
     "answer_log_probability": -0.61, "options": ["odd", "even"], "option_log_probabilities": [-0.8, -0.61]}

"target" (of several right answers a list) and "prediction" are as the task's metrics compare them, "answer" as it was
given; "score" is the task's score of this example alone, null where that is no mean over examples. Tasks with answer
options have the last two fields.
"""

import json
import pathlib
import shutil
import urllib.parse
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from flan_jax.errors import UserError
from flan_jax.files import atomic

FOLDER = "samples"
_IN_ALL = 20_000  # examples of all tasks of one scoring: of 1,836 tasks ten each, some 20 MB


def of_each_task(wanted: int, tasks: int) -> int:
    """How many examples of each task are kept.

    Args:
      wanted: `Evaluation.samples`.
      tasks: how many are scored.

    >>> of_each_task(200, 99), of_each_task(200, 1836), of_each_task(0, 5)
    (200, 10, 0)
    """
    return min(wanted, max(1, _IN_ALL // max(1, tasks)))


def file_of(folder: pathlib.Path, task: str) -> pathlib.Path:
    """Where a task's samples are in a folder of them."""
    return folder / f"{urllib.parse.quote(task, safe='')}.jsonl"


def write(folder: pathlib.Path, task: str, rows: Sequence[Mapping[str, Any]]) -> None:
    """Keeps a task's samples in the place of those before, all or none of them."""
    folder.mkdir(parents=True, exist_ok=True)
    lines = [json.dumps(atomic.finite(row), ensure_ascii=False, allow_nan=False) for row in rows]
    # A byte of a source that is no UTF-8 is half a character, which no file takes.
    atomic.write_bytes(file_of(folder, task), [f"{line}\n".encode("utf-8", "replace") for line in lines])


def keep_newest(folder: pathlib.Path, number: int) -> None:
    """Removes the samples of all but the newest scorings while training.

    Args:
      folder: a run's `samples/`.
      number: how many stay.
    """
    for path in _steps_in(folder)[:-number]:
        shutil.rmtree(path, ignore_errors=True)


def read(path: pathlib.Path) -> list[dict[str, Any]]:
    """A task's samples.

    Raises:
      UserError: a line is none.
    """
    rows = []
    lines = path.read_text(encoding="utf-8").removesuffix("\n").split("\n")  # texts may hold other ends of lines
    for number, line in enumerate(lines, start=1):
        try:
            row = json.loads(line)
        except json.JSONDecodeError:
            row = None
        if not isinstance(row, dict) or "target" not in row or "prediction" not in row:
            raise UserError(
                f"{path}, line {number}: is no sample, wanted an object with a target and a prediction, as a run keeps "
                f"them in its {FOLDER}/"
            )
        rows.append(row)
    return rows


def tasks_in(place: pathlib.Path) -> Iterator[tuple[str, pathlib.Path]]:
    """The tasks whose samples are in a place, with their files.

    Args:
      place: a file; a folder of them; a run's `samples/`, of which the last scoring is taken; or the run.

    Raises:
      UserError: there are none.
    """
    if place.is_file():
        yield urllib.parse.unquote(place.stem), place
        return
    folder = _scoring_in(place)
    files = sorted(folder.glob("*.jsonl"))
    if not files:
        raise UserError(f"{place} holds no samples, wanted a run, or a folder of samples")
    for path in files:
        yield urllib.parse.unquote(path.stem), path


def _scoring_in(place: pathlib.Path) -> pathlib.Path:
    """The folder of the last scoring in a run, in its `samples/`, or the place itself."""
    place = place / FOLDER if (place / FOLDER).is_dir() else place
    found = [*_steps_in(place), *place.glob("eval")]
    return max(found, key=lambda path: path.stat().st_mtime, default=place)


def _steps_in(folder: pathlib.Path) -> list[pathlib.Path]:
    """The folders of scorings while training, by their steps."""
    step_of = lambda path: path.name.removeprefix("step-")
    return sorted((path for path in folder.glob("step-*") if step_of(path).isdigit()), key=lambda p: int(step_of(p)))

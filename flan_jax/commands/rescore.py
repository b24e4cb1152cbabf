"""`flan-jax rescore`: other metrics of answers that a run kept, without its model and its data."""

import json
import pathlib
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from flan_jax import tables
from flan_jax.config import named_functions
from flan_jax.config.run_config import RunConfig
from flan_jax.errors import UserError, counted
from flan_jax.evaluation import samples

_FORM = "(targets, predictions) -> {name: figure}"


def rescore_command(config: RunConfig, answers: str, metric: Sequence[str] = (), as_json: bool = False) -> int:
    """Scores kept answers by other metrics, and prints a figure a task beside the score that was kept.

    Args:
      config: nothing of it is read.
      answers: a run, a folder of samples, or the file of one task.
      metric: dotted names of metric functions, as seqio's tasks have them.
      as_json: whether to print JSON instead of a table.

    Raises:
      UserError: there are no samples, or no such function.
    """
    if not metric:
        raise UserError("rescore has no metric; say what to score by, as --metric my_package.my_function")
    functions = {name: _function(name) for name in metric}
    rows: list[dict[str, Any]] = []
    failed: list[str] = []
    for task, path in samples.tasks_in(pathlib.Path(answers)):
        given = samples.read(path)
        kept = [one["score"] for one in given if one.get("score") is not None]
        row: dict[str, Any] = {"task": task, "examples": len(given)}
        row["score"] = sum(kept) / len(kept) if kept else None
        for name, function in functions.items():
            figures, fault = _figures(function, given)
            row |= {figure if len(functions) == 1 else f"{name}: {figure}": value for figure, value in figures.items()}
            if fault:
                failed.append(f"the metric {name!r} of task {task!r} {fault}")
        rows.append(row)
    for sentence in failed:
        print(sentence, file=sys.stderr)
    if as_json:
        json.dump({"tasks": rows, "failed": failed}, sys.stdout, indent=1)
        print()
        return int(bool(failed))
    heads = list(dict.fromkeys(name for row in rows for name in row))
    print(tables.table(heads, [[_rounded(row.get(head)) for head in heads] for row in rows]))
    print(f"{counted(sum(row['examples'] for row in rows), 'answer')} of {counted(len(rows), 'task')}")
    return int(bool(failed))


def _function(name: str) -> Callable[..., Any]:
    """The metric of a dotted name.

    Raises:
      UserError: there is none.
    """
    module, _, last = name.rpartition(".")
    if module:
        found = named_functions.from_plain({"function": f"{module}:{last}", "arguments": {}})
        if not isinstance(found, named_functions.MissingFunction) and callable(found):
            return found
    raise UserError(
        f"--metric is {name!r}, and there is no such function; wanted PACKAGE.FUNCTION, found from the folder you are "
        f"in or from what is installed, which is called as {_FORM}"
    )


def _figures(function: Callable[..., Any], answers: Sequence[Mapping[str, Any]]) -> tuple[dict[str, float], str]:
    """What a metric gives for a task's answers; and what went wrong, the rows that it can do without left out."""
    try:
        return _run(function, answers), ""
    except Exception as error:  # a user's function may raise anything
        why = f"raised {named_functions.failure(error)}"
    sound = [row for row in answers if _works(function, row)]
    if not sound:
        return {}, f"{why}, on each answer"
    return _run(function, sound), f"{why}, on {len(answers) - len(sound)} of {len(answers)} answers, which are left out"


def _run(function: Callable[..., Any], answers: Sequence[Mapping[str, Any]]) -> dict[str, float]:
    found = function([row["target"] for row in answers], [row["prediction"] for row in answers])
    return {str(name): float(value) for name, value in dict(found).items()}


def _works(function: Callable[..., Any], row: Mapping[str, Any]) -> bool:
    try:
        _run(function, [row])
    except Exception:
        return False
    return True


def _rounded(value: Any) -> Any:
    return round(value, 4) if isinstance(value, float) else value

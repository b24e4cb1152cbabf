"""Runs a task's own metrics on what a model gave, each by itself: one that fails is told and takes no other with it.

A metric says by the names of its arguments what it wants, as in seqio:

    (targets, predictions)               postprocessed texts
    (targets, scores)                    the log-likelihood of each example's targets
    (targets, predictions, aux_values)   the same texts, and {"scores": the log-likelihood of each prediction}

seqio's metric objects (`metric_objs`) are run by seqio's own protocol, on the predictions' token ids.
"""

import contextlib
import dataclasses
import json
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import seqio

from flan_jax.errors import UserError
from flan_jax.tasks import metrics
from flan_jax.tasks.user_functions import raised

PREDICTIONS, SCORES, AUX = ("targets", "predictions"), ("targets", "scores"), ("targets", "predictions", "aux_values")
_FAILURES = (Exception, SystemExit)


@dataclasses.dataclass
class Measured:
    """What a task's metrics gave.

    Attributes:
      figures: by name, in the metrics' order; None where a figure is no finite number.
      score: the name of the figure that is the task's score, None where the metric that gives it failed.
      unit: what the score is counted in: "%" for our own metrics, else the figure's name; the metric's where it failed.
      failures: a sentence for each metric that failed.
      by_template: the score of the examples of each template, by its number; empty where there is one.
      samples: of the first `Outputs.kept` examples what was asked and answered, see `_samples`.
    """

    figures: dict[str, float | None] = dataclasses.field(default_factory=dict)
    score: str | None = None
    unit: str = ""
    failures: list[str] = dataclasses.field(default_factory=list)
    by_template: dict[str, float] = dataclasses.field(default_factory=dict)
    samples: list[dict[str, Any]] = dataclasses.field(default_factory=list)


@dataclasses.dataclass(frozen=True)
class Outputs:
    """What a model gave for a task's examples, in their order.

    Attributes:
      predictions: a text for each, or None for the right answer's own; None as a whole where no metric wants any.
      tokens: the predictions' token ids, for seqio's metric objects.
      scores: the log-likelihood of each example's targets.
      prediction_scores: the log-likelihood of each prediction.
      kept: of how many examples, from the first, what was asked and answered is told.
    """

    predictions: Sequence[str | None] | None = None
    tokens: Sequence[Sequence[int]] | None = None
    scores: Sequence[float] | None = None
    prediction_scores: Sequence[float] | None = None
    kept: int = 0


def wanted(task: seqio.Task) -> list[str]:
    """Which outputs of a model the task's metrics want: some of "predictions", "scores" and "aux_values".

    Raises:
      UserError: a metric function has other arguments than seqio allows.
    """
    try:
        by_arguments = (task.predict_metric_fns, task.score_metric_fns, task.predict_with_aux_metric_fns)
        kinds = {int(metric.model_output_type) for metric in _objects(task)}
    except ValueError as error:
        raise UserError(f"Task {task.name!r}: {error}") from None
    kind = seqio.metrics.ModelOutputType
    found = {
        "predictions": bool(by_arguments[0] or by_arguments[2]) or kinds & {kind.PREDICTION, kind.PREDICTION_WITH_AUX},
        "scores": by_arguments[1] or kind.SCORE in kinds,
        "aux_values": by_arguments[2] or kind.PREDICTION_WITH_AUX in kinds,
    }
    return [name for name, is_wanted in found.items() if is_wanted]


def names(task: seqio.Task) -> list[str]:
    """How a report calls the task's metrics."""
    return [metrics.name_of(metric) for metric in [*task.metric_fns, *_objects(task)]]


def measure(task: seqio.Task, found: Sequence[tuple[Any, Mapping[str, Any]]], outputs: Outputs) -> Measured:
    """Runs all metrics of a task.

    Args:
      task: a registered seqio task.
      found: (target, example) of each example, from `examples.references`.
      outputs: the model's.
    """
    result = Measured()
    targets = [target for target, _ in found]
    asked = [] if outputs.predictions is None else list(zip(outputs.predictions, found, strict=True))
    try:
        predictions = [
            task.postprocess_fn(known["targets_pretokenized"] if text is None else text, example=known, is_target=False)
            for text, (_, known) in asked
        ]
    except _FAILURES as error:
        result.failures.append(f"The postprocessor of task {task.name!r} raised {raised(error)}.")
        return result
    aux = {"scores": _array(outputs.prediction_scores)}
    given = {
        PREDICTIONS: (task.predict_metric_fns, lambda: (targets, predictions)),
        SCORES: (task.score_metric_fns, lambda: (targets, _array(outputs.scores))),
        AUX: (task.predict_with_aux_metric_fns, lambda: (targets, predictions, aux)),
    }
    of_function = {id(function): arguments for functions, arguments in given.values() for function in functions}
    for number, function in enumerate(task.metric_fns):
        call = lambda function=function: function(*of_function[id(function)]())
        unit = metrics.unit_of(function)
        _run(result, task.name, metrics.name_of(function), call, unit, first=number == 0)
    alone: Callable[..., Mapping[str, Any]] | None = None
    if result.score and task.metric_fns and _wanted_by(task.metric_fns[0], given) == PREDICTIONS:
        alone = task.metric_fns[0]
        result.by_template = _by_template(alone, result.score, found, targets, predictions)
    result.samples = _samples(asked[: outputs.kept], predictions, alone, result.score or "")
    examples = [dict(known) for _, known in found]
    for number, metric in enumerate(_objects(task)):
        call = lambda metric=metric: _by_object(task, metric, examples, outputs)
        _run(result, task.name, metrics.name_of(metric), call, "", first=not task.metric_fns and number == 0)
    return result


def _wanted_by(function: Callable[..., Any], given: Mapping[tuple[str, ...], Any]) -> tuple[str, ...] | None:
    """The names of a metric function's arguments."""
    return next((names for names, (functions, _) in given.items() if function in functions), None)


def _by_template(
    metric: Callable[..., Mapping[str, Any]],
    score: str,
    found: Sequence[tuple[Any, Mapping[str, Any]]],
    targets: Sequence[Any],
    predictions: Sequence[Any],
) -> dict[str, float]:
    """The task's score over the examples of each template, where there are several."""
    places: dict[int, list[int]] = {}
    for place, (_, known) in enumerate(found):
        places.setdefault(known.get("template", 0), []).append(place)
    scores = {}
    for number, chosen in sorted(places.items()) if len(places) > 1 else ():
        figures = metrics.numbers(metric([targets[i] for i in chosen], [predictions[i] for i in chosen]))
        if math.isfinite(figures.get(score, math.nan)):
            scores[str(number)] = figures[score]
    return scores


def _samples(
    asked: Sequence[tuple[str | None, tuple[Any, Mapping[str, Any]]]],
    predictions: Sequence[Any],
    metric: Callable[..., Mapping[str, Any]] | None,
    score: str,
) -> list[dict[str, Any]]:
    """What was asked and answered, example by example, all of it fit for JSON.

    Returns:
      A dict for each of `asked`: "id", "template", "prompt"; "target" and "prediction", both as metrics compare them;
      "answer", as it was given; and "score", that of this example alone, None where the score is no mean of such.
    """
    rows = []
    for (text, (target, known)), prediction in zip(asked, predictions, strict=False):
        value: float | None = None
        if metric is not None:
            with contextlib.suppress(*_FAILURES):
                value = metrics.numbers(metric([target], [prediction])).get(score)
        answer = known["targets_pretokenized"] if text is None else text
        of_example = {"id": known.get("id"), "template": known.get("template"), "prompt": known["inputs_pretokenized"]}
        of_answer = {"target": target, "prediction": prediction, "answer": answer}
        row = {name: _plain(found) for name, found in {**of_example, **of_answer}.items()}
        rows.append({**row, "score": value if value is not None and math.isfinite(value) else None})
    return rows


def _plain(value: Any) -> Any:
    """The value as JSON has it; as text, where it is of a kind that JSON has not."""
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    try:
        json.dumps(value)
    except TypeError:
        return str(value)
    return value


def _run(
    result: Measured, task: str, name: str, call: Callable[[], Mapping[str, Any]], unit: str, *, first: bool
) -> None:
    """Runs one metric and adds its figures, or why there are none."""
    where = f"The metric {name!r} of task {task!r}"
    if first:
        result.unit = unit or name  # until its figures are there
    try:
        figures = metrics.numbers(call())
    except UserError as error:
        result.failures.append(f"{where}: {str(error).rstrip('.')}.")
        return
    except _FAILURES as error:
        result.failures.append(f"{where} raised {raised(error)}.")
        return
    for figure, value in figures.items():
        if figure in result.figures:
            result.failures.append(
                f"{where} gives a figure called {figure!r}, as one before it does; rename it, it is left out."
            )
            continue
        if not math.isfinite(value):
            result.failures.append(f"{where} gave {value} as {figure!r}, which is no figure.")
        result.figures[figure] = value if math.isfinite(value) else None
    # A score is always of the same metric: where that one fails there is none.
    if figures and (first or (result.score is None and not result.failures)):
        result.score = next(iter(figures))
        result.unit = unit or result.score


def _objects(task: seqio.Task) -> list[Any]:
    """The metrics that were given as objects; `task.metric_objs` makes objects of the functions too, at a cost."""
    return list(task._metric_objs_constructor_args)


def _by_object(task: seqio.Task, metric: Any, examples: list[dict[str, Any]], outputs: Outputs) -> Mapping[str, Any]:
    """What `seqio.Evaluator` does with one metric object."""
    kind = seqio.metrics.ModelOutputType
    given: Any
    if metric.model_output_type == kind.SCORE_WITH_INTERMEDIATES:
        raise UserError("it wants the model's intermediate values, which are not kept; give it (targets, scores)")
    if metric.model_output_type == kind.SCORE:
        given = _array(outputs.scores)
    else:
        rows = outputs.tokens or ()
        given = np.zeros((len(rows), max(map(len, rows), default=0)), np.int32)
        for row, tokens in zip(given, rows, strict=True):
            row[: len(tokens)] = tokens
        if metric.model_output_type == kind.PREDICTION_WITH_AUX:
            given = (given, {"scores": _array(outputs.prediction_scores)})
    instance = metric.from_model_output(examples, given, task.output_features, "targets")
    if isinstance(instance, seqio.metrics.CollectingMetric):
        return instance.actual_compute(examples, task.output_features, "targets")[0]
    return instance.compute()


def _array(values: Sequence[float] | None) -> np.ndarray:
    return np.array([] if values is None else values, np.float32)

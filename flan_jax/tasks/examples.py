"""The examples of any registered seqio task, one after another: what preparing, inspecting and scoring read.

Our own tasks are rendered and tokenised in plain Python, in batches; tasks of other code run through their seqio
preprocessors.
"""

import dataclasses
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any

from flan_jax.errors import UserError
from flan_jax.tasks import fingerprints, foreign, measures, registry, row_contents, vocabularies
from flan_jax.tasks.augmenting import augmented
from flan_jax.tasks.measures import Measured, Outputs
from flan_jax.tasks.recipe import Example, Recipe, Request
from flan_jax.tasks.row_contents import Content
from flan_jax.tasks.sources import (
    CorpusSource,
    GeneratorSource,
    SeqioSource,
    Source,
    TfdsSource,
    all_files,
    besides_files,
)
from flan_jax.tasks.tally import OnBadRow, OnLong, Tally
from flan_jax.tasks.user_functions import of_task

__all__ = [
    "Example",
    "Tally",
    "contents",
    "describe",
    "examples",
    "fingerprint",
    "is_ours",
    "measured",
    "needs_tensorflow",
    "num_rows",
    "reference",
    "references",
    "score",
    "source_files",
    "splits",
]

CODE_VERSION = 1  # raise it when the same declaration comes to give other tokens


def examples(
    task_name: str,
    split: str,
    lengths: Mapping[str, int | None],
    *,
    seed: int = 0,
    draw: int = 0,
    tally: Tally | None = None,
    on_long: OnLong = "truncate",
    on_bad_row: OnBadRow = "error",
    limit: int | None = None,
    start: int = 0,
    stop: int | None = None,
    only: Collection[str] | None = None,
    with_text: bool = True,
    each_template: bool = False,
    from_sample: bool = False,
    wording: Mapping[str, Any] | None = None,
) -> Iterator[Example]:
    """Yields the examples of a task's split, in the source's order.

    Args:
      task_name: a registered seqio task's name.
      split: "train", "validation", ...
      lengths: the most tokens of "inputs" and "targets", end-of-sequence included.
      seed: the run's seed.
      draw: which pass over the data this is; templates, exemplars and spans are drawn anew in each.
      tally: counts what becomes of the rows while they are read.
      on_long: "truncate" cuts a field of the prompt or the end of the targets, "refuse" raises, "drop" leaves the
        example out. One that does not fit even with its fields empty is left out and counted as too long.
      on_bad_row: "error" raises at a row that cannot be used, "skip" counts it.
      limit: stop after so many examples; with `each_template` after as many as so many rows give.
      start: the first row to read; only tasks of ours can start elsewhere than at 0.
      stop: the row before which to stop, counted like `start`.
      only: ids of the rows wanted; None wants all. Only for tasks of ours.
      each_template: whether an instruction task words each row by each of its templates; ids then end in "#" and the
        template's number.
      from_sample: whether to read the row that its corpus declares as a sample, and no other.
      with_text: whether text is wanted beside the ids; leaving it out is faster for tasks of other code.
      wording: what the run changes about it; see `augmenting.augmented`.

    Raises:
      UserError: no such task or split, a bad row, a template's field that a row has not, or an example that is refused.
    """
    for name, value, known in (
        ("on_long", on_long, ("truncate", "refuse", "drop")),
        ("on_bad_row", on_bad_row, ("error", "skip")),
    ):
        if value not in known:
            raise UserError(f"{name}={value!r}: it is one of {', '.join(map(repr, known))}.")
    task = registry.seqio_task(task_name)
    recipe = augmented(registry.recipe(task_name), wording or {})
    on_bad_row = getattr(getattr(recipe, "declaration", None), "on_bad_row", None) or on_bad_row
    tally = Tally() if tally is None else tally
    request = Request(dict(lengths), seed, draw, on_long, on_bad_row, tally, each_template, from_sample)
    if limit is not None and each_template:
        limit *= max(1, len(getattr(recipe, "templates", ())))
    found: Iterator[Example]
    if recipe is None and not with_text:
        found = foreign.without_text(task, split, request)
    elif recipe is None:
        found = (example for example, _ in foreign.examples(task, split, request))
    else:
        source = recipe.source
        if from_sample and isinstance(source, CorpusSource):
            rows = iter(source.sample_rows())
        else:
            rows = of_task(task_name, source.rows(split, on_bad_row, request.tally, start, stop))
        if only is not None:
            rows = _only(rows, set(only))
        found = recipe.encoder(split, request)(rows)
    yield from _first(found, limit)


def contents(task_name: str, split: str, *, start: int = 0, stop: int | None = None) -> Iterator[Content]:
    """Yields what the rows of a task's split say, free of templates and in the source's order; nothing is tokenised.

    Rows that cannot be read are passed over: `examples` tells of them.

    Args:
      task_name: a registered seqio task's name.
      split: "train", "validation", ...
      start: as in `examples`.
      stop: as in `examples`.

    Raises:
      UserError: no such task or split, or a source that fails.
    """
    task = registry.seqio_task(task_name)
    recipe = registry.recipe(task_name)
    if recipe is None:
        for example, _ in foreign.examples(task, split, Request({})):
            yield Content(example.id, example.id, example.inputs_text, example.targets_text)
        return
    rows = of_task(task_name, recipe.source.rows(split, "skip", None, start, stop))
    yield from row_contents.of_rows(task_name, rows, recipe.contents())


def _first(found: Iterator[Any], limit: int | None) -> Iterator[Any]:
    if limit == 0:
        return
    for number, one in enumerate(found, 1):
        yield one
        if number == limit:
            return


def _only(rows: Iterator[tuple[str, Any]], left: set[str]) -> Iterator[tuple[str, Any]]:
    for row_id, row in rows:
        if row_id in left:
            yield row_id, row
            left.remove(row_id)
            if not left:
                return


def describe(task_name: str, wording: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """What reports and evaluations must know of a task, fit for JSON.

    Args:
      task_name: a registered seqio task's name.
      wording: as in `examples`.

    Returns:
      The fields of `Description`, and "name", "ours", "vocabulary" (see `vocabularies.named`) and "wants", what the
      metrics are computed from: "predictions", "scores", "aux_values". Nothing is read for it.
    """
    task = registry.seqio_task(task_name)
    recipe = augmented(registry.recipe(task_name), wording or {})
    wants = measures.wanted(task)
    described = foreign.describe(task) if recipe is None else recipe.describe()
    vocabulary = task.output_features["targets"].vocabulary if recipe is None else recipe.vocabulary
    kind = "score" if wants == ["scores"] else described.eval_kind
    told = {**dataclasses.asdict(described), "wants": wants, "eval_kind": kind}
    return {"name": task_name, "ours": recipe is not None, "vocabulary": vocabularies.named(vocabulary), **told}


def prompt_facts(task_name: str) -> dict[str, Any]:
    """How a bare prompt is put to a model that the task trained; reads the vocabulary.

    Returns:
      "prompt_format": "{}" where the prompt goes; "prompt_eos": whether inputs end in end-of-sequence; "form": "chat"
      where a chat template writes the task, "roles" where a conversation is written by the names of its roles, "plain".
    """
    recipe = registry.recipe(task_name)
    if recipe is None:
        inputs = registry.seqio_task(task_name).output_features.get("inputs")
        return {"prompt_format": "{}", "prompt_eos": bool(inputs is not None and inputs.add_eos), "form": "plain"}
    # What a template has rendered ends as the template says.
    ends = recipe.add_eos_to_inputs and recipe.form != "chat"
    return {"prompt_format": recipe.prompt_format(), "prompt_eos": ends, "form": recipe.form}


def is_ours(task_name: str) -> bool:
    """Whether a task is one of this library's declarations, whose rows become examples one by one."""
    return registry.recipe(task_name) is not None


def only_sample(task_name: str) -> bool:
    """Whether a task's rows cannot be read without a download, so that only its corpus's sample is at hand."""
    recipe = registry.recipe(task_name)
    return recipe is not None and isinstance(recipe.source, CorpusSource) and not recipe.source.is_at_hand


def _read_from(recipe: Recipe | None) -> Source | None:
    """What a task's rows are read from, of a corpus what the run chose; None for a task of other code."""
    return None if recipe is None else getattr(recipe.source, "inner", recipe.source)


def needs_tensorflow(task_name: str) -> bool:
    """Whether reading a task's examples runs TensorFlow."""
    recipe = registry.recipe(task_name)
    source = _read_from(recipe)
    return isinstance(source, SeqioSource | None) or (isinstance(source, TfdsSource) and not source.reads_anywhere)


def splits(task_name: str) -> list[str]:
    """The splits that a task declares, or that its source has."""
    recipe = registry.recipe(task_name)
    return list(registry.seqio_task(task_name).splits if recipe is None else recipe.source.splits)


def num_rows(task_name: str, split: str) -> int | None:
    """Rows of one of our tasks' splits as its files have them; None where nobody has counted."""
    recipe = registry.recipe(task_name)
    source = _read_from(recipe)
    if isinstance(source, SeqioSource | GeneratorSource | None):  # which only declare a number
        return None
    return source.num_rows(split)


def told_rows(task_name: str, split: str) -> int | None:
    """Rows of one of our tasks' splits as its source says, also where that is only declared; None where it does not."""
    recipe = registry.recipe(task_name)
    return None if recipe is None else recipe.source.num_rows(split)


def source_files(task_name: str) -> list[str]:
    """The files that a task is read from, over all its splits; empty where they are not known."""
    task = registry.seqio_task(task_name)
    recipe = registry.recipe(task_name)
    return foreign.files(task) if recipe is None else all_files(recipe.source)


def fingerprint(task_name: str, wording: Mapping[str, Any] | None = None) -> str:
    """A hash of all that shapes a task's tokens besides lengths, seed and draw.

    It covers the source and the state of its files, the code of its functions, the templates' text and the vocabulary's
    content; not caps, clusters or metrics, which change no token.

    Args:
      task_name: a registered seqio task's name.
      wording: as in `examples`. Of a task that it does not change the hash stays as it is.
    """
    task = registry.seqio_task(task_name)
    recipe = augmented(registry.recipe(task_name), wording or {})
    if recipe is None:
        shape: Any = foreign.shaping(task)
        source: Any = task.source
    else:
        source = besides_files(recipe.source)
        shape = (recipe.shaping(), vocabularies.content_digest(vocabularies.load(recipe.vocabulary)))
    stamps = [fingerprints.stamp(path) for path in source_files(task_name)]
    return fingerprints.of((CODE_VERSION, shape, source, stamps))


def references(
    task_name: str,
    split: str,
    lengths: Mapping[str, int | None],
    *,
    seed: int = 0,
    draw: int = 0,
    on_long: OnLong = "truncate",
    on_bad_row: OnBadRow = "error",
    limit: int | None = None,
    each_template: bool = False,
) -> Iterator[tuple[Any, dict[str, Any]]]:
    """Yields what a task's metrics compare with, one for each example of `examples` called with the same arguments, in
    its order.

    Returns:
      (target, example) pairs: the postprocessed target, and a dict of what else is known of the example.
    """
    arguments: Any = dict(seed=seed, draw=draw, on_long=on_long, on_bad_row=on_bad_row)
    task = registry.seqio_task(task_name)
    if registry.recipe(task_name) is None:
        request = Request(dict(lengths), **arguments)
        yield from _first(foreign.references(task, split, request), limit)
        return
    how: Any = {**arguments, "limit": limit, "each_template": each_template}
    yield from map(reference, examples(task_name, split, lengths, **how))


def reference(example: Example) -> tuple[Any, dict[str, Any]]:
    """What `references` gives for an example of a task of ours; all of it fit for JSON."""
    known = {
        "id": example.id,
        "inputs_pretokenized": example.inputs_text,
        "targets_pretokenized": example.targets_text,
        "template": example.template,
        "answer": example.answer,
    }
    return example.metric_target, known


def score(
    task_name: str,
    split: str,
    predictions: list[str | None],
    lengths: Mapping[str, int | None],
    *,
    seed: int = 0,
    draw: int = 0,
    on_long: OnLong = "truncate",
    on_bad_row: OnBadRow = "error",
    limit: int | None = None,
) -> dict[str, float]:
    """Scores a task's predictions with its own postprocessor and metrics.

    Args:
      task_name: a registered seqio task's name.
      split: the split that was predicted.
      predictions: the model's text for each example of `examples` called with the same arguments; None stands for the
        right answer's own text.
      lengths: as given to `examples`.
      seed: as given to `examples`.
      draw: as given to `examples`.
      on_long: as given to `examples`.
      on_bad_row: as given to `examples`.
      limit: as given to `examples`.

    Returns:
      The metrics' figures by name.

    Raises:
      UserError: there are more or fewer predictions than examples, the task has no metric of predictions, or one of
        them failed.
    """
    how: Any = dict(seed=seed, draw=draw, on_long=on_long, on_bad_row=on_bad_row, limit=limit)
    if "predictions" not in measures.wanted(registry.seqio_task(task_name)):
        raise UserError(
            f"Task {task_name!r} has no metric of predictions; give it some by metrics= (metric_fns= in a seqio task)."
        )
    found = measured(task_name, split, Outputs(predictions), list(references(task_name, split, lengths, **how)))
    if found.failures:
        raise UserError(" ".join(found.failures))
    return {name: value for name, value in found.figures.items() if value is not None}


def measured(task_name: str, split: str, outputs: Outputs, found: Sequence[tuple[Any, Mapping[str, Any]]]) -> Measured:
    """Runs all metrics of a task on what a model gave; one that fails is told and the others stay.

    Args:
      task_name: a registered seqio task's name.
      split: the split that the model was asked about.
      outputs: what it gave for each example.
      found: what `references` gives for these examples.

    Raises:
      UserError: there are more or fewer outputs than examples.
    """
    given = outputs.scores if outputs.predictions is None else outputs.predictions
    if len(found) != len(given or ()):
        raise UserError(
            f"Task {task_name!r} has {len(found)} examples in {split!r} and {len(given or ())} predictions were given; "
            f"give one for each."
        )
    return measures.measure(registry.seqio_task(task_name), found, outputs)

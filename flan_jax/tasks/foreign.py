"""Examples of seqio tasks that other code registered, through their own preprocessors, postprocessors and metrics."""

import itertools
import os
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import numpy as np
import seqio
import tensorflow as tf

from flan_jax.errors import UserError, counted, nearest
from flan_jax.files import filesystem
from flan_jax.tasks import measures, registry
from flan_jax.tasks.drawing import RandomChoices
from flan_jax.tasks.recipe import Description, Example, Request
from flan_jax.tasks.sources import all_files, as_source
from flan_jax.tasks.user_functions import name_of, raised
from flan_jax.tasks.vocabularies import Tokenizer

_BATCH = 256
_TEXT = "targets_pretokenized"  # by seqio's custom, what the targets were before they were tokenised
_SEARCH_SECONDS = 20  # for which of the preprocessors failed
_VERSIONS: dict[str, str] = {}


def examples(task: seqio.Task, split: str, request: Request) -> Iterator[tuple[Example, dict[str, Any]]]:
    """Yields each example with all features that the task's preprocessors gave it.

    Ids longer than the lengths are cut at the end, or handled as `on_long` says; an end-of-sequence that a feature
    wants stays.

    Raises:
      UserError: no such split, no "targets", or an example that is refused.
    """
    decoders = {name: Tokenizer(feature.vocabulary) for name, feature in task.output_features.items()}
    rows = _told(task, split, request, lambda: _dataset(task, split, request).as_numpy_iterator())
    for number, features in enumerate(rows):
        # A feature that the task does not put out may still lie there as text.
        inputs = _ids(features, "inputs") if "inputs" in decoders else np.zeros(0, np.int32)
        example = _example(task, f"{split}:{number}", inputs, _ids(features, "targets"), request)
        if example is not None:
            example.inputs_text = _text(features, "inputs", decoders, example.inputs)
            example.targets_text = _text(features, "targets", decoders, example.targets)
            example.references = (example.targets_text,)
            if isinstance(features.get(_TEXT), bytes):
                example.learnt = (example.targets_text,)
            yield example, features


def without_text(task: seqio.Task, split: str, request: Request) -> Iterator[Example]:
    """Yields the same examples with ids and what is learnt alone, which come out of TensorFlow many at a time."""
    (dataset,) = _told(task, split, request, lambda: [_dataset(task, split, request)])
    names = [name for name in ("inputs", "targets") if name in task.output_features and name in dataset.element_spec]
    in_lots = all(
        isinstance(spec, tf.TensorSpec) and spec.shape.rank is not None for spec in dataset.element_spec.values()
    )
    if not in_lots or "targets" not in names or any(not _is_ids(dataset.element_spec[name]) for name in names):
        yield from (example for example, _ in examples(task, split, request))  # which says what is wrong
        return
    told = _TEXT in dataset.element_spec and _is_text(dataset.element_spec[_TEXT])
    number = 0
    for batch in _told(task, split, request, lambda: dataset.ragged_batch(_BATCH)):
        rows = {name: _rows(batch[name]) for name in names}
        nothing = [np.zeros(0, np.int32)] * len(rows["targets"])
        texts = batch[_TEXT].numpy() if told else itertools.repeat(None, len(nothing))
        for inputs, targets, text in zip(rows.get("inputs", nothing), rows["targets"], texts, strict=True):
            example = _example(task, f"{split}:{number}", inputs, targets, request)
            number += 1
            if example is not None:
                example.learnt = None if text is None else (text.decode("utf-8", errors="replace"),)
                yield example


def _is_ids(spec: tf.TensorSpec) -> bool:
    return spec.shape.rank == 1 and spec.dtype.is_integer


def _is_text(spec: tf.TensorSpec) -> bool:
    return spec.shape.rank == 0 and spec.dtype == tf.string


def _rows(batch: tf.Tensor | tf.RaggedTensor) -> list[np.ndarray]:
    if isinstance(batch, tf.RaggedTensor):
        return np.split(batch.values.numpy().astype(np.int32), batch.row_splits.numpy()[1:-1])
    return list(batch.numpy().astype(np.int32))


def _example(
    task: seqio.Task, example_id: str, inputs: np.ndarray, targets: np.ndarray, request: Request
) -> Example | None:
    """An example cut to length, and counted; None where it is left out."""
    tally = request.tally
    tally.read += 1
    example = Example(example_id, inputs, targets, objective="seqio")
    if not np.any(targets != task.output_features["targets"].vocabulary.eos_id):
        tally.dropped += 1
        return None
    if not _shorten(task, example, request):
        return None
    tally.kept += 1
    return example


def _dataset(task: seqio.Task, split: str, request: Request) -> tf.data.Dataset:
    if split not in task.splits:
        raise UserError(
            f"Task {task.name!r} has no split {split!r} (it has {', '.join(task.splits)}){nearest(split, task.splits)}."
        )
    if "targets" not in task.output_features:
        raise UserError(f"Task {task.name!r} has the features {', '.join(task.output_features)}; 'targets' is wanted.")
    lengths = {name: request.lengths[name] for name in task.output_features if request.lengths.get(name) is not None}
    # One seed for each draw; a seqio seed is a 32-bit integer.
    seed = RandomChoices(request.seed, task.name, request.draw).pick("", "seqio seed", 2**31)
    # All is prepared here, which is a cache of its own: one of seqio's is read where there is one.
    if task.requires_caching and task.cache_dir:
        return task.get_dataset(
            sequence_length=lengths or None,
            split=split,
            use_cached=True,
            shuffle=False,
            seed=seed,
            num_epochs=1,
            trim_output_features=False,
        )
    # What get_dataset does without shuffling, but that some sources refuse a seed, which only shuffling needs.
    rows = task.source.get_dataset(split=split, shuffle=False)
    return task.preprocess_postcache(
        task.preprocess_precache(rows, seed=seed), sequence_length=lengths or None, seed=seed
    )


def _told(task: seqio.Task, split: str, request: Request, read: Callable[[], Iterable[Any]]) -> Iterator[Any]:
    """What `read()` gives; an error of the task's own source or preprocessors is told in a sentence.

    Raises:
      UserError: names the task, what of it failed, and where.
    """
    try:
        yield from read()
    except UserError:
        raise
    except Exception as error:
        raise UserError(f"Task {task.name!r}, split {split!r}: {_failed(task, split, request, error)}.") from error


def _failed(task: seqio.Task, split: str, request: Request, error: Exception) -> str:
    """Which of a task's preprocessors raised: the last of the fewest that together raise.

    A tf.data pipeline does not say it, so it is run again with none of them, with the first, the first two, …
    """
    until, cached = time.monotonic() + _SEARCH_SECONDS, task.requires_caching and task.cache_dir
    for number in range(0 if cached else len(task.preprocessors) + 1):
        fewer = seqio.Task(
            task.name,
            source=task.source,
            output_features=task.output_features,
            preprocessors=task.preprocessors[:number],
            shuffle_buffer_size=None,
        )
        try:
            for _ in _dataset(fewer, split, request):
                if time.monotonic() > until:
                    return f"its source or a preprocessor failed with {raised(error)}"
        except Exception as found:
            if not number:
                return f"its source failed with {raised(found)}"
            function = task.preprocessors[number - 1]
            return f"its preprocessor {name_of(function)!r} failed with {raised(found, function)}"
    return f"its source or a preprocessor failed with {raised(error)}"


def _ids(features: Mapping[str, Any], name: str) -> np.ndarray:
    ids = np.asarray(features.get(name, ()), np.int32)
    if ids.ndim != 1:
        raise UserError(f"The feature {name!r} has {ids.ndim} dimensions; a sequence of token ids is wanted.")
    return ids


def _shorten(task: seqio.Task, example: Example, request: Request) -> bool:
    """Cuts what is too long and counts it; says whether the example stays."""
    for name in ("inputs", "targets"):
        ids, length = getattr(example, name), request.lengths.get(name)
        if length is None or len(ids) <= length:
            continue
        if request.on_long == "refuse":
            raise UserError(
                f"Task {task.name!r}, example {example.id!r}: its {name} have {counted(len(ids), 'token')} and at "
                f"most {length} are wanted; raise the feature length, or set on_long to 'truncate' or 'drop'."
            )
        if request.on_long == "drop":
            request.tally.too_long += 1
            return False
        feature = task.output_features[name]
        ends = feature.add_eos and ids[-1] == feature.vocabulary.eos_id
        setattr(example, name, np.concatenate([ids[: length - 1], ids[-1:]]) if ends else ids[:length])
        example.cut_tokens += len(ids) - length
    if example.cut_tokens:
        request.tally.truncated += 1
        request.tally.cut_tokens += example.cut_tokens
    return True


def _text(features: Mapping[str, Any], name: str, decoders: Mapping[str, Tokenizer], ids: np.ndarray) -> str:
    given = features.get(f"{name}_pretokenized")
    if isinstance(given, bytes):
        return given.decode("utf-8", errors="replace")
    return decoders[name].decode(ids) if name in decoders and len(ids) else ""


def references(task: seqio.Task, split: str, request: Request) -> Iterator[tuple[Any, dict[str, Any]]]:
    """Yields the postprocessed target of each example, and its features."""
    for example, features in examples(task, split, request):
        features["targets"] = example.targets  # cut to length, as seqio's evaluator has them
        yield task.postprocess_fn(example.targets_text, example=features, is_target=True), features


def describe(task: seqio.Task) -> Description:
    """What is known of the task; whether it is random its preprocessors do not say."""
    names = measures.names(task)
    kind = "generate" if names else "loss"
    return Description(task.name, "seqio", kind, metrics=names, version=_VERSIONS.get(task.name, ""))


def set_version(task_name: str, version: str) -> None:
    """Gives a task of other code a version of your own, for changes that its functions do not show.

    A task is prepared anew when its functions, what they hold and call, or the packages they use change. Say here what
    else changed: data behind an address, a file that a preprocessor reads, a program that it calls.

    Args:
      task_name: a registered seqio task that this package did not declare.
      version: any text; another one prepares the task anew.

    Raises:
      UserError: no such task, or one declared here, which takes its version where it is declared.
    """
    registry.seqio_task(task_name)
    if registry.recipe(task_name) is not None:
        raise UserError(f"Task {task_name!r} is declared with flan_jax; give its declaration version={version!r}.")
    _VERSIONS[task_name] = version


def shaping(task: seqio.Task) -> Any:
    """All that shapes the task's tokens besides its source; hashed into its fingerprint."""
    features = {
        name: (feature.add_eos, feature.required, str(feature.dtype), feature.rank, feature.vocabulary)
        for name, feature in task.output_features.items()
    }
    return (task.name, list(task.preprocessors), features, _VERSIONS.get(task.name, ""))


def files(task: seqio.Task) -> list[str]:
    """The files that the task is read from: its source's, or, where it asks for that, those that seqio cached of it."""
    if task.requires_caching and task.cache_dir:
        return filesystem.matching(os.path.join(task.cache_dir, "*"))
    return all_files(as_source(task.source))

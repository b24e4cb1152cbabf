"""The one vocabulary of a mixture: a model has one table of embeddings, so an id must mean the same in all that is
mixed, in inputs as in targets."""

import dataclasses
from collections.abc import Iterator, Sequence
from typing import Any

import seqio

from flan_jax.errors import UserError
from flan_jax.tasks import registry, run_form, vocabularies

_MOST_NAMED = 3  # tasks that an error names of each vocabulary


@dataclasses.dataclass
class _Use:
    """A vocabulary, and the features and tasks that are read with it."""

    vocabulary: seqio.Vocabulary
    features: dict[str, None] = dataclasses.field(default_factory=dict)
    tasks: dict[str, None] = dataclasses.field(default_factory=dict)


def shared(task_names: Sequence[str], mixture: str) -> tuple[dict[str, Any], list[str]]:
    """The vocabulary that tasks share.

    They are compared by content: a copy of a model at another path is the same vocabulary.

    Args:
      task_names: registered seqio tasks.
      mixture: what they are members of, for errors.

    Returns:
      What `vocabularies.describe` says of the first task's, and the files that make those of all tasks.

    Raises:
      UserError: the tasks have different vocabularies, or a model file is missing.
    """
    uses: dict[str, _Use] = {}
    digests: dict[int, tuple[seqio.Vocabulary, str]] = {}  # tasks mostly share one object; held, so that ids stay
    files: set[str] = set()
    for name in task_names:
        if (recipe := registry.recipe(name)) is not None:
            run_form.check_said(name, recipe.declaration.vocabulary)
        for feature, vocabulary in _vocabularies(registry.seqio_task(name)):
            if id(vocabulary) not in digests:
                digests[id(vocabulary)] = vocabulary, vocabularies.content_digest(vocabulary)
                files.update(vocabularies.files(vocabularies.named(vocabulary)))
            use = uses.setdefault(digests[id(vocabulary)][1], _Use(vocabulary))
            use.features[feature] = use.tasks[name] = None
    if len(uses) > 1:
        said = [f"{_read_with(use)} the {_described(use.vocabulary)}" for use in uses.values()]
        raise UserError(
            f"a model has one vocabulary, and {mixture!r} has {len(uses)}: {'; '.join(said)}. Give all of them the "
            f"same vocabulary, for inputs and targets alike, or train them in runs of their own"
        )
    (use,) = uses.values()
    return vocabularies.describe(use.vocabulary), sorted(files)


def _vocabularies(task: seqio.Task) -> Iterator[tuple[str, seqio.Vocabulary]]:
    """The features of a task that a model reads, each with its vocabulary."""
    features = task.output_features
    if "targets" not in features:
        raise UserError(f"Task {task.name!r} has the features {', '.join(features)}; 'targets' is wanted.")
    targets = features["targets"].vocabulary
    yield "targets", targets
    inputs = features["inputs"].vocabulary if "inputs" in features else targets
    # It stands for ids that were made elsewhere, by the vocabulary of the targets if they are among its ids.
    passed_through = isinstance(inputs, seqio.PassThroughVocabulary) and inputs.vocab_size <= targets.vocab_size
    if "inputs" in features and not passed_through:
        yield "inputs", inputs


def _read_with(use: _Use) -> str:
    features = " and ".join(sorted(use.features))
    named = [repr(name) for name in list(use.tasks)[:_MOST_NAMED]]
    if more := len(use.tasks) - len(named):
        named.append(f"{more} more")
    tasks = " and ".join([", ".join(named[:-1]), named[-1]]) if len(named) > 1 else named[0]
    return f"{features} of {tasks} have"


def _described(vocabulary: seqio.Vocabulary) -> str:
    known = vocabularies.describe(vocabulary)
    place = f" {known['path']}" if known["path"] else ""
    extra = f", {known['extra_ids']} of them extra ids" if known["extra_ids"] else ""
    return f"{known['kind']} vocabulary{place} of {known['size']} ids{extra} (content {known['fingerprint'][:8]})"

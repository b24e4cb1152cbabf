"""The text of a task's examples before any vocabulary: what a vocabulary is learnt from."""

import itertools
from collections.abc import Iterator

from flan_jax.tasks import registry
from flan_jax.tasks.examples import examples
from flan_jax.tasks.tally import OnBadRow


def texts(task_name: str, split: str, limit: int | None = None, on_bad_row: OnBadRow = "error") -> Iterator[str]:
    """Yields prompts and answers as they are rendered, or the passages of plain-text tasks.

    The task's own vocabulary is not needed, so it may be the very one that is to be learnt. A task of other code
    tokenises by itself, and its vocabulary must be there.

    Args:
      task_name: a registered seqio task's name.
      split: "train", "validation", ...
      limit: stop after so many examples.
      on_bad_row: "error" raises at a row that cannot be used, "skip" leaves it out.

    Raises:
      UserError: no such task or split, or a bad row.
    """
    recipe = registry.recipe(task_name)
    if recipe is not None:
        found = recipe.texts(split, on_bad_row)
    else:
        theirs = examples(task_name, split, {}, on_bad_row=on_bad_row)
        found = ((example.inputs_text, example.targets_text) for example in theirs)
    for example_texts in itertools.islice(found, limit):
        yield from (text for text in example_texts if text)

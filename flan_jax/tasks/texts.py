"""The text of a task's examples before any vocabulary: what a vocabulary is learnt from."""

import dataclasses
from collections.abc import Iterator

import seqio

from flan_jax.tasks import registry
from flan_jax.tasks.examples import examples
from flan_jax.tasks.objectives import TextRecipe
from flan_jax.tasks.recipe import Request
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
    """
    recipe = registry.recipe(task_name)
    if recipe is None:
        found = examples(task_name, split, {}, limit=limit, on_bad_row=on_bad_row)
    elif isinstance(recipe, TextRecipe):
        for number, (_, row) in enumerate(recipe.source.rows(split, on_bad_row)):
            if number == limit:
                return
            yield str(row["text"])
        return
    else:
        # Bytes encode any text without a file.
        declaration = dataclasses.replace(recipe.declaration, vocabulary=seqio.ByteVocabulary())
        rendered = dataclasses.replace(recipe, declaration=declaration)  # type: ignore[type-var]
        request = Request({}, on_bad_row=on_bad_row)
        found = rendered.encoder(split, request)(recipe.source.rows(split, on_bad_row, request.tally))
    for number, example in enumerate(found):
        if number == limit:
            return
        yield example.inputs_text
        yield example.targets_text

"""Plain text, as models are pretrained on it: files of text, or rows with a text as C4 has them."""

import functools
import os
from collections.abc import Callable
from typing import Any, Literal

from flan_jax.errors import UserError, nearest
from flan_jax.tasks.causal_lm import CausalLanguageModel
from flan_jax.tasks.denoisers import MixtureOfDenoisers
from flan_jax.tasks.formats import openings
from flan_jax.tasks.formats.places import Place, source_at
from flan_jax.tasks.prefix_lm import PrefixLanguageModel
from flan_jax.tasks.span_corruption import SpanCorruption
from flan_jax.tasks.vocabularies import VocabularyLike

TextTask = SpanCorruption | PrefixLanguageModel | CausalLanguageModel | MixtureOfDenoisers


#: What a text may be trained on, each as its paper has it, by the objective's name. Inputs end as those of the model do
#: that the vocabulary comes with, so that T5's end in end-of-sequence.
OBJECTIVES: dict[str, Callable[..., TextTask]] = {
    "prefix_lm": functools.partial(PrefixLanguageModel, split="uniform", add_eos_to_inputs=None),
    "causal_lm": CausalLanguageModel,
    "span_corruption": functools.partial(SpanCorruption, add_eos_to_inputs=None),
    "mixture_of_denoisers": MixtureOfDenoisers,
}


def plain_text(
    place: Place,
    name: str,
    *,
    objective: Literal["prefix_lm", "causal_lm", "span_corruption", "mixture_of_denoisers"] = "prefix_lm",
    field: str = "text",
    unit: Literal["paragraph", "line", "file"] = "paragraph",
    validation_rows: int | None = 0,
    on_bad_row: str | None = None,
    vocabulary: VocabularyLike | None = None,
    cap: int | None = None,
) -> TextTask:
    """Declares a task of plain text; call `register()` on it to use it.

    Args:
      place: see `flan_jax.tasks.formats.places.Place`; beside the formats of rows also files of text, named .txt.
      name: the task's name.
      objective: "prefix_lm" shows the beginning of a text and asks for the rest, which every model and vocabulary can
        train; "causal_lm" asks for all of it (decoders only); "span_corruption" is T5's and "mixture_of_denoisers"
        UL2's, for vocabularies with sentinels. Their own settings are those of the declarations (`SpanCorruption`, …).
      field: the column that holds the text.
      unit: what of a file of text is a text of its own: a "paragraph" (parted by blank lines), a "line", or the "file".
      validation_rows: how many of the first rows become the validation split; None: a tenth of them, at most 50.
      on_bad_row: "error" or "skip"; None leaves it to who reads.
      vocabulary: as in `InstructionTask`.
      cap: as in `InstructionTask`.

    Raises:
      UserError: there is no such file, objective or unit.
    """
    if objective not in OBJECTIVES:
        raise UserError(
            f"plain_text({name!r}): objective={objective!r}; it is one of {', '.join(OBJECTIVES)}"
            f"{nearest(objective, OBJECTIVES)}."
        )
    if isinstance(place, str | os.PathLike) and openings.is_text(os.fspath(place)):
        source: Any = openings.source_of(os.fspath(place), validation_rows, on_bad_row, unit)
    else:
        source = source_at(place, validation_rows, on_bad_row)
    return OBJECTIVES[objective](name, source, field=field, vocabulary=vocabulary, cap=cap)


def declared(source: Any, name: str, columns: tuple[str, ...], **shared: Any) -> TextTask:
    """See `flan_jax.tasks.formats.files`."""
    return OBJECTIVES["prefix_lm"](name, source, field=columns[0], **shared)

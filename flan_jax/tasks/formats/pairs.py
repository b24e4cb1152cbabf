"""Ready-made prompts and their completions, as P3 has them; or any two columns."""

import dataclasses
from typing import Any

from flan_jax.tasks.formats.cells import END_MARK, text_in
from flan_jax.tasks.formats.places import Place, source_at
from flan_jax.tasks.instruction import InstructionTask
from flan_jax.tasks.sources import Row
from flan_jax.tasks.templates import Template
from flan_jax.tasks.vocabularies import VocabularyLike


@dataclasses.dataclass(frozen=True)
class Pair:
    """Takes a prompt and its completion from two columns.

    Attributes:
      inputs: the prompt's column.
      targets: the completion's column.
      strip_suffix: a mark taken off the completion's end.
    """

    inputs: str
    targets: str
    strip_suffix: str = END_MARK

    def __call__(self, row: Row) -> Row:
        """Fields "inputs" and "targets" of a row.

        >>> Pair("prompt", "completion")({"prompt": "2 + 2 =", "completion": " 4<|endoftext|>"})
        {'inputs': '2 + 2 =', 'targets': '4'}
        """
        return {
            "inputs": text_in(row, self.inputs).strip(),
            "targets": text_in(row, self.targets).strip().removesuffix(self.strip_suffix).strip(),
        }


def pairs(
    place: Place,
    name: str,
    *,
    inputs: str = "prompt",
    targets: str = "completion",
    validation_rows: int | None = 0,
    on_bad_row: str | None = None,
    vocabulary: VocabularyLike | None = None,
    cap: int | None = None,
) -> InstructionTask:
    """Declares a task of two columns, the prompt and what is to be answered; call `register()` on it to use it.

    Args:
      place: see `flan_jax.tasks.formats.places.Place`.
      name: the task's name.
      inputs: the prompt's column.
      targets: the answer's column.
      validation_rows: how many of the first rows become the validation split; None: a tenth of them, at most 50.
      on_bad_row: "error" or "skip"; None leaves it to who reads.
      vocabulary: as in `InstructionTask`.
      cap: as in `InstructionTask`.
    """
    source = source_at(place, validation_rows, on_bad_row)
    return declared(source, name, (inputs, targets), vocabulary=vocabulary, cap=cap)


def declared(source: Any, name: str, columns: tuple[str, ...], **shared: Any) -> InstructionTask:
    """See `flan_jax.tasks.formats.files`."""
    # A prompt that comes as one text may have its instruction at either end.
    how: Any = {"preprocess": Pair(*columns), "trim_from": "middle", **shared}
    return InstructionTask(name, source, templates=(Template("{inputs}", "{targets}"),), answer="targets", **how)

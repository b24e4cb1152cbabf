"""Alpaca's rows and those of what descends from it: an instruction, its input, where there is one, and its output."""

import dataclasses
from typing import Any

from flan_jax.tasks.formats.cells import END_MARK, input_in, text_in
from flan_jax.tasks.formats.places import Place, source_at
from flan_jax.tasks.instruction import InstructionTask
from flan_jax.tasks.sources import Row
from flan_jax.tasks.templates import Template
from flan_jax.tasks.vocabularies import VocabularyLike

_NO_OUTPUT = {"<nooutput>"}


@dataclasses.dataclass(frozen=True)
class Alpaca:
    """Takes an instruction, its input, where there is one, and its output."""

    def __call__(self, row: Row) -> Row:
        """Fields "instruction", "gap", "input" and "output" of a row.

        >>> Alpaca()({"instruction": "Greet.", "input": "Noinput", "output": "Hello"})
        {'instruction': 'Greet.', 'gap': '', 'input': '', 'output': 'Hello'}
        """
        given = input_in(row, "input")
        output = text_in(row, "output").strip().removesuffix(END_MARK).strip()
        return {
            "instruction": text_in(row, "instruction").strip(),
            "gap": "\n\n" if given else "",
            "input": given,
            "output": "" if output.lower() in _NO_OUTPUT else output,
        }


def alpaca(
    place: Place,
    name: str,
    *,
    validation_rows: int | None = 0,
    on_bad_row: str | None = None,
    vocabulary: VocabularyLike | None = None,
    cap: int | None = None,
) -> InstructionTask:
    """Declares a task of Alpaca's rows; call `register()` on it to use it.

    Args:
      place: see `flan_jax.tasks.formats.places.Place`.
      name: the task's name.
      validation_rows: how many of the first rows become the validation split; None: a tenth of them, at most 50.
      on_bad_row: "error" or "skip"; None leaves it to who reads.
      vocabulary: as in `InstructionTask`.
      cap: as in `InstructionTask`.
    """
    return declared(source_at(place, validation_rows, on_bad_row), name, (), vocabulary=vocabulary, cap=cap)


def declared(source: Any, name: str, columns: tuple[str, ...], **shared: Any) -> InstructionTask:
    """See `flan_jax.tasks.formats.files`."""
    # Only the input may be cut; the instruction is never.
    how: Any = {"preprocess": Alpaca(), "trim_field": "input", **shared}
    template = Template("{instruction}{gap}{input}", "{output}")
    return InstructionTask(name, source, templates=(template,), answer="output", **how)

"""What a row says, free of any template: what duplicates and leaks are looked for in.

    row        {"text": "Dull.", "label": 0}                    of a task of reviews, however it is worded
    content    prompt "Dull."   answer "negative"

The prompt is the texts of all fields that the declaration's templates name, the answer what is to be given. So a row is
the same under two templates, with exemplars before it, and in two tasks. Only where the answer is shown and a field is
asked for are the two exchanged. Nothing is tokenised.

Where rows bring their instruction along (Super-Natural Instructions), it is told apart: rows are not the same under
another one, and not alike for having the same.
"""

import dataclasses
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from flan_jax.errors import UserError
from flan_jax.tasks.conversations import conversation_of, made_of
from flan_jax.tasks.example_ids import numbered
from flan_jax.tasks.recipe import Read
from flan_jax.tasks.rendering import answer_index, choices_of, references_of
from flan_jax.tasks.sources import Row
from flan_jax.tasks.tally import BadRow
from flan_jax.tasks.templates import OPTIONS, Template, text_of
from flan_jax.tasks.user_functions import BrokenFunction, preprocessed


@dataclasses.dataclass(frozen=True, slots=True)
class Content:
    """What a row says, or one of the several things that are made of it.

    Attributes:
      id: its own; examples have it, or one that goes on from it after "#".
      row: the id of the row.
      prompt: what is given, a line a field or turn.
      answer: what is to be answered; all right answers where there are several.
      instruction: what is asked for, where the row says it.
    """

    id: str
    row: str
    prompt: str
    answer: str
    instruction: str = ""


def of_rows(task: str, rows: Iterable[tuple[str, Row]], read: Read) -> Iterator[Content]:
    """What rows say; those that cannot be read, or are left out, are passed over: preparing tells of them.

    Args:
      task: the task's name, for errors.
      rows: ids and rows.
      read: gives prompt, answer and instruction of all that is made of a row; raises `BadRow`.

    Raises:
      UserError: a function of the user's fails whatever the row.
    """
    for row_id, row in rows:
        try:
            found = read(row)
        except (BadRow, KeyError, ValueError, TypeError, AttributeError):
            continue
        except BrokenFunction as fault:
            raise UserError(f"Task {task!r}, row {row_id!r}: {fault}.") from fault.__cause__
        for content_id, said in numbered(row_id, found):
            yield Content(content_id, row_id, *said)


def of_instructions(declaration: Any, templates: Iterable[Template], exchanged: bool) -> Read:
    """Reads rows of an `InstructionTask`.

    Args:
      declaration: the task.
      templates: all that word its rows, in any of its variants.
      exchanged: whether the answer is shown and the fields are asked for.
    """
    answer = declaration.answer
    named = dict.fromkeys(field for template in templates for field in template.fields)
    fields = [field for field in named if field not in ("answer", answer, OPTIONS, declaration.worked)]
    asking = [field for field in fields if field != declaration.trim_field] if declaration.worked else []
    fields = [field for field in fields if field not in asking]

    def read(row: Row) -> list[tuple[str, str, str]]:
        found = row if declaration.preprocess is None else preprocessed(declaration.preprocess, dict(row))
        every = found if isinstance(found, list | tuple) else [] if found is None else [found]
        return [said(_first_wording(one, declaration.wordings)) for one in every]

    def said(found: Row) -> tuple[str, str, str]:
        texts = [text_of(found.get(field)) or "" for field in fields]
        if declaration.options is None:
            right = "\n".join(references_of(answer, found)) if answer in found else ""
        else:
            choices = choices_of(declaration.options, found)
            right = choices[answer_index(answer, found, choices)]
            if not isinstance(declaration.options, tuple):  # rows may differ in nothing but what is to be chosen from
                texts += choices
        prompt = "\n".join(text for text in texts if text)
        instruction = "\n".join(text_of(found.get(field)) or "" for field in asking)
        return (right, prompt, instruction) if exchanged else (prompt, right, instruction)

    return read


def _first_wording(found: Row, name: str | None) -> Row:
    """A row's fields in the first of its wordings; see `InstructionTask.wordings`."""
    known = found.get(name) if name is not None else None
    if not isinstance(known, list | tuple) or not known:
        return found
    return {**found, **known[0]} if isinstance(known[0], Mapping) else {**found, str(name): known[0]}


def of_conversations(declaration: Any) -> Read:
    """Reads rows of a `ChatTask`: the turns before the first answer, and the rest.

    A system prompt, which many rows share as they would a template, counts only where no user speaks.
    """

    def read(row: Row) -> list[tuple[str, str, str]]:
        rows = [row] if declaration.preprocess is None else made_of(declaration.preprocess, row)
        return [found for one in rows if (found := said(one)) is not None]

    def said(row: Row) -> tuple[str, str, str] | None:
        turns = conversation_of(declaration, row)
        if not turns:
            return None
        if any(turn.role == "user" for turn in turns):
            turns = [turn for turn in turns if turn.role != "system"]
        first = next(number for number, turn in enumerate(turns) if turn.role == "assistant")
        texts = [turn.text for turn in turns]
        return "\n".join(texts[:first]), "\n".join(texts[first:]), ""

    return read


def of_texts(field: str) -> Read:
    """Reads rows of plain text: all of it is what is given."""

    def read(row: Row) -> list[tuple[str, str, str]]:
        text = text_of(row.get(field))
        return [] if text is None else [(text, "", "")]

    return read

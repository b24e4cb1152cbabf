"""Alpaca's rows and those of what descends from it: an instruction, its input, where there is one, and its output.

    alpaca("alpaca_data.json", "alpaca")
    alpaca("dolly.jsonl", "dolly", layout="sections")
    alpaca("open_orca.parquet", "orca", as_chat=True)

Columns are found by the names that data sets give them: Alpaca, its GPT-4 and Chinese copies, Code Alpaca and WizardLM
("instruction", "input", "output"), Dolly ("instruction", "context", "response"), OpenOrca ("system_prompt", "question",
"response"), and LLaMA-Factory's additions ("system", and "history" of earlier exchanges).
"""

import dataclasses
from collections.abc import Sequence
from typing import Any

from flan_jax.errors import UserError, nearest
from flan_jax.tasks.chats import ChatTask
from flan_jax.tasks.formats.cells import answers_in, input_in, is_nothing, text_in
from flan_jax.tasks.formats.places import Place, source_at
from flan_jax.tasks.instruction import InstructionTask
from flan_jax.tasks.sources import Row
from flan_jax.tasks.tally import BadRow
from flan_jax.tasks.templates import Template
from flan_jax.tasks.vocabularies import VocabularyLike

INSTRUCTIONS, INPUTS, OUTPUTS = ("instruction", "question"), ("input", "context"), ("output", "response")
SYSTEMS, HISTORY = ("system", "system_prompt"), "history"
#: How a row is put: as it stands, or under titles.
LAYOUTS: dict[str, tuple[Template, ...]] = {
    "plain": (Template("{system}{instruction}{gap}{input}", "{output}"),),
    "sections": (
        Template(
            "{system}== Task ==\n{instruction}\n\n== Given ==\n{input}\n\n== Reply ==\n", "{output}", given="input"
        ),
        Template("{system}== Task ==\n{instruction}\n\n== Reply ==\n", "{output}", lacking="input"),
    ),
}


@dataclasses.dataclass(frozen=True)
class Alpaca:
    """Takes an instruction, its input, where there is one, and its output."""

    def __call__(self, row: Row) -> Row:
        """Fields "system", "instruction", "gap", "input" and "output" of a row.

        >>> Alpaca()({"instruction": "Greet.", "input": "Noinput", "output": "Hello"})
        {'system': '', 'instruction': 'Greet.', 'gap': '', 'input': '', 'output': 'Hello'}
        """
        if earlier := _history(row):
            said = (
                f"the column 'history' has {len(earlier)} earlier exchanges, which a prompt and an answer cannot hold"
            )
            raise BadRow(f"{said}; alpaca(as_chat=True) makes a conversation of them")
        system, given = input_in(row, _named(row, SYSTEMS)), input_in(row, _named(row, INPUTS))
        return {
            "system": f"{system}\n\n" if system else "",
            "instruction": _instruction(row),
            "gap": "\n\n" if given else "",
            "input": given,
            "output": answers_in(row, _named(row, OUTPUTS)),
        }


@dataclasses.dataclass(frozen=True)
class AlpacaChat:
    """Makes a conversation of a row: its system prompt, the exchanges before it, its instruction and its output."""

    def __call__(self, row: Row) -> Row:
        """A row of "messages".

        >>> row = {"instruction": "And 3?", "output": "9", "history": [["Square of 2?", "4"]], "system": ""}
        >>> [message["content"] for message in AlpacaChat()(row)["messages"]]
        ['Square of 2?', '4', 'And 3?', '9']
        """
        system, given = input_in(row, _named(row, SYSTEMS)), input_in(row, _named(row, INPUTS))
        turns = [("system", system)] if system else []
        for asked, answered in _history(row):
            turns += [("user", asked), ("assistant", answered)]
        answer = answers_in(row, _named(row, OUTPUTS))
        turns.append(("user", _instruction(row) + (f"\n\n{given}" if given else "")))
        turns.append(("assistant", answer if isinstance(answer, str) else answer[0]))
        if not turns[-1][1]:  # nor are the earlier answers what the row is about
            turns = turns[:1]
        return {"messages": [{"role": role, "content": content} for role, content in turns]}


def _named(row: Row, names: Sequence[str]) -> str:
    """The first of some names that a row has."""
    return next((name for name in names if name in row), names[0])


def _instruction(row: Row) -> str:
    column = _named(row, INSTRUCTIONS)
    if not (text := text_in(row, column).strip()):
        raise BadRow(f"the column {column!r} is empty; text is wanted")
    return text


def _history(row: Row) -> list[tuple[str, str]]:
    """The exchanges before a row's own, as LLaMA-Factory has them."""
    value = row.get(HISTORY)
    if is_nothing(value):
        return []
    if not isinstance(value, list):
        raise BadRow(f"the column 'history' is {value!r}; a list of [question, answer] is wanted")
    found = []
    for pair in value:
        if (
            not isinstance(pair, list)
            or len(pair) != 2
            or not all(isinstance(one, str) and one.strip() for one in pair)
        ):
            raise BadRow(f"the column 'history' holds {pair!r}; [question, answer] is wanted, neither empty")
        found.append((pair[0].strip(), pair[1].strip()))
    return found


def alpaca(
    place: Place,
    name: str,
    *,
    layout: str | Sequence[Template] = "plain",
    as_chat: bool = False,
    validation_rows: int | None = 0,
    on_bad_row: str | None = None,
    vocabulary: VocabularyLike | None = None,
    cap: int | None = None,
) -> InstructionTask | ChatTask:
    """Declares a task of Alpaca's rows; call `register()` on it to use it.

    Args:
      place: see `flan_jax.tasks.formats.places.Place`.
      name: the task's name.
      layout: "plain" puts the input after the instruction, a blank line between them; "sections" titles them; or
        templates of yours, which name the fields system, instruction, input and output ("given" and "lacking" tell
        those for rows with an input from the others).
      as_chat: whether a row becomes a conversation: its system prompt a message of its own, and the exchanges of its
        history before it, whose answers are learnt too. Else a system prompt stands before the instruction.
      validation_rows: how many of the first rows become the validation split; None: a tenth of them, at most 50.
      on_bad_row: "error" or "skip"; None leaves it to who reads.
      vocabulary: as in `InstructionTask`.
      cap: as in `InstructionTask`.

    Raises:
      UserError: there is no such layout, or one beside `as_chat`, whose form the chat template says.
    """
    templates = LAYOUTS.get(layout) if isinstance(layout, str) else tuple(layout)
    if templates is None:
        raise UserError(
            f"layout={layout!r}; it is {' or '.join(LAYOUTS)}{nearest(str(layout), LAYOUTS)}, or templates of yours."
        )
    if as_chat and layout != "plain":
        raise UserError("as_chat=True writes rows as conversations, by the chat template; leave layout out.")
    source = source_at(place, validation_rows, on_bad_row)
    if as_chat:
        return declared(source, name, (HISTORY,), vocabulary=vocabulary, cap=cap)
    return declared(source, name, (), vocabulary=vocabulary, cap=cap, templates=templates)


def declared(source: Any, name: str, columns: tuple[str, ...], **shared: Any) -> InstructionTask | ChatTask:
    """See `flan_jax.tasks.formats.files`; any columns named are those for which rows must be conversations."""
    if columns:
        return ChatTask(name, source, preprocess=AlpacaChat(), **shared)
    how: Any = {"templates": LAYOUTS["plain"], "preprocess": Alpaca(), "answer": "output", **shared}
    # Only the input may be cut; the instruction is never.
    trimmed = "input" if any("input" in template.prompt.fields for template in how["templates"]) else None
    return InstructionTask(name, source, trim_field=trimmed, **how)

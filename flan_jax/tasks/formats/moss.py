"""MOSS's conversations: numbered turns, marks of the roles in their texts, thoughts and calls before an answer.

    {"meta_instruction": "You are …", "chat": {"turn_1": {
        "Human": "<|Human|>: What is 2 + 2?<eoh>\\n", "Inner Thoughts": "<|Inner Thoughts|>: None<eot>\\n",
        "Commands": "<|Commands|>: Calculate(\\"2+2\\")<eoc>\\n", "Tool Responses": "<|Results|>: … 4<eor>\\n",
        "MOSS": "<|MOSS|>: It is 4.<eom>\\n"}}}

become a system prompt, a user's turn, an assistant's that holds the call, a tool's, an assistant's.
"""

import dataclasses
import re
from collections.abc import Mapping
from typing import Any

from flan_jax.tasks.chats import ChatTask
from flan_jax.tasks.formats.places import Place, source_at
from flan_jax.tasks.sources import Row
from flan_jax.tasks.tally import BadRow
from flan_jax.tasks.vocabularies import VocabularyLike

_MARKED = re.compile(r"\s*(?:<\|[^|<>]*\|>:?)?(.*?)(?:<eo[a-z]>)?\s*", re.DOTALL)
_NONE = ("", "None", "none")


@dataclasses.dataclass(frozen=True)
class MossTurns:
    """Makes a row with "messages" of one of MOSS's.

    Attributes:
      meta_instruction: whether what the model is told of itself becomes the system prompt.
    """

    meta_instruction: bool = True

    def __call__(self, row: Row) -> Row:
        """The conversation of a row.

        >>> turn = {"Human": "<|Human|>: Hi<eoh>", "Commands": "None", "MOSS": "<|MOSS|>: Hello!<eom>"}
        >>> MossTurns()({"chat": {"turn_1": turn}})["messages"]
        [{'role': 'user', 'content': 'Hi'}, {'role': 'assistant', 'content': 'Hello!'}]

        Raises:
          BadRow: the row holds no turns by number.
        """
        turns = row.get("chat")
        if not isinstance(turns, Mapping) or not turns:
            raise BadRow(f"the field 'chat' is {turns!r}; turns by number are wanted, {{'turn_1': {{'Human': ...}}}}")
        messages: list[Row] = []
        if self.meta_instruction and (told := _said(row, "meta_instruction")):
            messages.append({"role": "system", "content": told})
        for name in sorted(turns, key=_number):
            turn = turns[name]
            if not isinstance(turn, Mapping):
                raise BadRow(f"{name} is {turn!r}; an object with 'Human' and 'MOSS' is wanted")
            messages += _messages(turn)
        return {"messages": messages}


def _messages(turn: Mapping[str, Any]) -> list[Row]:
    """The messages of one turn; thoughts stand before whatever the assistant does first."""
    thoughts = [{"type": "thinking", "thinking": text}] if (text := _said(turn, "Inner Thoughts")) else []
    call, result = _said(turn, "Commands"), _said(turn, "Tool Responses")
    found: list[Row] = [{"role": "user", "content": _said(turn, "Human")}]
    if call or result:
        found.append({"role": "assistant", "content": _after(thoughts, call)})
        found.append({"role": "tool", "content": result})
        thoughts = []
    found.append({"role": "assistant", "content": _after(thoughts, _said(turn, "MOSS"))})
    return found


def _after(thoughts: list[Row], text: str) -> Any:
    return [*thoughts, {"type": "text", "text": text}] if thoughts else text


def _said(fields: Mapping[str, Any], name: str) -> str:
    """A field without the marks around it; empty where it says "None"."""
    value = fields.get(name)
    if value is None:
        return ""
    if not isinstance(value, str):
        raise BadRow(f"{name!r} is {value!r}; text is wanted")
    text = _MARKED.fullmatch(value)[1].strip()  # type: ignore[index]  # it matches any text
    return "" if text in _NONE else text


def _number(name: str) -> int:
    number = name.rpartition("_")[2]
    if not number.isdecimal():
        raise BadRow(f"the turn {name!r} has no number; 'turn_1', 'turn_2' and so on are wanted")
    return int(number)


def moss(
    place: Place,
    name: str,
    *,
    meta_instruction: bool = True,
    validation_rows: int | None = 0,
    on_bad_row: str | None = None,
    vocabulary: VocabularyLike | None = None,
    cap: int | None = None,
) -> ChatTask:
    """Declares a task of MOSS's conversations; call `register()` on it to use it.

    Args:
      place: see `flan_jax.tasks.formats.places.Place`.
      name: the task's name.
      meta_instruction: see `MossTurns`.
      validation_rows: how many of the first rows become the validation split; None: a tenth of them, at most 50.
      on_bad_row: "error" or "skip"; None leaves it to who reads.
      vocabulary: as in `InstructionTask`.
      cap: as in `InstructionTask`.
    """
    how: dict[str, Any] = {"preprocess": MossTurns(meta_instruction), "vocabulary": vocabulary, "cap": cap}
    return declared(source_at(place, validation_rows, on_bad_row), name, (), **how)


def declared(source: Any, name: str, columns: tuple[str, ...], **shared: Any) -> ChatTask:
    """See `flan_jax.tasks.formats.files`."""
    return ChatTask(name, source, **{"preprocess": MossTurns(), **shared})

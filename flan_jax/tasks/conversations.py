"""Rows that hold a conversation: lists of messages, in OpenAI's form or ShareGPT's, as turns of four roles."""

import dataclasses
import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

from flan_jax.annotations import fits
from flan_jax.errors import UserError
from flan_jax.tasks.recipe import Recipe, Request
from flan_jax.tasks.sources import Row
from flan_jax.tasks.tally import BadRow, bad_row
from flan_jax.tasks.user_functions import BrokenFunction, preprocessed

ROLES = {
    **dict.fromkeys(("system", "developer"), "system"),
    **dict.fromkeys(("user", "human", "prompter"), "user"),
    **dict.fromkeys(("assistant", "gpt", "bot", "model", "function_call"), "assistant"),
    **dict.fromkeys(("tool", "observation", "function"), "tool"),
}
_READ_PARTS = ("text", "input_text", "output_text", "tool_call")
_LEFT_OUT = ("reasoning", "thinking", "redacted_thinking")  # what led to an answer, and is not said


@dataclasses.dataclass(slots=True)
class Turn:
    """One message.

    Attributes:
      role: "system", "user", "assistant" or "tool".
      text: what is said, without blanks at the ends.
      weight: how much its tokens count in the loss, if the assistant says it.
    """

    role: str
    text: str
    weight: float = 1.0


def turns_of(messages: Any) -> list[Turn]:
    """Reads messages of either form.

    Raises:
      BadRow: it is no list of messages, or a role is unknown.
    """
    if not isinstance(messages, list | tuple):
        raise BadRow(f"the messages are {type(messages).__name__}; a list is wanted")
    turns = []
    for message in messages:
        if not isinstance(message, Mapping):
            raise BadRow(f"a message is {message!r}; an object with a role and content is wanted")
        role = str(_first(message, ("role", "from")))
        if role.lower() not in ROLES:
            raise BadRow(f"a message has the role {role!r}; the roles are {', '.join(ROLES)}")
        content = _content(_first(message, ("content", "value", "text")))
        if call := next((key for key in ("tool_calls", "function_call") if message.get(key)), ""):
            raise BadRow(f"a message holds {call}, of which nothing would be learnt; write the call into its content")
        turns.append(Turn(ROLES[role.lower()], content, _weight(message.get("loss_weight"))))
    return turns


def _first(values: Mapping[str, Any], keys: Sequence[str]) -> Any:
    """The first value that is there: a table of both forms has nulls in the columns of the other."""
    return next((values[key] for key in keys if values.get(key) is not None), None)


def _weight(weight: Any) -> float:
    if weight is None:
        return 1.0
    if not fits(weight, float | bool) or weight < 0:
        raise BadRow(f"a message's loss_weight is {weight!r}; a number of 0 or more is wanted")
    return float(weight)


def _content(content: Any) -> str:
    if content is None:
        return ""
    if isinstance(content, str):
        return content.strip()
    if isinstance(content, list | tuple):
        return "\n".join(text for part in content if (text := _part(part).strip()))
    raise BadRow(f"a message's content is {type(content).__name__}; text or a list of parts is wanted")


def _part(part: Any) -> str:
    """The text of one of several parts of a message's content."""
    if isinstance(part, str):
        return part
    if not isinstance(part, Mapping):
        raise BadRow(f"a message holds a part that is {part!r}; text, or an object with its type and text, is wanted")
    kind = "text" if part.get("type") is None else part["type"]
    if kind in _LEFT_OUT:
        return ""
    if kind not in _READ_PARTS:
        raise BadRow(f"a message holds a part of the kind {kind!r}; models here read text alone")
    value = _first(part, ("text", "value", kind))
    if value is None:
        raise BadRow(f"a message holds a part of the kind {kind!r} without a text")
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


class ChatDeclaration(Protocol):
    """What `ChatTask` says of its rows."""

    @property
    def messages(self) -> str:
        """The field that holds the list."""
        ...

    @property
    def preprocess(self) -> Callable[[Row], Row | None] | None:
        """Turns a row into one with such a field."""
        ...

    @property
    def role_names(self) -> tuple[tuple[str, str], ...]:
        """How each role is called in plain text."""
        ...


def conversation_of(task: ChatDeclaration, row: Row) -> list[Turn] | None:
    """A row's turns up to the last answer; None where the assistant says nothing.

    Raises:
      BadRow: the row holds no readable list of messages, or `preprocess` failed at it.
      BrokenFunction: `preprocess` failed in another way.
    """
    if task.preprocess is not None:
        fields = preprocessed(task.preprocess, dict(row))
        if fields is None:
            return None
        row = fields
    if task.messages not in row:
        raise BadRow(f"there is no field {task.messages!r} with the messages, the row has {', '.join(map(str, row))}")
    turns = turns_of(row[task.messages])
    while turns and (turns[-1].role != "assistant" or not turns[-1].text):
        turns.pop()  # nothing answers it
    return turns or None


def read_conversation(
    recipe: Recipe, split: str, row_id: str, row: Row, request: Request, read: Callable[[Any, Row], Any]
) -> Any:
    """What `read` makes of a row; None, and counted, where it cannot be read or nothing of it would be learnt.

    Args:
      recipe: the task.
      split: of the row.
      row_id: the row's.
      row: its fields.
      request: what becomes of a row that cannot be read.
      read: gives something with the `weights` of its answers, None for no answer; raises `BadRow`.
    """
    tally, place = request.tally, lambda: f"Task {recipe.name!r}, {recipe.source.where(split, row_id)}"
    try:
        dialogue = read(recipe.declaration, row)
    except (BadRow, KeyError, ValueError, TypeError, AttributeError) as fault:
        why = fault if isinstance(fault, BadRow) else f"it cannot be read: {fault!r}"
        bad_row(place, why, request.on_bad_row, tally)
        return None
    except BrokenFunction as fault:
        raise UserError(f"{place()}: {fault}.") from fault.__cause__
    tally.read += 1
    if dialogue is None or not any(weight > 0 for weight in dialogue.weights):
        tally.dropped += 1
        return None
    return dialogue

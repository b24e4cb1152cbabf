"""Rows that hold a conversation: lists of messages, in OpenAI's form or ShareGPT's, as turns of four roles."""

import dataclasses
import functools
import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, Protocol

from flan_jax.annotations import fits
from flan_jax.errors import UserError, nearest
from flan_jax.tasks.recipe import Recipe, Request
from flan_jax.tasks.sources import Row
from flan_jax.tasks.tally import BadRow, bad_row
from flan_jax.tasks.templates import text_of
from flan_jax.tasks.user_functions import BrokenFunction, preprocessed

ROLES = {
    **dict.fromkeys(("system", "developer"), "system"),
    **dict.fromkeys(("user", "human", "prompter"), "user"),
    **dict.fromkeys(("assistant", "gpt", "chatgpt", "bing", "bard", "bot", "ai", "model"), "assistant"),
    **dict.fromkeys(("function_call", "tool_call"), "assistant"),
    **dict.fromkeys(("tool", "observation", "function", "function_response", "tool_response", "ipython"), "tool"),
}
_CALLS = ("function_call", "tool_call")  # roles of turns that are nothing but a call, in JSON
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
    """Reads messages of either form: a list, the JSON text of one, or what tables make of one (`_listed`).

    Raises:
      BadRow: it is no list of messages, or one of them cannot be read, which its number tells.
    """
    turns = []
    for number, message in enumerate(_listed(messages), 1):
        try:
            turns.append(_turn(message))
        except BadRow as fault:
            raise BadRow(f"{fault} (message {number})") from None
    return turns


def _listed(messages: Any) -> Sequence[Any]:
    """The messages one by one.

    >>> _listed('[{"role": "user", "content": "a"}]') == _listed({"role": ["user"], "content": ["a"]})
    True
    """
    if isinstance(messages, str):
        try:
            messages = json.loads(messages)
        except (ValueError, RecursionError) as error:
            raise BadRow(f"the messages are text that is no JSON ({error}); a list is wanted") from None
    if isinstance(messages, Mapping):
        columns = list(messages.values())
        if columns and all(isinstance(column, list) and len(column) == len(columns[0]) for column in columns):
            return [dict(zip(messages, values, strict=True)) for values in zip(*columns, strict=True)]
        if set(messages) & {"role", "from"}:
            return [messages]
        if messages and all(str(key).isdecimal() for key in messages):
            return [messages[key] for key in sorted(messages, key=int)]
    if not isinstance(messages, list | tuple):
        raise BadRow(f"the messages are {type(messages).__name__}; a list is wanted")
    return messages


def _turn(message: Any) -> Turn:
    if not isinstance(message, Mapping):
        raise BadRow(f"a message is {message!r}; an object with a role and content is wanted")
    given = _first(message, ("role", "from"))
    if given is None:
        raise BadRow(f"a message has no role, it has {', '.join(map(str, message)) or 'nothing'}")
    role = str(given).strip().lower()
    if role not in ROLES:
        raise BadRow(f"a message has the role {given!r}; the roles are {', '.join(ROLES)}{nearest(role, ROLES)}")
    content = _content(_first(message, ("content", "value", "text")))
    if role in _CALLS:
        _check_call(content)
    if call := next((key for key in ("tool_calls", "function_call") if message.get(key)), ""):
        raise BadRow(f"a message holds {call}, of which nothing would be learnt; write the call into its content")
    return Turn(ROLES[role], content, _weight(message.get("loss_weight")))


def _check_call(content: str) -> None:
    try:
        json.loads(content)
    except (ValueError, RecursionError) as error:
        raise BadRow(f"a message's call is no JSON ({error}): {content[:60]!r}") from None


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
    if isinstance(content, Mapping) and "type" in content:  # one part, without the list around it
        content = [content]
    if isinstance(content, list | tuple):
        return "\n".join(text for part in content if (text := _part(part).strip()))
    if isinstance(content, int | float) and not isinstance(content, bool) and (number := text_of(content)):
        return number
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
    def preprocess(self) -> Callable[[Row], Row | list[Row] | None] | None:
        """Turns a row into one with such a field, or several."""
        ...

    @property
    def role_names(self) -> tuple[tuple[str, str], ...]:
        """How each role is called in plain text."""
        ...


def conversation_of(task: ChatDeclaration, row: Row) -> list[Turn] | None:
    """A row's turns up to the last answer; None where the assistant says nothing.

    A system prompt without a text is none. What the assistant says before anybody asked is shown and not learnt.

    Raises:
      BadRow: the row holds no readable list of messages, or a user or the assistant says nothing in the middle.
    """
    if task.messages not in row:
        raise BadRow(f"there is no field {task.messages!r} with the messages, the row has {', '.join(map(str, row))}")
    turns = turns_of(row[task.messages])
    while turns and (turns[-1].role != "assistant" or not turns[-1].text):
        turns.pop()  # nothing answers it
    for number, turn in enumerate(turns, 1):
        if not turn.text and turn.role in ("user", "assistant"):
            raise BadRow(f"the {turn.role} says nothing (message {number}), so what follows answers nothing")
    turns = [turn for turn in turns if turn.text or turn.role != "system"]
    for turn in turns[: _first_asked(turns)]:
        turn.weight = 0.0
    return turns or None


def _first_asked(turns: Sequence[Turn]) -> int:
    """The number of the first turn that asks for something: a user's, or a system prompt's where no user speaks."""
    asking = "user" if any(turn.role == "user" for turn in turns) else "system"
    return next((number for number, turn in enumerate(turns) if turn.role == asking), len(turns))


def alternating(turns: Sequence[Turn]) -> list[Turn]:
    """The conversation for a chat template that wants user and assistant by turns, beginning with the user.

    Turns of one role that follow each other become one, a blank line between them, where they count alike; what the
    assistant says before the user is left off.

    >>> said = [Turn("assistant", "Hi!", 0.0), Turn("user", "a"), Turn("user", "b"), Turn("assistant", "c")]
    >>> [(turn.role, turn.text) for turn in alternating(said)]
    [('user', 'a\n\nb'), ('assistant', 'c')]
    """
    first = next((number for number, turn in enumerate(turns) if turn.role == "user"), 0)
    joined: list[Turn] = []
    for number, turn in enumerate(turns):
        if number < first and turn.role == "assistant":
            continue
        before = dataclasses.replace(joined[-1], text="") if joined and turn.role != "tool" else None
        if before == dataclasses.replace(turn, text=""):
            turn = dataclasses.replace(turn, text=f"{joined.pop().text}\n\n{turn.text}")
        joined.append(turn)
    return joined


def rows_of(recipe: Recipe, split: str, rows: Iterable[tuple[str, Row]], request: Request) -> Iterator[tuple[str, Row]]:
    """Rows of one conversation each: those of the source, or what `preprocess` makes of them.

    Where it makes several of one, "#" and a number end their ids.

    Args:
      recipe: the task.
      split: of the rows.
      rows: (id, row) of the source.
      request: what becomes of a row that cannot be read.
    """
    function = recipe.declaration.preprocess
    for row_id, row in rows:
        if function is None:
            yield row_id, row
            continue
        found = _readable(recipe, split, row_id, request, functools.partial(_made, function, row))
        if found is None:
            continue
        if not found or found == [None]:
            request.tally.read += 1
            request.tally.dropped += 1
        elif len(found) == 1:
            yield row_id, found[0]
        else:
            yield from ((f"{row_id}#{number}", one) for number, one in enumerate(found))


def _made(function: Callable[[Row], Any], row: Row) -> list[Row | None]:
    found = preprocessed(function, dict(row))
    return found if isinstance(found, list) else [found]


def source_row(row_id: str) -> str:
    """The id of the source's row that an example's row is made of.

    >>> source_row("trees:12#3"), source_row("a#b:12")
    ('trees:12', 'a#b:12')
    """
    head, mark, number = row_id.rpartition("#")
    return head if mark and number.isdecimal() else row_id


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
    tally = request.tally
    found = _readable(recipe, split, row_id, request, lambda: [read(recipe.declaration, row)])
    if found is None:
        return None
    tally.read += 1
    dialogue = found[0]
    if dialogue is None or not any(weight > 0 for weight in dialogue.weights):
        tally.dropped += 1
        return None
    return dialogue


def _readable(recipe: Recipe, split: str, row_id: str, request: Request, read: Callable[[], Any]) -> Any:
    """What `read` gives; None, and counted or raised, where the row cannot be read."""
    place = lambda: f"Task {recipe.name!r}, {recipe.source.where(split, source_row(row_id))}"
    try:
        return read()
    except (BadRow, KeyError, ValueError, TypeError, AttributeError) as fault:
        why = fault if isinstance(fault, BadRow) else f"it cannot be read: {fault!r}"
        bad_row(place, why, request.on_bad_row, request.tally)
        return None
    except BrokenFunction as fault:
        raise UserError(f"{place()}: {fault}.") from fault.__cause__

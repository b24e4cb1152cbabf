"""Rows that hold a conversation: lists of messages, in OpenAI's form or ShareGPT's, as turns of four roles."""

import dataclasses
import functools
import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, Protocol

from flan_jax.annotations import fits
from flan_jax.errors import UserError, nearest
from flan_jax.tasks import thoughts
from flan_jax.tasks.example_ids import numbered, source_row
from flan_jax.tasks.recipe import Recipe, Request
from flan_jax.tasks.sources import Row
from flan_jax.tasks.tally import BadRow, bad_row
from flan_jax.tasks.templates import text_of
from flan_jax.tasks.tool_calls import ToolCall, calls_of
from flan_jax.tasks.user_functions import BrokenFunction, preprocessed

ROLES = {
    **dict.fromkeys(("system", "developer"), "system"),
    **dict.fromkeys(("user", "human", "prompter"), "user"),
    **dict.fromkeys(("assistant", "gpt", "chatgpt", "bing", "bard", "bot", "ai", "model"), "assistant"),
    **dict.fromkeys(("function_call", "tool_call"), "assistant"),
    **dict.fromkeys(("tool", "observation", "function", "function_response", "tool_response", "ipython"), "tool"),
}
_CALLS = ("function_call", "tool_call")  # roles of messages, and kinds of parts, that are nothing but a call, in JSON
_READ_PARTS = ("text", "input_text", "output_text")
_UNREADABLE = "redacted_thinking"  # thoughts that only who wrote them can read
_MARKS = ("loss_weight", "weight", "train", "train_on_turn", "trainable")


@dataclasses.dataclass(slots=True)
class Turn:
    """One message.

    Attributes:
      role: "system", "user", "assistant" or "tool".
      text: what is said, without blanks at the ends; calls of tools after it, as JSON.
      weight: how much its tokens count in the loss, if the assistant says it.
      is_marked: whether the message itself says how much.
      thought: what led to an answer, where the file has it apart from the text.
      calls: of tools.
      spoken: the text without the calls, where there are any.
      named: what else chat templates ask of a tool's result: "name", "tool_call_id".
    """

    role: str
    text: str
    weight: float = 1.0
    is_marked: bool = False
    thought: str = ""
    calls: tuple[ToolCall, ...] = ()
    spoken: str = ""
    named: dict[str, str] = dataclasses.field(default_factory=dict)


def turns_of(messages: Any) -> list[Turn]:
    """Reads messages of either form: a list, the JSON text of one, or what tables make of one (`_listed`).

    Raises:
      BadRow: it is no list of messages, or one of them cannot be read, which its number tells.
    """
    turns = []
    for number, message in enumerate(_listed(messages), 1):
        try:
            turns.append(_turn(_role(message), message))
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


def _role(message: Any) -> str:
    """What a message calls its role, in small letters."""
    if not isinstance(message, Mapping):
        raise BadRow(f"a message is {message!r}; an object with a role and content is wanted")
    given = _first(message, ("role", "from"))
    if given is None:
        raise BadRow(f"a message has no role, it has {', '.join(map(str, message)) or 'nothing'}")
    role = str(given).strip().lower()
    if role not in ROLES:
        raise BadRow(f"a message has the role {given!r}; the roles are {', '.join(ROLES)}{nearest(role, ROLES)}")
    return role


def _turn(role: str, message: Mapping[str, Any]) -> Turn:
    content = _first(message, ("content", "value", "text"))
    if role in _CALLS:
        said, thought, calls = "", "", list(calls_of(content))
    else:
        said, thought, calls = _content(content)
    for given in (message.get("tool_calls"), message.get("function_call")):
        calls += calls_of(given) if given else ()
    if calls and ROLES[role] != "assistant":
        raise BadRow(f"a message of the role {role!r} calls a tool; only the assistant does")
    weight = _weight(message)
    return Turn(
        ROLES[role],
        "\n".join([*([said] if said else []), *(call.text for call in calls)]),
        1.0 if weight is None else weight,
        is_marked=weight is not None,
        thought=thought or thoughts.of_message(message),
        calls=tuple(calls),
        spoken=said if calls else "",
        named={key: str(message[key]) for key in ("name", "tool_call_id") if message.get(key)},
    )


def _first(values: Mapping[str, Any], keys: Sequence[str]) -> Any:
    """The first value that is there: a table of both forms has nulls in the columns of the other."""
    return next((values[key] for key in keys if values.get(key) is not None), None)


def _weight(message: Mapping[str, Any]) -> float | None:
    """The product of all that a message says of its weight; None where it says nothing."""
    found = None
    for key in _MARKS:
        if message.get(key) is not None:
            found = (1.0 if found is None else found) * weight_of(message[key], f"a message's {key}")
    return found


def weight_of(weight: Any, what: str) -> float:
    """A loss weight: a number of 0 or more, or whether it counts at all.

    Raises:
      BadRow: it is neither.
    """
    if not fits(weight, float | bool) or weight < 0:
        raise BadRow(f"{what} is {weight!r}; a number of 0 or more is wanted")
    return float(weight)


def _content(content: Any) -> tuple[str, str, list[ToolCall]]:
    """What is said, the thoughts, and the calls of tools."""
    if content is None:
        return "", "", []
    if isinstance(content, str):
        return content.strip(), "", []
    if isinstance(content, Mapping) and "type" in content:  # one part, without the list around it
        content = [content]
    if isinstance(content, int | float) and not isinstance(content, bool) and (number := text_of(content)):
        return number, "", []
    if not isinstance(content, list | tuple):
        raise BadRow(f"a message's content is {type(content).__name__}; text or a list of parts is wanted")
    said: list[str] = []
    thought: list[str] = []
    calls: list[ToolCall] = []
    for part in content:
        kind, value = _part(part)
        if kind in _CALLS:
            calls += calls_of(value)
        elif value.strip():
            (thought if kind in thoughts.PARTS else said).append(value.strip())
    return "\n".join(said), "\n".join(thought), calls


def _part(part: Any) -> tuple[str, Any]:
    """The kind and the text of one of several parts of a message's content."""
    if isinstance(part, str):
        return "text", part
    if not isinstance(part, Mapping):
        raise BadRow(f"a message holds a part that is {part!r}; text, or an object with its type and text, is wanted")
    kind = "text" if part.get("type") is None else part["type"]
    if kind == _UNREADABLE:
        return "thinking", ""
    if kind not in (*_READ_PARTS, *_CALLS, *thoughts.PARTS):
        raise BadRow(f"a message holds a part of the kind {kind!r}; models here read text alone")
    value = _first(part, ("text", "value", kind))
    if value is None and kind in thoughts.PARTS:
        return kind, ""  # encrypted, or a mere summary
    if value is None:
        raise BadRow(f"a message holds a part of the kind {kind!r} without a text")
    return kind, value if isinstance(value, str) or kind in _CALLS else json.dumps(value, ensure_ascii=False)


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

    A system prompt without a text is none. What the assistant says before anybody asked is shown and not learnt, unless
    the message says that it counts.

    Raises:
      BadRow: the row holds no readable list of messages, or a user or the assistant says nothing in the middle.
    """
    if task.messages not in row:
        raise BadRow(f"there is no field {task.messages!r} with the messages, the row has {', '.join(map(str, row))}")
    turns = turns_of(row[task.messages])
    while turns and (turns[-1].role != "assistant" or not turns[-1].text):
        turns.pop()  # nothing answers it
    for number, turn in enumerate(turns, 1):
        if turn.role in ("user", "assistant") and not turn.text and not turn.thought:
            raise BadRow(f"the {turn.role} says nothing (message {number}), so what follows answers nothing")
    turns = [turn for turn in turns if turn.text or turn.role != "system"]
    for turn in turns[: _first_asked(turns)]:
        turn.weight = turn.weight if turn.is_marked else 0.0
    return turns or None


def _first_asked(turns: Sequence[Turn]) -> int:
    """The number of the first turn that asks for something: a user's, or a system prompt's where no user speaks."""
    asking = "user" if any(turn.role == "user" for turn in turns) else "system"
    return next((number for number, turn in enumerate(turns) if turn.role == asking), len(turns))


def first_answer(turns: Sequence[Turn]) -> int:
    """The number of the first answer to something that was asked, or of one before it that says that it counts."""
    asked = _first_asked(turns)
    answers = [number for number, turn in enumerate(turns) if turn.role == "assistant"]
    return next((number for number in answers if number > asked or turns[number].is_marked), answers[0])


def alternating(turns: Sequence[Turn]) -> tuple[list[Turn], list[int]]:
    """The conversation for a chat template that wants user and assistant by turns, beginning with the user.

    Turns of one role that follow each other become one, a blank line between them, where they count alike; what the
    assistant says before the user is left off.

    Returns:
      The turns, and of each turn that was given the number of the one that it became, or of the next one.

    >>> said = [Turn("assistant", "Hi!", 0.0), Turn("user", "a"), Turn("user", "b"), Turn("assistant", "c")]
    >>> joined, numbers = alternating(said)
    >>> [(turn.role, turn.text) for turn in joined], numbers
    ([('user', 'a\\n\\nb'), ('assistant', 'c')], [0, 0, 0, 1])
    """
    first = next((number for number, turn in enumerate(turns) if turn.role == "user"), 0)
    joined: list[Turn] = []
    numbers = []
    for number, turn in enumerate(turns):
        if number < first and turn.role == "assistant":
            numbers.append(len(joined))
            continue
        is_plain = turn.role != "tool" and not turn.calls and not turn.thought
        if joined and is_plain and dataclasses.replace(joined[-1], text="") == dataclasses.replace(turn, text=""):
            turn = dataclasses.replace(turn, text=f"{joined.pop().text}\n\n{turn.text}")
        joined.append(turn)
        numbers.append(len(joined) - 1)
    return joined, numbers


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
        found = _readable(recipe, split, row_id, request, functools.partial(made_of, function, row))
        if found is None:
            continue
        if not found:
            request.tally.read += 1
            request.tally.dropped += 1
        yield from numbered(row_id, found)


def made_of(function: Callable[[Row], Any], row: Row) -> list[Row]:
    """What a `preprocess` function makes of a row: rows of one conversation each."""
    found = preprocessed(function, dict(row))
    if isinstance(found, list):
        return [one for one in found if one is not None]
    return [] if found is None else [found]


def read_conversation(
    recipe: Recipe, split: str, row_id: str, row: Row, request: Request, read: Callable[[Any, Row], list[Any]]
) -> list[Any]:
    """What `read` makes of a row: a thing an example; none, and counted, where it cannot be read or nothing is learnt.

    Args:
      recipe: the task.
      split: of the row.
      row_id: the row's.
      row: its fields.
      request: what becomes of a row that cannot be read.
      read: gives what there is to learn; raises `BadRow`.
    """
    found = _readable(recipe, split, row_id, request, lambda: read(recipe.declaration, row))
    if found is None:
        return []
    request.tally.read += max(1, len(found))
    request.tally.dropped += not found
    return found


def _readable(
    recipe: Recipe, split: str, row_id: str, request: Request, read: Callable[[], list[Any]]
) -> list[Any] | None:
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

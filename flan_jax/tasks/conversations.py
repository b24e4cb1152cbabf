"""Lists of messages, in OpenAI's form or ShareGPT's, as turns of four roles."""

import dataclasses
import json
from collections.abc import Mapping
from typing import Any

from flan_jax.annotations import fits
from flan_jax.tasks.tally import BadRow

ROLES = {
    **dict.fromkeys(("system", "developer"), "system"),
    **dict.fromkeys(("user", "human", "prompter"), "user"),
    **dict.fromkeys(("assistant", "gpt", "bot", "model", "function_call"), "assistant"),
    **dict.fromkeys(("tool", "observation", "function"), "tool"),
}
_READ_PARTS = ("text", "tool_call")
_MEDIA = ("image", "input_image", "audio", "input_audio", "video", "file")  # how their kinds begin


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
        role = str(message.get("role", message.get("from")))
        if role.lower() not in ROLES:
            raise BadRow(f"a message has the role {role!r}; the roles are {', '.join(ROLES)}")
        content = next((message[key] for key in ("content", "value", "text") if key in message), None)
        turns.append(Turn(ROLES[role.lower()], _content(content), _weight(message.get("loss_weight"))))
    return turns


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
        read = []
        for part in content:
            if isinstance(part, str):
                read.append(part)
            elif isinstance(part, Mapping) and part.get("type", "text") in _READ_PARTS:
                value = next((part[key] for key in ("text", "value", str(part.get("type"))) if key in part), "")
                read.append(value if isinstance(value, str) else json.dumps(value, ensure_ascii=False))
            elif isinstance(part, Mapping) and str(part["type"]).startswith(_MEDIA):
                raise BadRow(f"a message holds a part of the kind {part['type']!r}; models here read text alone")
        return "\n".join(text.strip() for text in read if text.strip())
    raise BadRow(f"a message's content is {type(content).__name__}; text or a list of parts is wanted")

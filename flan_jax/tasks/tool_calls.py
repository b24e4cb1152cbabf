r"""Tools that a conversation may use, and the assistant's calls of them, in the forms that files have.

    {"tool_calls": [{"id": "1", "type": "function", "function": {"name": "add", "arguments": "{\"a\": 1}"}}]}
    {"function_call": {"name": "add", "arguments": "{\"a\": 1}"}}
    {"from": "function_call", "value": "{\"name\": \"add\", \"arguments\": {\"a\": 1}}"}
    {"type": "tool_call", "value": "{\"name\": \"add\", \"arguments\": {\"a\": 1}}"}

OpenAI's form and its older one; ShareGPT's; one part of a content. Arguments may be an object or the JSON text of one.
"""

import dataclasses
import json
from collections.abc import Mapping
from typing import Any

from flan_jax.tasks.tally import BadRow


@dataclasses.dataclass(slots=True)
class ToolCall:
    """One call.

    Attributes:
      name: of the tool.
      arguments: by their names.
      id: the call's own, if the file gives one.
      written: how the file writes it, where that is JSON text.
    """

    name: str
    arguments: dict[str, Any]
    id: str = ""
    written: str = ""

    @property
    def text(self) -> str:
        """The call as JSON, for models whose form has no other way to write it."""
        return self.written or json.dumps({"name": self.name, "arguments": self.arguments}, ensure_ascii=False)

    def message(self, arguments_as_text: bool) -> dict[str, Any]:
        """The call as chat templates take it.

        Args:
          arguments_as_text: whether the template wants the arguments as JSON text.
        """
        arguments: Any = self.arguments
        if arguments_as_text:
            arguments = json.dumps(arguments, ensure_ascii=False)
        identity = {"id": self.id} if self.id else {}
        return {**identity, "type": "function", "function": {"name": self.name, "arguments": arguments}}


def calls_of(value: Any) -> tuple[ToolCall, ...]:
    """The calls in a message: an object, a list of them, or the JSON text of either.

    >>> calls_of('{"name": "add", "arguments": {"a": 1}}')[0].arguments
    {'a': 1}

    Raises:
      BadRow: it is no JSON, or no call.
    """
    written = value.strip() if isinstance(value, str) else ""
    found = _from_json(value, "a message's call")
    several = isinstance(found, list | tuple)
    return tuple(_call(one, "" if several else written) for one in (found if several else [found]))


def _call(value: Any, written: str) -> ToolCall:
    value = _from_json(value, "a message's call")
    function = value.get("function") if isinstance(value, Mapping) else None
    if isinstance(function, Mapping):
        identity, function = value.get("id"), function
    else:
        identity, function = None, value
    name = function.get("name") if isinstance(function, Mapping) else None
    if not isinstance(name, str) or not name:
        raise BadRow(f"a message's call is {_short(value)}; an object with a name and arguments is wanted")
    arguments: Any = next((function[key] for key in ("arguments", "parameters", "input") if function.get(key)), {})
    arguments = _from_json(arguments, f"what a message's call gives {name!r}")
    if not isinstance(arguments, Mapping):
        raise BadRow(f"a message's call gives {name!r} {_short(arguments)}; an object with its arguments is wanted")
    return ToolCall(name, dict(arguments), str(identity or ""), written)


def tools_of(value: Any) -> tuple[dict[str, Any], ...]:
    """The tools that a row declares: a list, or the JSON text of one; each as {"type": "function", "function": ...}.

    >>> tools_of('[{"name": "add"}]')
    ({'type': 'function', 'function': {'name': 'add'}},)
    >>> tools_of(""), tools_of(None)
    ((), ())

    Raises:
      BadRow: it is no list of tools.
    """
    if value is None or (isinstance(value, str) and not value.strip()):
        return ()
    found = _from_json(value, "the row's tools")
    if not isinstance(found, list | tuple):
        raise BadRow(f"the row's tools are {_short(found)}; a list, or the JSON text of one, is wanted")
    return tuple(_tool(_from_json(one, "one of the row's tools")) for one in found)


def _tool(value: Any) -> dict[str, Any]:
    if isinstance(value, Mapping) and isinstance(value.get("function"), Mapping):
        return dict(value)
    if isinstance(value, Mapping) and value.get("name"):
        return {"type": "function", "function": dict(value)}
    raise BadRow(f"one of the row's tools is {_short(value)}; an object with a name is wanted")


def _from_json(value: Any, what: str) -> Any:
    """What a text means as JSON; anything but a text as it is."""
    if not isinstance(value, str):
        return value
    try:
        return json.loads(value)
    except (ValueError, RecursionError) as error:
        raise BadRow(f"{what} is no JSON ({error}): {_short(value)}") from None


def _short(value: Any) -> str:
    told = repr(value)
    return told if len(told) <= 80 else f"{told[:80]}…"

"""Thoughts that led to an answer: told from what is said, and written before it.

    <think>
    Plums grow on trees.
    </think>

    It is a fruit.

Files have them so, as a part of the content, or as a field of the message ("reasoning_content").
"""

from collections.abc import Mapping
from typing import Any, Literal

Thinking = Literal["left_out", "context", "learnt"]
FIELDS = ("reasoning_content", "thinking", "reasoning")
PARTS = ("reasoning", "thinking")
_OPEN, _SHUT = "<think>", "</think>"


def of_message(message: Mapping[str, Any]) -> str:
    """The thoughts that a message has in a field of their own."""
    return next((text for key in FIELDS if isinstance(text := message.get(key), str) and text.strip()), "").strip()


def told_apart(text: str) -> tuple[str, str]:
    """The thoughts in front of what is said, and that.

    The opening mark may be lacking, since some templates give it to the model.

    >>> told_apart("<think>\\nhm\\n</think>\\n\\nIt is."), told_apart("hm</think>It is."), told_apart("It is.")
    (('hm', 'It is.'), ('hm', 'It is.'), ('', 'It is.'))
    """
    thought, shut, said = text.partition(_SHUT)
    before, opened, inner = thought.partition(_OPEN)
    if not shut or (opened and before.strip()):
        return "", text
    return (inner if opened else thought).strip(), said.strip()


def written(thought: str, said: str = "") -> str:
    """An answer with its thoughts, for a form that has no other way to write them.

    >>> written("hm", "It is.")
    '<think>\\nhm\\n</think>\\n\\nIt is.'
    """
    return f"{_OPEN}\n{thought}\n{_SHUT}\n\n{said}"

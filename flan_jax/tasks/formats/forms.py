"""What tells rows of one published form from those of another: the table of forms."""

from collections.abc import Callable, Collection, Mapping
from typing import Any

from flan_jax.tasks.formats import instruction_folders
from flan_jax.tasks.sources import Row

# Of C4, the Pile, Dolma, FineWeb, Wikipedia.
_WHERE_FROM = ("id", "url", "title", "timestamp", "date", "added", "created", "source", "dump", "file_path")
_MEASURED = ("meta", "metadata", "language", "language_score", "token_count", "score", "int_score")

_REASONED = (
    ("question", "input", "source", "inputs"),
    ("answer", "target", "targets"),
    ("rationale", "explanation", "chain_of_thought", "cot"),
)

Columns = tuple[str, ...] | None
"""The columns that hold what a form needs, empty where it knows them; None where rows are not of that form."""


def _messages(columns: Collection[str], first: Row) -> Columns:
    return next(((name,) for name in ("messages", "conversations", "conversation") if _is_talk(first.get(name))), None)


def _is_talk(value: Any) -> bool:
    """Whether a value holds messages: a list, its JSON text, or a table's columns of it."""
    if isinstance(value, str):
        return value.lstrip()[:1] == "["
    return isinstance(value, list) or (isinstance(value, dict) and bool({"role", "from"} & set(value)))


def _oasst(columns: Collection[str], first: Row) -> Columns:
    """Trees, or messages that name their tree."""
    if isinstance(first.get("prompt"), dict) and {"replies", "message_id"} & set(first["prompt"]):
        return ()
    return ("message_tree_id",) if {"message_tree_id", "message_id", "parent_id", "text"} <= set(columns) else None


def _moss(columns: Collection[str], first: Row) -> Columns:
    turns = first.get("chat")
    return () if isinstance(turns, dict) and turns and all(str(name).startswith("turn_") for name in turns) else None


def _dialogues(columns: Collection[str], first: Row) -> Columns:
    """A list of turns by named speakers: its column, who speaks in a turn, what is said."""
    for column, value in first.items():
        turn = value[0] if isinstance(value, list) and value else None
        if isinstance(turn, dict):
            speaker = next((name for name in ("speaker", "agent") if name in turn), None)
            said = next((name for name in ("utterance", "text", "message") if name in turn), None)
            if speaker and said:
                return (column, speaker, said)
    return None


def _pairs(columns: Collection[str], first: Row) -> Columns:
    # P3's hub copy has ids of T5's vocabulary beside its texts, as "inputs" and "targets".
    texts = ("inputs_pretokenized", "targets_pretokenized")
    known = (("prompt", "completion"), ("prompt", "response"), texts, ("inputs", "targets"))
    return next((pair for pair in known if set(pair) <= set(columns)), None)


def _unnatural(columns: Collection[str], first: Row) -> Columns:
    """Instances that say their prompt whole; TFDS has lists by key, as is what `in` asks of either."""
    instances = first.get("instances")
    one = instances[0] if isinstance(instances, list) and instances else instances
    return () if isinstance(one, Mapping) and "instruction_with_input" in one else None


def _self_instruct(columns: Collection[str], first: Row) -> Columns:
    return () if "instruction" in columns and {"instances", "raw_instances"} & set(columns) else None


def _alpaca(columns: Collection[str], first: Row) -> Columns:
    """An instruction and an output under the names of Alpaca, Dolly or OpenOrca; those that make it a conversation."""
    is_known = "instruction" in columns and {"output", "response"} & set(columns)
    if not is_known and not {"question", "response"} <= set(columns):
        return None
    return tuple(name for name in ("system", "system_prompt", "history") if name in columns)


def reasoned(columns: Collection[str], first: Row) -> Columns:
    """The columns of question, answer and rationale, by the names that they go by."""
    found = [next((name for name in names if name in columns), "") for names in _REASONED]
    return tuple(found) if all(found) else None


def _plain_text(columns: Collection[str], first: Row) -> Columns:
    """Texts alone, or beside columns that only tell where each is from: a column of labels makes it another task."""
    others = {name.lower() for name in columns} - {"text", *_WHERE_FROM, *_MEASURED}
    return ("text",) if "text" in columns and not others else None


def _with(*names: str) -> Callable[[Collection[str], Row], Columns]:
    """Rows that have all these columns."""
    return lambda columns, first: () if set(names) <= set(columns) else None


#: The modules of `flan_jax.tasks.formats` and what tells their rows by the columns and the first row; the first counts.
FORMS: dict[str, Callable[[Collection[str], Row], Columns]] = {
    **{kind: _with("input", "output", *sorted(keys)) for kind, keys in instruction_folders.KINDS.items()},
    "messages": _messages,
    "oasst": _oasst,
    "moss": _moss,
    "dialogues": _dialogues,
    "unnatural_instructions": _unnatural,
    "self_instruct": _self_instruct,
    "alpaca": _alpaca,
    "chain_of_thought": reasoned,
    "pairs": _pairs,
    "plain_text": _plain_text,
}

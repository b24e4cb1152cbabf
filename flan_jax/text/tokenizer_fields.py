"""The JSON files of a tokenizer's folder, read by what may stand where something is read of them.

All that is wrong with a file is told at once; keys that nothing here reads may hold anything.
"""

import json
import pathlib
from collections.abc import Iterator, Mapping
from typing import Any

from flan_jax.errors import UserError
from flan_jax.files.typed_json import FLAG, OBJECT, WHOLE, WORD, Kind, shown, typed

_ROLES = ("bos_token", "eos_token", "unk_token", "pad_token")


def _token(value: Any) -> bool:
    return isinstance(value, str) or isinstance(value, dict) and isinstance(value.get("content"), str)


def _template(value: Any) -> bool:
    if isinstance(value, dict):
        return all(isinstance(one, str) for one in value.values())
    whole = isinstance(value, list) and all(isinstance(one, dict) for one in value)
    return isinstance(value, str) or whole and all({"name", "template"} <= set(one) and _words(one) for one in value)


def _words(named: Mapping[str, Any]) -> bool:
    return isinstance(named["name"], str) and isinstance(named["template"], str)


def _vocabulary(value: Any) -> bool:
    return isinstance(value, list) or isinstance(value, dict) and all(map(WHOLE.fits, value.values()))


_NAMED = dict.fromkeys(_ROLES, Kind("a word in quotes, or an object with one as its content", _token))
_TEMPLATE = Kind("a text in quotes, or a list of objects with name and template", _template)
_OBJECTS = Kind("a list of objects", lambda value: isinstance(value, list) and all(map(OBJECT.fits, value)))
_KINDS: dict[str, dict[str, Kind]] = {
    "tokenizer.json": {"model": OBJECT, "added_tokens": _OBJECTS, "post_processor": OBJECT},
    "tokenizer_config.json": {
        **_NAMED,
        "chat_template": _TEMPLATE,
        "tokenizer_class": WORD,
        "extra_ids": WHOLE,
        "add_bos_token": FLAG,
        "add_eos_token": FLAG,
    },
    "special_tokens_map.json": _NAMED,
    "chat_template.json": {"chat_template": _TEMPLATE},
}


def read_json(path: pathlib.Path) -> dict[str, Any]:
    """A JSON object of a folder; empty where there is no such file.

    Raises:
      UserError: it is damaged.
    """
    try:
        value = json.loads(path.read_bytes())
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, RecursionError) as error:
        raise UserError(f"{path} cannot be read as JSON ({error}); fetch the folder anew") from None
    if not isinstance(value, dict):
        raise UserError(f"{path} holds {type(value).__name__}, wanted an object; fetch the folder anew")
    return value


def read_tokenizer_json(path: pathlib.Path) -> dict[str, Any]:
    """As `read_json`, of one of a tokenizer's files, by the types that its format wants.

    Raises:
      UserError: all that is wrong with the file.
    """
    value = read_json(path)
    _, faults = typed(value, dict.fromkeys(value, WHOLE) if path.name == "added_tokens.json" else _KINDS[path.name])
    if path.name == "tokenizer.json" and not faults:
        faults = [*_faults_of_ids(value)]
    if faults:
        raise UserError(f"{path}: {'; '.join(faults)}; mend it, or fetch the folder anew")
    return value


def _faults_of_ids(described: Mapping[str, Any]) -> Iterator[str]:
    """What is wrong with a tokenizer.json where it says ids, and which tokens come first."""
    within = {"vocab": Kind("an object of ids, or a list of pieces", _vocabulary)}
    yield from typed(described.get("model") or {}, within, "model.")[1]
    for number, token in enumerate(described.get("added_tokens") or []):
        missing = [f"added_tokens[{number}].{name} is missing" for name in ("id", "content") if token.get(name) is None]
        yield from typed(token, {"id": WHOLE, "content": WORD}, f"added_tokens[{number}].")[1] + missing
    yield from _faults_of_processor(described.get("post_processor") or {})


def _faults_of_processor(processor: Mapping[str, Any]) -> Iterator[str]:
    if processor.get("type") == "Sequence":
        parts = processor.get("processors")
        if not _OBJECTS.fits(parts):
            yield f"post_processor.processors is {shown(parts)}, wanted a list of objects"
            return
        for part in parts or []:
            yield from _faults_of_processor(part)
    elif processor.get("type") == "TemplateProcessing":
        try:
            named = [one["SpecialToken"]["id"] for one in processor["single"] if "SpecialToken" in one]
            known = [processor["special_tokens"][name]["ids"] for name in named]
        except (TypeError, KeyError, IndexError):
            known = [None]
        if not all(isinstance(ids, list) and ids and all(map(WHOLE.fits, ids)) for ids in known):
            yield "post_processor names special tokens whose ids it does not give"

"""The tokenizer that a run starts from with what it adds: special tokens of its own, a chat template of its own.

    tokenizer.json          added_tokens: + {"id": 340, "content": "<|tool|>", "special": true, …}
    tokenizer_config.json   added_tokens_decoder and the lists of special tokens, where it has them
    chat_template.jinja     the run's, where it has one

A new token takes the id after the tokenizer's last one. Many models have rows in their embedding there already, which
were added to round its size up; rows beyond those are `flan_jax.models.new_rows`' part. What comes out is a folder like
any other, so that tasks, checkpoints, exports and other programs need not know how it came about.
"""

import dataclasses
import json
import os
import pathlib
import re
from collections.abc import Mapping
from typing import Any

from flan_jax.errors import UserError
from flan_jax.files import atomic
from flan_jax.text.chat_templates import ChatTemplate
from flan_jax.text.tokenizer_fields import read_tokenizer_json
from flan_jax.text.tokenizer_files import TOKENIZER_FILES
from flan_jax.text.tokenizer_folder import CONFIG, GENERATION, SENTENCEPIECE_FILES, TOKENIZER, TokenizerFolder

FOLDER = "extended_tokenizer"  # in a run's folder
_SETTINGS, _TEMPLATE, _ADDED = "tokenizer_config.json", "chat_template.jinja", "added_tokens.json"
_LISTS = ("additional_special_tokens", "extra_special_tokens")  # the name in transformers 4, and in 5
_MARK = re.compile(r"<\|[^\s|<>]+\|>")  # how most templates write their special tokens


@dataclasses.dataclass(frozen=True)
class Extension:
    """What a run adds to a tokenizer.

    Attributes:
      tokens: texts that become one token each.
      chat_template: a file of Jinja, which takes the place of the tokenizer's own; None keeps that.
    """

    tokens: tuple[str, ...] = ()
    chat_template: str | None = None

    def __bool__(self) -> bool:
        """Whether anything is added."""
        return bool(self.tokens or self.chat_template)

    @property
    def settings(self) -> str:
        """The settings that it comes from, for errors."""
        named = {"SPECIAL_TOKENS": self.tokens, "CHAT_TEMPLATE": self.chat_template}
        return " and ".join(name for name, value in named.items() if value)


@dataclasses.dataclass(frozen=True)
class Extended:
    """An extended tokenizer.

    Attributes:
      files: its files by name.
      new: the tokens that got an id of their own, with it.
      known: the tokens that the tokenizer had already, with their ids.
      size: how many ids the tokenizer had before, one more than the largest.
      unknown_marks: what the run's own chat template writes in the manner of a special token, and is none.
    """

    files: Mapping[str, bytes]
    new: Mapping[str, int]
    known: Mapping[str, int]
    size: int
    unknown_marks: tuple[str, ...] = ()

    def notes(self, in_chats: bool) -> list[str]:
        """What to tell of it, a sentence each.

        Args:
          in_chats: whether any task is written by a chat template; plain text is never read as a special token.
        """
        said = []
        if self.new or self.known:
            kinds = {"new": self.new, "there already": self.known}
            named = {
                kind: ", ".join(f"{token} ({found})" for token, found in ids.items()) for kind, ids in kinds.items()
            }
            said.append("special tokens: " + "; ".join(f"{kind}: {ids}" for kind, ids in named.items() if ids))
        if self.unknown_marks:
            said.append(
                f"CHAT_TEMPLATE writes {', '.join(self.unknown_marks)}, several ordinary tokens each; name it in "
                "SPECIAL_TOKENS to make it one"
            )
        if self.new and not in_chats:
            said.append(
                "no task is written by a chat template, and no other text is read as special tokens: the new ones are "
                "in no row; set CHAT_TEMPLATE, or FORM to 'chat'"
            )
        return said

    def write(self, folder: pathlib.Path) -> None:
        """Writes the files that are not there yet as they should be, and takes away those that should not be there."""
        folder.mkdir(parents=True, exist_ok=True)
        for name in (*TOKENIZER_FILES, GENERATION, CONFIG):
            path, content = folder / name, self.files.get(name)
            if content is None:
                path.unlink(missing_ok=True)
            elif not path.is_file() or path.read_bytes() != content:
                atomic.write_bytes(path, [content])


def extend(base: str | os.PathLike[str], extension: Extension) -> Extended:
    """Adds tokens and a chat template to a tokenizer; nothing is written.

    Args:
      base: a folder with a tokenizer.json, or that file.
      extension: what is added. Tokens that are there already stay as they are.

    Raises:
      UserError: there is no tokenizer.json, the chat template cannot be used, or a token cannot be added.
    """
    tokenizer = TokenizerFolder(base)
    if not tokenizer.path.is_file():
        raise UserError(
            f"{extension.settings}: {base} has no {TOKENIZER}, to which they could be added; have transformers write "
            "it: AutoTokenizer.from_pretrained(FOLDER).save_pretrained(FOLDER), or leave them out"
        )
    names = (*TOKENIZER_FILES, GENERATION, CONFIG)
    files = {name: path.read_bytes() for name in names if (path := tokenizer.folder / name).is_file()}
    new, known = _ids_of(tokenizer, extension.tokens)
    if adding := {token: found for token, found in {**known, **new}.items() if token not in tokenizer.added}:
        _add(files, tokenizer.folder, adding)
    marks: tuple[str, ...] = ()
    if extension.chat_template:
        _put_template(files, tokenizer, extension.chat_template)
        written = dict.fromkeys(_MARK.findall(files[_TEMPLATE].decode()))
        marks = tuple(mark for mark in written if mark not in adding and mark not in tokenizer.added)
    return Extended(files, new, known, tokenizer.size, marks)


def check_extends(described: Mapping[str, Any], base: str, extension: Extension, where: str) -> None:
    """Refuses parameters whose tokenizer, with what a run adds, is not the tasks' vocabulary.

    Args:
      described: the tasks' vocabulary, as `tasks.vocabularies.describe` says it.
      base: the tokenizer that the parameters were trained with; empty where it is not known.
      extension: what the run adds.
      where: what the parameters are of.

    Raises:
      UserError: it is another.
    """
    ours = pathlib.Path(described.get("path") or "")
    if described["kind"] != "tokenizers" or not base:
        seen = f"a {described['kind']} vocabulary" if base else f"no vocabulary that {where} could be known to have"
        raise UserError(f"{extension.settings} add to a {TOKENIZER}, the tasks are read with {seen}; leave them out")
    if extend(base, Extension(extension.tokens)).files[TOKENIZER] != ours.read_bytes():
        raise UserError(
            f"the model in {where} was trained with another tokenizer than the one that {extension.settings} were "
            f"added to; leave VOCABULARY out, or set it to {base}"
        )


def _ids_of(tokenizer: TokenizerFolder, tokens: tuple[str, ...]) -> tuple[dict[str, int], dict[str, int]]:
    """The ids of the tokens that are new, and of those that are there."""
    new, known = tokenizer.ids_with(tokens)
    lost = [token for token, found in new.items() if found < tokenizer.size]
    if lost:
        raise UserError(
            f"SPECIAL_TOKENS: {tokenizer.path} takes no {', '.join(map(repr, lost))}, as its ids have gaps; "
            "close them, or leave SPECIAL_TOKENS out"
        )
    return new, known


def _add(files: dict[str, bytes], folder: pathlib.Path, tokens: Mapping[str, int]) -> None:
    """Adds tokens to the files that list them."""
    plain = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False, "special": True}
    described = read_tokenizer_json(folder / TOKENIZER)
    listed = [*(described.get("added_tokens") or []), *({"id": i, "content": t, **plain} for t, i in tokens.items())]
    files[TOKENIZER] = _json(described | {"added_tokens": sorted(listed, key=lambda token: token["id"])})
    settings = read_tokenizer_json(folder / _SETTINGS)
    by_id = settings.get("added_tokens_decoder")
    if isinstance(by_id, dict):
        settings["added_tokens_decoder"] = by_id | {str(i): {"content": t, **plain} for t, i in tokens.items()}
    for name, values in ((_SETTINGS, settings), ("special_tokens_map.json", None)):
        if name in files:
            files[name] = _json(_listing(read_tokenizer_json(folder / name) if values is None else values, tokens))
    # What reads the SentencePiece model beside a tokenizer.json knows of tokens from one of the two alone.
    if _ADDED in files or not isinstance(by_id, dict) and any(name in files for name in SENTENCEPIECE_FILES):
        files[_ADDED] = _json(read_tokenizer_json(folder / _ADDED) | dict(tokens))


def _listing(values: dict[str, Any], tokens: Mapping[str, int]) -> dict[str, Any]:
    """The settings with tokens in their lists of special tokens, where they have such."""
    lists = {name: values[name] for name in _LISTS if isinstance(values.get(name), list)}
    return values | {
        name: [*there, *(token for token in tokens if token not in there)] for name, there in lists.items()
    }


def _put_template(files: dict[str, bytes], tokenizer: TokenizerFolder, path: str) -> None:
    """Puts a chat template in the place of the tokenizer's own."""
    try:
        source = pathlib.Path(path).read_text(encoding="utf-8")
    except (OSError, UnicodeError) as error:
        raise UserError(f"CHAT_TEMPLATE {path} cannot be read as UTF-8 ({error}); name a file of Jinja") from None
    ChatTemplate.made(source, path, tokenizer)
    files[_TEMPLATE] = source.encode()
    files.pop("chat_template.json", None)
    if _SETTINGS in files:
        settings = json.loads(files[_SETTINGS])
        files[_SETTINGS] = _json({name: value for name, value in settings.items() if name != "chat_template"})


def _json(value: Any) -> bytes:
    return (json.dumps(value, ensure_ascii=False, indent=2) + "\n").encode()

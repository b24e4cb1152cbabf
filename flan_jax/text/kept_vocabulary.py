"""The vocabulary that a run's folder keeps, so that it can be used without its tasks; and whether it is the data's."""

import hashlib
import pathlib
from collections.abc import Mapping
from typing import Any

from flan_jax.annotations import misfit
from flan_jax.errors import UserError
from flan_jax.files import atomic
from flan_jax.text import sentencepiece_folder
from flan_jax.text.tokenizer_folder import SENTENCEPIECE_FILES, TOKENIZER, TokenizerFolder

KEPT_MODEL, KEPT_TOKENIZER = "vocabulary.model", "tokenizer"  # in a run's folder
_DESCRIPTION = "vocabulary.json"


def keep(description: Mapping[str, Any], folder: pathlib.Path) -> dict[str, Any]:
    """Copies a vocabulary into a run's folder, so that the run can be used without its tasks.

    Returns:
      What was written to vocabulary.json: the description, and "files" with the SHA-256 of each copy.
    """
    kept, files = dict(description), {}
    if description["kind"] == "tokenizers":
        (folder / KEPT_TOKENIZER).mkdir(exist_ok=True)
        for file in TokenizerFolder(description["path"]).files():
            name = f"{KEPT_TOKENIZER}/{file.name}"
            files[name] = _keep_file(folder / name, file)
        kept["path"] = f"{KEPT_TOKENIZER}/{TOKENIZER}"
    elif description.get("path"):
        files[KEPT_MODEL] = _keep_file(folder / KEPT_MODEL, pathlib.Path(description["path"]))
        kept["path"] = KEPT_MODEL
    # Last: a kill before this leaves the hashes of before, and whatever was copied over the old files is told.
    atomic.write_json(folder / _DESCRIPTION, kept | {"files": files})
    return kept


def _keep_file(target: pathlib.Path, source: pathlib.Path) -> str:
    content = source.read_bytes()
    if not target.exists() or target.read_bytes() != content:
        atomic.write_bytes(target, [content])
    return hashlib.sha256(content).hexdigest()


def kept(folder: pathlib.Path, check: bool = True) -> dict[str, Any] | None:
    """The vocabulary that a run's folder keeps, None where it keeps none.

    Args:
      folder: the run's.
      check: whether the copied files are to be those that were written; not for who is about to write them anew.

    Raises:
      UserError: vocabulary.json is damaged, or a file beside it is gone or another.
    """
    path, mend = folder / _DESCRIPTION, "delete it, and the run's own `flan-jax train` command writes it anew"
    try:
        description = atomic.read_json(path, mend)
    except FileNotFoundError:
        return None
    if fault := _fault_of(description):
        raise UserError(f"{path} is damaged ({fault}); {mend}")
    files = description.pop("files", {})  # older folders say nothing of them
    if check:
        for name, wanted in files.items():
            _check_file(folder / name, wanted)
    if description.get("path"):
        description["path"] = str(folder / description["path"])
    return description


_KEPT: dict[str, Any] = {
    "kind": str,
    "path": str | None,
    "size": int,
    "eos_id": int | None,
    "eos_ids": list[int] | None,
    "pad_id": int | None,
    "extra_ids": int,
    "reads_as": str | None,
    "fingerprint": str,
    "files": dict[str, str],
}
_MAY_LACK = ("path", "eos_ids", "pad_id", "extra_ids", "reads_as", "files")


def _fault_of(description: Any) -> str:
    """What keeps a file's content from being the description of a vocabulary; nothing where it is one."""
    if not isinstance(description, dict):
        return "it holds no object"
    if fault := misfit(description, _KEPT, _MAY_LACK):
        return fault
    if description["kind"] in ("sentencepiece", "tokenizers") and not description.get("path"):
        return f"it names no path, which a vocabulary of kind {description['kind']} has"
    ends = [description["eos_id"], *(description.get("eos_ids") or [])]
    if any(end is not None and not 0 <= end < 2**31 for end in ends):  # of the model's, which may have more ids
        return "the id of an end is none"
    if not -1 <= (description.get("pad_id") or 0) < 2**31:
        return "pad_id is none"
    if not 0 <= (extra_ids := description.get("extra_ids", 0)) <= description["size"]:
        return f"extra_ids is {extra_ids} of {description['size']}"
    if description.get("reads_as") not in (None, sentencepiece_folder.T5, sentencepiece_folder.LLAMA):
        return f"reads_as is {description['reads_as']!r}"
    return ""


def _check_file(path: pathlib.Path, wanted: str) -> None:
    found = hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else None
    if found != wanted:
        seen = "is gone" if found is None else f"is another file (SHA-256 {found[:12]}…)"
        raise UserError(
            f"{path} {seen}, the model was trained with one of SHA-256 {wanted[:12]}…; put that back (it is a copy of "
            f"what the run's tasks, or the folder that was imported, name as their vocabulary), or run the run's own "
            f"`flan-jax train` command again, which does so"
        )


def check_same(ours: Mapping[str, Any], theirs: Mapping[str, Any] | None, where: str) -> None:
    """Refuses a checkpoint whose vocabulary is not the data's.

    Raises:
      UserError: the fingerprints differ.
    """
    if theirs is not None and ours["fingerprint"] != theirs["fingerprint"]:
        raise UserError(
            f"the checkpoint in {where} was trained with another vocabulary ({theirs['size']} tokens, "
            f"{theirs['fingerprint'][:8]}) than the tasks use ({ours['size']} tokens, {ours['fingerprint'][:8]}); "
            f"give the tasks {_how_to_have(theirs, where)}"
        )


def _how_to_have(theirs: Mapping[str, Any], where: str) -> str:
    path = theirs.get("path")
    return f"vocabulary={path!r}" if path else f"its {theirs['kind']} vocabulary (see {where}/vocabulary.json)"


def check_folder(ours: Mapping[str, Any], folder: str | pathlib.Path) -> None:
    """Refuses a Hugging Face folder whose tokenizer is another than the tasks' vocabulary; one without any passes.

    Raises:
      UserError: none of its tokenizer files has the content of the vocabulary's.
    """
    files = [path for name in _TOKENIZERS if (path := pathlib.Path(folder) / name).is_file()]
    named = pathlib.Path(ours.get("path") or "")
    own = next((path for name in _TOKENIZERS if (path := named / name).is_file()), named) if named.is_dir() else named
    if files and not (ours.get("path") and any(path.read_bytes() == own.read_bytes() for path in files)):
        raise UserError(
            f"the model in {folder} was trained with its own {files[0].name}, the tasks use another vocabulary "
            f"({ours['kind']} {ours.get('path') or ''}); give the tasks vocabulary='{folder}'"
        )


_TOKENIZERS = (TOKENIZER, *SENTENCEPIECE_FILES)

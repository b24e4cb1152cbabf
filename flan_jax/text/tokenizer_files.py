"""What a folder's tokenizer files say that a model must know: how many ids there are, and what comes first.

Encoding with them is the vocabulary's part (`flan_jax.tasks.vocabularies`).
"""

import pathlib
from collections.abc import Iterator, Mapping
from typing import Any

from flan_jax.errors import UserError
from flan_jax.text import sentencepiece_folder
from flan_jax.text.tokenizer_fields import read_tokenizer_json
from flan_jax.text.tokenizer_folder import SENTENCEPIECE_FILES, SPECIAL_TOKENS, TOKENIZER

TOKENIZER_FILES = (TOKENIZER, *SPECIAL_TOKENS, "added_tokens.json", "vocab.json", "merges.txt", *SENTENCEPIECE_FILES)
_WITH_BOS = ("LlamaTokenizer", "GemmaTokenizer", "LlamaTokenizerFast", "GemmaTokenizerFast")


def largest_id(folder: pathlib.Path) -> tuple[int, str] | None:
    """The largest id that text can become, and the file that says so; None for a folder without a tokenizer.

    Special tokens that were added beyond the embedding (an image's place in a model whose vision was left out) do not
    count: text has them only where someone typed their name.
    """
    described = read_tokenizer_json(folder / "tokenizer.json")
    if described:
        ids = [*_vocabulary_ids(described.get("model") or {})]
        ids += [token["id"] for token in described.get("added_tokens") or [] if not token.get("special")]
        return (max(ids), "tokenizer.json") if ids else None
    for name in SENTENCEPIECE_FILES:
        if (folder / name).is_file():
            pieces = _sentencepiece(folder / name)
            return max([pieces.get_piece_size() - 1, *read_tokenizer_json(folder / "added_tokens.json").values()]), name
    return None


def _sentencepiece(path: pathlib.Path) -> Any:
    import sentencepiece

    try:
        return sentencepiece.SentencePieceProcessor(model_file=str(path))
    except Exception as error:  # RuntimeError, OSError
        raise UserError(f"{path} is no SentencePiece model ({type(error).__name__})") from None


def _vocabulary_ids(model: Mapping[str, Any]) -> Iterator[int]:
    vocabulary = model.get("vocab") or {}
    # BPE and WordPiece map pieces to ids; Unigram lists pieces in the order of their ids.
    yield from vocabulary.values() if isinstance(vocabulary, Mapping) else range(len(vocabulary))


def begin_id(folder: pathlib.Path, bos_token_id: int | None) -> int:
    """The token that the tokenizer puts before every text, -1 where it puts none.

    A `tokenizer.json` says so by its post-processor, an older folder by `add_bos_token`.

    Args:
      folder: the folder.
      bos_token_id: of config.json.
    """
    settings, described = (
        read_tokenizer_json(folder / "tokenizer_config.json"),
        read_tokenizer_json(folder / "tokenizer.json"),
    )
    first = _first_special(described.get("post_processor") or {})
    if first is not None:
        return first
    adds = settings.get("add_bos_token", not described and settings.get("tokenizer_class") in _WITH_BOS)
    if not adds:
        return -1
    token = settings.get("bos_token")
    name = token.get("content") if isinstance(token, dict) else token
    for added in described.get("added_tokens") or []:
        if added["content"] == name:
            return int(added["id"])
    if not described and name is not None and (path := sentencepiece_folder.model_file(folder)) is not None:
        pieces = _sentencepiece(path)
        if (found := pieces.piece_to_id(name)) != pieces.unk_id():
            return int(found)
    return -1 if bos_token_id is None else int(bos_token_id)


def _first_special(processor: Mapping[str, Any]) -> int | None:
    """The id of the special token that a template of tokenizer.json begins with."""
    if processor.get("type") == "Sequence":
        found = (_first_special(one) for one in processor.get("processors") or [])
        return next((one for one in found if one is not None), None)
    template = processor.get("single") or []
    if processor.get("type") != "TemplateProcessing" or not template or "SpecialToken" not in template[0]:
        return None
    special = processor["special_tokens"][template[0]["SpecialToken"]["id"]]
    return int(special["ids"][0])

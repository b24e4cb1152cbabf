"""Text to ids and back without seqio, by what a vocabulary's description says.

SentencePiece, tokenizer.json and byte vocabularies are read here; any other seqio vocabulary is reached through the
data process.
"""

import functools
import itertools
import pathlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from flan_jax.errors import UserError
from flan_jax.text import sentencepiece_folder
from flan_jax.text.tokenizer_folder import TokenizerFolder

Ask = Callable[..., Any]


class _Bytes:
    """A byte a token, after three special ones (ByT5)."""

    def encode(self, text: str) -> list[int]:
        return [byte + 3 for byte in text.encode()]

    def decode(self, ids: Sequence[int]) -> str:
        return bytes(token - 3 for token in ids if 3 <= token < 259).decode(errors="replace")

    def pieces(self, ids: Sequence[int]) -> list[str]:
        return [self.decode([token]) for token in ids]


class _SentencePiece:
    """A SentencePiece model, and sentinels behind it up to `size`; `reads_as` where a Hugging Face folder has it."""

    def __init__(self, path: str, size: int, reads_as: str | None = None):
        import sentencepiece

        if not pathlib.Path(path).exists():
            raise UserError(f"the vocabulary {path} is gone; put it back, or name another in the task and train anew")
        self.model = sentencepiece.SentencePieceProcessor(model_file=path)
        self.known, self.size = self.model.get_piece_size(), size
        self._decoder = None if reads_as is None else sentencepiece_folder.Decoder(self.model, reads_as)

    def encode(self, text: str) -> list[int]:
        return self.model.encode(text)

    def decode(self, ids: Sequence[int]) -> str:
        if self._decoder is not None:
            return self._decoder.decode(ids)
        return self.model.decode([token if token < self.known else self.model.unk_id() for token in ids])

    def pieces(self, ids: Sequence[int]) -> list[str]:
        sentinel = lambda token: f"<extra_id_{self.size - 1 - token}>"
        return [self.model.id_to_piece(token) if token < self.known else sentinel(token) for token in ids]


class _Tokenizer:
    """A folder with a tokenizer.json."""

    def __init__(self, path: str):
        self.folder = TokenizerFolder(path)

    def encode(self, text: str) -> list[int]:
        return self.folder.encode([text])[0]

    def decode(self, ids: Sequence[int]) -> str:
        return self.folder.decode(ids)

    def pieces(self, ids: Sequence[int]) -> list[str]:
        return self.folder.pieces(ids)


class _Asked:
    """Any other vocabulary, which the data process knows."""

    def __init__(self, kind: str, ask: Ask | None, mixture: str):
        if ask is None:
            raise UserError(f"a {kind} vocabulary needs its task's module: add --module and --mixture")
        self._ask = functools.partial(ask, mixture=mixture)

    def encode(self, text: str) -> list[int]:
        return self._ask("encode", texts=[text])[0]

    def decode(self, ids: Sequence[int]) -> str:
        return self._ask("decode", ids=[ids])[0]

    def pieces(self, ids: Sequence[int]) -> list[str]:
        return [self.decode([token]) for token in ids]


class Codec:
    """Encodes and decodes as the tasks' vocabulary does.

    Args:
      description: what `flan_jax.tasks.vocabularies.describe` said.
      ask: answers "encode" and "decode" for vocabularies that only seqio can read (a data process's `call`).
      mixture: whose vocabulary it is to use.
    """

    def __init__(self, description: Mapping[str, Any], ask: Ask | None = None, mixture: str = ""):
        self.description = dict(description)
        self.size: int = description["size"]
        self.eos_id: int = description["eos_id"]
        self.eos_ids: tuple[int, ...] = tuple(description.get("eos_ids") or [self.eos_id])
        self._asked, self._mixture = ask, mixture

    @functools.cached_property
    def _reader(self) -> _Bytes | _SentencePiece | _Tokenizer | _Asked:
        kind: str = self.description["kind"]
        if kind == "byte":
            return _Bytes()
        if kind == "sentencepiece":
            return _SentencePiece(self.description["path"], self.size, self.description.get("reads_as"))
        if kind == "tokenizers":
            return _Tokenizer(self.description["path"])
        return _Asked(kind, self._asked, self._mixture)

    def encode_prompt(self, text: str, prompt_format: str) -> list[int]:
        """Token ids of a prompt in the format that it was trained in, once, without EOS.

        Args:
          text: what is asked; it may have the format already.
          prompt_format: "{}" where the text goes, a chat template's special tokens around it.
        """
        opening, _, closing = prompt_format.partition("{}")
        if not (text.startswith(opening) and text.endswith(closing)):
            text = opening + text + closing
        if isinstance(self._reader, _Tokenizer) and prompt_format != "{}":
            return self._reader.folder.encode_rendered(text)[0]
        return self.encode(text)

    def encode(self, text: str) -> list[int]:
        """Token ids of a text, without EOS."""
        return self._reader.encode(text)

    def decode(self, ids: Sequence[int] | np.ndarray) -> str:
        """The text of token ids, up to the first token that ends an answer; ids below 0 are padding."""
        present = (int(token) for token in ids if token >= 0)
        return self._reader.decode([*itertools.takewhile(lambda token: token not in self.eos_ids, present)])

    def text(self, ids: np.ndarray) -> str:
        """All the text of an example, past the ends of answers; special tokens of a tokenizer.json by their names."""
        if isinstance(self._reader, _Tokenizer):
            return self._reader.folder.rendered(ids)
        turns = np.split(ids, np.flatnonzero(ids == self.eos_id) + 1)
        return "".join(self.decode(turn) for turn in turns)

    def pieces(self, ids: Sequence[int] | np.ndarray) -> list[str]:
        """The written form of each token, for people."""
        return self._reader.pieces([int(token) for token in ids])

"""SentencePiece, word by word: the same ids several times faster, since most words of a text were met before.

Where no piece reaches from one word into the next, byte-pair merges in one word have no say in another, so the ids of a
text are those of its words put together. (A unigram model compares sums of scores over the whole text, whose rounding
makes near ties depend on what stands before: not used for those.)
"""

import itertools
import re

import sentencepiece

SPACE = "▁"
_MOST_WORDS = 500_000  # remembered; a hundred bytes or two each
_BPE = 2
_WORD = re.compile(f"{SPACE}+[^{SPACE}]*|[^{SPACE}]+")


def word_encoder(model: sentencepiece.SentencePieceProcessor) -> "WordEncoder | None":
    """An encoder for a model, None where words cannot be encoded apart."""
    from sentencepiece import sentencepiece_model_pb2 as protos

    proto = protos.ModelProto.FromString(  # type: ignore[attr-defined]
        model.serialized_model_proto()
    )
    pieces = [piece.piece for piece in proto.pieces]
    crossing = any(SPACE in piece.lstrip(SPACE) for piece in pieces)
    if proto.trainer_spec.model_type != _BPE or proto.trainer_spec.treat_whitespace_as_suffix:
        return None
    if crossing or SPACE not in pieces:
        return None
    return WordEncoder(model, proto.normalizer_spec.add_dummy_prefix)


class WordEncoder:
    """Encodes texts word by word.

    Args:
      model: a byte-pair model without pieces that cross words.
      has_prefix: whether it puts a space before every text.
    """

    def __init__(self, model: sentencepiece.SentencePieceProcessor, has_prefix: bool):
        self._model = model
        self._words = _Words(model, has_prefix)

    def encode(self, texts: list[str]) -> list[list[int]]:
        """Ids of each text; those of `model.encode(texts)`."""
        if len(self._words) > _MOST_WORDS:
            self._words.clear()
        ids_of, split = self._words.__getitem__, _WORD.findall
        found = []
        for text, normal in zip(texts, self._model.normalize(texts), strict=True):
            try:
                found.append(list(itertools.chain.from_iterable(map(ids_of, split(normal)))))
            except _Alone:
                found.append(self._model.encode(text))
        return found


class _Alone(Exception):
    """A word whose ids are only right within its text."""


class _Words(dict):
    """Ids by word; a word that is not there is encoded."""

    def __init__(self, model: sentencepiece.SentencePieceProcessor, has_prefix: bool):
        self._model, self._skip = model, len(SPACE) if has_prefix else 0

    def __missing__(self, word: str) -> list[int]:
        text = word[self._skip :].replace(SPACE, " ")
        if self._model.normalize(text) != word:
            raise _Alone
        ids = self[word] = self._model.encode(text)
        return ids

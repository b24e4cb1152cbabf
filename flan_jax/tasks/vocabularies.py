"""Vocabularies by name, path or seqio object, and their tokenisers in plain Python.

A vocabulary is named when a task is declared and read when it is first used.
"""

import functools
import io
import os
import pathlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np
import sentencepiece
import seqio

from flan_jax.errors import UserError
from flan_jax.files import filesystem
from flan_jax.tasks import fingerprints
from flan_jax.tasks.tokenizer_json import TokenizerJsonVocabulary
from flan_jax.tasks.words import word_encoder
from flan_jax.text import sentencepiece_folder
from flan_jax.text.chat_templates import ChatTemplate, answer_ends
from flan_jax.text.tokenizer_folder import SENTENCEPIECE_FILES, TOKENIZER, TokenizerFolder, named_ends
from flan_jax.text.vocabulary_names import BYTES, STARTER

T5_MODEL, LLAMA_MODEL = SENTENCEPIECE_FILES
EXTRA_IDS = 100  # T5's number of sentinels; given to vocabularies that are named by a path
VocabularyLike: TypeAlias = str | os.PathLike[str] | seqio.Vocabulary


def load(vocabulary: VocabularyLike) -> seqio.Vocabulary:
    """Gives the seqio vocabulary; its model file is only read when it is used.

    Args:
      vocabulary: "starter" (the packaged one); "byte" (ByT5's); a path of a SentencePiece model, to which `EXTRA_IDS`
        sentinels are added; a Hugging Face folder, or its tokenizer.json; or a seqio vocabulary, which is given back.
    """
    return vocabulary if isinstance(vocabulary, seqio.Vocabulary) else _load(os.fspath(vocabulary))


@functools.lru_cache(maxsize=256)
def _load(name: str) -> seqio.Vocabulary:
    if name == BYTES:
        return seqio.ByteVocabulary()
    name = model_path(name)
    if os.path.basename(name) == TOKENIZER or os.path.isfile(os.path.join(name, TOKENIZER)):
        return TokenizerJsonVocabulary(name)
    if os.path.isfile(os.path.join(name, T5_MODEL)):
        # mT5's model has its sentinels among its own pieces, and its folder says so.
        count = TokenizerFolder(name).settings.get("extra_ids", EXTRA_IDS)
        return seqio.SentencePieceVocabulary(os.path.join(name, T5_MODEL), extra_ids=int(count))
    if os.path.isfile(os.path.join(name, LLAMA_MODEL)):
        return seqio.SentencePieceVocabulary(os.path.join(name, LLAMA_MODEL))
    if os.path.isdir(name):
        raise UserError(
            f"The folder {name} has no tokenizer ({TOKENIZER}, {T5_MODEL} or {LLAMA_MODEL}); fetch it, or set the "
            "task's vocabulary to another."
        )
    return seqio.SentencePieceVocabulary(name, extra_ids=EXTRA_IDS)


def model_path(name: str) -> str:
    """The model file that a vocabulary's name stands for."""
    if name == STARTER:
        import flan_jax.mixtures  # here, since the starter suite imports this room

        return os.path.join(os.path.dirname(flan_jax.mixtures.__file__), "starter", "starter.model")
    return os.path.expanduser(name)


def describe(vocabulary: VocabularyLike) -> dict[str, Any]:
    """What a reader of the tokens must know of the vocabulary, fit for JSON.

    Returns:
      "kind", "path" (None where it has none), "extra_ids", "size" (with extra ids), "pad_id", "eos_id", "eos_ids" (all
      that end an answer), "unk_id", "reads_as" (of a model's folder with SentencePiece alone: whose tokenizer reads it)
      and "fingerprint" (of its content, the same wherever the file lies).

    Raises:
      UserError: its model file is missing or unreadable.
    """
    vocabulary = load(vocabulary)
    if isinstance(vocabulary, seqio.SentencePieceVocabulary):
        _require(vocabulary)
    described = named(vocabulary) | {
        "size": int(vocabulary.vocab_size),
        "pad_id": int(vocabulary.pad_id),
        "eos_id": None if vocabulary.eos_id is None else int(vocabulary.eos_id),
        "unk_id": None if vocabulary.unk_id is None else int(vocabulary.unk_id),
    }
    folder = _model_folder(vocabulary)
    if folder is not None:
        described["reads_as"] = sentencepiece_folder.reads_as(folder)
    described |= {"extra_ids": int(vocabulary.extra_ids), "eos_ids": list(_ends(vocabulary))}
    return described | {"fingerprint": content_digest(vocabulary)}


def _ends(vocabulary: seqio.Vocabulary) -> tuple[int, ...]:
    """All tokens that end an answer; of a model's folder also those that its settings name."""
    if isinstance(vocabulary, TokenizerJsonVocabulary):
        return answer_ends(vocabulary.tokenizer)
    folder, name = os.path.split(getattr(vocabulary, "sentencepiece_model_file", ""))
    own = () if vocabulary.eos_id is None else (int(vocabulary.eos_id),)
    return tuple(dict.fromkeys(own + (named_ends(folder) if name in SENTENCEPIECE_FILES else ())))


def named(vocabulary: VocabularyLike) -> dict[str, Any]:
    """What is known of a vocabulary without reading it: "kind", "path" and "extra_ids"."""
    vocabulary = load(vocabulary)
    if isinstance(vocabulary, seqio.SentencePieceVocabulary):
        path, kind = vocabulary.sentencepiece_model_file, "sentencepiece"
    elif isinstance(vocabulary, TokenizerJsonVocabulary):
        return {"kind": "tokenizers", "path": str(vocabulary.tokenizer.path), "extra_ids": 0}  # how many, it must read
    else:
        # Bytes are read without seqio too; of a subclass nothing is known but its name.
        path, kind = None, "byte" if type(vocabulary) is seqio.ByteVocabulary else type(vocabulary).__name__
    return {"kind": kind, "path": path, "extra_ids": int(vocabulary.extra_ids)}


def files(described: Mapping[str, Any]) -> list[str]:
    """The files that make a vocabulary, by what `describe` says of it."""
    if described["kind"] == "tokenizers":
        return [str(path) for path in TokenizerFolder(described["path"]).files()]
    return [described["path"]] if described.get("path") else []


def chat_template(vocabulary: VocabularyLike) -> ChatTemplate | None:
    """The chat template that comes with a vocabulary, None where none does.

    Raises:
      UserError: one comes with a SentencePiece model, which does not know the template's special tokens.
    """
    found = load(vocabulary)
    if isinstance(found, TokenizerJsonVocabulary):
        return ChatTemplate.of(found.tokenizer)
    folder, _, name = getattr(found, "sentencepiece_model_file", "").rpartition(os.sep)
    if name in (T5_MODEL, LLAMA_MODEL) and TokenizerFolder(folder).chat_template:
        raise UserError(
            f"The folder {folder} has a chat template and {name}, but no {TOKENIZER}, which says what the template's "
            "special tokens are; have transformers write it: AutoTokenizer.from_pretrained(FOLDER).save_pretrained("
            "FOLDER), or set FORM to 'plain' or take the template out, and conversations are written as User: and "
            "Assistant:."
        )
    return None


def ends_inputs(vocabulary: VocabularyLike) -> bool:
    """Whether the model that a vocabulary comes with reads inputs that end in end-of-sequence, as T5 does."""
    found = load(vocabulary)
    if isinstance(found, TokenizerJsonVocabulary):
        return found.tokenizer.around[1]
    folder = _model_folder(found)
    return folder is not None and _ends_inputs(folder)


@functools.lru_cache(maxsize=64)
def _ends_inputs(folder: pathlib.Path) -> bool:
    return sentencepiece_folder.ends_inputs(folder)


def _model_folder(vocabulary: seqio.Vocabulary) -> pathlib.Path | None:
    """The folder of the model that a SentencePiece vocabulary comes with; None where it comes with none."""
    path = pathlib.Path(getattr(vocabulary, "sentencepiece_model_file", ""))
    return path.parent if path.name in SENTENCEPIECE_FILES and (path.parent / "config.json").is_file() else None


def content_digest(vocabulary: seqio.Vocabulary) -> str:
    """A hash of what turns text into ids; for SentencePiece of the model's bytes, not of its path.

    Raises:
      UserError: its model file is missing or unreadable.
    """
    if isinstance(vocabulary, seqio.SentencePieceVocabulary):
        _require(vocabulary)
    return fingerprints.of_vocabulary(vocabulary)


def _require(vocabulary: seqio.SentencePieceVocabulary) -> None:
    path = vocabulary.sentencepiece_model_file
    try:
        vocabulary.load_model()
    except Exception as error:  # TensorFlow's NotFoundError, protobuf's DecodeError
        why = (
            "does not exist" if not filesystem.matching(path) else f"is no SentencePiece model ({type(error).__name__})"
        )
        raise UserError(
            f"The vocabulary's model file {path} {why}; set the task's vocabulary to a SentencePiece model."
        ) from None


class TooFewTextsError(UserError):
    """Texts from which no vocabulary of the size that was asked for can be learnt."""


class Tokenizer:
    """Turns text into ids and back in batches, with no TensorFlow in between; the ids are those of the seqio
    vocabulary.

    Args:
      vocabulary: as in `load`.

    Attributes:
      vocabulary: the seqio vocabulary.
      eos_id: its end-of-sequence id, or None.
    """

    def __init__(self, vocabulary: VocabularyLike):
        self.vocabulary = load(vocabulary)
        self._model: sentencepiece.SentencePieceProcessor | None = None
        if isinstance(self.vocabulary, seqio.SentencePieceVocabulary):
            _require(self.vocabulary)
            self._model = self.vocabulary.tokenizer
        self._words = None if self._model is None else word_encoder(self._model)
        self.eos_id: int | None = self.vocabulary.eos_id

    def encode(self, texts: list[str]) -> list[list[int]]:
        """Ids of each text, without end-of-sequence."""
        if isinstance(self.vocabulary, TokenizerJsonVocabulary):
            return self.vocabulary.encode_batch(texts)
        if self._words is not None:
            return self._words.encode(texts)
        if self._model is not None:
            # A list goes to a pool of threads, which costs milliseconds to start.
            return self._model.encode(texts) if len(texts) > 32 else [self._model.encode(text) for text in texts]
        return [list(self.vocabulary.encode(text)) for text in texts]

    def encode_rendered(self, text: str) -> tuple[list[int], list[tuple[int, int]]]:
        """Ids of what a chat template has rendered, and the characters that each stands for."""
        assert isinstance(self.vocabulary, TokenizerJsonVocabulary)
        return self.vocabulary.tokenizer.encode_rendered(text)

    def encode_all_rendered(self, texts: list[str]) -> list[list[int]]:
        """Ids of what a chat template has rendered."""
        assert isinstance(self.vocabulary, TokenizerJsonVocabulary)
        return self.vocabulary.tokenizer.encode_all_rendered(texts)

    @functools.cached_property
    def eos_ids(self) -> tuple[int, ...]:
        """All tokens that end an answer."""
        return _ends(self.vocabulary)

    def encode_one(self, text: str) -> list[int]:
        """Ids of one text, without end-of-sequence."""
        return self.encode([text])[0]

    def decode(self, ids: Iterable[int]) -> str:
        """Text of ids without end-of-sequence, of which a conversation has several; zeros at the end are padding."""
        ids = [int(one) for one in ids]
        if isinstance(self.vocabulary, TokenizerJsonVocabulary):
            return self.vocabulary.tokenizer.decode([one for one in ids if one != self.eos_id])
        while ids and ids[-1] == 0:
            ids.pop()
        return self.vocabulary.decode([one for one in ids if one != self.eos_id or self.eos_id is None])

    def decode_all(self, rows: Sequence[Sequence[int]]) -> list[str]:
        """Texts of many rows of ids, each whole but for blanks at its start.

        Special tokens of a tokenizer.json are written by their names, sentinels of a SentencePiece model as unknown.
        """
        if isinstance(self.vocabulary, TokenizerJsonVocabulary):
            return self.vocabulary.tokenizer.all_rendered(rows)
        if self._model is not None:
            return [self._joined(row) for row in rows]
        return [self.vocabulary.decode(list(row)) for row in rows]

    def _joined(self, row: Sequence[int]) -> str:
        """What the SentencePiece model decodes; of plain pieces in a fifth of its time."""
        assert self._model is not None
        try:
            return "".join(map(self._surfaces.__getitem__, row)).lstrip(" ")
        except (TypeError, IndexError):  # a byte, an end, or a sentinel, which stands behind the model's own pieces
            known, unknown = len(self._surfaces), self._model.unk_id()
            return self._model.decode([one if one < known else unknown for one in row])

    @functools.cached_property
    def _surfaces(self) -> list[Any]:
        """The text of each piece of a SentencePiece model that has one of its own, else None."""
        model = self._model
        assert model is not None
        special = [model.is_byte, model.is_control, model.is_unknown]
        size = range(model.get_piece_size())
        return [None if any(one(i) for one in special) else model.id_to_piece(i).replace("\u2581", " ") for i in size]

    def pieces(self, ids: Sequence[int] | np.ndarray) -> list[str]:
        """The piece of text that each id stands for."""
        if self._model is not None:
            return [self._model.id_to_piece(int(one)) for one in ids]
        if isinstance(self.vocabulary, TokenizerJsonVocabulary):
            return self.vocabulary.tokenizer.pieces(ids)
        return [self.vocabulary.decode([int(one)]) for one in ids]

    def prefix(self, text: str, tokens: int, ids: list[int] | None = None) -> str:
        """The beginning of a text that has at most so many tokens, cut where a token ends if the vocabulary allows.

        What is given back is always a prefix of `text` itself, never a normalised form of it.

        Args:
          text: the text.
          tokens: the most tokens.
          ids: the text's ids, where they are known.
        """
        if tokens <= 0:
            return ""
        ids = self.encode_one(text) if ids is None else ids
        if len(ids) <= tokens:
            return text
        for most in range(tokens, max(0, tokens - 3), -1):
            start = self.vocabulary.decode(ids[:most])
            if text.startswith(start) and len(self.encode_one(start)) <= tokens:
                return start
        low, high = 0, len(text)  # the longest fitting prefix by bisection: few texts come this way
        while high - low > 1:
            middle = (low + high) // 2
            low, high = (middle, high) if len(self.encode_one(text[:middle])) <= tokens else (low, middle)
        return text[:low]

    def suffix(self, text: str, tokens: int, ids: list[int] | None = None) -> str:
        """The end of a text that has at most so many tokens; see `prefix`."""
        if tokens <= 0:
            return ""
        ids = self.encode_one(text) if ids is None else ids
        if len(ids) <= tokens:
            return text
        for most in range(tokens, max(0, tokens - 3), -1):
            end = self.vocabulary.decode(ids[-most:])
            if end and text.endswith(end) and len(self.encode_one(end)) <= tokens:
                return end
        low, high = 0, len(text)
        while high - low > 1:
            middle = (low + high) // 2
            low, high = (low, middle) if len(self.encode_one(text[middle:])) <= tokens else (middle, high)
        return text[high:]


@functools.lru_cache(maxsize=64)
def _shared_tokenizer(name: str) -> Tokenizer:
    return Tokenizer(name)


def tokenizer(vocabulary: VocabularyLike) -> Tokenizer:
    """A `Tokenizer`, shared by all who name the same vocabulary by a string."""
    return (
        Tokenizer(vocabulary) if isinstance(vocabulary, seqio.Vocabulary) else _shared_tokenizer(os.fspath(vocabulary))
    )


def train_sentencepiece(
    texts: Iterable[str], size: int, path: str | os.PathLike[str], options: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """Learns a byte-pair SentencePiece model that gives every text back exactly, and writes it to `path`.

    Unknown characters fall back to bytes; nothing is normalised; a line break is a piece of its own. Ids: 0 pads, 1
    ends a sequence, 2 is unknown. The same texts in the same order give the same bytes (one thread).

    Args:
      texts: the texts to learn from.
      size: the number of pieces, bytes and the three special ones among them (at least some 260).
      path: the file to write.
      options: further options of SentencePiece's trainer.

    Returns:
      What `describe` tells of it once it is named as a task's vocabulary.

    Raises:
      TooFewTextsError: the texts are too few for so many pieces.
      UserError: what reading the texts raised.
    """
    settings: dict[str, Any] = dict(
        model_type="bpe",
        vocab_size=size,
        byte_fallback=True,
        pad_id=0,
        eos_id=1,
        unk_id=2,
        bos_id=-1,
        num_threads=1,
        normalization_rule_name="identity",
        remove_extra_whitespaces=False,
        user_defined_symbols=["\n"],
        max_sentence_length=2**20,
        minloglevel=2,
    )
    model, failed = io.BytesIO(), list[UserError]()

    def watched() -> Iterator[str]:
        try:
            yield from texts
        except UserError as error:  # which SentencePiece would tell as a fault of its own
            failed.append(error)
            raise

    try:
        sentencepiece.SentencePieceTrainer.train(
            sentence_iterator=watched(), model_writer=model, **settings | dict(options or {})
        )
    except RuntimeError as error:
        if failed:
            raise failed[0] from None
        reason = str(error).rpartition("] ")[2].strip(" .") or "they hold no text"
        raise TooFewTextsError(
            f"No vocabulary of {size} pieces can be learnt from these texts: {reason}; ask for another --size."
        ) from None
    unfinished = f"{os.fspath(path)}.part{os.getpid()}"
    with open(unfinished, "wb") as file:
        file.write(model.getvalue())
    os.replace(unfinished, path)
    return describe(seqio.SentencePieceVocabulary(os.fspath(path), extra_ids=EXTRA_IDS))

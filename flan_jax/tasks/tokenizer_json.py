"""A seqio vocabulary of a Hugging Face `tokenizer.json`."""

import os
from collections.abc import Iterable, Sequence

import numpy as np
import seqio
import tensorflow as tf

from flan_jax.text.tokenizer_folder import TokenizerFolder


class TokenizerJsonVocabulary(seqio.Vocabulary):
    """Encodes as the folder's tokenizer does, with no token before or after a text.

    Args:
      path: the folder, or the tokenizer.json in it; read when it is first used.
    """

    def __init__(self, path: str | os.PathLike[str]):
        super().__init__()
        self.tokenizer = TokenizerFolder(path)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, TokenizerJsonVocabulary) and (
            self.tokenizer.path == other.tokenizer.path or self.tokenizer.fingerprint == other.tokenizer.fingerprint
        )

    def __hash__(self) -> int:
        return hash(type(self))

    def __str__(self) -> str:
        return f"TokenizerJsonVocabulary({str(self.tokenizer.path)!r})"

    @property
    def extra_ids(self) -> int:
        """T5's sentinels, where it has them."""
        return len(self.tokenizer.sentinels)

    @property
    def bos_id(self) -> int | None:
        """The beginning-of-sequence token, whether or not texts begin with it."""
        return self.tokenizer.token_id("bos_token")

    @property
    def eos_id(self) -> int:
        """The token that ends an answer."""
        return self.tokenizer.eos_id

    @property
    def unk_id(self) -> int | None:
        """The token of what it does not know."""
        return self.tokenizer.token_id("unk_token")

    @property
    def _base_vocab_size(self) -> int:
        return self.tokenizer.size - self.extra_ids

    def encode_batch(self, texts: Sequence[str]) -> list[list[int]]:
        """Ids of each text."""
        return self.tokenizer.encode(texts)

    def _encode(self, s: str) -> list[int]:
        return self.tokenizer.encode([s])[0]

    def _decode(self, ids: Sequence[int]) -> str:
        return self.tokenizer.decode(ids)

    def decode(self, ids: Iterable[int]) -> str:
        """The text of ids up to the first end-of-sequence; a sentinel is written by its name."""
        ids = [int(one) for one in ids]
        return self._decode(ids[: ids.index(self.eos_id)] if self.eos_id in ids else ids)

    def _encode_tf(self, s: tf.Tensor) -> tf.Tensor:
        encode = lambda text: np.array(self._encode(np.asarray(text).item().decode()), np.int32)
        ids = tf.numpy_function(encode, [s], tf.int32)
        ids.set_shape([None])
        return ids

    def _decode_tf(self, ids: tf.Tensor) -> tf.Tensor:
        def decode(rows: np.ndarray) -> np.ndarray:
            texts = [self.decode(row).encode() for row in rows.reshape(-1, rows.shape[-1])]
            return np.array(texts, object).reshape(rows.shape[:-1])

        text = tf.numpy_function(decode, [ids], tf.string)
        text.set_shape(ids.shape[:-1])
        return text

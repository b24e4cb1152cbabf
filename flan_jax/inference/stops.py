"""Texts that end an answer, wherever tokens begin and end."""

from collections.abc import Callable, Sequence

import numpy as np


class Stops:
    """Finds out where answers end by their text.

    Args:
      texts: what ends an answer.
      decode: the text of token ids.
    """

    def __init__(self, texts: Sequence[str], decode: Callable[[np.ndarray], str]):
        self.texts, self.decode = tuple(texts), decode

    def ended(self, tokens: np.ndarray) -> np.ndarray:
        """Whether each row of tokens [B, N], -1 where there are none, holds a stop.

        >>> letters = lambda ids: "".join(chr(i) for i in ids)
        >>> Stops(["b"], letters).ended(np.array([[97, 98], [97, -1]])).tolist()
        [True, False]
        """
        return np.array([self._held(row[row >= 0]) for row in tokens], bool)

    def length(self, tokens: np.ndarray) -> int:
        """How many tokens there are up to and with the one that completes the first stop.

        >>> letters = lambda ids: "".join(chr(i) for i in ids)
        >>> Stops(["bc"], letters).length(np.array([97, 98, 99, 100]))
        3
        """
        if not self._held(tokens):
            return len(tokens)
        # Text only grows with tokens, but for what a piece of a letter decodes to; so the least count is found by
        # halving, and then by single steps.
        low, high = 0, len(tokens)
        while high - low > 1:
            middle = (low + high) // 2
            low, high = (low, middle) if self._held(tokens[:middle]) else (middle, high)
        return high

    def without(self, text: str) -> str:
        """The text before the first stop.

        >>> Stops(["b", "cd"], str).without("acdb")
        'a'
        """
        return text[: min([len(text), *(text.find(stop) for stop in self.texts if stop in text)])]

    def _held(self, tokens: np.ndarray) -> bool:
        text = self.decode(tokens)
        return any(stop in text for stop in self.texts)

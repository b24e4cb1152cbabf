"""Noise in the words of a prompt's fields: typing errors, for models that are to be asked by people who make them, and
words left out.

The old mill was turned into a library.      ->      The odl mill was turend into a library.
The old mill was turned into a library.      ->      The mill was turned into library.
"""

import re
from collections.abc import Iterator

_WORDS = re.compile(r"(?<!\S)\w+(?=[\W_]*(?:\s|$))")  # words by themselves: no part of an address, a number or a name
_ROWS = ("qwertyuiop", "asdfghjkl", "zxcvbnm")
_BESIDE = {
    letter: row[max(0, place - 1) : place] + row[place + 1 : place + 2]
    for row in _ROWS
    for place, letter in enumerate(row)
}
_SHORTEST = 3  # letters of a word that can still be told after an error
_PRECISION = 2**32
_WITH_BLANKS = re.compile(r"\s*\S+")


def with_typos(text: str, share: float, stream: Iterator[int]) -> str:
    """A text in which about a share of the words has an error: two letters swapped, one left out, doubled, of another
    case, or the one beside it on the keyboard.

    Args:
      text: any text. Words of fewer than 3 letters, and what holds other signs than letters, stay as they are.
      share: of the words that can have one, from 0 to 1.
      stream: random 64-bit integers; two are used for each such word.

    >>> with_typos("the old mill, see http://mill.org or call 555-0100", 1.0, iter([0] * 99))
    'hte lod imll, ese http://mill.org or acll 555-0100'
    """

    def spoilt(match: re.Match[str]) -> str:
        word = match.group()
        if len(word) < _SHORTEST or not word.isalpha():
            return word
        chance, how = next(stream), next(stream)
        return _with_one(word, how) if chance % _PRECISION < share * _PRECISION else word

    return _WORDS.sub(spoilt, text)


def without_some_words(text: str, share: float, stream: Iterator[int]) -> str:
    """A text from which about a share of the words is left out; where that would be all of them, none is.

    Args:
      text: any text; a word is what stands between blanks.
      share: of the words, from 0 to 1.
      stream: random 64-bit integers; one is used for each word.

    >>> without_some_words("the old mill was sold", 0.5, iter([2**31, 0, 2**31, 2**31, 0]))
    'the mill was'
    """
    words = _WITH_BLANKS.findall(text)
    kept = [number for number in range(len(words)) if next(stream) % _PRECISION >= share * _PRECISION]
    if len(kept) in (0, len(words)):
        return text
    left = "".join(words[number] for number in kept)
    return left if kept[0] == 0 else left.lstrip()


def _with_one(word: str, how: int) -> str:
    """A word with an error, which one and where drawn from the digits of `how`."""
    kind, place = how % 5, how // 5 % (len(word) - 1)
    before, one, other, after = word[:place], word[place], word[place + 1], word[place + 2 :]
    if kind == 0:
        return before + other + one + after
    if kind == 1:
        return before + one + after
    if kind == 2:
        return before + one + one + other + after
    if kind == 3:
        return before + one.swapcase() + other + after
    near = _BESIDE.get(one.lower(), one)
    return before + near[how // 5 // len(word) % len(near)] + other + after

"""The scores of Super-Natural Instructions, as its published evaluation has them: ROUGE-L and exact match.

Both are means over instances, the best reference counting for each figure by itself. Exact match forgives case,
punctuation and blanks, but no articles.
"""

import dataclasses
import functools
import os
import string
import unicodedata
from collections.abc import Callable, Sequence
from typing import Any

from flan_jax.errors import UserError
from flan_jax.tasks.answer_metrics import Target, check_counts, references

_PUNCTUATION = str.maketrans("", "", string.punctuation)
_SPACE_MARK = "Ġ"  # how GPT-2's vocabulary writes the blank before a word
# Scripts that put no blanks between words, by the beginning of their letters' names in Unicode.
_UNSPACED = ("CJK", "HIRAGANA", "KATAKANA", "THAI", "LAO", "KHMER", "MYANMAR", "TIBETAN")


def super_ni(targets: Sequence[Target], predictions: Sequence[str]) -> dict[str, float]:
    """ROUGE-L (F1, stemmed) and exact match of answers in English, as the published evaluation has them.

    >>> {name: round(value, 2) for name, value in super_ni([["A cat sat.", "cats"]], ["a cat sat"]).items()}
    {'rougeL': 100.0, 'exact_match': 100.0}
    """
    from rouge_score import rouge_scorer

    return _means("rougeL", rouge_scorer.RougeScorer(["rougeL"], use_stemmer=True), targets, predictions)


@dataclasses.dataclass(frozen=True)
class CrossLingual:
    """ROUGE-L and exact match of answers in any language: the cross-lingual track of Super-Natural Instructions.

    The published evaluation tells pieces of answers apart by GPT-2's vocabulary; with that at hand the figures are its
    own, called "rougeL". Without it words are told apart by Unicode, and characters in scripts that have no blanks
    between words; that figure is called "rougeL_unicode", and compares with nobody else's.

    Attributes:
      gpt2: a folder with GPT-2's `tokenizer.json` in it, or that file; None where there is none.
    """

    gpt2: str | None = None
    __name__ = "super_ni_xlingual"
    unit = "%"

    def __call__(self, targets: Sequence[Target], predictions: Sequence[str]) -> dict[str, float]:
        """The figures of a task's answers.

        Raises:
          UserError: there is no tokenizer where `gpt2` says.
        """
        from rouge_score import rouge_scorer

        cut: Callable[[str], list[str]] = _gpt2(self.gpt2) if self.gpt2 else words
        name = "rougeL" if self.gpt2 else "rougeL_unicode"
        return _means(name, rouge_scorer.RougeScorer(["rougeL"], tokenizer=_Cut(cut)), targets, predictions)


@dataclasses.dataclass(frozen=True)
class _Cut:
    """What the package `rouge-score` takes for a tokenizer."""

    tokenize: Callable[[str], list[str]]


@functools.lru_cache(maxsize=1)
def _gpt2(place: str) -> Callable[[str], list[str]]:
    import tokenizers

    path = os.path.join(place, "tokenizer.json") if os.path.isdir(place) else place
    if not os.path.isfile(path):
        raise UserError(f"There is no {path}; gpt2= wants GPT-2's tokenizer.json, or the folder that it is in.")
    try:
        tokenizer = tokenizers.Tokenizer.from_file(path)
    except Exception as error:  # whatever that library makes of it
        raise UserError(f"{path} cannot be read as a tokenizer ({error}); GPT-2's tokenizer.json is wanted.") from None
    return lambda text: [piece.lstrip(_SPACE_MARK) for piece in tokenizer.encode(text, add_special_tokens=False).tokens]


def words(text: str) -> list[str]:
    """The words of a text in any script, in lower case; each character is one where blanks do not part words.

    >>> words("Él vio 2 gatos. 猫が")
    ['él', 'vio', '2', 'gatos', '猫', 'が']
    """
    found, word = [], ""
    for letter in text.lower():
        kept = unicodedata.category(letter)[0] in "LMN"
        alone = kept and not letter.isascii() and unicodedata.name(letter, "").startswith(_UNSPACED)
        if word and (alone or not kept):
            found.append(word)
            word = ""
        if alone:
            found.append(letter)
        elif kept:
            word += letter
    return [*found, word] if word else found


def _means(name: str, scorer: Any, targets: Sequence[Target], predictions: Sequence[str]) -> dict[str, float]:
    check_counts(targets, predictions)
    rouge = exact = 0.0
    for target, prediction in zip(targets, predictions, strict=True):
        wanted = references(target)
        rouge += max(scorer.score(one, prediction)["rougeL"].fmeasure for one in wanted)
        exact += _plain(prediction) in map(_plain, wanted)
    count = max(1, len(targets))
    return {name: 100.0 * rouge / count, "exact_match": 100.0 * exact / count}


def _plain(text: str) -> str:
    return " ".join(text.lower().translate(_PUNCTUATION).split())

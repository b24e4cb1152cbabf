"""Metrics of short answers: accuracy, and SQuAD's exact match and F1.

A target is a text or a list of texts that are all right; then the best of them counts. Figures are percentages.
"""

import collections
import re
import string
from collections.abc import Callable, Sequence

from flan_jax.errors import UserError

Target = str | Sequence[str]

_ARTICLES = re.compile(r"\b(a|an|the)\b")
_PUNCTUATION = str.maketrans("", "", string.punctuation)


def check_counts(targets: Sequence[object], predictions: Sequence[object]) -> None:
    """Refuses another number of predictions than of targets.

    Raises:
      UserError: they differ.
    """
    if len(targets) != len(predictions):
        raise UserError(
            f"There are {len(targets)} targets and {len(predictions)} predictions; give one prediction an example."
        )


def references(target: Target) -> Sequence[str]:
    """All right answers of a target."""
    return [target] if isinstance(target, str) else target


def _best(targets: Sequence[Target], predictions: Sequence[str], score: Callable[[str, str], float]) -> float:
    check_counts(targets, predictions)
    if not targets:
        return float("nan")
    total = 0.0
    for target, prediction in zip(targets, predictions, strict=True):
        total += max(score(reference, prediction) for reference in references(target))
    return 100.0 * total / len(targets)


def accuracy(targets: Sequence[Target], predictions: Sequence[str]) -> dict[str, float]:
    """Percentage of predictions that equal a target, but for blanks at the ends.

    >>> accuracy(["yes", "no"], ["yes ", "yes"])
    {'accuracy': 50.0}
    """
    return {"accuracy": _best(targets, predictions, lambda target, prediction: target.strip() == prediction.strip())}


def normalise(text: str) -> str:
    """Lower case, without punctuation, English articles and superfluous blanks, as SQuAD's evaluation has it.

    >>> normalise("The  cat, sat.")
    'cat sat'
    """
    return " ".join(_ARTICLES.sub(" ", text.lower().translate(_PUNCTUATION)).split())


def _same(target: str, prediction: str) -> bool:
    wanted, given = normalise(target), normalise(prediction)
    # An answer that is all punctuation or an article ("+", "A") normalises to nothing: compare it as it stands.
    return wanted == given if wanted and given else target.strip() == prediction.strip()


def exact_match(targets: Sequence[Target], predictions: Sequence[str]) -> dict[str, float]:
    """Percentage of predictions that equal a target once both are normalised.

    >>> exact_match([["A cat", "dog"]], ["cat."])
    {'exact_match': 100.0}
    """
    return {"exact_match": _best(targets, predictions, _same)}


def _overlap(target: str, prediction: str) -> float:
    wanted, given = normalise(target).split(), normalise(prediction).split()
    if not wanted or not given:
        return float(_same(target, prediction))
    shared = sum((collections.Counter(wanted) & collections.Counter(given)).values())
    return 2.0 * shared / (len(wanted) + len(given))


def f1(targets: Sequence[Target], predictions: Sequence[str]) -> dict[str, float]:
    """Mean percentage of the harmonic mean of precision and recall over normalised words.

    >>> f1(["red green"], ["green blue"])
    {'f1': 50.0}
    """
    return {"f1": _best(targets, predictions, _overlap)}

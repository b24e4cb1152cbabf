"""Metrics of short answers: accuracy, SQuAD's exact match and F1, and the answer that a chain of thought comes to.

A target is a text or a list of texts that are all right; then the best of them counts. Figures are percentages.
"""

import collections
import re
import string
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from flan_jax.errors import UserError

Target = str | Sequence[str]

_ARTICLES = re.compile(r"\b(a|an|the)\b")
_TOLD = r"(?:(?:final |right |correct )?answer(?: is:?|:)|####)[ \t]*"
_BEGINS = re.compile(rf"\s*(?:the |my )?{_TOLD}(\S.*)", re.I)
_ENDS = re.compile(rf"(?:\b|(?=#)){_TOLD}(\S.*)", re.I)
_NUMBER = re.compile(r"[-+]?\d+(?:\.\d+)?")
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


def answer_in(text: str) -> str:
    """The answer that a text comes to: after "the answer is", "answer:" or "####", where it begins so or else says so
    last, up to the line's end; the whole text where it never does.

    >>> answer_in("60 / 6 = 10 a minute.\\nSo the answer is 10."), answer_in("The answer is no.\\nIt is not.")
    ('10', 'no')
    """
    if not (found := _BEGINS.match(text)):
        for found in _ENDS.finditer(text):  # noqa: B007
            pass
    return (found.group(1) if found else text).strip().removesuffix(".").strip()


def final_answer(targets: Sequence[Any], predictions: Sequence[str]) -> dict[str, float]:
    """Percentage of predictions that come to the right answer, however they reason; numbers by their value.

    Of a task with a `metric_field` that field holds the right answer, or a list of such; else it is read from targets
    as from predictions.

    >>> final_answer(["3 + 4 = 7. So the answer is 7."], ["Four and three make seven. The answer is 7.0"])
    {'final_answer': 100.0}
    """
    wanted = [_wanted(target) for target in targets]
    return {"final_answer": _best(wanted, [answer_in(prediction) for prediction in predictions], _comes_to)}


def _wanted(target: Any) -> list[str]:
    if isinstance(target, Mapping):
        field = target["field"]
        return [str(one) for one in field] if isinstance(field, list | tuple) else [str(field)]
    return [answer_in(reference) for reference in references(target)]


def _comes_to(target: str, prediction: str) -> float:
    wanted, given = _number(target), _number(prediction)
    return float(wanted == given if wanted is not None and given is not None else _same(target, prediction))


def _number(text: str) -> float | None:
    """The value of a text that is a number, with what currencies and thousands add to it."""
    bare = re.sub(r"[\s,$€£%]", "", text)
    return float(bare) if _NUMBER.fullmatch(bare) else None

"""Metrics of written text, by the packages that publish them: ROUGE, BLEU and chrF; and the edit distance."""

from collections.abc import Sequence
from typing import Any

from flan_jax.tasks.answer_metrics import Target, check_counts, references


def rouge(targets: Sequence[Target], predictions: Sequence[str]) -> dict[str, float]:
    """Mean percentage F1 of ROUGE-1, -2, -L and -Lsum with stemming (the package `rouge-score`).

    Of several references the one with the best figure counts, for each figure by itself. For ROUGE-Lsum a sentence ends
    at a line's end or at " . ", as in the summarisation tasks of T5.

    >>> {name: round(value, 2) for name, value in rouge(["a cat sat"], ["a cat ran"]).items()}
    {'rougeLsum': 66.67, 'rouge1': 66.67, 'rouge2': 50.0, 'rougeL': 66.67}
    """
    from rouge_score import rouge_scorer

    check_counts(targets, predictions)
    names = ["rougeLsum", "rouge1", "rouge2", "rougeL"]
    scorer, totals = rouge_scorer.RougeScorer(names, use_stemmer=True), dict.fromkeys(names, 0.0)
    for target, prediction in zip(targets, predictions, strict=True):
        found = [scorer.score(_sentences(one), _sentences(prediction)) for one in references(target)]
        for name in names:
            totals[name] += max(one[name].fmeasure for one in found)
    return {name: 100.0 * total / max(1, len(targets)) for name, total in totals.items()}


def _sentences(text: str) -> str:
    return text.replace(" . ", " .\n")


def bleu(targets: Sequence[Target], predictions: Sequence[str]) -> dict[str, float]:
    """BLEU and chrF of a corpus (the package `sacrebleu`), words told apart in its international way, as FLAN has it.

    >>> bleu(["the cat sat on the mat"], ["the cat sat on the mat"])
    {'bleu': 100.0, 'chrf': 100.0}
    """
    import sacrebleu

    check_counts(targets, predictions)
    every = [list(references(target)) for target in targets]
    most = max(map(len, every), default=1)
    streams: Any = [[one[number] if number < len(one) else None for one in every] for number in range(most)]
    words = sacrebleu.corpus_bleu(predictions, streams, tokenize="intl").score
    letters = sacrebleu.corpus_chrf(predictions, streams).score
    return {"bleu": round(words, 10), "chrf": round(letters, 10)}


def edit_distance(targets: Sequence[Target], predictions: Sequence[str]) -> dict[str, float]:
    """The mean number of words that have to be put in, taken out or exchanged; less is better.

    >>> edit_distance(["He left. She stayed."], ["he left. She stayed"])
    {'edit_distance': 2.0}
    """
    check_counts(targets, predictions)
    total = 0
    for target, prediction in zip(targets, predictions, strict=True):
        total += min(_edits(one.split(), prediction.split()) for one in references(target))
    return {"edit_distance": total / max(1, len(targets))}


def _edits(wanted: Sequence[str], given: Sequence[str]) -> int:
    """Levenshtein's distance, a row of its table at a time."""
    row = list(range(len(given) + 1))
    for number, word in enumerate(wanted, 1):
        before, row[0] = row[0], number
        for place, other in enumerate(given, 1):
            before, row[place] = row[place], min(row[place] + 1, row[place - 1] + 1, before + (word != other))
    return row[-1]

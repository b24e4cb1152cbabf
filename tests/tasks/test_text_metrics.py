"""Compared with the packages that publish the scores, called one example at a time, and with figures by hand."""

import sacrebleu
from pytest import approx
from rouge_score import rouge_scorer

from flan_jax.tasks.text_metrics import bleu, edit_distance, rouge

TARGETS = [
    "The council voted to close the old bridge . Repairs will take a year .",
    ["A red bird sat on the fence.", "On the fence there was a red bird."],
    "Nothing was found.",
]
PREDICTIONS = ["The old bridge closes . Repairs take two years .", "There was a bird on the fence.", ""]


def test_rouge_is_the_packages_mean_over_examples_with_the_best_reference_of_each():
    scorer = rouge_scorer.RougeScorer(["rouge1", "rouge2", "rougeL"], use_stemmer=True)
    references = [[one] if isinstance(one, str) else one for one in TARGETS]
    found = rouge(TARGETS, PREDICTIONS)
    for name in ("rouge1", "rouge2", "rougeL"):
        best = [
            max(scorer.score(one, prediction)[name].fmeasure for one in every)
            for every, prediction in zip(references, PREDICTIONS, strict=True)
        ]
        assert found[name] == approx(100 * sum(best) / 3)
    assert next(iter(found)) == "rougeLsum"


def test_rouge_lsum_takes_sentence_by_sentence():
    """Two sentences in the other order: each is found whole by Lsum, and only one of them by L."""
    found = rouge(["one two three . four five six ."], ["four five six . one two three ."])
    assert found["rougeLsum"] == 100.0 and found["rougeL"] == 50.0


def test_bleu_and_chrf_take_as_many_references_as_an_example_has():
    targets, predictions = [TARGETS[0], TARGETS[1]], PREDICTIONS[:2]
    streams = [[TARGETS[0], TARGETS[1][0]], [TARGETS[0], TARGETS[1][1]]]  # the same reference twice counts once
    found = bleu(targets, predictions)
    assert found["bleu"] == approx(sacrebleu.corpus_bleu(predictions, streams, tokenize="intl").score)
    assert found["chrf"] == approx(sacrebleu.corpus_chrf(predictions, streams).score)
    # Punctuation is a word of its own in any script.
    assert bleu(["今日は。 晴れ です ね"], ["今日は 。 晴れ です ね"])["bleu"] == 100.0


def test_edit_distance_counts_words_put_in_taken_out_and_exchanged():
    assert edit_distance(["a b c d"], ["a x c"]) == {"edit_distance": 2.0}
    assert edit_distance([["a b", "x y z"], "q"], ["x y", ""]) == {"edit_distance": 1.0}
    assert edit_distance([], []) == {"edit_distance": 0.0}

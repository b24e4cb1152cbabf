"""STS-B (GLUE): how near two sentences are in meaning, from 0 to 5.

Sentence A: A man is slicing bread.
Sentence B: Someone is cutting a loaf of bread.
How similar are they in meaning, from 0 (not at all) to 5 (entirely)?
OPTIONS:
- 0
- 1
- 2
- 3
- 4
- 5
→ 4
"""

from typing import Any

from flan_jax.mixtures.flan2021.declaring import flan_task
from flan_jax.tasks import Corpus, Hub, Template


def _rounded(row: dict[str, Any]) -> dict[str, Any]:
    """The mark to train on is a whole number; the true one, a mean of several people's, is scored against."""
    sentences = {name: row[name] for name in ("sentence1", "sentence2")}
    return {**sentences, "answer": str(round(row["label"])), "score": row["label"]}


_STSB = flan_task(
    name="stsb",
    cluster="paraphrase",
    source=Corpus(
        "stsb",
        tfds="glue/stsb:2.0.0",
        hub=Hub("nyu-mll/glue", "stsb", is_sorted=True),  # by the kind of text
        splits={"train": "train[:-100]", "validation": "train[-100:]", "test": "validation"},
        rows={"train": 5_749, "validation": 1_500},
        sample={
            "sentence1": "A man is slicing bread.",
            "sentence2": "Someone is cutting a loaf of bread.",
            "label": 4.2,
            "idx": 0,
        },
    ),
    options=("0", "1", "2", "3", "4", "5"),
    shuffle_options=False,
    preprocess=_rounded,
    metrics=("pearson",),
    metric_field="score",
    templates=(
        "Sentence A: {sentence1}\nSentence B: {sentence2}\nHow similar are they in meaning, from 0 (not at all) to 5 "
        "(entirely)?\n{options}",
        "Rate how much these two have in common, on a scale from 0 to 5.\n- {sentence1}\n- {sentence2}\n{options}",
        "{sentence1}\n{sentence2}\n\nGive a mark for how close these lines are, 5 being identical in meaning and 0 "
        "unrelated.\n{options}",
        'I say "{sentence1}" You say "{sentence2}" From 0 to 5, how much alike is what we say?\n{options}',
        "Score this paraphrase. One that keeps the whole meaning gets 5, one on another subject gets 0.\nSource: "
        "{sentence1}\nParaphrase: {sentence2}\n{options}",
        'To what degree does "{sentence2}" mean "{sentence1}"? Pick a whole number from 0 to 5.\n{options}',
        "Ignore the wording and compare the content.\n\n{sentence1}\n\n{sentence2}\n\nWhich number fits, if 0 stands "
        "for far apart and 5 for equal?\n{options}",
        "Searched for: {sentence1}\nFound: {sentence2}\nHow good a match is it, from 0 to 5?\n{options}",
        "Judge how near the second sentence comes to the first one (0 = nowhere near, 5 = no difference).\nFirst: "
        "{sentence1}\nSecond: {sentence2}\n{options}",
        "{sentence1} That is what I meant. What I wrote was this: {sentence2} How well, on a scale of 0 to 5, does it "
        "express the same?\n{options}",
    ),
    inverted_templates=(
        (
            "{sentence1}\n\nWrite a sentence that is like this one in meaning to the degree {answer}, where 0 is the "
            "least and 5 the most.",
            "{sentence2}",
        ),
        (
            "A sentence got {answer} out of 5 points for meaning the same as this one. What might it be?\n{sentence2}",
            "{sentence1}",
        ),
        Template("Write one short sentence, such as a caption or a headline.", "{sentence1}", "open"),
    ),
    held_out_templates=(
        "Marking sheet\nModel answer: {sentence1}\nPupil's answer: {sentence2}\nHow many points out of 5 for the right "
        "meaning?\n{options}",
        "If a 5 says that two lines can be swapped freely and a 0 that they have nothing to do with each other, what "
        "do these get?\n> {sentence1}\n> {sentence2}\n{options}",
    ),
)

TASKS = (_STSB,)

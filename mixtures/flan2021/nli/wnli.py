"""WNLI (GLUE): whether a sentence stays right when a pronoun in it is replaced.

Tom thanked Bill because he had lent him a tent.
Does that mean the following? Bill had lent him a tent.
OPTIONS:
- no
- yes
→ yes
"""

from flan_jax.mixtures.flan2021.declaring import flan_task
from flan_jax.tasks import Corpus, Hub

_WNLI = flan_task(
    name="wnli",
    cluster="nli",
    source=Corpus(
        "wnli",
        tfds="glue/wnli:2.0.0",
        hub=Hub("nyu-mll/glue", "wnli"),
        splits={"train": "train[:-30]", "validation": "train[-30:]", "test": "validation"},
        rows={"train": 635, "validation": 71},
        sample={
            "sentence1": "Tom thanked Bill because he had lent him a tent.",
            "sentence2": "Bill had lent him a tent.",
            "label": 1,
            "idx": 0,
        },
    ),
    options=("no", "yes"),
    answer="label",
    templates=(
        "{sentence1}\nDoes that mean the following? {sentence2}\n{options}",
        "Work out whom or what the pronouns stand for in the first sentence, then say if the second one follows.\n"
        "First: {sentence1}\nSecond: {sentence2}\n{options}",
        'Is it right to read "{sentence1}" as "{sentence2}"?\n{options}',
        'If I write "{sentence1}", am I saying this too? {sentence2}\n{options}',
        "Story: {sentence1}\nClaim: {sentence2}\nIn the story, is the claim true?\n{options}",
        '{sentence2} Can we know that from "{sentence1}"?\n{options}',
        "A translator has to make sense of this line: {sentence1}\nShe understands it like this: {sentence2}\nHas she "
        "got it right?\n{options}",
        "Use common sense. {sentence1} So: {sentence2} Correct?\n{options}",
        "Sentence A: {sentence1}\nSentence B: {sentence2}\n\nSuppose A is true. Must B be true?\n{options}",
        "Decide whether the second line spells out a part of the first one correctly.\n- {sentence1}\n- {sentence2}\n"
        "{options}",
    ),
    inverted_templates=(
        ("{sentence1}\nWrite a short sentence on this. Does it have to follow from it? {answer}", "{sentence2}"),
        ('Make up a sentence with a pronoun in it. Should it imply "{sentence2}"? {answer}', "{sentence1}"),
    ),
    held_out_templates=(
        "Two people argue over a sentence: {sentence1} One of them is sure: {sentence2} The other one will not have "
        "it. Is the first one right?\n{options}",
        "Grammar puzzle\n  The line: {sentence1}\n  One way to take it: {sentence2}\nDo you agree?\n{options}",
    ),
)

TASKS = (_WNLI,)

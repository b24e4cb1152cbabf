"""PAWS-Wiki: whether two sentences of nearly the same words mean the same.

The two lines below share most of their words. Do they share their meaning too?
The tower was painted by the elder brother and sold by the younger one .
The tower was painted by the younger brother and sold by the elder one .
OPTIONS:
- no
- yes
→ no
"""

from flan_jax.mixtures.flan2021.declaring import flan_task
from flan_jax.tasks import Corpus, Hub

_PAWS = flan_task(
    name="paws_wiki",
    cluster="paraphrase",
    source=Corpus(
        "paws_wiki",
        tfds="paws_wiki:1.1.0",
        hub=Hub("google-research-datasets/paws", "labeled_final"),
        splits={"train": "train[:30000]", "validation": "validation[:200]", "test": "test"},
        rows={"train": 49_401, "validation": 8_000, "test": 8_000},
        sample={
            "sentence1": "The tower was painted by the elder brother and sold by the younger one .",
            "sentence2": "The tower was painted by the younger brother and sold by the elder one .",
            "label": 0,
        },
    ),
    options=("no", "yes"),
    answer="label",
    templates=(
        "Sentence one: {sentence1}\nSentence two: {sentence2}\nIs the meaning of both the same?\n{options}",
        "The two lines below share most of their words. Do they share their meaning too?\n{sentence1}\n{sentence2}\n"
        "{options}",
        "{sentence1}\n\nIs this a correct paraphrase of it? {sentence2}\n{options}",
        'Mind the order of the words. Does "{sentence2}" state the same facts as "{sentence1}"?\n{options}',
        "An encyclopedia says: {sentence1}\nA copy of it says: {sentence2}\nHas the meaning survived?\n{options}",
        "Tell me if A and B could replace each other in an article.\nA: {sentence1}\nB: {sentence2}\n{options}",
        'For my line "{sentence1}" a student of mine has written "{sentence2}" Does it still say the same?\n{options}',
        "Old version: {sentence1}\nNew version: {sentence2}\n\nDecide whether they agree in every point.\n{options}",
        '{sentence1} Or, in other words: {sentence2} Is "in other words" rightly used here?\n{options}',
        "- {sentence1}\n- {sentence2}\nIs each of these true whenever the other one is?\n{options}",
    ),
    inverted_templates=(
        ("{sentence1}\n\nRearrange or reword this. Is the meaning to stay the same? {answer}", "{sentence2}"),
        (
            "Write a sentence that looks much like the following. Should it also mean the same? {answer}\n{sentence2}",
            "{sentence1}",
        ),
    ),
    held_out_templates=(
        "Some sentences are twins in what they say, others merely look alike. Are these two twins?\n* {sentence1}\n* "
        "{sentence2}\n{options}",
        'Let X be what "{sentence1}" tells us, and Y what "{sentence2}" does. Is X equal to Y?\n{options}',
    ),
)

TASKS = (_PAWS,)

"""WSC (SuperGLUE): whether a pronoun of a text refers to a noun of it.

Tom took the lamp off the shelf and painted it green.
Does "it" refer to "the shelf" here?
OPTIONS:
- no
- yes
→ no
"""

import re

from flan_jax.mixtures.flan2021.declaring import flan_task
from flan_jax.tasks import Corpus, Hub
from flan_jax.tasks.sources import Row


def _fields(row: Row) -> Row:
    """`marked` is the text with the pronoun in brackets, which is found by its word's number."""
    text, pronoun = row["text"], row["span2_text"].rstrip(".")
    word = [found.start() for found in re.finditer(r"\S+", text)][row["span2_index"]]
    start = max(word, text.lower().find(pronoun.lower(), word))  # the word may begin with a quotation mark
    end = start + len(pronoun)
    marked = f"{text[:start]}[{text[start:end]}]{text[end:]}"
    return {
        "text": text,
        "marked": marked,
        "noun": row["span1_text"].rstrip("."),
        "pronoun": pronoun,
        "label": row["label"],
    }


_WSC = flan_task(
    name="wsc",
    cluster="coreference",
    source=Corpus(
        "wsc",
        tfds="super_glue/wsc:1.0.2",
        hub=Hub("aps/super_glue", "wsc"),
        splits={"train": "train[:-50]", "validation": "train[-50:]", "test": "validation"},
        rows={"train": 554, "validation": 104},
        sample={
            "text": "Tom took the lamp off the shelf and painted it green.",
            "span1_text": "the shelf",
            "span2_text": "it",
            "span1_index": 5,
            "span2_index": 9,
            "label": 0,
            "idx": 0,
        },
    ),
    preprocess=_fields,
    options=("no", "yes"),
    answer="label",
    templates=(
        '{text}\nDoes "{pronoun}" refer to "{noun}" here?\n{options}',
        "Look at the word in brackets.\n\n{marked}\n\nDoes it mean {noun}?\n{options}",
        "Text: {text}\nPhrase: {noun}\nPronoun: {pronoun}\nDo the two name the same person or thing?\n{options}",
        'Is "{noun}" who or what is meant by [{pronoun}] in this passage? {marked}\n{options}',
        'They say that "{pronoun}" stands for "{noun}" in the passage below. Are they right?\n\n{text}\n\n{options}',
        '{marked}\nCould one write "{noun}" for the bracketed word without changing what is said?\n{options}',
        'Yes or no: when one says "{text}", are "{pronoun}" and "{noun}" the same?',
        'Decide whether the pronoun "{pronoun}" points back to "{noun}".\n{text}\n{options}',
        "I have just read this: {marked}\nAm I right to think that [{pronoun}] is {noun}?\n{options}",
        'Answer yes if "{pronoun}" and "{noun}" belong together in the following text, and no if they do not.\n{text}',
    ),
    held_out_templates=(
        '{marked}\n[{pronoun}] == "{noun}"?\n{options}',
        'You told the police: "{text}" When you said "{pronoun}", did you mean "{noun}"?\nGive the reply of an honest '
        "witness.\n{options}",
    ),
)

TASKS = (_WSC,)

"""Gigaword: the headline of an article, from its first sentence.

the harbour of old port was closed to all ships on monday after divers found an unexploded bomb near the main pier .

Shorten this sentence to a headline.
→ harbour closed after divers find bomb
"""

import re
from typing import Any

from flan_jax.mixtures.flan2021.declaring import flan_task
from flan_jax.tasks import Corpus, Hub

_MASKED = re.compile(r"#|\bunk\b", re.IGNORECASE)  # digits and rare words


def _readable(row: dict[str, Any]) -> dict[str, Any] | None:
    return None if _MASKED.search(f"{row['document']} {row['summary']}") else row


_GIGAWORD = flan_task(
    name="gigaword",
    cluster="summarization",
    source=Corpus(
        "gigaword",
        tfds="gigaword:1.2.0",
        hub=Hub("Harvard/gigaword"),
        splits={"train": "train[:30000]", "validation": "validation[:200]", "test": "test"},
        rows={"train": 3803957, "validation": 189651, "test": 1951},
        sample={
            "document": "the harbour of old port was closed to all ships on monday after divers found an unexploded "
            "bomb near the main pier .",
            "summary": "harbour closed after divers find bomb",
        },
    ),
    preprocess=_readable,
    answer="summary",
    metrics=("rouge",),
    templates=(
        "{document}\n\nShorten this sentence to a headline.",
        "Write a title for an article that begins like this: {document}",
        "Opening sentence: {document}\nHeadline:",
        "What would a newspaper print in large letters above the following?\n\n{document}",
        "Can you boil this down to about eight words? {document}",
        "{document}\nIn short:",
        "summarize in one line, all in lower case: {document}",
        "The news agency reports: {document}\nThere is room for one short line on the front page. What does it say?",
    ),
    inverted_templates=(
        ("headline: {answer}\nWrite the first sentence of the article.", "{document}"),
        ('A paper carries the headline "{answer}". How might the report begin?', "{document}"),
    ),
    held_out_templates=(
        "Give the essence of this text as a news ticker would. >>> {document}",
        "Long version: {document}\n\nNow the short version, without any detail that can be spared:",
    ),
)

TASKS = (_GIGAWORD,)

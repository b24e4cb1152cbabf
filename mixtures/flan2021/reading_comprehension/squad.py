"""SQuAD: questions about paragraphs of Wikipedia, answered in their words; in version 2 some have no answer there.

Title: Harbour light
Context: The light was first lit in 1871. It was built of local granite and ran on oil until 1932.
Q: What was the light built of?
A: → local granite
"""

from typing import Any

from flan_jax.mixtures.flan2021.declaring import flan_task
from flan_jax.tasks import Corpus, Hub

_SPLITS = {"train": "train[:30000]", "validation": "train[-200:]", "test": "validation"}
_TEXTS = {
    "id": "sample",
    "title": "Harbour_light",
    "context": "The light was first lit in 1871. It was built of local granite and ran on oil until 1932.",
}


def _fields(row: dict[str, Any]) -> dict[str, Any]:
    return {
        "title": row["title"].replace("_", " "),
        "context": row["context"],
        "question": row["question"],
        "answers": row["answers"]["text"] or ["unanswerable"],  # only those of version 2 may have none
    }


_INVERTED = (
    ('{context}\n\nAsk a question about this paragraph to which the answer is "{answer}".', "{question}"),
    ('On a test about the passage below, "{answer}" is marked as right. What was asked?\n\n{context}', "{question}"),
)

_SQUAD_V1 = flan_task(
    name="squad_v1",
    cluster="reading_comprehension",
    source=Corpus(
        "squad_v1",
        tfds="squad/v1.1:3.0.0",
        hub=Hub("rajpurkar/squad", "plain_text", is_sorted=True),  # by article
        splits=_SPLITS,
        rows={"train": 87_599, "validation": 10_570},
        sample={
            **_TEXTS,
            "question": "What was the light built of?",
            "answers": {"text": ["local granite", "granite"], "answer_start": [49, 55]},
        },
    ),
    preprocess=_fields,
    answer="answers",
    metrics=("f1", "exact_match"),
    trim_field="context",
    templates=(
        "Title: {title}\nContext: {context}\nQ: {question}\nA:",
        "{context}\n\n{question} Take the answer from the text above.",
        "Here is part of an article on {title}.\n{context}\n\nQuestion: {question}\nShort answer:",
        "{question}\n\nFind that out from this paragraph:\n{context}",
        "Read the paragraph and reply in its own words.\n\nParagraph: {context}\n\n{question}",
        "Which words of the text answer this? {question}\n\nText: {context}",
        "{context}\nSomebody who has just read this asks you: {question}\nWhat do you say?",
        "I'm writing about {title} and lack one detail: {question} Can you get it out of this?\n{context}",
        "Quiz on {title}: {question} You will see it somewhere in here.\n\n{context}\n\nWrite down the few words it "
        "takes.",
    ),
    inverted_templates=_INVERTED,
    held_out_templates=(
        "Extract a span.\n[passage] {context}\n[question] {question}\n[span]",
        "You have one paragraph on {title} to go by: {context} Now tell me, quoting from it as little as possible: "
        "{question}",
    ),
)

_SQUAD_V2 = flan_task(
    name="squad_v2",
    cluster="reading_comprehension",
    source=Corpus(
        "squad_v2",
        tfds="squad/v2.0:3.0.0",
        hub=Hub("rajpurkar/squad_v2", "squad_v2", is_sorted=True),  # by article
        splits=_SPLITS,
        rows={"train": 130_319, "validation": 11_873},
        sample={**_TEXTS, "question": "Who built the light?", "answers": {"text": [], "answer_start": []}},
    ),
    preprocess=_fields,
    answer="answers",
    metrics=("f1", "exact_match"),
    trim_field="context",
    templates=(
        '{context}\n\n{question} If the text does not say, reply "unanswerable".',
        'Answer from the passage, or write "unanswerable" where it is of no help.\n\nPassage: {context}\nQuestion: '
        "{question}",
        "{question}\nFind out from the paragraph on {title} below, or call the question unanswerable.\n\n{context}",
        "Text on {title}: {context}\n\nQ: {question} (or is that unanswerable?)\nA:",
        'Not every question about this text can be answered with it; for those that cannot, say "unanswerable".\n'
        "{context}\nWhat about this one? {question}",
        "Can you answer this from the text below? {question} If so, do it in its words; if not, just say "
        '"unanswerable".\n\n{context}',
        "Article: {title}\nExtract: {context}\nQuestion: {question}\nAnswer (or unanswerable):",
        "Don't guess: what this paragraph leaves open is unanswerable.\n\n{context}\n\nHere is the question: "
        "{question}",
        "These are all my notes on {title}.\n{context}\nCan you help me with this? {question} Quote the bit that "
        'settles it, or else put "unanswerable".',
    ),
    inverted_templates=_INVERTED,
    held_out_templates=(
        "Search the page.\n--- {title} ---\n{context}\n--- end of page ---\nLooking for: {question}\nNothing found? "
        'Then return "unanswerable".',
        "A reader has this paragraph and no other source: {context} The reader asks: {question} Reply with the words "
        "that answer it, or with unanswerable as the only word where none do.",
    ),
)

TASKS = (_SQUAD_V1, _SQUAD_V2)

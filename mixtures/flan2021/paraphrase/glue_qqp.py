"""QQP (GLUE): whether two questions from Quora ask the same.

Are these questions asking the same thing?
- How do I get rid of moss on a roof?
- What is the best way to remove moss from roof tiles?
OPTIONS:
- no
- yes
→ yes
"""

from typing import Any

from flan_jax.mixtures.flan2021.declaring import flan_task
from flan_jax.tasks import Corpus, Hub, Template, binary_f1


def _questions(row: dict[str, Any]) -> dict[str, Any] | None:
    """Undoes the doubling of quotation marks, a leftover of the file's format; leaves out rows without a question."""
    first, second = (row[name].replace('""', "'").strip() for name in ("question1", "question2"))
    return {"question1": first, "question2": second, "label": row["label"]} if first and second else None


_QQP = flan_task(
    name="glue_qqp",
    cluster="paraphrase",
    source=Corpus(
        "glue_qqp",
        tfds="glue/qqp:2.0.0",
        hub=Hub("nyu-mll/glue", "qqp"),
        splits={"train": "train[:30000]", "validation": "train[-200:]", "test": "validation"},
        rows={"train": 363_846, "validation": 40_430},
        sample={
            "question1": "How do I get rid of moss on a roof?",
            "question2": "What is the best way to remove moss from roof tiles?",
            "label": 1,
            "idx": 0,
        },
    ),
    options=("no", "yes"),
    answer="label",
    preprocess=_questions,
    metrics=("accuracy", binary_f1("yes")),
    templates=(
        "Are these questions asking the same thing?\n- {question1}\n- {question2}\n{options}",
        "Question A: {question1}\nQuestion B: {question2}\nWould one answer do for both?\n{options}",
        "{question1}\n{question2}\n\nIs either of these two a duplicate of the other?\n{options}",
        'The question "{question1}" came up in a forum. Should it be merged with "{question2}"?\n{options}',
        'I have an answer to "{question1}" already. Does it settle "{question2}" as well?\n{options}',
        "Do not answer these questions; say only if they mean the same.\n1) {question1}\n2) {question2}\n{options}",
        'If I rephrase "{question1}" as "{question2}", do I still ask for the same information?\n{options}',
        "New post: {question1}\nOlder post: {question2}\nSo is the new one a repeat?\n{options}",
        "Compare what the askers are after.\n{question1}\nversus\n{question2}\nSame intent?\n{options}",
        'Is "{question2}" just another way to put "{question1}"?\n{options}',
    ),
    inverted_templates=(
        ("Here is a question: {question1}\nWrite a second one. Must it ask the same? {answer}", "{question2}"),
        (
            "{question2}\n\nA forum shows a related question beside it. Is it marked as a duplicate? {answer}\nGuess "
            "which question it is.",
            "{question1}",
        ),
        Template("Write a question that people might post in an online forum.", "{question1}", "open"),
    ),
    held_out_templates=(
        "Two visitors come to the help desk. First visitor: {question1} Second visitor: {question2} Can the clerk tell "
        "both of them the same?\n{options}",
        'same_meaning("{question1}", "{question2}")\nThis function returns yes for questions that ask the same, no for '
        "all others. What does it return here?",
    ),
)

TASKS = (_QQP,)

"""DROP: questions about a paragraph that take counting, sorting or arithmetic.

Passage: The fair sold 1,200 tickets in 2015 and 1,850 in 2016. In 2017 it rained, and only 900 were sold.
Question: How many more tickets were sold in 2016 than in 2015?
Answer: → 650
"""

from typing import Any

from flan_jax.mixtures.flan2021.declaring import flan_task
from flan_jax.tasks import Corpus, Hub


def _fields(row: dict[str, Any]) -> dict[str, Any] | None:
    answers = [answer for answer in (row["answer"], *row["validated_answers"]) if answer]
    return {"passage": row["passage"], "question": row["question"], "answers": answers} if answers else None


def _from_hub(row: dict[str, Any]) -> dict[str, Any]:
    answer, *others = row["answers_spans"]["spans"]
    same = {field: row[field] for field in ("passage", "question", "query_id")}
    return {**same, "answer": answer, "validated_answers": others}


_TEXTS = {
    "passage": "The fair sold 1,200 tickets in 2015 and 1,850 in 2016. In 2017 it rained, and only 900 were sold.",
    "question": "How many more tickets were sold in 2016 than in 2015?",
    "query_id": "sample0",
}

_DROP = flan_task(
    name="drop",
    cluster="reading_comprehension",
    source=Corpus(
        "drop",
        tfds="drop:2.0.0",
        hub=Hub(
            "ucinlp/drop",
            splits={"dev": "validation"},
            row=_from_hub,
            sample={
                **_TEXTS,
                "section_id": "sample",
                "answers_spans": {"spans": ["650", "650 tickets"], "types": ["number", "span"]},
            },
            is_sorted=True,  # by kind of text
        ),
        splits={"train": "train[:30000]", "validation": "train[-200:]", "test": "dev"},
        rows={"train": 77_409, "dev": 9536},
        sample={**_TEXTS, "answer": "650", "validated_answers": ["650 tickets"]},
    ),
    preprocess=_fields,
    answer="answers",
    metrics=("f1", "exact_match"),
    trim_field="passage",
    templates=(
        "Passage: {passage}\nQuestion: {question}\nAnswer:",
        "{passage}\n\n{question} Keep the answer as short as you can.",
        "Work this out from the text; you may have to count or calculate.\n\n{question}\n\n{passage}",
        "{question} Find what you need in these lines:\n{passage}",
        "Here is a report.\n{passage}\n\nA colleague wants to know: {question} What do you tell her?",
        "Text: {passage}\n\nQ: {question}\nThink it over first, then write down just the result.\nA:",
        "{passage}\n{question}\nPutting the facts together, the answer is",
        "Answer from the paragraph alone: {question}\n\nParagraph: {passage}",
        "Reading exercise\n\n{passage}\n\nTask: {question}\nSolution:",
    ),
    inverted_templates=(
        ("{passage}\n\nMake up a question about this passage that has the answer {answer}.", "{question}"),
        (
            'Somebody read the text below and rightly said "{answer}". What had they been asked?\n\n{passage}',
            "{question}",
        ),
    ),
    held_out_templates=(
        "There is one thing I can't make out after reading this page: {question} Could you help? The page says: "
        "{passage}",
        "<passage>\n{passage}\n</passage>\n<question>\n{question}\n</question>\nReturn nothing but the answer.",
    ),
)

TASKS = (_DROP,)

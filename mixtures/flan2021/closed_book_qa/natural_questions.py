"""Natural Questions (open): questions that people typed into a search engine, to be answered from memory.

Question: what is the highest mountain outside asia?
Answer: → Aconcagua
"""

from typing import Any

from flan_jax.mixtures.flan2021.declaring import flan_task
from flan_jax.tasks import Corpus, Hub


def _fields(row: dict[str, Any]) -> dict[str, Any]:
    return {**row, "question": row["question"].rstrip(" ?") + "?"}  # they were typed without one


_NATURAL_QUESTIONS = flan_task(
    name="natural_questions",
    cluster="closed_book_qa",
    source=Corpus(
        "natural_questions",
        tfds="natural_questions_open:1.0.0",
        hub=Hub("google-research-datasets/nq_open", "nq_open"),
        splits={"train": "train[:30000]", "validation": "train[-200:]", "test": "validation"},
        rows={"train": 87_925, "validation": 3610},
        sample={
            "question": "what is the highest mountain outside asia",
            "answer": ["Aconcagua", "Mount Aconcagua"],
        },
    ),
    preprocess=_fields,
    metrics=("exact_match", "f1"),
    templates=(
        "Question: {question}\nAnswer:",
        "{question} A few words will do as an answer.",
        "Please answer this for me: {question}",
        'I typed "{question}" into a search engine. What should come up first, in short?',
        "Do you happen to know this? {question}",
        "q: {question}\na:",
        "From memory, without looking anything up: {question}\nThe answer is",
        "A man on the train wants to know: {question} What do you tell him?",
        "Give a brief, factual reply.\n\n{question}",
        "{question}\n\nState just the name, date, number or phrase.",
    ),
    inverted_templates=(
        ('What could people be searching for when the result they need is "{answer}"?', "{question}"),
        ("To find out: {answer}\nWrite a search query, worded as a question, that leads to it.", "{question}"),
    ),
    held_out_templates=(
        'You work at the enquiry desk of a library, and the phone rings: "{question}" Your response, kept as short as '
        "can be:",
        "Fill in the missing cell of the table.\n| query | short answer |\n| {question} |",
    ),
)

TASKS = (_NATURAL_QUESTIONS,)

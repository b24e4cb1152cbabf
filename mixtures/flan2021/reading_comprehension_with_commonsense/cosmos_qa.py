"""Cosmos QA: questions about everyday stories whose answers stand between the lines.

I got up at five and drove two hours to the coast. By noon the wind was so strong that no boat left the harbour.

Reading between the lines: Why may I have driven to the coast?
What is most likely?
OPTIONS:
- I wanted to go out on a boat.
- I wanted to buy a new car.
- I had missed the last train home.
- None of the above choices .
→ I wanted to go out on a boat.
"""

from typing import Any

from flan_jax.mixtures.flan2021.declaring import flan_task
from flan_jax.tasks import Corpus, Hub


def _fields(row: dict[str, Any]) -> dict[str, Any] | None:
    if row["label"] < 0:
        return None
    choices = [row[f"answer{number}"] for number in range(4)]
    return {
        "context": row["context"],
        "question": row["question"],
        "choices": choices,
        "answer": choices[row["label"]],
    }


_COSMOS_QA = flan_task(
    name="cosmos_qa",
    cluster="reading_comprehension_with_commonsense",
    source=Corpus(
        "cosmos_qa",
        tfds="cosmos_qa:1.0.0",
        hub=Hub("allenai/cosmos_qa"),
        splits={"train": "train[:-200]", "validation": "train[-200:]", "test": "validation"},
        rows={"train": 25_262, "validation": 2985},
        sample={
            "context": "I got up at five and drove two hours to the coast. By noon the wind was so strong that no boat "
            "left the harbour.",
            "question": "Why may I have driven to the coast?",
            "answer0": "I wanted to go out on a boat.",
            "answer1": "I wanted to buy a new car.",
            "answer2": "I had missed the last train home.",
            "answer3": "None of the above choices .",
            "label": 0,
            "id": "sample",
        },
    ),
    preprocess=_fields,
    options="choices",
    chance=0.25,
    trim_field="context",
    templates=(
        "{context}\n\nReading between the lines: {question}\nWhat is most likely?\n{options}",
        "Read this blog post and give the most plausible answer.\n\nPost: {context}\nQuestion: {question}\n{options}",
        "{question}\nAll you have to go on is this:\n{context}\nWhat would you say?\n{options}",
        "Someone tells you: {context}\n\nThen you are asked: {question} How do you respond?\n{options}",
        "Use common sense as well as the text.\n\nText: {context}\nQ: {question}\n{options}\nA:",
        "{context}\nIt is not stated outright, but try to work it out: {question}\n{options}",
        "I don't know what to make of this story. {context} {question} Any idea?\n{options}",
        "Story: {context}\nInfer the answer to this from the story: {question}\n{options}",
        'Here is a question about the diary entry that follows it. {question}\n\n"{context}"\n\nWhich reply makes most '
        "sense?\n{options}",
    ),
    inverted_templates=(
        ("{context}\n\nWhat question about this text could be answered as follows? {answer}", "{question}"),
        ("Question: {question}\nAnswer: {answer}\nWrite the short story that they are about.", "{context}"),
    ),
    held_out_templates=(
        "Situation: {context} / Question: {question} / Best conclusion?\n{options}",
        "Put yourself in the place of the person who wrote the lines below. The person is asked: {question} What is "
        "the most sensible thing to reply?\n\n{context}\n\n{options}",
    ),
)

TASKS = (_COSMOS_QA,)

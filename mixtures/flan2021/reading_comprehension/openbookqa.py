"""OpenBookQA: questions of elementary science, each with the fact of an open book that it rests on.

We know this: metals conduct heat well
What follows? A spoon left in a pot of soup is too hot to hold. It is most likely made of
OPTIONS:
- wood
- steel
- plastic
- bone
→ steel
"""

from typing import Any

from flan_jax.mixtures.flan2021.declaring import flan_task
from flan_jax.tasks import Corpus, Hub


def _fields(row: dict[str, Any]) -> dict[str, Any]:
    choices = [row["question"][f"choice_{letter}"] for letter in "ABCD"]
    return {
        "question": row["question"]["stem"],
        "fact": row["fact1"],
        "choices": choices,
        "answer": choices[row["answerKey"]],
    }


def _from_hub(row: dict[str, Any]) -> dict[str, Any]:
    choices = {f"choice_{letter}": text for letter, text in zip("ABCD", row["choices"]["text"], strict=True)}
    return {
        "question": {"stem": row["question_stem"], **choices},
        "fact1": row["fact1"],
        "answerKey": "ABCD".index(row["answerKey"]),
    }


_OPENBOOKQA = flan_task(
    name="openbookqa",
    cluster="reading_comprehension",
    source=Corpus(
        "openbookqa",
        tfds="openbookqa:0.1.0",
        hub=Hub(
            "allenai/openbookqa",
            "additional",
            row=_from_hub,
            sample={
                "id": "sample",
                "question_stem": "A spoon left in a pot of soup is too hot to hold. It is most likely made of",
                "choices": {"text": ["wood", "steel", "plastic", "bone"], "label": ["A", "B", "C", "D"]},
                "answerKey": "B",
                "fact1": "metals conduct heat well",
            },
        ),
        splits={"train": "train", "validation": "validation[:200]", "test": "test"},
        rows={"train": 4957, "validation": 500, "test": 500},
        sample={
            "question": {
                "stem": "A spoon left in a pot of soup is too hot to hold. It is most likely made of",
                "choice_A": "wood",
                "choice_B": "steel",
                "choice_C": "plastic",
                "choice_D": "bone",
            },
            "fact1": "metals conduct heat well",
            "answerKey": 1,
        },
    ),
    preprocess=_fields,
    options="choices",
    chance=0.25,
    templates=(
        "We know this: {fact}\nWhat follows? {question}\n{options}",
        "{question}\nHint: {fact}\nWhich answer is right?\n{options}",
        "A science book says: {fact}\nUse that line to answer or to complete this.\n\n{question}\n\n{options}",
        "{fact}\n\nWith that in mind, what would you say here? {question}\n{options}",
        "Science quiz\n{question}\n(Remember: {fact})\nYour answer:\n{options}",
        "{question}\n{options}\nIt may help to know that {fact}. What is your answer?",
        "My son's homework: {question}\nIn the lesson they learned that {fact}. What should he put down?\n{options}",
        "Core fact: {fact}\nProblem: {question}\nSolve the problem with the help of the core fact.\n{options}",
    ),
    inverted_templates=(
        ("Question: {question}\nAnswer: {answer}\nWhich scientific fact explains that answer?", "{fact}"),
        (
            "Write a test item that shows whether pupils know that {fact}. The right answer to it is: {answer}",
            "{question}",
        ),
    ),
    held_out_templates=(
        'Open-book exam. The one line you may look up reads "{fact}". How do you deal with the following item?\n'
        "{question}\n{options}",
        "If {fact}, then which ending or reply fits this best: {question}\n{options}",
    ),
)

TASKS = (_OPENBOOKQA,)

"""ARC: science questions from school exams, the easy ones and those that looking up words does not solve.

Answer this science question.

Which of these gives off light of its own?

OPTIONS:
- the Moon
- a mirror
- the Sun
- a window
→ the Sun
"""

from typing import Any

from flan_jax.mixtures.flan2021.declaring import flan_task
from flan_jax.tasks import Corpus, Hub, InstructionTask


def _fields(row: dict[str, Any]) -> dict[str, Any] | None:
    choices = row["choices"]["text"]
    if len(choices) != 4:  # a few have three or five
        return None
    return {"question": row["question"], "choices": choices, "answer": choices[row["answerKey"]]}


def _from_hub(row: dict[str, Any]) -> dict[str, Any]:
    number = lambda mark: "12345".index(mark) if mark.isdigit() else "ABCDE".index(mark)
    choices = {"text": row["choices"]["text"], "label": [number(mark) for mark in row["choices"]["label"]]}
    return {**row, "choices": choices, "answerKey": number(row["answerKey"])}


_TEMPLATES = (
    "{question}\n{options}\nWhat is the right answer?",
    "Answer this science question.\n\n{question}\n\n{options}",
    "This was asked in a school test: {question}\nHow would you reply?\n{options}",
    "Q: {question}\n{options}\nA:",
    "{question} I really can't decide. Could you help me?\n{options}",
    "You are sitting an exam. The next problem reads as follows: {question} Give the best solution.\n{options}",
    "My daughter has this for homework:\n{question}\nWhat should she put down?\n{options}",
    "For ten points in the category science and nature, say what fits: {question}\n{options}",
    "{question}\n\nThink back to your science lessons before you respond.\n{options}",
)
_INVERTED = (
    ("Write a science question for schoolchildren that has this answer: {answer}", "{question}"),
    ('Someone scored in a science quiz by saying "{answer}". What might the question have been?', "{question}"),
)
_HELD_OUT = (
    "Teacher: {question}\nWhat does a well-prepared pupil say to that?\n{options}",
    'Of all that one could reply to "{question}", just one thing is correct. Name it.\n{options}',
)


def _arc(kind: str, rows: dict[str, int], question: str, choices: list[str], answer: int) -> InstructionTask:
    sample = {
        "id": "sample",
        "question": question,
        "choices": {"text": choices, "label": [0, 1, 2, 3]},
        "answerKey": answer,
    }
    on_hub = {"choices": {"text": choices, "label": ["A", "B", "C", "D"]}, "answerKey": "ABCD"[answer]}
    return flan_task(
        name=f"arc_{kind.lower()}",
        cluster="closed_book_qa",
        source=Corpus(
            f"arc_{kind.lower()}",
            tfds=f"ai2_arc/ARC-{kind}:1.0.0",
            hub=Hub("allenai/ai2_arc", f"ARC-{kind}", row=_from_hub, sample={**sample, **on_hub}),
            splits={"train": "train[:-200]", "validation": "train[-200:]", "test": "test"},
            rows=rows,
            sample=sample,
        ),
        preprocess=_fields,
        options="choices",
        chance=0.25,
        templates=_TEMPLATES,
        inverted_templates=_INVERTED,
        held_out_templates=_HELD_OUT,
    )


_EASY = _arc(
    "Easy",
    rows={"train": 2251, "test": 2376},
    question="Which of these gives off light of its own?",
    choices=["the Moon", "a mirror", "the Sun", "a window"],
    answer=2,
)
_CHALLENGE = _arc(
    "Challenge",
    rows={"train": 1119, "test": 1172},
    question="A dish of salt water is left on a sunny sill for a week. What is found in it at the end?",
    choices=["fresh water", "salt", "ice", "nothing"],
    answer=1,
)

TASKS = (_EASY, _CHALLENGE)

"""Mathematics Dataset: linear equations in one unknown.

Maths homework: Solve 3*k - 7 = k + 9 for k.
What is the result?
→ 8
"""

from flan_jax.mixtures.flan2021.declaring import flan_task
from flan_jax.tasks import Corpus, Hub
from flan_jax.tasks.sources import Row


def _from_hub(row: Row) -> Row:
    r"""Texts there read "b'Solve 3*k = 9 for k.\n'"."""
    return {field: row[field].removeprefix("b'").removesuffix("'").removesuffix(r"\n") for field in row}


_MATH_DATASET = flan_task(
    name="math_dataset",
    cluster="miscellaneous",
    source=Corpus(
        "math_dataset",
        tfds="math_dataset/algebra__linear_1d:1.0.0",
        hub=Hub(
            "deepmind/math_dataset",
            "algebra__linear_1d",
            row=_from_hub,
            sample={"question": r"b'Solve 3*k - 7 = k + 9 for k.\n'", "answer": r"b'8\n'"},
            is_sorted=True,  # the easy ones come first
        ),
        splits={"train": "train[:30000]", "validation": "train[-200:]", "test": "test"},
        rows={"train": 1_999_998, "test": 10_000},
        sample={"question": "Solve 3*k - 7 = k + 9 for k.", "answer": "8"},
    ),
    metrics=("exact_match",),
    templates=(
        "Maths homework: {question}\nWhat is the result?",
        "{question}\nAnswer:",
        "Work out the unknown and give only the number.\n{question}",
        "Which number makes the equation in this exercise true?\n\n{question}",
        "{question} Write down nothing but the value.",
        "I can't get this one right: {question} Could you tell me what comes out?",
        'The teacher says: "{question}" One pupil has it right. What did she say?',
        "Algebra quiz\n- {question}\n- The solution is",
        "Please do the following sum for me. {question} Reply with a number.",
    ),
    inverted_templates=(
        ("Invent a linear equation in one unknown that {answer} solves.", "{question}"),
        ("The solution of an algebra problem is {answer}. What might the problem be?", "{question}"),
    ),
    held_out_templates=(
        "Be my calculator for a moment and find this: {question}",
        "Problem set 4, no. 2\n\n{question}\n\nFinal value:",
    ),
)

TASKS = (_MATH_DATASET,)

"""BoolQ: yes/no questions that people typed into a search engine, with a paragraph that answers them.

The common swift spends most of its life in the air. It eats, drinks and even sleeps on the wing.

Now answer: can a swift sleep while flying?
OPTIONS:
- no
- yes
→ yes
"""

from typing import Any

from flan_jax.mixtures.flan2021.declaring import flan_task
from flan_jax.tasks import Corpus, Hub


def _fields(row: dict[str, Any]) -> dict[str, Any]:
    question = row["question"].rstrip(" ?") + "?"  # they were typed without one
    return {"passage": row["passage"], "question": question, "answer": int(row["answer"])}


_BOOL_Q = flan_task(
    name="bool_q",
    cluster="reading_comprehension",
    source=Corpus(
        "bool_q",
        tfds="bool_q:1.0.0",
        hub=Hub("google/boolq"),
        splits={"train": "train[:-200]", "validation": "train[-200:]", "test": "validation"},
        rows={"train": 9427, "validation": 3270},
        sample={
            "passage": "The common swift spends most of its life in the air. It eats, drinks and even sleeps on the "
            "wing.",
            "question": "can a swift sleep while flying",
            "answer": True,
        },
    ),
    preprocess=_fields,
    options=("no", "yes"),
    trim_field="passage",
    templates=(
        "{passage}\n\nNow answer: {question}\n{options}",
        "Read this passage and reply to the question about it.\n\nPassage: {passage}\nQuestion: {question}\n{options}",
        "{question} Use the text below to decide.\n\n{passage}\n\n{options}",
        "Going by the text that follows, {question} Reply briefly.\n\n{passage}\n{options}",
        "I looked this up: {question}\nHere is what I found: {passage}\nSo what is the answer?\n{options}",
        "Text: {passage}\nQ: {question} (yes or no)\nA:",
        "{passage}\nA reader of this asks you: {question}\nWhat do you tell them?\n{options}",
        "Question: {question}\nSource: {passage}\nIs it yes or no, going by the source?",
        "Somebody knows nothing but this paragraph. What is the right reply to the question?\n\nParagraph: {passage}\n"
        "Question: {question}\n{options}",
    ),
    inverted_templates=(
        ("{passage}\n\nWrite a question about this text that can be answered with {answer}.", "{question}"),
        (
            'I need a quiz question to which the answer is "{answer}". What could I ask about this?\n{passage}',
            "{question}",
        ),
    ),
    held_out_templates=(
        "Check something for me. My question is this: {question} And this is my evidence: {passage} What is your "
        "verdict?\n{options}",
        "# Context\n{passage}\n\n# Question\n{question}\n\n# Your answer, in one word\n{options}",
    ),
)

TASKS = (_BOOL_Q,)

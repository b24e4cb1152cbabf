"""TriviaQA: quiz questions, to be answered from memory; an answer may go by several names.

Trivia question: Which metal is liquid at room temperature?
What is the answer? → Mercury (or Quicksilver, or Hg)
"""

from typing import Any

from flan_jax.mixtures.flan2021.declaring import flan_task
from flan_jax.tasks import Corpus, Hub


def _fields(row: dict[str, Any]) -> dict[str, Any] | None:
    answer = row["answer"]
    if answer["value"] == "<unk>":
        return None
    return {"question": row["question"], "answers": [answer["value"], *answer["aliases"]]}


_TRIVIA_QA = flan_task(
    name="trivia_qa",
    cluster="closed_book_qa",
    source=Corpus(
        "trivia_qa",
        tfds="trivia_qa/rc:1.1.0",
        hub=Hub("mandarjoshi/trivia_qa", "rc.nocontext", is_sorted=True),  # by where its texts are from
        splits={"train": "train[:30000]", "validation": "train[-200:]", "test": "validation"},
        rows={"train": 138_384, "validation": 18_669},
        sample={
            "question": "Which metal is liquid at room temperature?",
            "question_id": "sample",
            "question_source": "https://quiz.example.org/",
            "answer": {
                "value": "Mercury",
                "aliases": ["Mercury", "Quicksilver", "Hg"],
                "normalized_value": "mercury",
                "normalized_aliases": ["hg", "mercury", "quicksilver"],
                "matched_wiki_entity_name": "",
                "normalized_matched_wiki_entity_name": "",
                "type": "WikipediaEntity",
            },
        },
    ),
    preprocess=_fields,
    answer="answers",
    metrics=("exact_match", "f1"),
    templates=(
        "Trivia question: {question}\nWhat is the answer?",
        "{question}\nAnswer:",
        "It's quiz night! {question} Write your team's guess on the sheet:",
        "Name what is asked for.\n{question}",
        "Here's one that came up in the pub. {question} Any idea?",
        "Q) {question}\nA)",
        "With a name or a short phrase, respond to this: {question}",
        "I'm stuck on the last item of a quiz, which goes: {question} Do you know it?",
        "{question} Reply with the answer and nothing else.",
        "A contestant hears the following. {question}\nThe contestant wins by saying",
    ),
    inverted_templates=(
        ("The back of a quiz card says {answer}. What is on the front?", "{question}"),
        ('Make up a trivia question for which people should get a point if they answer "{answer}".', "{question}"),
    ),
    held_out_templates=(
        "Show host: {question}\nCaller (who gets it right):",
        "General knowledge, round 1\n  Item 1. {question}\nKey to round 1\n  Item 1:",
    ),
)

TASKS = (_TRIVIA_QA,)

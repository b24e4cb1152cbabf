"""MultiRC (SuperGLUE): whether an answer to a question about a paragraph is right; several may be.

Maya left at seven to catch the early bus. At the stop she saw that her lunch was still at home, so she ran back, and
the bus went without her.

Question: Why did Maya miss the bus?
Proposed answer: She went back for her lunch.
Is that answer right?
OPTIONS:
- no
- yes
→ yes
"""

from typing import Any

from flan_jax.mixtures.flan2021.declaring import flan_task
from flan_jax.tasks import Corpus, Hub


def _fields(row: dict[str, Any]) -> dict[str, Any]:
    return {
        "paragraph": row["paragraph"],
        "question": row["question"],
        "response": row["answer"],
        "label": row["label"],
        "question_id": f"paragraph {row['idx']['paragraph']}, question {row['idx']['question']}",
    }


_MULTIRC = flan_task(
    name="multirc",
    cluster="reading_comprehension",
    source=Corpus(
        "multirc",
        tfds="super_glue/multirc:1.0.2",
        hub=Hub("aps/super_glue", "multirc"),
        splits={"train": "train[:-200]", "validation": "train[-200:]", "test": "validation"},
        rows={"train": 27_243, "validation": 4848},
        sample={
            "paragraph": "Maya left at seven to catch the early bus. At the stop she saw that her lunch was still at "
            "home, so she ran back, and the bus went without her.",
            "question": "Why did Maya miss the bus?",
            "answer": "She went back for her lunch.",
            "label": 1,
            "idx": {"paragraph": 0, "question": 0, "answer": 0},
        },
    ),
    preprocess=_fields,
    options=("no", "yes"),
    answer="label",
    metrics=("multirc",),
    metric_field="question_id",
    trim_field="paragraph",
    templates=(
        "{paragraph}\n\nQuestion: {question}\nProposed answer: {response}\nIs that answer right?\n{options}",
        "Read the text, then judge a reply to a question about it.\n\nText: {paragraph}\nQ: {question}\nA: {response}\n"
        "\nIs A correct?\n{options}",
        "{question}\nA pupil wrote: {response}\nShould the teacher accept that, going by the text below?\n\n"
        "{paragraph}\n\n{options}",
        "{paragraph}\nOne reader asked, another replied. Was the reply right?\n- {question}\n- {response}\n{options}",
        "More than one answer may be right. What about this one, yes or no?\nParagraph: {paragraph}\n"
        "Question: {question}\nCandidate: {response}\n{options}",
        "I was asked: {question}\nI said: {response}\nThis is what I had read: {paragraph}\nDid I get it right?\n"
        "{options}",
        "Suppose that all of the following is true.\n{paragraph}\nSomeone asks: {question}\nWould it be correct to "
        "tell them this? {response}\n{options}",
        "Source: {paragraph}\n\nQ. {question}\nA. {response}\n\nDoes the source bear the answer out? Say yes or no.",
        "Given the passage, does the reply answer the question? Just yes or no, please.\nPassage: {paragraph}\n"
        "Question: {question}\nReply: {response}",
    ),
    inverted_templates=(
        (
            "Text: {paragraph}\nQuestion: {question}\nShould your answer be correct? {answer}\nWrite the answer.",
            "{response}",
        ),
    ),
    held_out_templates=(
        "You are grading a comprehension quiz. Passage: {paragraph} Question: {question} Student: {response} Is the "
        "point earned?\n{options}",
        "Verify the answer against the evidence.\n\nEVIDENCE\n{paragraph}\n\nQUESTION\n{question}\n\nANSWER\n"
        "{response}\n\nVERDICT\n{options}",
    ),
)

TASKS = (_MULTIRC,)

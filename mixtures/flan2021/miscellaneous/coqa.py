"""CoQA: a passage and the questions of a conversation about it, answered one after the other.

Read the passage and answer the questions that follow, giving each answer the number of its question.

Ida found a grey kitten behind the bakery. She named it Crumb and gave it to her brother Paul.

1. What did Ida find?
2. Where?
3. Who is Paul?
→ 1. a kitten
2. behind the bakery
3. her brother
"""

from flan_jax.mixtures.flan2021.declaring import flan_task
from flan_jax.tasks import Corpus, Hub, Template
from flan_jax.tasks.sources import Row


def _numbered(row: Row) -> Row | None:
    """The questions as one numbered list, the answers as another."""
    questions, answers = row["questions"], row["answers"]["input_text"]
    if not row["story"] or not questions or len(questions) != len(answers):
        return None
    lists = ["\n".join(f"{n}. {text}" for n, text in enumerate(texts, 1)) for texts in (questions, answers)]
    return {"story": row["story"], "questions": lists[0], "answers": lists[1]}


_COQA = flan_task(
    name="coqa",
    cluster="miscellaneous",
    source=Corpus(
        "coqa",
        tfds="coqa:1.0.0",
        hub=Hub("stanfordnlp/coqa", splits={"test": "validation"}),
        splits={"train": "train[:-100]", "validation": "train[-100:]", "test": "test"},
        rows={"train": 7199, "test": 500},
        sample={
            "source": "mctest",
            "story": "Ida found a grey kitten behind the bakery. She named it Crumb and gave it to her brother Paul.",
            "questions": ["What did Ida find?", "Where?", "Who is Paul?"],
            "answers": {
                "input_text": ["a kitten", "behind the bakery", "her brother"],
                "answer_start": [10, 24, 77],
                "answer_end": [23, 41, 88],
            },
        },
    ),
    preprocess=_numbered,
    answer="answers",
    metrics=("f1", "exact_match"),
    trim_field="story",
    templates=(
        "Read the passage and answer the questions that follow, giving each answer the number of its question.\n\n"
        "{story}\n\n{questions}",
        "{story}\n\nHere is what I would like to know about this text:\n{questions}\nAnswer under the same numbers.",
        "Questions:\n{questions}\n\nText:\n{story}\n\nAnswers, numbered in the same way:",
        "Only one side of a conversation about a story was written down. Supply the other side.\n\nStory: {story}\n\n"
        "Asked:\n{questions}\n\nReplied:",
        "I read this to my class: {story}\n\nThen I asked them the following. What are the right answers?\n{questions}",
        "Reply briefly to each of these questions; all you need is in the text after them.\n\n{questions}\n\n{story}",
        "{story}\n\n---\n\n{questions}\n\n---\n\nFill in the answer sheet:",
        "Give short answers, please, as a numbered list.\n\nABOUT\n{story}\n\nQUESTIONS\n{questions}",
        "Each question may refer back to those before it. Take them in turn and find the answers in this text: "
        "{story}\n{questions}",
    ),
    inverted_templates=(
        ("{story}\n\nMake up questions about the text above that have these answers:\n{answer}", "{questions}"),
        Template(
            "Ask a series of numbered questions about this passage, as you would in a conversation.\n\n{story}",
            "{questions}",
            "open",
        ),
    ),
    held_out_templates=(
        "You are being quizzed.\nTEXT: {story}\nQUIZ:\n{questions}\nYOUR ANSWERS:",
        "A friend chats with you about something you have both read, namely: {story} She comes up with these:\n"
        "{questions}\nWhat do you say, point by point?",
    ),
)

TASKS = (_COQA,)

"""COPA (SuperGLUE): which of two sentences is the more plausible cause or effect of a third.

The cellar was under water.
Why did this happen?
What do you think?
OPTIONS:
- It had rained for three days.
- The light was left on.
→ It had rained for three days.
"""

from flan_jax.mixtures.flan2021.declaring import SENTENCES, flan_task
from flan_jax.tasks import Corpus, Hub
from flan_jax.tasks.sources import Row

_ASKED = {"cause": "Why did this happen?", "effect": "What happened as a result?"}
_LINK = {"cause": "This happened because:", "effect": "Because of this:"}
_ASKED_BACK = {"cause": "What might have come of it?", "effect": "What might have led to it?"}


def _fields(row: Row) -> Row:
    question = row["question"]
    return {
        "premise": row["premise"],
        "question": question,
        "asked": _ASKED[question],
        "link": _LINK[question],
        "asked_back": _ASKED_BACK[question],
        "choices": [row["choice1"], row["choice2"]],
        "label": row["label"],
    }


_COPA = flan_task(
    name="copa",
    cluster="commonsense",
    source=Corpus(
        "copa",
        tfds="super_glue/copa:1.0.2",
        hub=Hub("aps/super_glue", "copa"),
        splits={"train": "train[:-50]", "validation": "train[-50:]", "test": "validation"},
        rows={"train": 400, "validation": 100},
        sample={
            "premise": "The cellar was under water.",
            "choice1": "It had rained for three days.",
            "choice2": "The light was left on.",
            "question": "cause",
            "label": 0,
            "idx": 0,
        },
    ),
    preprocess=_fields,
    options="choices",
    option_styles=SENTENCES,
    answer="label",
    chance=0.5,
    templates=(
        "{premise}\n{asked}\nWhat do you think?\n{options}",
        "Choose the more likely {question} of the event.\n\nEvent: {premise}\n\n{options}",
        "Continue with the sentence that makes sense.\n{premise} {link}\n{options}",
        'Statement: "{premise}"\nWhat is its most plausible {question}?\n{options}',
        'A child tells you: "{premise}" You wonder about the {question}. What is your best guess?\n{options}',
        "{premise}\n\nTell me the {question} of that, as far as one can know it.\n{options}",
        "We take this to be true: {premise} Find the {question}.\n{options}",
        "Quiz\nGiven: {premise}\nWanted: the {question}\nYour answer?\n{options}",
        "Which {question} goes with this? {premise}\n{options}",
    ),
    inverted_templates=(
        ("Make a guess. {answer} {asked_back}", "{premise}"),
        ("Write a sentence about something that has the following {question}: {answer}", "{premise}"),
    ),
    held_out_templates=(
        '{question}("{premise}") = ?\n{options}',
        "- {premise}\n- Really? {asked}\nWrite the next line of this conversation.\n{options}",
    ),
)

TASKS = (_COPA,)

"""PIQA: which of two methods serves an everyday goal.

Keep a door from slamming in the wind.
Which is the better way to do it?
OPTIONS:
- Push a wooden wedge under it.
- Push a wet leaf under it.
→ Push a wooden wedge under it.
"""

from flan_jax.mixtures.flan2021.declaring import SENTENCES, flan_task
from flan_jax.tasks import Corpus, Hub
from flan_jax.tasks.sources import Row


def _fields(row: Row) -> Row | None:
    choices = [row["sol1"].strip(), row["sol2"].strip()]
    return {"goal": row["goal"].strip(), "choices": choices, "label": row["label"]} if all(choices) else None


_PIQA = flan_task(
    name="piqa",
    cluster="commonsense",
    source=Corpus(
        "piqa",
        tfds="piqa:1.0.0",
        hub=Hub("ybisk/piqa", "plain_text"),
        splits={"train": "train[:-100]", "validation": "train[-100:]", "test": "validation"},
        rows={"train": 16_113, "validation": 1838},
        sample={
            "goal": "Keep a door from slamming in the wind.",
            "sol1": "Push a wooden wedge under it.",
            "sol2": "Push a wet leaf under it.",
            "label": 0,
        },
    ),
    preprocess=_fields,
    options="choices",
    option_styles=SENTENCES,
    answer="label",
    chance=0.5,
    templates=(
        "{goal}\nWhich is the better way to do it?\n{options}",
        "Goal: {goal}\nPick the method that works.\n{options}",
        "Can you give me some practical advice? {goal}\n{options}",
        "Think about how everyday things behave, then choose how to reach this aim.\n\nAim: {goal}\n\n{options}",
        "Someone asks on a site with household tips: {goal}\nWhat would a handy person answer?\n{options}",
        "How would you go about the following? {goal}\n{options}",
        "{goal} What should I do?\n{options}",
        "My neighbour is stuck with this task:\n{goal}\nTell them how to get it done.\n{options}",
        "Find the instructions that really solve the problem.\nProblem: {goal}\nInstructions:\n{options}",
    ),
    inverted_templates=(
        ("What is somebody trying to do who follows these instructions?\n{answer}", "{goal}"),
        ("Name the problem to which this is the solution: {answer}", "{goal}"),
    ),
    held_out_templates=(
        "TO DO: {goal}\nHOW: ?\n{options}",
        'Grandma never did things the silly way. What would she have told us about "{goal}"?\n{options}',
    ),
)

TASKS = (_PIQA,)

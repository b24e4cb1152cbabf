"""The grid {first, second, third} x {person, animal, food, vehicle, colour}: which does the passage name?

    inputs:  Name the second animal. First Anna took a goat and some bread on the red bus. Then Ben gave rice ...
    targets: fox

The fifteen tasks read the same rows, and every row has fifteen different answers: only the instruction tells them
apart. A task is scored by choosing among all fifteen words of the passage, so both the place and the kind have to be
right.
"""

from functools import partial

from flan_jax.mixtures.starter.draws import HELD_OUT_ROWS, NUM_ROWS, Row
from flan_jax.mixtures.starter.held_out import TASKS, TEMPLATES
from flan_jax.mixtures.starter.lexicon import KINDS
from flan_jax.mixtures.starter.passages import ORDINALS, held_out_passages, passages
from flan_jax.mixtures.starter.templates import fill
from flan_jax.tasks import InstructionTask, generator

_TEMPLATES = (
    "Which {kind} comes {ordinal}? {passage}",
    "{passage} Which {kind} comes {ordinal}?",
    "Name the {ordinal} {kind}. {passage}",
    "{passage} Name the {ordinal} {kind}.",
    "Read this and give the {ordinal} {kind}: {passage}",
    "{passage} Write the {ordinal} {kind} of this story.",
    "Find the {ordinal} {kind} in this story. {passage}",
    "Story: {passage} Question: which {kind} is {ordinal}? Answer:",
    "The {ordinal} {kind} is wanted. {passage}",
    "{passage} The {ordinal} {kind} here is",
    "Tell me which {kind} is the {ordinal} one. {passage}",
    "Question: which is the {ordinal} {kind}? Story: {passage}",
)
_INVERTED = (
    "Which question has the answer {answer}? {passage}",
    "{passage} Which question has the answer {answer}?",
    "Write the question. Answer: {answer} Story: {passage}",
    "Story: {passage} Answer: {answer} Question:",
)

_WHOLE = ("person", "colour")
GRID = tuple((ordinal, kind) for ordinal in ORDINALS for kind in KINDS)


def _with_question(question: str, row: Row) -> Row:
    return {**row, "question": question}


def _task(ordinal: str, kind: str) -> InstructionTask:
    name = f"{ordinal}_{kind}"
    words = {"ordinal": ordinal, "kind": kind}
    # The nearest instructions: another place with this kind, or this place with a kind of which nothing is held out.
    near = [(o, k) for o, k in GRID if (o != ordinal and k == kind) or (o == ordinal and k != kind and k in _WHOLE)]
    held_out = name in TASKS
    return InstructionTask(
        name=name,
        source=generator(held_out_passages, num_rows=HELD_OUT_ROWS)
        if held_out
        else generator(passages, num_rows=NUM_ROWS),
        templates=fill(_TEMPLATES, **words),
        held_out_templates=fill(TEMPLATES["ordinals"], **words),
        inverted_templates=fill(_INVERTED, "{question}"),
        preprocess=partial(_with_question, f"Which {kind} comes {ordinal}?"),
        options="entities",
        answer=name,
        cluster="ordinals",
        siblings=tuple(f"{o}_{k}" for o, k in near if f"{o}_{k}" not in TASKS),
        chance=1 / len(ORDINALS),  # knowing the kind and guessing the place
    )


ALL = tuple(_task(ordinal, kind) for ordinal, kind in GRID)

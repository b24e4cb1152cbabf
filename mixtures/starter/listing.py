"""All the words of a kind, or all that comes first, second or third; over the passages of `ordinals`, by generation.

    inputs:  List the animals in order. First Anna took a goat and bread on a red bus. Then Ben ...
    targets: goat, fox, hen
    inputs:  List everything that comes second. First Anna took a goat and bread on a red bus. Then Ben ...
    targets: Ben, fox, rice, sled, blue

These are the columns and the rows of the grid, whose cells are the tasks of `ordinals`. They read the same rows.
"""

from flan_jax.mixtures.starter.draws import NUM_ROWS
from flan_jax.mixtures.starter.held_out import TEMPLATES
from flan_jax.mixtures.starter.passages import ORDINALS, passages
from flan_jax.mixtures.starter.templates import fill
from flan_jax.tasks import InstructionTask, generator

_TEMPLATES = (
    "List the {kind}s in order. {passage}",
    "{passage} List the {kind}s in order.",
    "Which {kind}s are in this story? {passage}",
    "{passage} Which {kind}s are there?",
    "Name all the {kind}s. {passage}",
    "{passage} Name all the {kind}s in the story.",
    "Write down all three {kind}s: {passage}",
    "{passage} Write down the three {kind}s.",
    "Story: {passage} Question: which {kind}s are there? Answer:",
    "Find all {kind}s in this story. {passage}",
    "{passage} All {kind}s in order:",
    "Find the {kind}s and list them. {passage}",
)
_LISTED = ("animal", "food", "vehicle")


def _task(kind: str) -> InstructionTask:
    words = {"kind": kind}
    return InstructionTask(
        name=f"all_{kind}s",
        source=generator(passages, num_rows=NUM_ROWS),
        templates=fill(_TEMPLATES, **words),
        held_out_templates=fill(TEMPLATES["listing"], **words),
        answer=f"{kind}s",
        cluster="listing",
        siblings=tuple(f"all_{other}s" for other in _LISTED if other != kind),
        chance=0.0,
    )


_ROW_TEMPLATES = (
    "List everything that comes {ordinal}. {passage}",
    "{passage} List everything that comes {ordinal}.",
    "Name all that comes {ordinal}. {passage}",
    "{passage} Name all that comes {ordinal}.",
    "Which words come {ordinal} in this story? {passage}",
    "{passage} Which words come {ordinal}?",
    "Write down the {ordinal} one of every kind: {passage}",
    "{passage} Write down the {ordinal} one of every kind.",
    "Story: {passage} Question: who and what comes {ordinal}? Answer:",
    "Find everything in the {ordinal} place. {passage}",
    "{passage} Everything in the {ordinal} place:",
    "Who and what is {ordinal}? {passage}",
)


def _row_task(ordinal: str) -> InstructionTask:
    words = {"ordinal": ordinal}
    return InstructionTask(
        name=f"all_{ordinal}",
        source=generator(passages, num_rows=NUM_ROWS),
        templates=fill(_ROW_TEMPLATES, **words),
        held_out_templates=fill(TEMPLATES["rows"], **words),
        answer=f"all_{ordinal}",
        cluster="listing",
        siblings=tuple(f"all_{other}" for other in ORDINALS if other != ordinal),
        chance=0.0,
    )


ALL = (*(_task(kind) for kind in _LISTED), *(_row_task(ordinal) for ordinal in ORDINALS))

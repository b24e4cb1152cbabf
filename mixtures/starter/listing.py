"""All the words of a kind, in order; over the passages of `ordinals`, scored by generation.

    inputs:  List the animals in order. First Anna took a goat and some bread on the red bus. Then Ben ...
    targets: goat, fox, hen

The three tasks read the same rows.
"""

from flan_jax.mixtures.starter.draws import NUM_ROWS
from flan_jax.mixtures.starter.held_out import WORDINGS
from flan_jax.mixtures.starter.passages import passages
from flan_jax.mixtures.starter.wordings import wordings
from flan_jax.tasks import InstructionTask, generator

_WORDINGS = (
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
        templates=wordings(_WORDINGS, **words),
        held_out_templates=wordings(WORDINGS["listing"], **words),
        answer=f"{kind}s",
        cluster="listing",
        siblings=tuple(f"all_{other}s" for other in _LISTED if other != kind),
        chance=0.0,
        cap=2_000,
    )


ALL = tuple(_task(kind) for kind in _LISTED)

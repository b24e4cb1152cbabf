"""Registers the starter suite: `starter` to train on, `starter_eval` to score.

    flan_jax.mixtures.starter.suite     the module to name in a gin file

`starter` holds every task but the held-out ones, and the inverted tasks at a low rate. `starter_eval` holds each
trained task under its trained templates (NAME) and under its held-out ones (NAME.held_out_templates), the held-out
tasks, and as a control the rows of some tasks under a sibling's instruction (NAME.as_SIBLING). Importing this module
declares, no more.
"""

from flan_jax.mixtures.starter import comparison, listing, ordinals, reviews, sentences, sequences, word_lists
from flan_jax.mixtures.starter.held_out import TASKS as HELD_OUT_TASKS
from flan_jax.tasks import mixture

CAP = 4_000
INVERTED_RATE = 500.0

CLUSTERS = {
    "ordinals": ordinals.ALL,
    "listing": listing.ALL,
    "word_lists": word_lists.ALL,
    "comparison": comparison.ALL,
    "sentences": sentences.ALL,
    "reviews": reviews.ALL,
    "sequences": sequences.ALL,
}
TASKS = tuple(task.register() for tasks in CLUSTERS.values() for task in tasks)
TRAINED = tuple(task for task in TASKS if task.name not in HELD_OUT_TASKS)
HELD_OUT = tuple(task for task in TASKS if task.name in HELD_OUT_TASKS)

# Every held-out task, and one trained task of each cluster that has siblings, under its siblings' instructions. Where
# the options by themselves tell what is asked for (positive or negative?), a control would tell nothing: no siblings.
_CONTROLLED = (*HELD_OUT, *(next(filter(lambda task: task.siblings, tasks), None) for tasks in CLUSTERS.values()))
CONTROLS = tuple(f"{task.name}.as_{sibling}" for task in _CONTROLLED if task for sibling in task.siblings)

mixture(
    "starter",
    [
        *(task.name for task in TRAINED),
        *((f"{task.name}.inverted", INVERTED_RATE) for task in TRAINED if task.inverted_templates),
    ],
    cap=CAP,
)
mixture(
    "starter_eval",
    [
        *(task.name for task in TRAINED),
        *(f"{task.name}.held_out_templates" for task in TRAINED),
        *(task.name for task in HELD_OUT),
        *(f"{task.name}.held_out_templates" for task in HELD_OUT),
        *CONTROLS,
    ],
)

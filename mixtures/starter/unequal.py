"""Eight tasks of the starter suite of very unequal sizes: `unequal` to train on, `unequal_eval` to score.

    large, 4,000 rows each    list_first, list_last, sentence_adjective, sentence_kind
    small, 80 rows each       few_day_after, few_number_more, few_review_sentiment, few_review_topic

`unequal` mixes them in proportion to their examples, without caps, so that a small one is one in two hundred of it:
what caps, temperatures, budgets and floors are for can be seen on that. A small task is one of the suite with its first
training rows alone, which name every day, number and judgement often enough to learn it from, and is scored on all
validation rows. Importing this module declares, no more.
"""

import dataclasses
import itertools
from collections.abc import Callable, Iterator
from functools import partial

from flan_jax.mixtures.starter import draws, reviews, sentences, sequences, word_lists
from flan_jax.tasks import InstructionTask, generator, mixture, proportional

FEW = 80
NUM_ROWS = {**draws.NUM_ROWS, "train": FEW}
_LARGE = ("list_first", "list_last", "sentence_adjective", "sentence_kind")
_SMALL = ("day_after", "number_more", "review_sentiment", "review_topic")


def first(rows: Callable[[str], Iterator[draws.Row]], split: str) -> Iterator[draws.Row]:
    """The rows of a split that a small task has."""
    return itertools.islice(rows(split), NUM_ROWS[split])


def _few(task: InstructionTask, rows: Callable[[str], Iterator[draws.Row]]) -> InstructionTask:
    source = generator(partial(first, rows), num_rows=NUM_ROWS)
    return dataclasses.replace(
        task, name=f"few_{task.name}", source=source, inverted_templates=(), siblings=(), cap=None
    )


LARGE = tuple(task for task in (*word_lists.ALL, *sentences.ALL) if task.name in _LARGE)
OF_SMALL = tuple(
    (task, rows)
    for tasks, rows in ((sequences.ALL, sequences.events), (reviews.ALL, reviews.reviews))
    for task in tasks
    if task.name in _SMALL
)
"""The tasks of the suite that small ones are made of, and what yields their rows."""

SMALL = tuple(_few(task, rows) for task, rows in OF_SMALL)
for _task in (*LARGE, *SMALL):
    _task.register()

mixture("unequal", [(task.name, proportional()) for task in (*LARGE, *SMALL)])  # not the caps of the suite's own tasks
mixture("unequal_eval", [task.name for task in (*LARGE, *SMALL)])

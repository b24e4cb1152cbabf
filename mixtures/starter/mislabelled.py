"""Four tasks of the starter suite on 80 rows each, of which four in ten have a wrong answer: `mislabelled`.

inputs:  On Monday, Anna bought five lamps. Which day comes after it?
targets: Sunday

Rows that people, or models, have answered hold such; what a teacher that knows better is worth can be seen on them.
Validation rows are right. Importing this module declares, no more.
"""

import dataclasses
import zlib
from collections.abc import Callable, Iterator, Sequence
from functools import partial

from flan_jax.mixtures.starter import draws
from flan_jax.mixtures.starter.unequal import NUM_ROWS, OF_SMALL, first
from flan_jax.tasks import InstructionTask, generator, mixture

WRONG_IN_TEN = 4


def _with_wrong(
    rows: Callable[[str], Iterator[draws.Row]], answer: str, options: Sequence[str], split: str
) -> Iterator[draws.Row]:
    draw = draws.Draws(zlib.crc32(answer.encode()))
    for row in first(rows, split):
        if split == "train" and draw.below(10) < WRONG_IN_TEN:
            row = {**row, answer: draw.pick([option for option in options if option != row[answer]])}
        yield row


def _mislabelled(task: InstructionTask, rows: Callable[[str], Iterator[draws.Row]]) -> InstructionTask:
    assert isinstance(task.answer, str)
    read = partial(_with_wrong, rows, task.answer, tuple(task.options))
    source = generator(read, num_rows=NUM_ROWS)
    name = f"mislabelled_{task.name}"
    return dataclasses.replace(task, name=name, source=source, inverted_templates=(), siblings=(), cap=None)


ALL = tuple(_mislabelled(task, rows) for task, rows in OF_SMALL)
for _task in ALL:
    _task.register()

mixture("mislabelled", [task.name for task in ALL])

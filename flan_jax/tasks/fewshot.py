"""Few-shot prompts: exemplars drawn from the train split by hash, never the example itself."""

import itertools
from collections.abc import Iterator

from flan_jax.errors import UserError
from flan_jax.tasks.drawing import RandomChoices
from flan_jax.tasks.sources import Row, Source
from flan_jax.tasks.user_functions import of_task

POOL_ROWS = 10_000  # exemplars come from the first so many train rows, so that memory stays bounded
SEPARATOR = "\n\n"


class Pool:
    """The train rows of a source that exemplars are drawn from; read when the first one is.

    Args:
      task: the task's name, for errors.
      source: the task's source.
    """

    def __init__(self, task: str, source: Source):
        self._task = task
        self._source = source
        self._rows: list[tuple[str, Row]] | None = None

    def rows(self) -> list[tuple[str, Row]]:
        """The (id, row) pairs; rows that are bad are not among them.

        Raises:
          UserError: the source has no train split.
        """
        if self._rows is None:
            if "train" not in self._source.splits:
                raise UserError(
                    f"Task {self._task!r} wants exemplars, which come from a train split; its source has none."
                )
            found = of_task(self._task, self._source.rows("train", "skip"))
            self._rows = list(itertools.islice(found, POOL_ROWS))
        return self._rows

    def order(self, example_id: str, draws: RandomChoices) -> Iterator[tuple[str, Row]]:
        """All rows but the example's own in a drawn order, each once."""
        rows = self.rows()
        chosen: set[int] = set()
        for number in draws.stream(example_id, "exemplars"):
            if len(chosen) == len(rows):
                return
            index = number % len(rows)
            while index in chosen:
                index = (index + 1) % len(rows)
            chosen.add(index)
            if rows[index][0] != example_id:
                yield rows[index]

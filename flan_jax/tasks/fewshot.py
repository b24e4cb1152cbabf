"""Few-shot prompts: exemplars drawn from the train split by hash, never the example itself, and their layout."""

import dataclasses
import hashlib
import heapq
import itertools
from collections.abc import Iterator, Sequence

from flan_jax.errors import UserError, nearest
from flan_jax.tasks.drawing import RandomChoices
from flan_jax.tasks.sources import CorpusSource, Row, Source
from flan_jax.tasks.user_functions import of_task

VERSION = 2  # raise it when the same declaration comes to draw other exemplars
POOL_ROWS = 4_096
_SAMPLES = 64
_AMONG = 65_536  # the first so many train rows, of which the pool is chosen: what a shard of preparing reads is bounded


@dataclasses.dataclass(frozen=True)
class ExemplarStyle:
    """One way to lay out exemplars and, after them, the prompt.

    Attributes:
      before: what stands before inputs.
      between: what stands between inputs and targets; after the prompt without the blanks at its end.
      after: what stands after targets.
    """

    before: str = ""
    between: str = "\n"
    after: str = "\n\n"

    def exemplar(self, inputs: str, targets: str) -> str:
        """One exemplar as text.

        >>> STYLES["question_answer"].exemplar("Is a plum a fruit?", "yes")
        'Q: Is a plum a fruit?\\nA: yes\\n\\n'
        """
        return f"{self.before}{inputs}{self.between}{targets}{self.after}"


STYLES: dict[str, ExemplarStyle] = {
    "blank_lines": ExemplarStyle(),
    "question_answer": ExemplarStyle("Q: ", "\nA: "),
    "input_output": ExemplarStyle("Input: ", "\nOutput: "),
    "examples": ExemplarStyle("Example:\n", "\nAnswer: "),
    "rules": ExemplarStyle("", "\n", "\n---\n"),
    "problem_solution": ExemplarStyle("Problem: ", "\nSolution: ", "\n\n\n"),
}
DEFAULT_STYLES = ("blank_lines",)


def bounds(shots: int | Sequence[int]) -> tuple[int, int]:
    """The fewest and the most exemplars of an entry of `few_shot`."""
    fewest, most = (shots, shots) if isinstance(shots, int) else shots
    return fewest, most


def check(few_shot: Sequence[int | Sequence[int]], styles: Sequence[str]) -> None:
    """Finds numbers of exemplars and names of styles that are none.

    Raises:
      UserError: there is such a number or name, or no style at all.
    """
    for shots in few_shot:
        if shots < 1 if isinstance(shots, int) else len(shots) != 2 or not 0 <= shots[0] < shots[1]:
            raise UserError(
                f"few_shot has {shots!r}; the numbers of exemplars must be positive, or pairs such as (0, 16)."
            )
    for name in styles:
        if name not in STYLES:
            raise UserError(f"exemplar_styles has {name!r}; the styles are {', '.join(STYLES)}{nearest(name, STYLES)}.")
    if not styles:
        raise UserError(f"exemplar_styles is empty; name some of {', '.join(STYLES)}.")


class Pool:
    """The train rows of a source that exemplars are drawn from; read when the first one is.

    They are the `POOL_ROWS` whose ids hash least among the first 65,536, so that every process that prepares a part of
    the task has the same ones.

    Args:
      task: the task's name, for errors.
      source: the task's source.
      from_sample: whether the sample of the source's corpus stands for all rows.
    """

    def __init__(self, task: str, source: Source, from_sample: bool = False):
        self._task = task
        self._source = source
        self._rows: list[tuple[str, Row]] | None = None
        if from_sample and isinstance(source, CorpusSource):
            self._rows = [(f"exemplar {number}", source.corpus.sample) for number in range(_SAMPLES)]

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
            found = itertools.islice(of_task(self._task, self._source.rows("train", "skip")), _AMONG)
            self._rows = heapq.nsmallest(POOL_ROWS, found, key=_mark)
        return self._rows

    def order(self, example_id: str, draws: RandomChoices) -> Iterator[tuple[str, Row]]:
        """All rows but the one that the example is of, or a part of, in a drawn order, each once."""
        rows = self.rows()
        chosen: set[int] = set()
        for number in draws.stream(example_id, "exemplars"):
            if len(chosen) == len(rows):
                return
            index = number % len(rows)
            while index in chosen:
                index = (index + 1) % len(rows)
            chosen.add(index)
            own = rows[index][0]
            if own != example_id and not example_id.startswith(f"{own}#"):
                yield rows[index]


def _mark(row: tuple[str, Row]) -> bytes:
    return hashlib.blake2b(row[0].encode(), digest_size=8).digest()

"""Objectives on plain text: what every one of them shares, from rows to chunks of ids.

A row's text is cut into chunks of even size, so large that what becomes of one fits the feature lengths; an objective
divides a chunk into inputs and targets. No chunk holds parts of two texts, and none depends on the draw: another draw
divides the same chunks otherwise. A text without words, and one of a single token, is dropped and counted. One more
objective is a file like `span_corruption`.
"""

import dataclasses
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, Protocol

import numpy as np
import seqio

from flan_jax.errors import UserError
from flan_jax.tasks import row_contents, vocabularies
from flan_jax.tasks.drawing import RandomChoices
from flan_jax.tasks.encoding import Finisher, batched
from flan_jax.tasks.recipe import Description, Encoder, Example, OfDeclaration, Read, Request
from flan_jax.tasks.sources import Row, Source
from flan_jax.tasks.tally import BadRow, OnBadRow, bad_row
from flan_jax.tasks.templates import values_for
from flan_jax.tasks.user_functions import of_task
from flan_jax.tasks.vocabularies import VocabularyLike
from flan_jax.tasks.written_form import PlainText

UNBOUNDED_CHUNK = 512  # tokens of a chunk where no feature length bounds it
Divided = tuple[list[int], list[int]]
"""Inputs and targets of a chunk."""
Divide = Callable[[list[int], Iterator[int]], Divided]
"""Divides a chunk of at least 2 ids, by random 64-bit integers."""


def fitting_chunk(fits: Callable[[int], bool], most: int) -> int:
    """The length before the first one, from 2 up to `most`, that does not fit; 1 where none does.

    >>> fitting_chunk(lambda length: length <= 7, 100)
    7
    """
    return next((length - 1 for length in range(2, most + 1) if not fits(length)), max(1, most))


class TextObjective(Protocol):
    """A declaration of an objective on text; its fields mean what they mean in `InstructionTask`."""

    @property
    def name(self) -> str:
        """The seqio task's name."""
        ...

    @property
    def source(self) -> Source | seqio.DataSource:
        """Rows with a text."""
        ...

    @property
    def vocabulary(self) -> VocabularyLike | None:
        """None for the run's."""
        ...

    @property
    def field(self) -> str:
        """The row's field that holds the text."""
        ...

    @property
    def cap(self) -> int | None:
        """The most examples that count for mixing rates."""
        ...

    @property
    def cluster(self) -> str:
        """The kind of task."""
        ...

    @property
    def version(self) -> str:
        """Changing it has the task prepared anew."""
        ...

    @property
    def add_eos_to_inputs(self) -> bool | None:
        """Whether inputs end in end-of-sequence; None does as the model does that the vocabulary comes with."""
        ...

    @property
    def objective(self) -> str:
        """The objective's name in examples and reports."""
        ...

    @property
    def learns_all(self) -> bool:
        """Whether all of a chunk is targets. These end where the text ends; those of other objectives end always."""
        ...

    def shaping(self) -> tuple[Any, ...]:
        """What of its own shapes tokens."""
        ...

    def divider(self, inputs: int, targets: int, vocabulary: seqio.Vocabulary) -> tuple[int, Divide]:
        """The most tokens of a chunk whose parts fit `inputs` and `targets` tokens, and what divides one."""
        ...


@dataclasses.dataclass(frozen=True)
class TextRecipe(OfDeclaration):
    """The recipe of an objective on plain text."""

    declaration: TextObjective

    @property
    def name(self) -> str:
        """The seqio task's name."""
        return self.declaration.name

    @property
    def metrics(self) -> tuple[str | Callable[..., Mapping[str, Any]], ...]:
        """None: the loss tells."""
        return ()

    def encoder(self, split: str, request: Request) -> Encoder:
        """See `Recipe`."""
        return _TextEncoder(self, split, request)

    def texts(self, split: str, on_bad_row: OnBadRow) -> Iterator[tuple[str, ...]]:
        """See `Recipe`."""
        for row_id, row in of_task(self.name, self.source.rows(split, on_bad_row)):
            if (text := text_of_row(self, split, row_id, row, Request({}, on_bad_row=on_bad_row))) is not None:
                yield (text,)

    def contents(self) -> Read:
        """See `Recipe`."""
        return row_contents.of_texts(self.declaration.field)

    def shaping(self) -> Any:
        """See `Recipe`."""
        task = self.declaration
        ends = ("inputs end",) if self.add_eos_to_inputs else ()
        return (task.name, task.objective, *task.shaping(), *ends, task.field, task.version)

    def describe(self) -> Description:
        """See `Recipe`."""
        task = self.declaration
        about: dict[str, Any] = {"cluster": task.cluster, "cap": task.cap, "version": task.version}
        return Description(task.name, task.objective, random=not task.learns_all, **about)


class _TextEncoder:
    """Turns the rows of one split into examples, a chunk each."""

    def __init__(self, recipe: TextRecipe, split: str, request: Request):
        self._recipe = recipe
        self._split = split
        self._request = request
        self._draws = RandomChoices(request.seed, recipe.name, request.draw)
        self._tokenizer = vocabularies.tokenizer(recipe.vocabulary)
        form = PlainText(self._tokenizer, recipe.add_eos_to_inputs)
        self._finisher = Finisher(recipe.name, form, request)
        self._learns_all = recipe.declaration.learns_all
        targets = self._finisher.most_targets or UNBOUNDED_CHUNK
        # Where only targets are bounded, a chunk that is all targets must not grow by inputs that nobody asked for.
        rest = 0 if self._learns_all else UNBOUNDED_CHUNK
        inputs = self._finisher.most_inputs or rest
        self._chunk, self._divide = recipe.declaration.divider(inputs, targets, self._tokenizer.vocabulary)
        if self._chunk < 2:
            raise UserError(
                f"Task {recipe.name!r} fits no text in the feature lengths {dict(request.lengths)}; raise them."
            )

    def __call__(self, rows: Iterable[tuple[str, Row]]) -> Iterator[Example]:
        for batch in batched(rows, 256):
            found = [
                (row_id, text)
                for row_id, row in batch
                if (text := text_of_row(self._recipe, self._split, row_id, row, self._request)) is not None
            ]
            for (row_id, text), ids in zip(found, self._tokenizer.encode([text for _, text in found]), strict=True):
                yield from self._chunks(row_id, ids if text.strip() else [])

    def _chunks(self, row_id: str, ids: list[int]) -> Iterator[Example]:
        tally = self._request.tally
        count = max(1, -(-len(ids) // self._chunk))
        for number in range(count):
            chunk = ids[number * len(ids) // count : (number + 1) * len(ids) // count]
            tally.read += 1
            if len(chunk) < 2:
                tally.dropped += 1
                continue
            chunk_id = f"{row_id}#{number}" if count > 1 else row_id
            inputs, targets = self._divide(chunk, self._draws.stream(chunk_id, "spans"))
            goes_on = self._learns_all and number < count - 1
            tally.kept += 1
            yield Example(
                id=chunk_id,
                inputs=self._finisher.inputs_array(inputs),
                targets=np.array(targets, np.int32) if goes_on else np.array(targets + self._finisher.end, np.int32),
                objective=self._recipe.declaration.objective,
                learnt=(self._tokenizer.decode(targets),) if self._learns_all else None,
            )


def text_of_row(recipe: TextRecipe, split: str, row_id: str, row: Row, request: Request) -> str | None:
    """A row's text; None for a bad row that is skipped, which is counted."""
    field = recipe.declaration.field
    try:
        return values_for((field,), row, f"{{{field}}}")[field]
    except BadRow as fault:
        place = lambda: f"Task {recipe.name!r}, {recipe.source.where(split, row_id)}"
        bad_row(place, fault, request.on_bad_row, request.tally)
        return None

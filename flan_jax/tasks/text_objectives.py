"""Objectives on plain text: what every one of them shares, from rows to chunks of ids.

A row's text is cut into chunks of even size, so large that what becomes of one fits the feature lengths; an objective
divides a chunk into inputs and targets. One more objective is a file like `span_corruption`.
"""

import dataclasses
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, Protocol

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
    def objective(self) -> str:
        """The objective's name in examples and reports."""
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
    def add_eos_to_inputs(self) -> bool:
        """Never: the text goes on."""
        return False

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
        return (task.name, task.objective, *task.shaping(), task.field, task.version)

    def describe(self) -> Description:
        """See `Recipe`."""
        task = self.declaration
        return Description(
            task.name, task.objective, cluster=task.cluster, cap=task.cap, random=True, version=task.version
        )


class _TextEncoder:
    """Turns the rows of one split into examples, a chunk each."""

    def __init__(self, recipe: TextRecipe, split: str, request: Request):
        self._recipe = recipe
        self._split = split
        self._request = request
        self._draws = RandomChoices(request.seed, recipe.name, request.draw)
        self._tokenizer = vocabularies.tokenizer(recipe.vocabulary)
        self._finisher = Finisher(recipe.name, PlainText(self._tokenizer), request)
        inputs = self._finisher.most_inputs or UNBOUNDED_CHUNK
        targets = self._finisher.most_targets or UNBOUNDED_CHUNK
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
            for (row_id, _), ids in zip(found, self._tokenizer.encode([text for _, text in found]), strict=True):
                yield from self._chunks(row_id, ids)

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
            tally.kept += 1
            yield Example(
                id=chunk_id,
                inputs=self._finisher.inputs_array(inputs),
                targets=self._finisher.targets_array(targets),
                objective=self._recipe.declaration.objective,
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

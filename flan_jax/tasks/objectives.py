"""Objectives on plain text: T5's span corruption, and prefix language modelling.

    text            Thank you for inviting me to your party last week.
    inputs          Thank you <X> me to your party <Y> week.
    targets         <X> for inviting <Y> last

A row's text is cut into chunks of even size, so large that what becomes of one fits the feature lengths.
"""

import dataclasses
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import seqio

from flan_jax.errors import UserError
from flan_jax.tasks import registry, vocabularies
from flan_jax.tasks.drawing import Draws, sample
from flan_jax.tasks.encoding import Finisher, batched
from flan_jax.tasks.recipe import Encoder, Example, OfDeclaration, Request
from flan_jax.tasks.sources import Row, Source
from flan_jax.tasks.tally import BadRow, OnBadRow, bad_row
from flan_jax.tasks.templates import values_for
from flan_jax.tasks.user_functions import of_task
from flan_jax.tasks.written_form import PlainText

UNBOUNDED_CHUNK = 512  # tokens of a chunk where no feature length bounds it
Corrupted = tuple[list[int], list[int]]


@dataclasses.dataclass(frozen=True)
class SpanCorruption:
    """Declares a task that hides spans of text and asks for them.

    Attributes:
      name: the seqio task's name.
      source: rows with a text.
      vocabulary: as in `InstructionTask`; its extra ids are the sentinels.
      noise_density: the share of tokens to hide, between 0 and 1.
      mean_span: the mean number of tokens of a hidden span.
      cap: as in `InstructionTask`.
      field: the row's field that holds the text.
      cluster: as in `InstructionTask`.
      version: as in `InstructionTask`.
    """

    name: str
    source: Source | seqio.DataSource
    vocabulary: vocabularies.VocabularyLike | None = None
    noise_density: float = 0.15
    mean_span: float = 3.0
    cap: int | None = None
    field: str = "text"
    cluster: str = ""
    version: str = ""

    def register(self) -> "SpanCorruption":
        """Adds the task to seqio's registry; doing so twice changes nothing.

        Raises:
          UserError: a value is out of range, or the name is taken.
        """
        if not 0 < self.noise_density < 1:
            raise UserError(
                f"Task {self.name!r}: noise_density={self.noise_density}; a share between 0 and 1 is wanted."
            )
        if self.mean_span < 1:
            raise UserError(f"Task {self.name!r}: mean_span={self.mean_span}; at least 1 token is wanted.")
        registry.add([TextRecipe(self)])
        return self

    def counts(self, length: int, sentinels: int) -> tuple[int, int]:
        """How many tokens are hidden in a chunk of `length` tokens, and in how many spans."""
        noise = min(max(round(length * self.noise_density), 1), length - 1)
        spans = min(max(round(noise / self.mean_span), 1), noise, length - noise, sentinels)
        return noise, spans

    def chunk(self, inputs: int, targets: int, sentinels: int) -> int:
        """The most tokens of a chunk that fits `inputs` and `targets` tokens once it is corrupted."""
        fitting = 1
        for length in range(2, inputs + targets + 1):
            noise, spans = self.counts(length, sentinels)
            if length - noise + spans > inputs or noise + spans > targets:
                break
            fitting = length
        return fitting

    def corrupt(self, ids: list[int], stream: Iterator[int], sentinels: list[int]) -> Corrupted:
        """Hides spans: the first one never starts the text, the last one ends it, as in T5.

        Args:
          ids: a chunk's ids, at least 2.
          stream: random 64-bit integers.
          sentinels: the sentinels' ids in order.

        Returns:
          Inputs and targets.

        >>> task = SpanCorruption("c4", source=None, noise_density=0.5, mean_span=2)
        >>> task.corrupt([11, 12, 13, 14], iter([0] * 9), [99, 98])
        ([11, 12, 99], [99, 13, 14])
        """
        noise, spans = self.counts(len(ids), len(sentinels))
        hidden, shown = _partition(stream, noise, spans), _partition(stream, len(ids) - noise, spans)
        inputs: list[int] = []
        targets: list[int] = []
        start = 0
        for sentinel, kept, lost in zip(sentinels, shown, hidden, strict=False):
            inputs += [*ids[start : start + kept], sentinel]
            targets += [sentinel, *ids[start + kept : start + kept + lost]]
            start += kept + lost
        return inputs, targets


@dataclasses.dataclass(frozen=True)
class PrefixLanguageModel:
    """Declares a task that shows the beginning of a text and asks for the rest.

    Attributes:
      name: the seqio task's name.
      source: rows with a text.
      vocabulary: as in `InstructionTask`.
      cap: as in `InstructionTask`.
      field: the row's field that holds the text.
      cluster: as in `InstructionTask`.
      version: as in `InstructionTask`.
    """

    name: str
    source: Source | seqio.DataSource
    vocabulary: vocabularies.VocabularyLike | None = None
    cap: int | None = None
    field: str = "text"
    cluster: str = ""
    version: str = ""

    def register(self) -> "PrefixLanguageModel":
        """Adds the task to seqio's registry; doing so twice changes nothing."""
        registry.add([TextRecipe(self)])
        return self


Objective = SpanCorruption | PrefixLanguageModel


@dataclasses.dataclass(frozen=True)
class TextRecipe(OfDeclaration):
    """The recipe of an objective on plain text."""

    declaration: Objective

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

    @property
    def objective(self) -> str:
        """The objective's name in examples and reports."""
        return "span_corruption" if isinstance(self.declaration, SpanCorruption) else "prefix_lm"

    def encoder(self, split: str, request: Request) -> Encoder:
        """See `Recipe`."""
        return _TextEncoder(self, split, request)

    def texts(self, split: str, on_bad_row: OnBadRow) -> Iterator[tuple[str, ...]]:
        """See `Recipe`."""
        for row_id, row in of_task(self.name, self.source.rows(split, on_bad_row)):
            if (text := text_of_row(self, split, row_id, row, Request({}, on_bad_row=on_bad_row))) is not None:
                yield (text,)

    def shaping(self) -> Any:
        """See `Recipe`."""
        task = self.declaration
        own = (task.noise_density, task.mean_span) if isinstance(task, SpanCorruption) else ()
        return (task.name, self.objective, *own, task.field, task.version)

    def describe(self) -> dict[str, Any]:
        """See `Recipe`."""
        task = self.declaration
        return {
            "task": task.name,
            "kind": "plain",
            "cluster": task.cluster,
            "cap": task.cap,
            "chance": None,
            "siblings": [],
            "sibling": None,
            "shots": 0,
            "options": None,
            "eval_kind": "loss",
            "metrics": [],
            "templates": [],
            "held_out_wordings": 0,
            "objective": self.objective,
            "random": True,
            "version": task.version,
        }


class _TextEncoder:
    """Turns the rows of one split into examples, a chunk each."""

    def __init__(self, recipe: TextRecipe, split: str, request: Request):
        self._recipe = recipe
        self._task = recipe.declaration
        self._split = split
        self._request = request
        self._draws = Draws(request.seed, recipe.name, request.draw)
        self._tokenizer = vocabularies.tokenizer(recipe.vocabulary)
        self._finisher = Finisher(recipe.name, PlainText(self._tokenizer), request)
        self._inputs = self._finisher.most_inputs or UNBOUNDED_CHUNK
        self._targets = self._finisher.most_targets or UNBOUNDED_CHUNK
        self._sentinels: list[int] = []
        if isinstance(self._task, SpanCorruption):
            self._sentinels = sentinels(self._tokenizer.vocabulary, recipe.name)
            self._chunk = self._task.chunk(self._inputs, self._targets, len(self._sentinels))
        else:
            self._chunk = self._inputs + self._targets
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
            stream = self._draws.stream(chunk_id, "spans")
            if isinstance(self._task, SpanCorruption):
                inputs, targets = self._task.corrupt(chunk, stream, self._sentinels)
            else:
                inputs, targets = self._split_chunk(chunk, stream)
            tally.kept += 1
            yield Example(
                id=chunk_id,
                inputs=self._finisher.inputs_array(inputs),
                targets=self._finisher.targets_array(targets),
                objective=self._recipe.objective,
            )

    def _split_chunk(self, ids: list[int], stream: Iterator[int]) -> Corrupted:
        low, high = max(1, len(ids) - self._targets), min(self._inputs, len(ids) - 1)
        point = low + next(stream) % (high - low + 1)
        return ids[:point], ids[point:]


def text_of_row(recipe: TextRecipe, split: str, row_id: str, row: Row, request: Request) -> str | None:
    """A row's text; None for a bad row that is skipped, which is counted."""
    field = recipe.declaration.field
    try:
        return values_for((field,), row, f"{{{field}}}")[field]
    except BadRow as fault:
        place = lambda: f"Task {recipe.name!r}, {recipe.source.where(split, row_id)}"
        bad_row(place, fault, request.on_bad_row, request.tally)
        return None


def sentinels(vocabulary: seqio.Vocabulary, task: str) -> list[int]:
    """The ids of a vocabulary's sentinels in order, T5's: the last id is the first one.

    Raises:
      UserError: it has none.
    """
    count = int(vocabulary.extra_ids)
    if not count:
        raise UserError(f"Task {task!r} needs sentinels, and its vocabulary has no extra ids; give it extra_ids=100.")
    size = int(vocabulary.vocab_size)
    if getattr(vocabulary, "_reverse_extra_ids", True):
        return [size - 1 - number for number in range(count)]
    return [size - count + number for number in range(count)]


def _partition(stream: Iterator[int], total: int, parts: int) -> list[int]:
    """Draws a division of `total` into so many positive parts."""
    cuts = [0, *(cut + 1 for cut in sample(stream, total - 1, parts - 1)), total]
    return [stop - start for start, stop in zip(cuts[:-1], cuts[1:], strict=True)]

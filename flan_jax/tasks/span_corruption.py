"""T5's span corruption: spans of a text are hidden, and asked for.

text            Thank you for inviting me to your party last week.
inputs          Thank you <X> me to your party <Y> week.
targets         <X> for inviting <Y> last
"""

import dataclasses
from collections.abc import Iterator
from typing import Any

import seqio

from flan_jax.errors import UserError
from flan_jax.tasks import registry
from flan_jax.tasks.drawing import sample
from flan_jax.tasks.sources import Source
from flan_jax.tasks.text_objectives import Divide, Divided, TextRecipe
from flan_jax.tasks.tokenizer_json import TokenizerJsonVocabulary
from flan_jax.tasks.vocabularies import VocabularyLike


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
    vocabulary: VocabularyLike | None = None
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

    @property
    def objective(self) -> str:
        """Its name in examples and reports."""
        return "span_corruption"

    def shaping(self) -> tuple[Any, ...]:
        """See `TextObjective`."""
        return (self.noise_density, self.mean_span)

    def divider(self, inputs: int, targets: int, vocabulary: seqio.Vocabulary) -> tuple[int, Divide]:
        """See `TextObjective`."""
        marks = sentinels(vocabulary, self.name)
        return self.chunk(inputs, targets, len(marks)), lambda ids, stream: self.corrupt(ids, stream, marks)

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

    def corrupt(self, ids: list[int], stream: Iterator[int], sentinels: list[int]) -> Divided:
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


def sentinels(vocabulary: seqio.Vocabulary, task: str) -> list[int]:
    """The ids of a vocabulary's sentinels in order, T5's: the last id is the first one, of those that are sentinels.

    Raises:
      UserError: it has none.
    """
    count = int(vocabulary.extra_ids)
    if not count:
        raise UserError(f"Task {task!r} needs sentinels, and its vocabulary has no extra ids; give it extra_ids=100.")
    if isinstance(vocabulary, TokenizerJsonVocabulary):
        return [*vocabulary.tokenizer.sentinels]
    size = int(vocabulary.vocab_size)
    if getattr(vocabulary, "_reverse_extra_ids", True):
        return [size - 1 - number for number in range(count)]
    return [size - count + number for number in range(count)]


def _partition(stream: Iterator[int], total: int, parts: int) -> list[int]:
    """Draws a division of `total` into so many positive parts."""
    cuts = [0, *(cut + 1 for cut in sample(stream, total - 1, parts - 1)), total]
    return [stop - start for start, stop in zip(cuts[:-1], cuts[1:], strict=True)]

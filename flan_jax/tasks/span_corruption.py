"""T5's span corruption: spans of a text are hidden, and asked for.

text            Thank you for inviting me to your party last week.
inputs          Thank you <X> me to your party <Y> week.
targets         <X> for inviting <Y> last

How many tokens are hidden, in how many spans, and which, is as T5's code draws it (`random_spans_noise_mask`): all
divisions into that many spans are equally likely. Unlike there, a chunk never holds parts of two texts, and there are
never more spans than sentinels; in chunks so long that T5 would run out of them, spans are longer instead.
"""

import dataclasses
from collections.abc import Iterator
from typing import Any

import numpy as np
import seqio

from flan_jax.errors import UserError
from flan_jax.tasks import registry
from flan_jax.tasks.drawing import sample
from flan_jax.tasks.sources import Source
from flan_jax.tasks.text_objectives import Divide, Divided, TextRecipe, fitting_chunk
from flan_jax.tasks.tokenizer_json import TokenizerJsonVocabulary
from flan_jax.tasks.vocabularies import VocabularyLike


@dataclasses.dataclass(frozen=True)
class SpanNoise:
    """Which tokens of a chunk are hidden.

    Attributes:
      density: the share of tokens to hide, between 0 and 1.
      mean_span: the mean number of tokens of a hidden span.
    """

    density: float = 0.15
    mean_span: float = 3.0

    def check(self, place: str) -> None:
        """Refuses values out of range.

        Raises:
          UserError: there is one; it opens with `place`.
        """
        if not 0 < self.density < 1:
            raise UserError(f"{place}: noise_density={self.density}; a share between 0 and 1 is wanted.")
        if self.mean_span < 1:
            raise UserError(f"{place}: mean_span={self.mean_span}; at least 1 token is wanted.")

    def counts(self, length: int, sentinels: int) -> tuple[int, int]:
        """How many tokens are hidden in a chunk of `length` tokens, and in how many spans."""
        # In float32, as TensorFlow has it: it decides where a half is rounded to.
        noise = min(max(int(np.rint(np.float32(length) * np.float32(self.density))), 1), length - 1)
        spans = max(int(np.rint(np.float32(noise) / np.float32(self.mean_span))), 1)
        spans = min(spans, noise, length - noise, sentinels)
        return noise, spans

    def chunk(self, inputs: int, targets: int, sentinels: int) -> int:
        """The most tokens of a chunk that fits `inputs` and `targets` tokens once it is corrupted.

        >>> SpanNoise().chunk(512 - 1, 114 - 1, 100)  # T5's lengths, each with an end-of-sequence
        568
        """

        def fits(length: int) -> bool:
            noise, spans = self.counts(length, sentinels)
            return length - noise + spans <= inputs and noise + spans <= targets

        return fitting_chunk(fits, inputs + targets)

    def corrupt(self, ids: list[int], stream: Iterator[int], sentinels: list[int]) -> Divided:
        """Hides spans: the first one never starts the text, the last one ends it, as in T5.

        Args:
          ids: a chunk's ids, at least 2.
          stream: random 64-bit integers.
          sentinels: the sentinels' ids in order.

        Returns:
          Inputs and targets.

        >>> SpanNoise(density=0.5, mean_span=2).corrupt([11, 12, 13, 14], iter([0] * 9), [99, 98])
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
      add_eos_to_inputs: whether inputs end in end-of-sequence, as T5 was pretrained; None does as the model does that
        the vocabulary comes with.
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
    add_eos_to_inputs: bool | None = False

    def register(self) -> "SpanCorruption":
        """Adds the task to seqio's registry; doing so twice changes nothing.

        Raises:
          UserError: a value is out of range, or the name is taken.
        """
        self.noise.check(f"Task {self.name!r}")
        registry.add([TextRecipe(self)])
        return self

    @property
    def noise(self) -> SpanNoise:
        """What hides its spans."""
        return SpanNoise(self.noise_density, self.mean_span)

    @property
    def objective(self) -> str:
        """Its name in examples and reports."""
        return "span_corruption"

    @property
    def learns_all(self) -> bool:
        """See `TextObjective`."""
        return False

    def shaping(self) -> tuple[Any, ...]:
        """See `TextObjective`."""
        return (self.noise_density, self.mean_span)

    def divider(self, inputs: int, targets: int, vocabulary: seqio.Vocabulary) -> tuple[int, Divide]:
        """See `TextObjective`."""
        marks = sentinels(vocabulary, self.name)
        chunk = self.noise.chunk(inputs, targets, len(marks))
        return chunk, lambda ids, stream: self.noise.corrupt(ids, stream, marks)


def sentinels(vocabulary: seqio.Vocabulary, task: str) -> list[int]:
    """The ids of a vocabulary's sentinels in order, T5's: the last id is the first one, of those that are sentinels.

    Ids that a model has and never uses are not taken for sentinels: nothing says which these are, and what reads the
    model afterwards would not know.

    Raises:
      UserError: it has none.
    """
    count = int(vocabulary.extra_ids)
    if not count:
        raise UserError(
            f"Task {task!r} hides spans behind sentinels, and its vocabulary has no extra ids for them; take another "
            f"objective (PrefixLanguageModel, CausalLanguageModel), or a vocabulary that has some: a T5 model's, or a "
            f"SentencePiece model that is named by its path or declared with extra_ids=100."
        )
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

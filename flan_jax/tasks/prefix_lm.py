"""Prefix language modelling: the beginning of a text is shown, and the rest is asked for.

text            Thank you for inviting me to your party last week.
inputs          Thank you for inviting
targets         me to your party last week.
"""

import dataclasses
from collections.abc import Iterator
from typing import Any, Literal

import seqio

from flan_jax.errors import UserError, nearest
from flan_jax.tasks import registry
from flan_jax.tasks.sources import Source
from flan_jax.tasks.text_objectives import Divide, Divided, TextRecipe, fitting_chunk
from flan_jax.tasks.vocabularies import VocabularyLike

_SPLITS = ("filling", "uniform")


@dataclasses.dataclass(frozen=True)
class HiddenEnd:
    """Hides a chunk's end, of a length that is drawn uniformly.

    Attributes:
      density: the share of tokens that is hidden in the mean, at most a half. With a half any end may be hidden, as in
        T5's code (`random_prefix_noise_mask`): 1 token to all but 1.
    """

    density: float = 0.5

    def most(self, length: int) -> int:
        """The most tokens that are hidden of `length`, at least 2; the fewest is 1."""
        return min(max(round(2 * self.density * length) - 1, 1), length - 1)

    def chunk(self, inputs: int, targets: int) -> int:
        """The most tokens of a chunk that fits `inputs` and `targets` tokens wherever it is split.

        >>> HiddenEnd().chunk(100, 100), HiddenEnd(0.25).chunk(100, 100)
        (101, 101)
        """
        return fitting_chunk(lambda length: length - 1 <= inputs and self.most(length) <= targets, inputs + targets)

    def split(self, ids: list[int], stream: Iterator[int]) -> Divided:
        """Splits a chunk of at least 2 ids.

        >>> HiddenEnd().split([11, 12, 13], iter([1]))
        ([11], [12, 13])
        """
        point = len(ids) - 1 - next(stream) % self.most(len(ids))
        return ids[:point], ids[point:]


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
      split: "uniform" is T5's: a chunk is split anywhere, each place as likely as another, and is so short that both
        parts always fit. "filling" takes chunks as long as both feature lengths together; of such there is one split
        that fits, so that only shorter texts are split anywhere.
      add_eos_to_inputs: as in `SpanCorruption`.
    """

    name: str
    source: Source | seqio.DataSource
    vocabulary: VocabularyLike | None = None
    cap: int | None = None
    field: str = "text"
    cluster: str = ""
    version: str = ""
    split: Literal["filling", "uniform"] = "filling"
    add_eos_to_inputs: bool | None = False

    def register(self) -> "PrefixLanguageModel":
        """Adds the task to seqio's registry; doing so twice changes nothing.

        Raises:
          UserError: there is no such split, or the name is taken.
        """
        if self.split not in _SPLITS:
            raise UserError(
                f"Task {self.name!r}: split={self.split!r}; it is one of {', '.join(_SPLITS)}"
                f"{nearest(self.split, _SPLITS)}."
            )
        registry.add([TextRecipe(self)])
        return self

    @property
    def objective(self) -> str:
        """Its name in examples and reports."""
        return "prefix_lm"

    @property
    def learns_all(self) -> bool:
        """See `TextObjective`."""
        return False

    def shaping(self) -> tuple[Any, ...]:
        """See `TextObjective`."""
        return () if self.split == "filling" else (self.split,)

    def divider(self, inputs: int, targets: int, vocabulary: seqio.Vocabulary) -> tuple[int, Divide]:
        """See `TextObjective`."""
        if self.split == "uniform":
            return HiddenEnd().chunk(inputs, targets), HiddenEnd().split

        def filling(ids: list[int], stream: Iterator[int]) -> Divided:
            low, high = max(1, len(ids) - targets), min(inputs, len(ids) - 1)
            point = low + next(stream) % (high - low + 1)
            return ids[:point], ids[point:]

        return inputs + targets, filling

"""Prefix language modelling: the beginning of a text is shown, and the rest is asked for."""

import dataclasses
from collections.abc import Iterator
from typing import Any

import seqio

from flan_jax.tasks import registry
from flan_jax.tasks.sources import Source
from flan_jax.tasks.text_objectives import Divide, Divided, TextRecipe
from flan_jax.tasks.vocabularies import VocabularyLike


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
    vocabulary: VocabularyLike | None = None
    cap: int | None = None
    field: str = "text"
    cluster: str = ""
    version: str = ""

    def register(self) -> "PrefixLanguageModel":
        """Adds the task to seqio's registry; doing so twice changes nothing."""
        registry.add([TextRecipe(self)])
        return self

    @property
    def objective(self) -> str:
        """Its name in examples and reports."""
        return "prefix_lm"

    def shaping(self) -> tuple[Any, ...]:
        """See `TextObjective`."""
        return ()

    def divider(self, inputs: int, targets: int, vocabulary: seqio.Vocabulary) -> tuple[int, Divide]:
        """See `TextObjective`."""

        def split(ids: list[int], stream: Iterator[int]) -> Divided:
            low, high = max(1, len(ids) - targets), min(inputs, len(ids) - 1)
            point = low + next(stream) % (high - low + 1)
            return ids[:point], ids[point:]

        return inputs + targets, split

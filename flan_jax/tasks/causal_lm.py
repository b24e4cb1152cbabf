"""Causal language modelling: all of a text is asked for, each token from those before it.

text            Thank you for inviting me to your party last week.
inputs
targets         Thank you for inviting me to your party last week.
"""

import dataclasses
from typing import Any

import seqio

from flan_jax.tasks import registry
from flan_jax.tasks.sources import Source
from flan_jax.tasks.text_objectives import Divide, TextRecipe
from flan_jax.tasks.vocabularies import VocabularyLike


@dataclasses.dataclass(frozen=True)
class CausalLanguageModel:
    """Declares a task that asks for whole texts, for decoders.

    A chunk is as long as a decoder's row, which inputs and targets share. An end-of-sequence follows a text's last
    token and no other: a chunk that the text goes on after has none, so that a model does not learn to end where a
    chunk was cut (T5's own language model ends every chunk). seqio's own pipeline cuts each feature at its length:
    give it a length of targets only, and chunks have that.

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

    def register(self) -> "CausalLanguageModel":
        """Adds the task to seqio's registry; doing so twice changes nothing.

        Raises:
          UserError: the name is taken.
        """
        registry.add([TextRecipe(self)])
        return self

    @property
    def add_eos_to_inputs(self) -> bool | None:
        """Never: there are no inputs."""
        return False

    @property
    def objective(self) -> str:
        """Its name in examples and reports."""
        return "causal_lm"

    @property
    def learns_all(self) -> bool:
        """See `TextObjective`."""
        return True

    def shaping(self) -> tuple[Any, ...]:
        """See `TextObjective`."""
        return ()

    def divider(self, inputs: int, targets: int, vocabulary: seqio.Vocabulary) -> tuple[int, Divide]:
        """See `TextObjective`."""
        return inputs + targets, lambda ids, stream: ([], ids)

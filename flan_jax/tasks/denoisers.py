"""UL2's mixture of denoisers: a chunk of text is divided by one of several objectives, drawn for each.

text            Thank you for inviting me to your party last week.
R    inputs     [NLU] Thank you <X> me to your party <Y> week.      few tokens hidden, in short spans
     targets    <X> for inviting <Y> last
X    inputs     [NLG] Thank <X> your party <Y>                      many of them, or in long spans
     targets    <X> you for inviting me to <Y> last week.
S    inputs     [S2S] Thank you for inviting me to your             the end
     targets    party last week.

Where the figures come from: the seven denoisers from table 1 of "UL2: Unifying Language Learning Paradigms"; that each
is as likely as another, from the code in its appendix (`ul2_objective`: without rates, objectives are sampled
uniformly); what the modes are called, from the published models. Spans are drawn as in that code, by T5's span
corruption. The table's S hides a quarter in the mean, the code any end, as T5's prefix language model does: that is
`Denoiser("S", 0.5)`. Unlike there, a chunk's borders do not depend on its denoiser, so that it fits every one of them.
"""

import dataclasses
import itertools
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import seqio

from flan_jax.errors import UserError
from flan_jax.tasks import registry
from flan_jax.tasks.prefix_lm import HiddenEnd
from flan_jax.tasks.sources import Source
from flan_jax.tasks.span_corruption import SpanNoise, sentinels
from flan_jax.tasks.text_objectives import Divide, Divided, TextRecipe
from flan_jax.tasks.vocabularies import VocabularyLike


@dataclasses.dataclass(frozen=True)
class Denoiser:
    """One way of dividing a chunk.

    Attributes:
      mode: its kind, UL2's "R", "X" or "S"; `MixtureOfDenoisers.modes` says what inputs of a kind begin with.
      density: the share of tokens that is hidden.
      mean_span: the mean number of tokens of a hidden span; None hides the chunk's end, of a length drawn uniformly
        whose mean is `density` of the chunk, at most a half.
      share: how often it is drawn, beside the others' shares.
    """

    mode: str
    density: float
    mean_span: float | None = None
    share: float = 1.0

    @property
    def noise(self) -> SpanNoise | HiddenEnd:
        """What hides tokens."""
        return HiddenEnd(self.density) if self.mean_span is None else SpanNoise(self.density, self.mean_span)

    def faults(self) -> str:
        """What is wrong with it; empty where nothing is."""
        if self.mean_span is not None and self.mean_span < 1:
            return f"mean_span={self.mean_span}; at least 1 token is wanted, or None to hide the end"
        most = 0.5 if self.mean_span is None else 1.0
        if not 0 < self.density <= most or self.density == 1:
            wanted = "above 0 and at most 0.5, as the end is hidden," if most < 1 else "between 0 and 1"
            return f"density={self.density}; a share {wanted} is wanted"
        return "" if self.share > 0 else f"share={self.share}; more than 0 is wanted"


#: The seven of UL2's paper, each as likely as another.
UL2 = (
    Denoiser("R", 0.15, 3),
    Denoiser("R", 0.15, 8),
    Denoiser("X", 0.5, 3),
    Denoiser("X", 0.5, 8),
    Denoiser("X", 0.15, 64),
    Denoiser("X", 0.5, 64),
    Denoiser("S", 0.25),
)
#: What the inputs of UL2's published models begin with.
UL2_MODES: Mapping[str, str] = {"R": "[NLU]", "X": "[NLG]", "S": "[S2S]"}


@dataclasses.dataclass(frozen=True)
class MixtureOfDenoisers:
    """Declares a task that divides each chunk of text by one of several denoisers, drawn by their shares.

    What U-PaLM was trained with, half of it prefixes, is
    `denoisers=(Denoiser("S", 0.5, share=2), Denoiser("X", 0.15, 32), Denoiser("R", 0.15, 3))`.

    Attributes:
      name: the seqio task's name.
      source: rows with a text.
      vocabulary: as in `InstructionTask`; its extra ids are the sentinels.
      denoisers: which there are.
      modes: the text that inputs begin with, by the denoiser's mode, `UL2_MODES` for one; None leaves it out.
      cap: as in `InstructionTask`.
      field: the row's field that holds the text.
      cluster: as in `InstructionTask`.
      version: as in `InstructionTask`.
      add_eos_to_inputs: as in `SpanCorruption`.
    """

    name: str
    source: Source | seqio.DataSource
    vocabulary: VocabularyLike | None = None
    denoisers: tuple[Denoiser, ...] = UL2
    modes: Mapping[str, str] | None = None
    cap: int | None = None
    field: str = "text"
    cluster: str = ""
    version: str = ""
    add_eos_to_inputs: bool | None = None

    def register(self) -> "MixtureOfDenoisers":
        """Adds the task to seqio's registry; doing so twice changes nothing.

        Raises:
          UserError: a value is out of range, a mode has no text, or the name is taken.
        """
        if not self.denoisers:
            raise UserError(f"Task {self.name!r} has no denoisers; leave them out for UL2's.")
        for one in self.denoisers:
            if fault := one.faults():
                raise UserError(f"Task {self.name!r}, {one}: {fault}.")
            if self.modes is not None and not self.modes.get(one.mode):
                known = ", ".join(self.modes) or "none"
                raise UserError(
                    f"Task {self.name!r}: modes has no text for the denoisers of mode {one.mode!r} (it has {known}); "
                    f"give each mode one, or leave modes out."
                )
        registry.add([TextRecipe(self)])
        return self

    @property
    def objective(self) -> str:
        """Its name in examples and reports."""
        return "mixture_of_denoisers"

    @property
    def learns_all(self) -> bool:
        """See `TextObjective`."""
        return False

    def shaping(self) -> tuple[Any, ...]:
        """See `TextObjective`."""
        return (self.denoisers, self.modes)

    def divider(self, inputs: int, targets: int, vocabulary: seqio.Vocabulary) -> tuple[int, Divide]:
        """See `TextObjective`."""
        needs_marks = any(one.mean_span is not None for one in self.denoisers)
        marks = sentinels(vocabulary, self.name) if needs_marks else []
        chunks, ways = [], []
        for one in self.denoisers:
            begin = list(vocabulary.encode(self.modes[one.mode])) if self.modes else []
            chunk, divide = _bound(one.noise, inputs - len(begin), targets, marks)
            chunks.append(chunk)
            ways.append((begin, divide))
        limits = list(itertools.accumulate(one.share for one in self.denoisers))

        def divide_by_one(ids: list[int], stream: Iterator[int]) -> Divided:
            drawn = next(stream) / 2**64 * limits[-1]
            begin, divide = ways[sum(limit <= drawn for limit in limits[:-1])]
            shown, hidden = divide(ids, stream)
            return begin + shown, hidden

        return min(chunks), divide_by_one


def _bound(noise: SpanNoise | HiddenEnd, inputs: int, targets: int, marks: list[int]) -> tuple[int, Divide]:
    """The longest chunk that one denoiser fits, and what divides it."""
    if isinstance(noise, HiddenEnd):
        return noise.chunk(inputs, targets), noise.split
    divide: Callable[[list[int], Iterator[int]], Divided] = lambda ids, stream: noise.corrupt(ids, stream, marks)
    return noise.chunk(inputs, targets, len(marks)), divide

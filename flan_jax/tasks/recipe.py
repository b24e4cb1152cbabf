"""What every kind of task gives: a recipe that turns rows into examples."""

import dataclasses
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, Protocol

import numpy as np

from flan_jax.tasks import run_form, vocabularies
from flan_jax.tasks.sources import Row, Source, as_source
from flan_jax.tasks.tally import OnBadRow, OnLong, Tally
from flan_jax.tasks.vocabularies import VocabularyLike


@dataclasses.dataclass(slots=True)
class Example:
    """One example as the model gets it, with what a reader or an evaluation needs beside.

    Attributes:
      id: the row's id, the same in all tasks derived from one source.
      inputs: int32 token ids of the prompt [inputs].
      targets: int32 token ids to be learnt, end-of-sequence included [targets].
      weights: float32 loss weights [targets]; None where each is 1.
      template: which of the task's templates was drawn.
      objective: "instruction", "chat", "span_corruption", "prefix_lm", "causal_lm", "mixture_of_denoisers" or "seqio".
      options: int32 ids of each answer option, ended like the targets; None where there are none.
      answer: the right option's index.
      inputs_text: the prompt.
      targets_text: the targets.
      cut_tokens: how many tokens were cut so that it fits.
      references: all right answers as text, the one in `targets_text` among them.
      metric_field: the value of the task's `metric_field`, fit for JSON; None where it has none.
      learnt: the texts that bear loss, one for each stretch of target tokens that does, in order, without the token
        that ends each; None where they are no text (spans of a text) or are not known.
    """

    id: str
    inputs: np.ndarray
    targets: np.ndarray
    weights: np.ndarray | None = None
    template: int = 0
    objective: str = "instruction"
    options: list[np.ndarray] | None = None
    answer: int | None = None
    inputs_text: str = ""
    targets_text: str = ""
    cut_tokens: int = 0
    references: tuple[str, ...] = ()
    metric_field: Any = None
    learnt: tuple[str, ...] | None = None

    @property
    def metric_target(self) -> Any:
        """What metrics compare with: all right answers, or {"references": those, "field": the metric field's value}."""
        every = list(self.references) or [self.targets_text]
        return every if self.metric_field is None else {"references": every, "field": self.metric_field}


@dataclasses.dataclass(frozen=True)
class Request:
    """How examples are wanted.

    Attributes:
      lengths: the most tokens of "inputs" and "targets", end-of-sequence included; a missing one is unbounded.
      seed: the run's seed.
      draw: which pass over the data this is; each draws templates, exemplars and spans anew.
      on_long: what to do with an example that is too long: "truncate", "refuse" (an error) or "drop".
      on_bad_row: what to do with a row that cannot be used: "error" or "skip".
      tally: counts what becomes of the rows.
      each_template: whether an instruction task words each row by each of its templates instead of by a drawn one.
      from_sample: whether rows and exemplars are the sample that a corpus declares, since it is not at hand.
    """

    lengths: Mapping[str, int | None]
    seed: int = 0
    draw: int = 0
    on_long: OnLong = "truncate"
    on_bad_row: OnBadRow = "error"
    tally: Tally = dataclasses.field(default_factory=Tally)
    each_template: bool = False
    from_sample: bool = False


@dataclasses.dataclass(frozen=True)
class Description:
    """What reports and evaluations must know of a task, fit for JSON; nothing is read for it.

    Attributes:
      task: the declaration's name.
      objective: as in `Example`.
      eval_kind: "rank", "generate", "score" or "loss".
      kind: "plain", "held_out_templates", "inverted", "with_inverted", "few_shot" or "sibling".
      cluster: the kind of task.
      cap: the most examples that count for mixing rates.
      chance: the score of guessing.
      siblings: tasks over the same rows whose instruction asks for something else.
      sibling: of them the one whose instruction is used.
      shots: how many exemplars stand before a prompt.
      options: the answers to choose from, where they are fixed.
      metrics: names.
      templates: inputs and targets of each.
      held_out_templates: how many are kept for evaluation.
      random: whether another draw may give other tokens.
      version: the declaration's.
    """

    task: str
    objective: str
    eval_kind: str = "loss"
    kind: str = "plain"
    cluster: str = ""
    cap: int | None = None
    chance: float | None = None
    siblings: list[str] = dataclasses.field(default_factory=list)
    sibling: str | None = None
    shots: int = 0
    options: list[str] | None = None
    metrics: list[str] = dataclasses.field(default_factory=list)
    templates: list[list[str]] = dataclasses.field(default_factory=list)
    held_out_templates: int = 0
    random: bool = False
    version: str = ""


Encoder = Callable[[Iterable[tuple[str, Row]]], Iterator[Example]]
Read = Callable[[Row], list[tuple[str, str, str]]]
"""Gives what a row says, as prompt, answer and instruction of all that is made of it; raises `BadRow`."""


class OfDeclaration:
    """What every recipe takes from its declaration as it stands."""

    declaration: Any

    @property
    def source(self) -> Source:
        """The declaration's source."""
        return as_source(self.declaration.source)

    @property
    def vocabulary(self) -> VocabularyLike:
        """The declaration's vocabulary, or the run's."""
        return run_form.vocabulary_of(self.declaration.vocabulary)

    @property
    def add_eos_to_inputs(self) -> bool:
        """What the declaration says, or what the model does that the vocabulary comes with."""
        declared = self.declaration.add_eos_to_inputs
        return vocabularies.ends_inputs(self.vocabulary) if declared is None else declared

    @property
    def form(self) -> str:
        """How it is written: "plain", "chat" by a template, or "roles"; reads the vocabulary."""
        return "plain"

    def prompt_format(self) -> str:
        """How a bare prompt is put to a model that the task trained, with "{}" in its place; reads the vocabulary."""
        return "{}"


class Recipe(Protocol):
    """A registered task of ours."""

    @property
    def name(self) -> str:
        """The seqio task's name."""
        ...

    @property
    def declaration(self) -> Any:
        """The dataclass that the user declared."""
        ...

    @property
    def source(self) -> Source:
        """Where its rows come from."""
        ...

    @property
    def vocabulary(self) -> VocabularyLike:
        """What turns its text into ids."""
        ...

    @property
    def add_eos_to_inputs(self) -> bool:
        """Whether inputs end in end-of-sequence."""
        ...

    @property
    def metrics(self) -> tuple[str | Callable[..., Mapping[str, Any]], ...]:
        """Names or functions of its metrics."""
        ...

    def encoder(self, split: str, request: Request) -> Encoder:
        """A function that turns rows of a split into examples, in order."""
        ...

    @property
    def form(self) -> str:
        """See `OfDeclaration`."""
        ...

    def prompt_format(self) -> str:
        """See `OfDeclaration`."""
        ...

    def texts(self, split: str, on_bad_row: OnBadRow) -> Iterator[tuple[str, ...]]:
        """The texts of each example of a split, before any vocabulary: what one may be learnt from."""
        ...

    def contents(self) -> Read:
        """A function that reads what a row says, free of any template; see `row_contents`."""
        ...

    def shaping(self) -> Any:
        """All that shapes its tokens besides files, vocabulary, lengths, seed and draw; hashed into its fingerprint."""
        ...

    def describe(self) -> Description:
        """What a report tells of it."""
        ...

"""InstructionTask: a dataset declared once, from which its training and evaluation tasks are derived.

    InstructionTask(
        name="reviews",
        source=jsonl("reviews/*.jsonl", validation_rows=200),
        templates=("Is this review good or bad?\n{text}\n{options}", ...),
        options=("good", "bad"),
        answer="label",
    ).register()

A row {"text": "A fine soup.", "label": "good"} becomes the inputs "Is this review good or bad?\nA fine
soup.\nOPTIONS:\n- good\n- bad" and the targets "good".
"""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

import seqio

from flan_jax.errors import UserError
from flan_jax.tasks import inversion, registry
from flan_jax.tasks import metrics as metric_functions
from flan_jax.tasks.options import DEFAULT_STYLES, check_styles
from flan_jax.tasks.sources import Row, Source
from flan_jax.tasks.templates import Template, as_templates
from flan_jax.tasks.variants import Variant
from flan_jax.tasks.vocabularies import VocabularyLike


@dataclasses.dataclass(frozen=True)
class InstructionTask:
    """Declares a task; nothing is read before it is used.

    `register()` adds to seqio's registry NAME; NAME.held_out_wordings where there are held-out templates; NAME.inverted
    where there are inverted ones; NAME.K_shot for each K of `few_shot`; NAME.as_SIBLING for each sibling: this task's
    rows and answers under the sibling's instruction, a control that tells whether a model heeds the instruction.

    Attributes:
      name: the seqio task's name: letters, digits, `.`, `_`, `:`.
      source: `jsonl(...)`, `csv(...)`, `json_array(...)`, `text(...)`, `generator(...)` or a seqio data source.
      templates: wordings; a plain text stands for `Template(text)`. One is drawn for each example and draw.
      held_out_templates: wordings for evaluation only.
      inverted_templates: wordings that show the answer and ask for a field.
      options: the answers to choose from, or the name of the row's field that lists them; None for free text.
      answer: the row's field that holds the answer: one of the options or its index; for free text a text, or a list of
        right ones.
      preprocess: turns a row into the fields that templates name, or None to leave the row out; None takes rows as they
        are.
      metrics: names ("accuracy", "exact_match", "f1") or functions of (targets, predictions); empty for accuracy with
        options and exact_match without.
      vocabulary: "starter", a SentencePiece model's path, a Hugging Face folder, or a seqio vocabulary.
      cap: the most examples that count for mixing rates; None leaves it to the mixture.
      cluster: the kind of task, for leaving out clusters and for reports.
      siblings: names of tasks over the same rows whose instruction asks for something else.
      chance: the score of guessing, from 0 to 1; None for 1 over the number of fixed options.
      few_shot: numbers of exemplars to derive tasks with.
      trim_field: the field to shorten when a prompt is too long; None shortens the longest.
      trim_from: "end" cuts a field's end; "middle" keeps its beginning and its end, for prompts that come as one text,
        whose instruction may stand on either side.
      version: any text; changing it has the task prepared anew.
      add_eos_to_inputs: whether inputs end in end-of-sequence; targets always do.
      option_styles: names of the ways to write the options (`flan_jax.tasks.options.STYLES`), one drawn for each
        example. With a lettered one the answer is the letter.
    """

    name: str
    source: Source | seqio.DataSource
    templates: tuple[Template, ...]
    held_out_templates: tuple[Template, ...] = ()
    inverted_templates: tuple[Template, ...] = ()
    options: tuple[str, ...] | str | None = None
    answer: str = "answer"
    preprocess: Callable[[Row], Row | None] | None = None
    metrics: tuple[str | Callable[..., Mapping[str, Any]], ...] = ()
    vocabulary: VocabularyLike = "starter"
    cap: int | None = None
    cluster: str = ""
    siblings: tuple[str, ...] = ()
    chance: float | None = None
    few_shot: tuple[int, ...] = ()
    trim_field: str | None = None
    trim_from: str = "end"
    version: str = ""
    add_eos_to_inputs: bool = False
    option_styles: tuple[str, ...] = DEFAULT_STYLES

    def __post_init__(self):
        for field in ("templates", "held_out_templates", "inverted_templates"):
            object.__setattr__(self, field, as_templates(getattr(self, field)))
        for field in ("metrics", "siblings", "few_shot", "option_styles"):
            value = getattr(self, field)
            object.__setattr__(
                self, field, (value,) if isinstance(value, str | int) or callable(value) else tuple(value)
            )
        if self.options is not None and not isinstance(self.options, str):
            object.__setattr__(self, "options", tuple(self.options))

    def check(self) -> None:
        """Finds faults that show without a row.

        Raises:
          UserError: the first one found, with the task's name.
        """
        try:
            self._check()
        except UserError as fault:
            raise UserError(f"Task {self.name!r}: {fault}") from None

    def _check(self) -> None:
        if not self.templates:
            raise UserError("it has no templates; give at least one.")
        has_options = self.options is not None
        if seen := {one.inputs for one in self.templates} & {one.inputs for one in self.held_out_templates}:
            raise UserError(f"the held-out template {min(seen)!r} is among the templates; take it out of one of them.")
        for template in (*self.templates, *self.held_out_templates):
            template.check(has_options)
            if has_options and not {"answer", self.answer} & set(template.response.fields):
                raise UserError(
                    f"template {template.inputs!r} has the targets {template.targets!r}, which leave out {{answer}}, "
                    f"one of the options."
                )
        inversion.check(self.inverted_templates, self.answer)
        if isinstance(self.options, tuple) and (
            len(set(self.options)) < max(2, len(self.options)) or not all(self.options)
        ):
            raise UserError(f"options={self.options!r}; at least two different texts are wanted, none empty.")
        check_styles(self.option_styles)
        for metric in self.metrics:
            metric_functions.function(metric)
        if self.trim_field and not any(self.trim_field in one.prompt.fields for one in self.templates):
            raise UserError(f"trim_field={self.trim_field!r} is in no template's inputs.")
        if self.trim_from not in ("end", "middle"):
            raise UserError(f"trim_from={self.trim_from!r}; it is 'end' or 'middle'.")
        if self.cap is not None and self.cap < 1:
            raise UserError(f"cap={self.cap}; give a positive number of examples, or None.")
        if any(shots < 1 for shots in self.few_shot):
            raise UserError(f"few_shot={self.few_shot}; the numbers of exemplars must be positive.")

    def variants(self) -> list[Variant]:
        """The tasks that registering adds, the plain one first."""
        variants = [Variant(self, self.name)]
        if self.held_out_templates:
            variants.append(Variant(self, f"{self.name}.held_out_wordings", "held_out_wordings"))
        if self.inverted_templates:
            variants.append(Variant(self, f"{self.name}.{inversion.SUFFIX}", "inverted"))
        variants += [Variant(self, f"{self.name}.{shots}_shot", "few_shot", shots=shots) for shots in self.few_shot]
        variants += [
            Variant(self, f"{self.name}.as_{sibling}", "sibling", sibling=sibling) for sibling in self.siblings
        ]
        return variants

    def register(self) -> "InstructionTask":
        """Adds the tasks to seqio's registry; doing so twice changes nothing.

        Returns:
          The declaration itself.

        Raises:
          UserError: the declaration has a fault, or a name is taken.
        """
        self.check()
        registry.add(list(self.variants()))
        return self

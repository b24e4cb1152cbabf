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
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import seqio

from flan_jax.errors import UserError, nearest
from flan_jax.tasks import metrics as metric_functions
from flan_jax.tasks import options, registry, run_form, vocabularies
from flan_jax.tasks.encoding import DraftEncoder, Finisher, batched
from flan_jax.tasks.options import DEFAULT_STYLES, check_styles
from flan_jax.tasks.recipe import Description, Encoder, Example, OfDeclaration, Request
from flan_jax.tasks.rendering import Renderer
from flan_jax.tasks.sources import Row, Source
from flan_jax.tasks.tally import OnBadRow
from flan_jax.tasks.templates import OPTIONS, Template, as_templates
from flan_jax.tasks.user_functions import of_task
from flan_jax.tasks.vocabularies import VocabularyLike
from flan_jax.tasks.written_form import PlainText, WrittenForm, one_exchange
from flan_jax.text.chat_templates import ChatTemplate


@dataclasses.dataclass(frozen=True)
class InstructionTask:
    """Declares a task; nothing is read before it is used.

    `register()` adds to seqio's registry NAME; NAME.held_out_templates where there are held-out templates; where there
    are inverted ones NAME.inverted, which draws from them alone, and NAME.with_inverted, which draws from them and the
    others alike, as FLAN trains; NAME.K_shot for each K of `few_shot`; NAME.as_SIBLING for each sibling: this task's
    rows and answers under the sibling's instruction, a control that tells whether a model heeds the instruction.

    Attributes:
      name: the seqio task's name: letters, digits, `.`, `_`, `:`.
      source: `jsonl(...)`, `csv(...)`, `json_array(...)`, `text(...)`, `generator(...)` or a seqio data source.
      templates: a plain text stands for `Template(text)`. One is drawn for each example and draw.
      held_out_templates: templates for evaluation only.
      inverted_templates: templates that show the answer and ask for a field; or, of the direction "open", that ask for
        a field and show no answer.
      options: the answers to choose from, or the name of the row's field that lists them; None for free text.
      answer: the row's field that holds the answer: one of the options or its index; for free text a text, or a list of
        right ones.
      preprocess: turns a row into the fields that templates name, or None to leave the row out; None takes rows as they
        are.
      metrics: names ("accuracy", "exact_match", "f1") or functions of (targets, predictions); empty for accuracy with
        options and exact_match without.
      vocabulary: None for the run's, so that the task serves every model; or one that it insists on: "starter", a
        SentencePiece model's path, a Hugging Face folder, or a seqio vocabulary.
      cap: the most examples that count for mixing rates; None leaves it to the mixture.
      cluster: the kind of task, for leaving out clusters and for reports.
      siblings: names of tasks over the same rows whose instruction asks for something else.
      chance: the score of guessing, from 0 to 1; None for 1 over the number of fixed options.
      few_shot: numbers of exemplars to derive tasks with.
      trim_field: the field to shorten when a prompt is too long; None shortens the longest.
      trim_from: "end" cuts a field's end; "middle" keeps its beginning and its end, for prompts that come as one text,
        whose instruction may stand on either side.
      version: any text; changing it has the task prepared anew.
      add_eos_to_inputs: whether inputs end in end-of-sequence; None for what the model does that the vocabulary comes
        with. Targets always do.
      chat_template: whether its prompts and answers are written by the chat template that comes with the vocabulary,
        where one does and the run's FORM is not "plain".
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
    vocabulary: VocabularyLike | None = None
    cap: int | None = None
    cluster: str = ""
    siblings: tuple[str, ...] = ()
    chance: float | None = None
    few_shot: tuple[int, ...] = ()
    trim_field: str | None = None
    trim_from: str = "end"
    version: str = ""
    add_eos_to_inputs: bool | None = None
    chat_template: bool = True
    option_styles: tuple[str, ...] = DEFAULT_STYLES

    def __post_init__(self):
        for field in ("templates", "held_out_templates"):
            object.__setattr__(self, field, as_templates(getattr(self, field)))
        object.__setattr__(self, "inverted_templates", as_templates(self.inverted_templates, "inverted"))
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
        for template in (*self.templates, *self.held_out_templates, *self.inverted_templates):
            template.check(has_options, self.answer)
        for template in (*self.templates, *self.held_out_templates):
            if template.direction != "forward":
                raise UserError(
                    f"the template {template.inputs!r} has the direction {template.direction!r}; move it to "
                    f"inverted_templates."
                )
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

    def variants(self) -> "list[Variant]":
        """The tasks that registering adds, the plain one first."""
        variants = [Variant(self, self.name)]
        if self.held_out_templates:
            variants.append(Variant(self, f"{self.name}.held_out_templates", "held_out_templates"))
        if self.inverted_templates:
            variants += [Variant(self, f"{self.name}.{kind}", kind) for kind in ("inverted", "with_inverted")]
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


@dataclasses.dataclass(frozen=True)
class Variant(OfDeclaration):
    """One seqio task of an `InstructionTask`.

    Attributes:
      declaration: what the user declared.
      name: the seqio task's name.
      kind: "plain", "held_out_templates", "inverted", "with_inverted", "few_shot" or "sibling".
      shots: how many exemplars stand before the prompt.
      sibling: the name of the task whose instruction is used, for the kind "sibling".
    """

    declaration: InstructionTask
    name: str
    kind: str = "plain"
    shots: int = 0
    sibling: str = ""

    @property
    def has_options(self) -> bool:
        """Whether the answer of every example is one of given options."""
        return self.declaration.options is not None and "inverted" not in self.kind

    @property
    def metrics(self) -> tuple[str | Callable[..., Mapping[str, Any]], ...]:
        """The declaration's metrics, or what fits the kind of answer; those of a task do not fit its inversion, and
        where both are drawn there is the loss alone.
        """
        if self.kind == "with_inverted":
            return ()
        if self.declaration.metrics and self.kind != "inverted":
            return self.declaration.metrics
        return ("accuracy",) if self.has_options else ("exact_match",)

    @property
    def templates(self) -> tuple[Template, ...]:
        """The templates that are drawn from.

        Raises:
          UserError: the sibling is not registered, or its templates ask for options that this task has not.
        """
        if self.kind == "held_out_templates":
            return self.declaration.held_out_templates
        if self.kind == "inverted":
            return self.declaration.inverted_templates
        if self.kind == "with_inverted":
            return (*self.declaration.templates, *self.declaration.inverted_templates)
        if self.kind != "sibling":
            return self.declaration.templates
        sibling = registry.declared(self.sibling)
        if sibling is None or not hasattr(sibling, "templates"):
            close = nearest(self.sibling, registry.names())
            raise UserError(
                f"Task {self.declaration.name!r} has the sibling {self.sibling!r}, which is no registered "
                f"InstructionTask{close}."
            )
        return tuple(self._as_sibling(template) for template in sibling.templates)

    def _as_sibling(self, template: Template) -> Template:
        """A sibling's instruction with this task's answer, where its targets ask for something else."""
        if not {"answer", self.declaration.answer} & set(template.response.fields):
            template = dataclasses.replace(template, targets="{answer}")
        template.check(self.declaration.options is not None, self.declaration.answer)
        return template

    def encoder(self, split: str, request: Request) -> Encoder:
        """See `Recipe`."""
        renderer = Renderer(self, split, request)
        finisher = Finisher(self.name, self.written(), request)
        encode = DraftEncoder(finisher, self.declaration.trim_field, self.declaration.trim_from, renderer.where)

        def encoder(rows: Iterable[tuple[str, Row]]) -> Iterator[Example]:
            for batch in batched(renderer.drafts(rows)):
                yield from encode(batch)

        return encoder

    def written(self) -> WrittenForm:
        """Its prompts and answers as ids: as one exchange of a chat, or as they stand."""
        tokenizer, template = vocabularies.tokenizer(self.vocabulary), self._template()
        return PlainText(tokenizer, self.add_eos_to_inputs) if template is None else one_exchange(tokenizer, template)

    def _template(self) -> ChatTemplate | None:
        return run_form.template_for(self.vocabulary, self.declaration.chat_template)

    @property
    def form(self) -> str:
        """See `OfDeclaration`."""
        return "plain" if self._template() is None else "chat"

    def prompt_format(self) -> str:
        """See `OfDeclaration`."""
        template = self._template()
        return "{}" if template is None else template.prompt_format()

    def texts(self, split: str, on_bad_row: OnBadRow) -> Iterator[tuple[str, ...]]:
        """See `Recipe`."""
        renderer = Renderer(self, split, Request({}, on_bad_row=on_bad_row))
        for draft in renderer.drafts(of_task(self.name, self.source.rows(split, on_bad_row))):
            yield draft.inputs, draft.targets

    def shaping(self) -> Any:
        """See `Recipe`."""
        task = self.declaration
        styles = [options.STYLES[name] for name in task.option_styles]
        rendering = (self.templates, styles, task.options, task.answer, task.preprocess)
        return (
            self.name,
            self.kind,
            self.shots,
            rendering,
            (task.trim_field, task.trim_from, self.add_eos_to_inputs),
            task.version,
            *(["chat"] if self.form == "chat" else []),
        )

    def describe(self) -> Description:
        """See `Recipe`."""
        task = self.declaration
        fixed = list(task.options) if isinstance(task.options, tuple) else None
        chance = 1.0 / len(fixed) if task.chance is None and fixed else task.chance
        return Description(
            task=task.name,
            objective="instruction",
            eval_kind="rank" if self.has_options else "generate" if self.metrics else "loss",
            kind=self.kind,
            cluster=task.cluster,
            cap=task.cap,
            chance=None if "inverted" in self.kind else chance,
            siblings=list(task.siblings),
            sibling=self.sibling or None,
            shots=self.shots,
            options=fixed if self.has_options else None,
            metrics=[metric_functions.name_of(metric) for metric in self.metrics],
            templates=[[template.inputs, template.targets] for template in self.templates],
            held_out_templates=len(task.held_out_templates),
            random=self._is_random(),
            version=task.version,
        )

    def _is_random(self) -> bool:
        """Whether another draw may give other tokens."""
        task = self.declaration
        styled = len(task.option_styles) > 1 and any(OPTIONS in template.prompt.fields for template in self.templates)
        return len(self.templates) > 1 or self.shots > 0 or styled

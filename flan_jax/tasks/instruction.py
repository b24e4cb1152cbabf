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
from flan_jax.tasks import fewshot, registry
from flan_jax.tasks import metrics as metric_functions
from flan_jax.tasks.options import DEFAULT_STYLES, check_styles
from flan_jax.tasks.sources import Corpus, Row, Source
from flan_jax.tasks.tally import OnBadRow
from flan_jax.tasks.templates import OPTIONS, Template, as_templates
from flan_jax.tasks.variants import Variant
from flan_jax.tasks.vocabularies import VocabularyLike


@dataclasses.dataclass(frozen=True)
class InstructionTask:
    """Declares a task; nothing is read before it is used.

    `register()` adds to seqio's registry NAME and, as far as the declaration has what they need,

        NAME.held_out_templates   evaluates under templates that are kept from training
        NAME.inverted             draws from the inverted templates alone
        NAME.with_inverted        draws from them and the others alike, as FLAN trains
        NAME.K_shot               puts exemplars first, for each K of `few_shot`; of a pair NAME.J_to_K_shot
        NAME.no_options           leaves the options out of the prompts, as does NAME.K_shot.no_options
        NAME.ENCODING             words rows by another preprocess function, for each of `encodings`
        NAME.as_SIBLING           this task's rows and answers under a sibling's instruction: a control that tells
                                  whether a model heeds it

    Attributes:
      name: the seqio task's name: letters, digits, `.`, `_`, `:`.
      source: `jsonl(...)`, `csv(...)`, `json_array(...)`, `text(...)`, `generator(...)`, a `Corpus(...)`, whose place
        the run chooses, or a seqio data source.
      templates: a plain text stands for `Template(text)`. One is drawn for each example and draw.
      held_out_templates: templates for evaluation only.
      inverted_templates: templates that show the answer and ask for a field; or, of the direction "open", that ask for
        a field and show no answer.
      options: the answers to choose from, or the name of the row's field that lists them; None for free text.
      answer: the row's field that holds the answer: one of the options, its index, or of two a truth value (the second
        is the true one); for free text a text, or a list of right ones.
      draw_answer: whether one of several right answers is drawn for each example; else the first is learnt.
      preprocess: turns a row into the fields that templates name, or None to leave the row out, or a list of such, each
        of which is an example of its own; None takes rows as they are.
      wordings: the row's field that lists several wordings of one example, of which one is drawn for each example and
        draw: texts, or mappings of fields that are set together; None for none.
      encodings: other preprocess functions by name: the same rows with more or less of their instruction. Each gives
        the fields that the templates name.
      worked: the field that holds an instruction's own worked examples, as lists of texts; of each list as many of the
        first are shown as leave room for the rest of the prompt. None where there is no such field.
      worked_from: whether the "first" list of them is shown before the others are, or the "last".
      several_answers: whether rows have several right answers, so that another draw may learn another of them.
      metrics: names ("accuracy", "exact_match", "f1") or functions of (targets, predictions); empty for accuracy with
        options and exact_match without.
      metric_field: the row's field that metrics get beside the right answers, for those that group examples or compare
        with more than text; None for none. See `flan_jax.tasks.metrics`.
      vocabulary: None for the run's, so that the task serves every model; or one that it insists on: "starter", a
        SentencePiece model's path, a Hugging Face folder, or a seqio vocabulary.
      cap: the most examples that count for mixing rates; None leaves it to the mixture.
      cluster: the kind of task, for leaving out clusters and for reports.
      siblings: names of tasks over the same rows whose instruction asks for something else.
      chance: the score of guessing, from 0 to 1; None for 1 over the number of fixed options.
      few_shot: numbers of exemplars to derive tasks with; a pair is drawn between for each example, as in (0, 16).
      exemplar_styles: names of the ways to lay out exemplars (`flan_jax.tasks.fewshot.STYLES`), one drawn for each
        example.
      trim_field: the field to shorten when a prompt is too long; None shortens the longest.
      trim_from: "end" cuts a field's end; "middle" keeps its beginning and its end, for prompts that come as one text,
        whose instruction may stand on either side.
      on_bad_row: "error" or "skip" for rows that cannot be used; None leaves it to the run.
      version: any text; changing it has the task prepared anew.
      add_eos_to_inputs: whether inputs end in end-of-sequence; None for what the model does that the vocabulary comes
        with. Targets always do.
      chat_template: whether its prompts and answers are written by the chat template that comes with the vocabulary,
        where one does and the run's FORM is not "plain".
      option_styles: names of the ways to write the options (`flan_jax.tasks.options.STYLES`), one drawn for each
        example. With a lettered one the answer is the letter.
      without_options: whether to derive tasks whose prompts leave the options out.
      may_be_empty: whether a mixture with other tasks does without this one, and says so, where its rows are none or
        all left out on purpose, as of a file whose answers are all empty; else that is an error.
      shuffle_options: whether the options stand in an order that is drawn for each example.
      inverted_share: the share of the examples of NAME.with_inverted that inverted templates word, from 0 to 1; None
        draws from all templates alike.
      input_noise: the share of words in the fields of training prompts that get a typing error, from 0 to 1; see
        `flan_jax.tasks.noise`. Instructions, options and what is to be answered have none, nor do other splits.
      word_dropout: the share of words that are left out there, from 0 to below 1.
    """

    name: str
    source: Source | seqio.DataSource | Corpus
    templates: tuple[Template, ...]
    held_out_templates: tuple[Template, ...] = ()
    inverted_templates: tuple[Template, ...] = ()
    options: tuple[str, ...] | str | None = None
    answer: str = "answer"
    draw_answer: bool = True
    preprocess: Callable[[Row], Row | list[Row] | None] | None = None
    metrics: tuple[str | Callable[..., Mapping[str, Any]], ...] = ()
    metric_field: str | None = None
    vocabulary: VocabularyLike | None = None
    cap: int | None = None
    cluster: str = ""
    siblings: tuple[str, ...] = ()
    chance: float | None = None
    few_shot: tuple[int | tuple[int, int], ...] = ()
    exemplar_styles: tuple[str, ...] = fewshot.DEFAULT_STYLES
    trim_field: str | None = None
    trim_from: str = "end"
    on_bad_row: OnBadRow | None = None
    version: str = ""
    add_eos_to_inputs: bool | None = None
    chat_template: bool = True
    option_styles: tuple[str, ...] = DEFAULT_STYLES
    shuffle_options: bool = False
    without_options: bool = False
    inverted_share: float | None = None
    input_noise: float = 0.0
    word_dropout: float = 0.0
    encodings: tuple[tuple[str, Callable[[Row], Row | None]], ...] = ()
    worked: str | None = None
    worked_from: str = "first"
    several_answers: bool = False
    wordings: str | None = None
    may_be_empty: bool = False

    def __post_init__(self):
        for field in ("templates", "held_out_templates"):
            object.__setattr__(self, field, as_templates(getattr(self, field)))
        object.__setattr__(self, "inverted_templates", as_templates(self.inverted_templates, "inverted"))
        for field in ("metrics", "siblings", "few_shot", "option_styles", "exemplar_styles"):
            value = getattr(self, field)
            object.__setattr__(
                self, field, (value,) if isinstance(value, str | int) or callable(value) else tuple(value)
            )
        if isinstance(self.encodings, Mapping):
            object.__setattr__(self, "encodings", tuple(self.encodings.items()))
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
        wordings = [{one.inputs for t in ts for one in t.wordings} for ts in (self.templates, self.held_out_templates)]
        if seen := wordings[0] & wordings[1]:
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
        fewshot.check(self.few_shot, self.exemplar_styles)
        if self.without_options and not any(OPTIONS in one.prompt.fields for one in self.templates):
            raise UserError("without_options is set, but no template shows {options}; leave it out.")
        for metric in self.metrics:
            metric_functions.function(metric)
        if self.trim_field and not any(self.trim_field in one.prompt.fields for one in self.templates):
            raise UserError(f"trim_field={self.trim_field!r} is in no template's inputs.")
        if self.worked and not all(one.prompt.count(self.worked) == 1 for one in self.templates):
            raise UserError(f"worked={self.worked!r} must stand once in each template's inputs.")
        if self.worked and self.few_shot:
            raise UserError("few_shot and worked are set; exemplars go with instructions that show none of their own.")
        if self.worked_from not in ("first", "last"):
            raise UserError(f"worked_from={self.worked_from!r}; it is 'first' or 'last'.")
        if self.trim_from not in ("end", "middle"):
            raise UserError(f"trim_from={self.trim_from!r}; it is 'end' or 'middle'.")
        if self.on_bad_row not in (None, "error", "skip"):
            raise UserError(f"on_bad_row={self.on_bad_row!r}; it is 'error', 'skip' or None.")
        if self.inverted_share is not None and not (self.inverted_templates and 0 <= self.inverted_share <= 1):
            raise UserError(
                f"inverted_share={self.inverted_share}; a share from 0 to 1 is wanted, of a task that has "
                f"inverted_templates."
            )
        if not 0 <= self.input_noise <= 1:
            raise UserError(f"input_noise={self.input_noise}; a share of the words from 0 to 1 is wanted.")
        if not 0 <= self.word_dropout < 1:
            raise UserError(f"word_dropout={self.word_dropout}; a share of the words from 0 to below 1 is wanted.")
        if self.cap is not None and self.cap < 1:
            raise UserError(f"cap={self.cap}; give a positive number of examples, or None.")

    def variants(self) -> "list[Variant]":
        """The tasks that registering adds, the plain one first."""
        variants = [Variant(self, self.name)]
        if self.held_out_templates:
            variants.append(Variant(self, f"{self.name}.held_out_templates", "held_out_templates"))
        if self.inverted_templates:
            variants += [Variant(self, f"{self.name}.{kind}", kind) for kind in ("inverted", "with_inverted")]
        if self.without_options:
            variants.append(Variant(self, f"{self.name}.no_options", "no_options", shows_options=False))
        for fewest, most in map(fewshot.bounds, self.few_shot):
            name = f"{self.name}.{most if fewest == most else f'{fewest}_to_{most}'}_shot"
            variants.append(Variant(self, name, "few_shot", fewest, most))
            if self.without_options:
                variants.append(Variant(self, f"{name}.no_options", "few_shot", fewest, most, shows_options=False))
        variants += [Variant(self, f"{self.name}.{name}", "encoding", encoding=name) for name, _ in self.encodings]
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

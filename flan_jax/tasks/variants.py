"""The seqio tasks that are derived from an `InstructionTask`, one `Variant` each."""

import dataclasses
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from flan_jax.errors import UserError, nearest
from flan_jax.tasks import fewshot, options, registry, row_contents, run_form, vocabularies
from flan_jax.tasks import metrics as metric_functions
from flan_jax.tasks.encoding import DraftEncoder, Finisher, batched
from flan_jax.tasks.recipe import Description, Encoder, Example, OfDeclaration, Read, Request
from flan_jax.tasks.rendering import Renderer
from flan_jax.tasks.sources import Row
from flan_jax.tasks.tally import OnBadRow
from flan_jax.tasks.templates import OPTIONS, Template
from flan_jax.tasks.user_functions import of_task
from flan_jax.tasks.written_form import PlainText, WrittenForm, one_exchange
from flan_jax.text.chat_templates import ChatTemplate

_OPTIONS_BLOCK = re.compile(r"\s*\{options\}")


def _without_options(template: Template) -> Template:
    inputs, *paraphrases = (_OPTIONS_BLOCK.sub("", one.inputs) for one in template.wordings)
    return dataclasses.replace(template, inputs=inputs, paraphrases=tuple(paraphrases))


@dataclasses.dataclass(frozen=True)
class Variant(OfDeclaration):
    """One seqio task of an `InstructionTask`.

    Attributes:
      declaration: what the user declared.
      name: the seqio task's name.
      kind: "plain", "held_out_templates", "inverted", "with_inverted", "no_options", "few_shot", "encoding",
        "sibling".
      fewest: how many exemplars stand before the prompt at least, and `shots` at most; drawn for each example.
      shots: see `fewest`.
      shows_options: whether prompts show the options where their templates ask for them.
      sibling: the name of the task whose instruction is used, for the kind "sibling".
      encoding: which of the declaration's `encodings` words its rows, for the kind "encoding".
    """

    declaration: Any
    name: str
    kind: str = "plain"
    fewest: int = 0
    shots: int = 0
    shows_options: bool = True
    sibling: str = ""
    encoding: str = ""

    @property
    def preprocess(self) -> Callable[[Row], Row | None] | None:
        """What turns its rows into the fields of its templates."""
        return dict(self.declaration.encodings)[self.encoding] if self.encoding else self.declaration.preprocess

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
        if self.shows_options:
            return self._of_kind
        return tuple(map(_without_options, self._of_kind))

    @property
    def _of_kind(self) -> tuple[Template, ...]:
        if self.kind == "held_out_templates":
            return self.declaration.held_out_templates
        if self.kind == "inverted":
            return self.declaration.inverted_templates
        if self.kind == "with_inverted":
            return self._with_inverted()
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

    def _with_inverted(self) -> tuple[Template, ...]:
        """Forward and inverted templates, by the declared share of the latter or all alike."""
        task = self.declaration
        if task.inverted_share is None:
            return (*task.templates, *task.inverted_templates)
        shares = ((task.templates, 1.0 - task.inverted_share), (task.inverted_templates, task.inverted_share))
        return tuple(
            dataclasses.replace(one, weight=share * one.weight / sum(other.weight for other in group))
            for group, share in shares
            for one in group
        )

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
        on_bad_row = self.declaration.on_bad_row or on_bad_row
        renderer = Renderer(self, split, Request({}, on_bad_row=on_bad_row))
        for draft in renderer.drafts(of_task(self.name, self.source.rows(split, on_bad_row))):
            yield draft.inputs, draft.targets

    def contents(self) -> Read:
        """See `Recipe`."""
        task = self.declaration
        every = (*task.templates, *task.held_out_templates, *task.inverted_templates)
        return row_contents.of_instructions(task, every, self.kind == "inverted")

    def shaping(self) -> Any:
        """See `Recipe`."""
        task = self.declaration
        styles = [options.STYLES[name] for name in task.option_styles]
        layouts = [fewshot.STYLES[name] for name in task.exemplar_styles]
        chosen = [(one.weight, one.given, one.lacking) for one in self.templates]
        rendering = (self.templates, styles, task.options, task.answer, self.preprocess)
        return (
            self.name,
            self.kind,
            self.shots,
            rendering,
            (task.trim_field, task.trim_from, self.add_eos_to_inputs),
            task.version,
            *(["chat"] if self.form == "chat" else []),
            *([task.metric_field] if task.metric_field else []),  # it is kept beside the tokens
            *([] if task.draw_answer else ["the first answer"]),
            *([("worked examples", task.worked, task.worked_from)] if task.worked else []),
            *(["options in a drawn order"] if task.shuffle_options else []),
            *([("paraphrases", [one.paraphrases for one in self.templates])] if self._is_paraphrased else []),
            *([("noise", task.input_noise)] if task.input_noise else []),
            *([("word dropout", task.word_dropout)] if task.word_dropout else []),
            *([("wordings", task.wordings)] if task.wordings else []),
            *([] if chosen == [(1.0, "", "")] * len(chosen) else chosen),
            *([self.fewest, fewshot.VERSION, layouts] if self.shots else []),
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

    @property
    def _is_paraphrased(self) -> bool:
        return any(template.paraphrases for template in self.templates)

    def _is_random(self) -> bool:
        """Whether another draw may give other tokens."""
        task = self.declaration
        if self._is_paraphrased or task.input_noise or task.word_dropout or task.wordings is not None:
            return True
        shown = any(OPTIONS in template.prompt.fields for template in self.templates)
        styled = shown and (len(task.option_styles) > 1 or task.shuffle_options)
        answers = task.several_answers and task.draw_answer
        return len(self.templates) > 1 or self.shots > 0 or styled or answers

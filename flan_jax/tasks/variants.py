"""The uses of one declaration: its plain task and those derived from it, each a recipe of its own.

A variant shares the declaration's rows, ids and answers, and differs in the instruction: held-out wordings, exemplars before the prompt,
the task turned around, or a sibling's instruction over the same rows.
"""

import dataclasses
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from flan_jax.errors import UserError, nearest
from flan_jax.tasks import fewshot, metrics, options, vocabularies
from flan_jax.tasks.drawing import Draws
from flan_jax.tasks.encoding import Draft, DraftEncoder, Finisher, batched
from flan_jax.tasks.recipe import Encoder, Example, Request
from flan_jax.tasks.sources import Row, Source, as_source
from flan_jax.tasks.tally import BadRow, bad_row
from flan_jax.tasks.templates import OPTIONS, Template, text_of, values_for

if TYPE_CHECKING:
    from flan_jax.tasks.instruction import InstructionTask

_FAULTS = (KeyError, IndexError, ValueError, TypeError, AttributeError, ZeroDivisionError)


@dataclasses.dataclass(frozen=True)
class Variant:
    """One seqio task of an `InstructionTask`.

    Attributes:
      declaration: what the user declared.
      name: the seqio task's name.
      kind: "plain", "held_out_wordings", "inverted", "few_shot" or "sibling".
      shots: how many exemplars stand before the prompt.
      sibling: the name of the task whose instruction is used, for the kind "sibling".
    """

    declaration: "InstructionTask"
    name: str
    kind: str = "plain"
    shots: int = 0
    sibling: str = ""

    @property
    def source(self) -> Source:
        """The declaration's source."""
        return as_source(self.declaration.source)

    @property
    def vocabulary(self) -> vocabularies.VocabularyLike:
        """The declaration's vocabulary."""
        return self.declaration.vocabulary

    @property
    def add_eos_to_inputs(self) -> bool:
        """What the declaration says."""
        return self.declaration.add_eos_to_inputs

    @property
    def has_options(self) -> bool:
        """Whether the answer is one of given options; the inverted task is open."""
        return self.declaration.options is not None and self.kind != "inverted"

    @property
    def metrics(self) -> tuple[str | Callable[..., Mapping[str, Any]], ...]:
        """The declaration's metrics, or what fits the kind of answer; those of a task do not fit its inversion."""
        if self.declaration.metrics and self.kind != "inverted":
            return self.declaration.metrics
        return ("accuracy",) if self.has_options else ("exact_match",)

    @property
    def templates(self) -> tuple[Template, ...]:
        """The wordings that are drawn from.

        Raises:
          UserError: the sibling is not registered, or its templates ask for options that this task has not.
        """
        if self.kind == "held_out_wordings":
            return self.declaration.held_out_templates
        if self.kind == "inverted":
            return self.declaration.inverted_templates
        if self.kind != "sibling":
            return self.declaration.templates
        from flan_jax.tasks import registry

        sibling = registry.declared(self.sibling)
        if sibling is None or not hasattr(sibling, "templates"):
            close = nearest(self.sibling, registry.names())
            raise UserError(
                f"Task {self.declaration.name!r} has the sibling {self.sibling!r}, which is no registered InstructionTask{close}."
            )
        for template in sibling.templates:
            template.check(self.has_options)
        return sibling.templates

    def encoder(self, split: str, request: Request) -> Encoder:
        """See `Recipe`."""
        return _VariantEncoder(self, split, request)

    def shaping(self) -> Any:
        """See `Recipe`."""
        task = self.declaration
        return (
            *(
                self.name,
                self.kind,
                self.shots,
                self.templates,
                task.options,
                task.answer,
                task.preprocess,
                task.trim_field,
            ),
            *(task.version, task.add_eos_to_inputs, [options.STYLES[name] for name in task.option_styles]),
        )

    def describe(self) -> dict[str, Any]:
        """See `Recipe`."""
        task = self.declaration
        fixed = list(task.options) if isinstance(task.options, tuple) else None
        chance = task.chance
        if chance is None and fixed:
            chance = 1.0 / len(fixed)
        return {
            "task": task.name,
            "kind": self.kind,
            "cluster": task.cluster,
            "cap": task.cap,
            "chance": chance if self.has_options or task.chance is not None and self.kind != "inverted" else None,
            "siblings": list(task.siblings),
            "sibling": self.sibling or None,
            "shots": self.shots,
            "options": fixed if self.has_options else None,
            "eval_kind": "rank" if self.has_options else "generate",
            "metrics": [metrics.name_of(metric) for metric in self.metrics],
            "templates": [[template.inputs, template.targets] for template in self.templates],
            "held_out_wordings": len(task.held_out_templates),
            "objective": "instruction",
            "version": task.version,
        }


class _VariantEncoder:
    """Renders rows of a split and encodes them."""

    def __init__(self, variant: Variant, split: str, request: Request):
        self._variant = variant
        self._task = variant.declaration
        self._split = split
        self._request = request
        self._draws = Draws(request.seed, variant.name, request.draw)
        self._templates = variant.templates
        self._styles = [options.STYLES[name] for name in self._task.option_styles]
        self._pool = fewshot.Pool(variant.name, variant.source) if variant.shots else None
        finisher = Finisher(
            variant.name, vocabularies.tokenizer(variant.vocabulary), request, variant.add_eos_to_inputs
        )
        self._encode = DraftEncoder(finisher, self._task.trim_field, self._where)

    def __call__(self, rows: Iterable[tuple[str, Row]]) -> Iterator[Example]:
        for batch in batched(rows):
            drafts = [draft for row_id, row in batch if (draft := self._draft(row_id, row)) is not None]
            yield from self._encode(drafts)

    def _where(self, row_id: str) -> str:
        return self._variant.source.where(self._split, row_id)

    def _draft(self, row_id: str, row: Row) -> Draft | None:
        tally = self._request.tally
        try:
            fields = self._fields(row)
            draft = None if fields is None else self._render(row_id, fields)
        except BadRow as fault:
            bad_row(f"Task {self._variant.name!r}, {self._where(row_id)}", fault, self._request.on_bad_row, tally)
            return None
        tally.read += 1
        if draft is None or not draft.targets.strip():
            tally.dropped += 1
            return None
        return draft

    def _fields(self, row: Row) -> Row | None:
        if self._task.preprocess is None:
            return row
        try:
            return self._task.preprocess(dict(row))
        except _FAULTS as error:
            raise BadRow(f"its preprocess function failed with {type(error).__name__}: {error}") from error

    def _render(self, row_id: str, fields: Row) -> Draft:
        number = self._draws.pick(row_id, "template", len(self._templates))
        template = self._templates[number]
        style = self._styles[self._draws.pick(row_id, "option style", len(self._styles))]
        wording, choices = self._word(row_id, fields, template, style)
        prompt, values = template.prompt, wording.values
        inputs = prompt.render(values)
        exemplars = self._exemplars(row_id, template, style, inputs) if self._pool else []
        return Draft(
            id=row_id,
            template=number,
            prompt=prompt,
            values=values,
            inputs="".join(exemplars) + inputs,
            targets=wording.targets,
            options=choices,
            answer=wording.answer,
            references=wording.references,
            exemplars=exemplars,
        )

    def _exemplars(self, row_id: str, template: Template, style: options.OptionStyle, inputs: str) -> list[str]:
        """Rendered exemplars; the example's own row and rows that read the same are passed over."""
        assert self._pool is not None
        found: list[str] = []
        for exemplar_id, row in self._pool.order(row_id, self._draws, 2 * self._variant.shots + 8):
            try:
                fields = self._fields(row)
                if fields is None:
                    continue
                wording, _ = self._word(exemplar_id, fields, template, style)
            except BadRow:
                continue
            text = template.prompt.render(wording.values)
            if text == inputs or not wording.targets.strip():
                continue
            found.append(f"{text}\n{wording.targets}{fewshot.SEPARATOR}")
            if len(found) == self._variant.shots:
                break
        return found

    def _word(
        self, row_id: str, fields: Row, template: Template, style: options.OptionStyle
    ) -> tuple["_Wording", list[str] | None]:
        """Finds the answer and the texts of the template's fields."""
        task = self._task
        wanted = [field for field in template.fields if field not in ("answer", task.answer)]
        values = values_for(wanted, fields, template.inputs)
        needs_answer = len(wanted) < len(template.fields)
        if task.options is not None:
            choices = _choices(task.options, fields)
            answer = _answer_index(task.answer, fields, choices)
            if not self._variant.has_options:
                names, references, answer_index = choices, (choices[answer],), None
            else:
                names = style.answers(choices)
                references, answer_index = (names[answer],), answer
            values[OPTIONS] = style.block(choices)
            values["answer"] = values[task.answer] = names[answer]
        elif needs_answer:
            references, answer_index = _references(task.answer, fields), None
            drawn = references[self._draws.pick(row_id, "reference", len(references))]
            values["answer"] = values[task.answer] = drawn
        else:
            references, answer_index = ("",), None
        response = template.response
        targets = response.render(values)

        def worded(name: str) -> str:
            return (
                response.render({**values, "answer": name, task.answer: name})
                if template.targets != "{answer}"
                else name
            )

        if self._variant.has_options:
            return _Wording(values, targets, (targets,), answer_index), [worded(name) for name in names]
        return _Wording(values, targets, tuple(dict.fromkeys(worded(one) for one in references)), None), None


@dataclasses.dataclass(slots=True)
class _Wording:
    values: dict[str, str]
    targets: str
    references: tuple[str, ...]
    answer: int | None


def _choices(declared: tuple[str, ...] | str, fields: Row) -> list[str]:
    if isinstance(declared, tuple):
        return list(declared)
    value = fields.get(declared)
    if not isinstance(value, list | tuple) or not value:
        raise BadRow(f"field {declared!r}, which holds the options, is {value!r}; a list of texts is wanted")
    texts = [text_of(item) for item in value]
    if any(not text for text in texts):
        raise BadRow(f"field {declared!r} has an option that is no text or empty: {value!r}")
    return texts  # type: ignore[return-value]


def _answer_index(field: str, fields: Row, choices: list[str]) -> int:
    if field not in fields:
        raise BadRow(
            f"there is no field {field!r} for the answer, the row has {', '.join(map(str, fields))}{nearest(field, map(str, fields))}"
        )
    value = fields[field]
    text = text_of(value)
    if text in choices:
        return choices.index(text)
    if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < len(choices):
        return value
    raise BadRow(f"the answer {value!r} is not among the options {choices}")


def _references(field: str, fields: Row) -> tuple[str, ...]:
    value = fields.get(field)
    texts = [text_of(item) for item in value] if isinstance(value, list | tuple) else [text_of(value)]
    if not texts or None in texts:
        seen = (
            f"is {value!r}; text or a list of texts is wanted"
            if field in fields
            else f"is missing (there is {', '.join(map(str, fields))})"
        )
        raise BadRow(f"the field {field!r}, which holds the answer, {seen}")
    return tuple(dict.fromkeys(texts))  # type: ignore[arg-type]

"""Renders rows of an instruction task: finds the answer, draws the template, puts exemplars before it, and hands drafts
on."""

import dataclasses
import itertools
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, Protocol

from flan_jax.errors import UserError, nearest
from flan_jax.tasks import fewshot, options
from flan_jax.tasks.drawing import RandomChoices
from flan_jax.tasks.encoding import Draft
from flan_jax.tasks.example_ids import numbered, source_row
from flan_jax.tasks.noise import with_typos, without_some_words
from flan_jax.tasks.recipe import Request
from flan_jax.tasks.sources import Row, Source, plain
from flan_jax.tasks.tally import BadRow, bad_row
from flan_jax.tasks.template_choice import TemplateChoice
from flan_jax.tasks.templates import OPTIONS, Template, text_of, values_for
from flan_jax.tasks.user_functions import BrokenFunction, preprocessed


class Worded(Protocol):
    """A task of an `InstructionTask`, as far as its rows are put into words here."""

    @property
    def declaration(self) -> Any:
        """The `InstructionTask`."""
        ...

    @property
    def name(self) -> str:
        """The seqio task's name."""
        ...

    @property
    def source(self) -> Source:
        """Where its rows and exemplars come from."""
        ...

    @property
    def templates(self) -> tuple[Template, ...]:
        """The templates that are drawn from."""
        ...

    @property
    def preprocess(self) -> Callable[[Row], Row | list[Row] | None] | None:
        """What turns rows into the templates' fields."""
        ...

    @property
    def fewest(self) -> int:
        """How many exemplars stand before a prompt at least."""
        ...

    @property
    def shots(self) -> int:
        """How many do at most."""
        ...


@dataclasses.dataclass(slots=True)
class Rendered:
    """A row rendered by a template.

    Attributes:
      values: the texts of the template's fields, the answer and the options block among them.
      targets: the rendered targets.
      references: the targets for each right answer.
      choices: the targets for each option; None where the answer is free.
      answer: the right option's index.
    """

    values: dict[str, str]
    targets: str
    references: tuple[str, ...]
    choices: list[str] | None = None
    answer: int | None = None


class Renderer:
    """Turns rows of one split into drafts.

    Args:
      variant: the task.
      split: the split's name, for the places of rows in errors.
      request: seed, draw, what to do with bad rows, and the tally.
    """

    def __init__(self, variant: Worded, split: str, request: Request):
        self._variant = variant
        self._task = variant.declaration
        self._split = split
        self._request = request
        self._draws = RandomChoices(request.seed, variant.name, request.draw)
        self._templates, self._preprocess = variant.templates, variant.preprocess
        self._choice = TemplateChoice(self._templates, self._draws)
        self._styles = [options.STYLES[name] for name in self._task.option_styles]
        self._layouts = [fewshot.STYLES[name] for name in self._task.exemplar_styles]
        self._pool = fewshot.Pool(variant.name, variant.source, request.from_sample) if variant.shots else None

    def drafts(self, rows: Iterable[tuple[str, Row]]) -> Iterator[Draft]:
        """The drafts of rows, in order; rows without one are counted."""
        for row_id, row in rows:
            try:
                found = self._fields(row)
            except (BadRow, BrokenFunction) as fault:
                self._refuse(row_id, fault)
                continue
            if not found:
                self._request.tally.read += 1
                self._request.tally.dropped += 1
            elif len(found) == 1:  # which costs fewer calls
                yield from self._drafts(row_id, found[0])
            else:
                for example_id, fields in numbered(row_id, found):
                    yield from self._drafts(example_id, fields)

    def _drafts(self, example_id: str, fields: Row) -> list[Draft]:
        """The drafts of one example: under its template, or each of those that suit it."""
        tally, made = self._request.tally, []
        try:
            each = self._request.each_template
            numbers = self._choice.suited(fields) if each else (self._choice.number(example_id, fields),)
        except BadRow as fault:
            self._refuse(example_id, fault)
            return []
        for number in numbers:
            try:
                draft = self._render(example_id, fields, number)
            except (BadRow, BrokenFunction) as fault:  # an exemplar's, too
                self._refuse(example_id, fault)
                continue
            tally.read += 1
            if draft.targets.strip():
                made.append(draft)
            else:
                tally.dropped += 1
        return made

    def _refuse(self, row_id: str, fault: BadRow | BrokenFunction) -> None:
        """Counts a bad row, or ends at it.

        Raises:
          UserError: rows must not be bad, or a function of the user's fails whatever the row.
        """
        place = lambda: f"Task {self._variant.name!r}, {self.where(row_id)}"
        if isinstance(fault, BrokenFunction):
            raise UserError(f"{place()}: {fault}.") from fault.__cause__
        bad_row(place, fault, self._request.on_bad_row, self._request.tally)

    def where(self, row_id: str) -> str:
        """The place of a row, or of the one that an example is of."""
        return self._variant.source.where(self._split, source_row(row_id))

    def _fields(self, row: Row) -> list[Row]:
        """The rows of fields that a row of the source gives: none, one or several."""
        if self._preprocess is None:
            return [row]
        found = preprocessed(self._preprocess, dict(row))
        if isinstance(found, list | tuple):
            if strange := next((one for one in found if not isinstance(one, Mapping)), None):
                raise BadRow(f"its preprocess function gave a list that holds {strange!r}; rows are wanted")
            return list(found)
        return [] if found is None else [found]

    def _worded(self, row_id: str, fields: Row) -> Row:
        """Fields with one of their wordings drawn."""
        name = self._task.wordings
        known = fields.get(name)
        if not isinstance(known, list | tuple) or not known:
            raise BadRow(f"the field {name!r}, which holds the wordings, is {known!r}; a list is wanted")
        drawn = known[self._draws.pick(row_id, "wording", len(known))]
        return {**fields, **drawn} if isinstance(drawn, Mapping) else {**fields, name: drawn}

    def _render(self, row_id: str, fields: Row, number: int) -> Draft:
        template = self._templates[number]
        if template.paraphrases and not self._request.each_template:
            template = self._choice.wording(row_id, template)
        if self._task.wordings is not None:
            fields = self._worded(row_id, fields)
        style = self._styles[self._draws.pick(row_id, "option style", len(self._styles))]
        worked: list[list[str]] = []
        if self._task.worked:
            worked = _worked(self._task.worked, fields)
            fields = {**fields, self._task.worked: "".join(itertools.chain(*worked))}
        rendered = self._word(row_id, fields, template, style)
        prompt, exemplars = template.prompt, []
        if self._pool:
            exemplars = self._exemplars(row_id, template, style, prompt.render(rendered.values))
        if (self._task.input_noise or self._task.word_dropout) and self._split == "train":
            rendered.values = self._noisy(row_id, rendered.values)
        if exemplars:
            layout = self._layout(row_id)
            prompt = prompt.within(layout.before, layout.between.rstrip())
        return Draft(
            id=f"{row_id}#{number}" if self._request.each_template else row_id,
            template=number,
            prompt=prompt,
            values=rendered.values,
            inputs="".join(exemplars) + prompt.render(rendered.values),
            targets=rendered.targets,
            options=rendered.choices,
            answer=rendered.answer,
            references=rendered.references,
            metric_field=self._metric_field(fields),
            exemplars=exemplars,
            worked=worked,
            worked_field=self._task.worked,
            worked_from=self._task.worked_from,
        )

    def _noisy(self, row_id: str, values: dict[str, str]) -> dict[str, str]:
        """The values of a prompt's fields with words left out and typing errors, the answer's and the options' as they
        are."""
        clean = (OPTIONS, "answer", self._task.answer, self._task.worked)
        noisy = dict(values)
        for field in (field for field in values if field not in clean):
            for share, spoilt, kind in (
                (self._task.word_dropout, without_some_words, "word dropout"),
                (self._task.input_noise, with_typos, "noise"),
            ):
                if share:
                    noisy[field] = spoilt(noisy[field], share, self._draws.stream(row_id, f"{kind} {field}"))
        return noisy

    def _metric_field(self, fields: Row) -> Any:
        name = self._task.metric_field
        if name is None:
            return None
        if fields.get(name) is None:
            raise _lacking(name, "the metrics", fields)
        return plain(fields[name])

    def _exemplars(self, row_id: str, template: Template, style: options.OptionStyle, inputs: str) -> list[str]:
        """Rendered exemplars; the example's own row and rows that read the same are passed over."""
        assert self._pool is not None
        wanted = self._variant.fewest
        wanted += self._draws.pick(row_id, "shots", self._variant.shots - wanted + 1)
        layout = self._layout(row_id)
        found: list[str] = []
        if not wanted:
            return found
        for exemplar_id, row in self._pool.order(row_id, self._draws):
            try:
                known = self._fields(row)
                if not known:
                    continue
                fields = known[self._draws.pick(exemplar_id, "instance", len(known))]
                if not template.suits(fields):
                    continue
                if self._task.wordings is not None:
                    fields = self._worded(exemplar_id, fields)
                rendered = self._word(exemplar_id, fields, template, style)
            except BadRow:
                continue
            text = template.prompt.render(rendered.values)
            if (text == inputs and not self._request.from_sample) or not rendered.targets.strip():
                continue
            found.append(layout.exemplar(text, rendered.targets))
            if len(found) == wanted:
                break
        return found

    def _layout(self, row_id: str) -> fewshot.ExemplarStyle:
        return self._layouts[self._draws.pick(row_id, "exemplar style", len(self._layouts))]

    def _word(self, row_id: str, fields: Row, template: Template, style: options.OptionStyle) -> Rendered:
        """Finds the answer and the texts of the template's fields."""
        task = self._task
        wanted = [field for field in template.fields if field not in ("answer", task.answer)]
        values = values_for(wanted, fields, template.inputs)
        if task.options is not None:
            return self._choose(row_id, fields, template, values, style)
        if len(wanted) == len(template.fields):  # no answer is asked for or shown
            targets = template.response.render(values)
            return Rendered(values, targets, (targets,))
        answers = references_of(task.answer, fields)
        chosen = self._draws.pick(row_id, "reference", len(answers)) if task.draw_answer else 0
        values["answer"] = values[task.answer] = answers[chosen]
        worded = dict.fromkeys(self._answered(template, values, answer) for answer in answers)
        return Rendered(values, template.response.render(values), tuple(worded))

    def _choose(
        self, row_id: str, fields: Row, template: Template, values: dict[str, str], style: options.OptionStyle
    ) -> Rendered:
        """A row whose answer is one of its options, rendered."""
        task = self._task
        choices = choices_of(task.options, fields)
        answer = answer_index(task.answer, fields, choices)
        if task.shuffle_options:
            order = self._draws.order(row_id, "option order", len(choices))
            choices, answer = [choices[index] for index in order], order.index(answer)
        # A letter stands for an option only where the options are shown and asked for.
        asked = template.direction == "forward"
        lettered = asked and OPTIONS in template.prompt.fields
        names = style.answers(choices) if lettered else choices
        values[OPTIONS] = style.block(choices)
        values["answer"] = values[task.answer] = names[answer]
        targets = template.response.render(values)
        if not asked:
            return Rendered(values, targets, (targets,))
        return Rendered(values, targets, (targets,), [self._answered(template, values, name) for name in names], answer)

    def _answered(self, template: Template, values: dict[str, str], answer: str) -> str:
        """The targets with another answer."""
        if template.targets == "{answer}":
            return answer
        return template.response.render({**values, "answer": answer, self._task.answer: answer})


def _worked(field: str, fields: Row) -> list[list[str]]:
    """The worked examples of a row's instruction."""
    value = fields.get(field)
    if isinstance(value, list) and all(isinstance(one, list) and all(isinstance(t, str) for t in one) for one in value):
        return value
    raise BadRow(f"the field {field!r}, which holds worked examples, is {value!r}; lists of texts are wanted")


def choices_of(declared: tuple[str, ...] | str | None, fields: Row) -> list[str]:
    """The options of a row, as a task declares them: as they stand, or by the name of their field.

    Raises:
      BadRow: the field holds no list of texts.
    """
    if isinstance(declared, tuple):
        return list(declared)
    assert declared is not None
    value = fields.get(declared)
    if not isinstance(value, list | tuple) or not value:
        raise BadRow(f"field {declared!r}, which holds the options, is {value!r}; a list of texts is wanted")
    texts = [text_of(item) for item in value]
    if any(not text for text in texts):
        raise BadRow(f"field {declared!r} has an option that is no text or empty: {value!r}")
    return texts  # type: ignore[return-value]


def answer_index(field: str, fields: Row, choices: list[str]) -> int:
    """Which option a row's answer is, which may be its text or its number.

    Raises:
      BadRow: it is none of them.
    """
    if field not in fields:
        raise _lacking(field, "the answer", fields)
    value = fields[field]
    text = text_of(value)
    if text in choices:
        return choices.index(text)
    if isinstance(value, int) and 0 <= value < len(choices) and not (isinstance(value, bool) and len(choices) > 2):
        return int(value)
    raise BadRow(f"the answer {value!r} is not among the options {choices}")


def references_of(field: str, fields: Row) -> tuple[str, ...]:
    """All right answers of a row.

    Raises:
      BadRow: there is none, or one that is no text.
    """
    value = fields.get(field)
    texts = [text_of(item) for item in value] if isinstance(value, list | tuple) else [text_of(value)]
    if texts and None not in texts:
        return tuple(dict.fromkeys(texts))  # type: ignore[arg-type]
    if field not in fields:
        raise _lacking(field, "the answer", fields)
    raise BadRow(f"the field {field!r}, which holds the answer, is {value!r}; text or a list of texts is wanted")


def _lacking(field: str, purpose: str, fields: Row) -> BadRow:
    known = [str(name) for name in fields]
    return BadRow(f"there is no field {field!r} for {purpose}, the row has {', '.join(known)}{nearest(field, known)}")

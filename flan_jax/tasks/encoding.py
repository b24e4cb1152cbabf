"""From drafts of text to examples of ids: tokenised in batches, cut to length, ended, counted."""

import dataclasses
import itertools
from collections.abc import Callable, Iterable, Iterator
from typing import Any, TypeVar

import numpy as np

from flan_jax.errors import UserError
from flan_jax.tasks.recipe import Example, Request
from flan_jax.tasks.templates import Pattern, fit
from flan_jax.tasks.written_form import WrittenForm

BATCH = 1024
_FIRST_BATCH = 32
_CACHED_TEXTS = 8_192

Item = TypeVar("Item")


@dataclasses.dataclass(slots=True)
class Draft:
    """An example in text.

    Attributes:
      id: the row's id.
      template: the number of its template.
      prompt: the pattern of its inputs.
      values: the texts of the pattern's fields.
      inputs: the rendered inputs, exemplars before them.
      targets: the rendered targets.
      options: the targets that each option would give.
      answer: the right option's index.
      references: all right targets.
      metric_field: as in `Example`.
      exemplars: rendered exemplars, each with the blank line that ends it.
      worked: worked examples of the instruction itself, in lists; together they are the value of a field.
      worked_field: that field.
      worked_from: "first" or "last": the list that is shown before any other is.
    """

    id: str
    template: int
    prompt: Pattern
    values: dict[str, str]
    inputs: str
    targets: str
    options: list[str] | None
    answer: int | None
    references: tuple[str, ...]
    metric_field: Any
    exemplars: list[str]
    worked: list[list[str]] = dataclasses.field(default_factory=list)
    worked_field: str | None = None
    worked_from: str = "first"


def batched(items: Iterable[Item], size: int = BATCH) -> Iterator[list[Item]]:
    """Lists of 32 items, then 64, and so on up to `size`: who wants but a few does not wait for many."""
    iterator, now = iter(items), min(size, _FIRST_BATCH)
    while batch := list(itertools.islice(iterator, now)):
        yield batch
        now = min(size, 2 * now)


class Finisher:
    """Turns ids into the arrays of an example and applies `on_long`.

    Args:
      task: the task's name, for errors.
      form: how its texts are written.
      request: how examples are wanted.
    """

    def __init__(self, task: str, form: WrittenForm, request: Request):
        self.task = task
        self.form = form
        self.request = request
        self.tally = request.tally
        self.end, self.inputs_end = form.end, form.inputs_end
        self.most_inputs = _room(request, "inputs", len(self.inputs_end))
        self.most_targets = _room(request, "targets", len(self.end))

    def is_refused(self, example_id: str, feature: str, length: int, place: Callable[[], str]) -> bool:
        """Whether an example that is too long is to be left out; counts it then.

        Raises:
          UserError: `on_long` is "refuse".
        """
        if self.request.on_long == "refuse":
            raise UserError(
                f"Task {self.task!r}, example {example_id!r} ({place()}): its {feature} have {length} tokens and at "
                f"most "
                f"{self.request.lengths[feature]} are wanted; raise the feature length, or set on_long to 'truncate' "
                f"or 'drop'."
            )
        if self.request.on_long == "drop":
            self.tally.too_long += 1
            return True
        return False

    def inputs_array(self, ids: list[int]) -> np.ndarray:
        """The prompt's ids as an array, ended where the task wants it."""
        return np.array(ids + self.inputs_end, np.int32)

    def targets_array(self, ids: list[int]) -> np.ndarray:
        """The targets' ids as an array, cut before the end-of-sequence, which is never lost."""
        return np.array(ids[: self.most_targets] + self.end, np.int32)

    def count_cut(self, cut: int) -> None:
        """Counts an example from which tokens were cut."""
        if cut:
            self.tally.truncated += 1
            self.tally.cut_tokens += cut


def _room(request: Request, feature: str, ends: int) -> int | None:
    length = request.lengths.get(feature)
    if length is None:
        return None
    if length <= ends:
        raise UserError(
            f"The feature length of {feature} is {length}; it must be at least {ends + 1} to hold a token and its end."
        )
    return length - ends


class DraftEncoder:
    """Encodes drafts in batches; the targets of option tasks are tokenised once for each text."""

    def __init__(self, finisher: Finisher, trim_field: str | None, trim_from: str, where: Callable[[str], str]):
        self._finisher = finisher
        self._trim_field = trim_field
        self._trim_from = trim_from
        self._where = where
        self._known: dict[str, list[int]] = {}

    def __call__(self, drafts: list[Draft]) -> Iterator[Example]:
        """The examples of a batch of drafts, in order, without those that are dropped."""
        prompts = self._finisher.form.prompts([draft.inputs for draft in drafts])
        self._learn(drafts)
        for draft, ids in zip(drafts, prompts, strict=True):
            example = self._finish(draft, ids)
            if example is not None:
                self._finisher.tally.kept += 1
                yield example

    def _learn(self, drafts: list[Draft]) -> None:
        if len(self._known) > _CACHED_TEXTS:
            self._known.clear()
        wanted = {draft.targets for draft in drafts}
        wanted.update(*(draft.options for draft in drafts if draft.options))
        fresh = [text for text in wanted if text not in self._known]
        self._known.update(zip(fresh, self._finisher.form.answers(fresh), strict=True))

    def _finish(self, draft: Draft, ids: list[int]) -> Example | None:
        finisher = self._finisher
        cut, text = 0, draft.inputs
        if finisher.most_inputs is not None and len(ids) > finisher.most_inputs:
            fitted = self._shorten(draft, ids)
            if fitted is None:
                return None
            text, ids, cut = fitted
        targets = self._known[draft.targets]
        over = 0 if finisher.most_targets is None else max(0, len(targets) - finisher.most_targets)
        if over and finisher.is_refused(
            draft.id, "targets", len(targets) + len(finisher.end), lambda: self._where(draft.id)
        ):
            return None
        finisher.count_cut(cut + over)
        return Example(
            id=draft.id,
            inputs=finisher.inputs_array(ids),
            targets=finisher.targets_array(targets),
            template=draft.template,
            options=[finisher.targets_array(self._known[one]) for one in draft.options] if draft.options else None,
            answer=draft.answer,
            inputs_text=text,
            targets_text=draft.targets,
            cut_tokens=cut + over,
            references=draft.references,
            metric_field=draft.metric_field,
            learnt=(draft.targets,),
        )

    def _shorten(self, draft: Draft, ids: list[int]) -> tuple[str, list[int], int] | None:
        """Leaves out exemplars, the first ones first, then worked examples, and then cuts a field."""
        finisher, limit = self._finisher, self._finisher.most_inputs
        assert limit is not None
        plain, values = draft.prompt.render(draft.values), draft.values
        exemplars = list(draft.exemplars)
        text = draft.inputs
        while exemplars and len(ids) > limit:
            exemplars.pop(0)
            finisher.tally.pruned_exemplars += 1
            text = "".join(exemplars) + plain
            (ids,) = finisher.form.prompts([text])
        if len(ids) > limit and draft.worked_field and any(draft.worked):
            values = {**values, draft.worked_field: "".join(self._fitting(draft, limit))}
            text = draft.prompt.render(values)
            (ids,) = finisher.form.prompts([text])
        if len(ids) <= limit:
            return text, ids, 0
        if finisher.is_refused(draft.id, "inputs", len(ids) + len(finisher.inputs_end), lambda: self._where(draft.id)):
            return None
        fitted = fit(draft.prompt, values, limit, finisher.form, self._trim_field, self._trim_from)
        if fitted is None:
            finisher.tally.too_long += 1
            return None
        return fitted[0], fitted[1], len(ids) - len(fitted[1])

    def _fitting(self, draft: Draft, limit: int) -> list[str]:
        """The worked examples that leave room for all else, of each list the first ones; the others are counted."""
        assert draft.worked_field is not None
        kept: list[list[str]] = [[] for _ in draft.worked]
        for place in range(len(kept))[:: -1 if draft.worked_from == "last" else 1]:
            for one in draft.worked[place]:
                kept[place].append(one)
                shown = "".join(itertools.chain(*kept))
                (ids,) = self._finisher.form.prompts([draft.prompt.render({**draft.values, draft.worked_field: shown})])
                if len(ids) > limit:
                    kept[place].pop()
                    break
        self._finisher.tally.pruned_exemplars += sum(map(len, draft.worked)) - sum(map(len, kept))
        return list(itertools.chain(*kept))

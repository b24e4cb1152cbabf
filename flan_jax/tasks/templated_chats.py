"""Conversations in a model's own chat template, as ids.

The whole conversation is rendered and encoded once, so that its ids are those that the model is served with. What comes
before the first answer is the inputs; the rest is the targets, in which the tokens of each answer bear loss, up to the
token that ends it.
"""

import dataclasses
from typing import Any

import numpy as np

from flan_jax.errors import UserError
from flan_jax.tasks import vocabularies
from flan_jax.tasks.conversations import ChatDeclaration, Turn, conversation_of, read_conversation
from flan_jax.tasks.encoding import Finisher
from flan_jax.tasks.recipe import Example, Recipe, Request
from flan_jax.tasks.sources import Row
from flan_jax.tasks.tally import BadRow
from flan_jax.tasks.templates import cut
from flan_jax.tasks.written_form import PlainText, rendered_answers
from flan_jax.text.chat_templates import ChatTemplate

_TRIES = 4


@dataclasses.dataclass(slots=True)
class _Encoded:
    """A conversation in ids.

    Attributes:
      turns: what is said.
      text: as rendered.
      ids: of the text.
      weights: loss weight of each.
      answers: first and end of each answer's tokens, the one that ends it included.
      start: where in the text the first answer begins.
      said: the answers' texts.
    """

    turns: list[Turn]
    text: str
    ids: list[int]
    weights: list[float]
    answers: list[tuple[int, int]]
    start: int
    said: list[str]

    @property
    def learnt(self) -> tuple[str, ...]:
        """What the assistant says in the answers that are there and count; the last may have been cut."""
        return tuple(text for text, (first, _) in zip(self.said, self.answers, strict=False) if self.weights[first])


class TemplatedEncoder:
    """Turns the rows of one split into examples.

    Args:
      recipe: the task.
      template: the chat template.
      split: of the rows.
      request: how examples are wanted.
    """

    def __init__(self, recipe: Recipe, template: ChatTemplate, split: str, request: Request):
        self._recipe, self._template, self._split, self._request = recipe, template, split, request
        self._tokenizer = vocabularies.tokenizer(recipe.vocabulary)
        self._finisher = Finisher(recipe.name, PlainText(self._tokenizer, recipe.add_eos_to_inputs), request)

    def __call__(self, row_id: str, row: Row) -> Example | None:
        """The example of a row; None, and counted, where it gives none."""
        found = read_conversation(self._recipe, self._split, row_id, row, self._request, self._read)
        if found is None:
            return None
        fitted, whole = self._fitted(row_id, found), len(found.ids)
        if fitted is None:
            return None
        self._request.tally.kept += 1
        first, end = fitted.answers[0][0], fitted.answers[-1][1]
        lost = max(0, whole - len(fitted.ids))
        self._finisher.count_cut(lost)
        weights = fitted.weights[first:end]
        said = "\n".join(turn.text for turn in fitted.turns if turn.role == "assistant")
        return Example(
            id=row_id,
            inputs=self._finisher.inputs_array(fitted.ids[:first]),
            targets=np.array(fitted.ids[first:end], np.int32),
            weights=None if all(weight == 1.0 for weight in weights) else np.array(weights, np.float32),
            objective="chat",
            inputs_text=fitted.text[: fitted.start],
            targets_text=said,
            cut_tokens=lost,
            references=(said,),
            learnt=fitted.learnt,
        )

    def _read(self, task: ChatDeclaration, row: Row) -> _Encoded | None:
        turns = conversation_of(task, row)
        return None if turns is None else self._encoded(turns)

    def _encoded(self, turns: list[Turn]) -> _Encoded:
        messages = [{"role": turn.role, "content": turn.text} for turn in turns]
        try:
            text, ids, found, start = rendered_answers(self._tokenizer, self._template, messages)
        except UserError as fault:
            raise BadRow(str(fault)) from None
        weights = [0.0] * len(ids)
        for number, first, end in found:
            weights[first:end] = [turns[number].weight] * (end - first)
        said = [turns[number].text for number, _, _ in found]
        return _Encoded(turns, text, ids, weights, [(first, end) for _, first, end in found], start, said)

    def _fitted(self, row_id: str, found: _Encoded) -> _Encoded | None:
        """The conversation within the lengths: its longest early turn is shortened, then exchanges are left off."""
        place: Any = lambda: self._recipe.source.where(self._split, row_id)
        limit = self._finisher.most_inputs
        if limit is not None and found.answers[0][0] > limit:
            if self._finisher.is_refused(row_id, "inputs", found.answers[0][0], place):
                return None
            shorter = self._shortened(found, limit)
            if shorter is None:
                self._request.tally.too_long += 1
                return None
            found = shorter
        room = self._request.lengths.get("targets")
        first, end = found.answers[0][0], found.answers[-1][1]
        if room is None or end - first <= room:
            return found
        if self._finisher.is_refused(row_id, "targets", end - first, place):
            return None
        kept = [answer for answer in found.answers if answer[1] - first <= room]
        if kept:
            ids, weights = found.ids[: kept[-1][1]], found.weights[: kept[-1][1]]
        else:  # not even the first answer fits: its middle is lost, never its end
            kept, after = [(first, first + room)], found.answers[0][1]
            ids = found.ids[: first + room - 1] + found.ids[after - 1 : after]
            weights = found.weights[: first + room - 1] + found.weights[after - 1 : after]
        if not any(weights[first:]):  # what is learnt was cut off
            self._request.tally.too_long += 1
            return None
        return dataclasses.replace(found, ids=ids, weights=weights, answers=kept)

    def _shortened(self, found: _Encoded, limit: int) -> _Encoded | None:
        """The conversation with the longest turn before the first answer cut in its middle, as its instruction may
        stand at either end; None where that is not enough."""
        for attempt in range(_TRIES):
            over = found.answers[0][0] - limit
            if over <= 0:
                return found
            early = next(number for number, turn in enumerate(found.turns) if turn.role == "assistant")
            known = self._tokenizer.encode([turn.text for turn in found.turns[:early]])
            longest = max(range(early), key=lambda number: len(known[number]), default=None)
            if longest is None or len(known[longest]) <= over:
                return None
            turn, keep = found.turns[longest], len(known[longest]) - over - 4 * attempt  # the mark of a cut has ids too
            text = cut(turn.text, known[longest], keep, self._tokenizer, "middle")
            turns = [*found.turns[:longest], dataclasses.replace(turn, text=text), *found.turns[longest + 1 :]]
            found = self._encoded(turns)
        return found if found.answers[0][0] <= limit else None

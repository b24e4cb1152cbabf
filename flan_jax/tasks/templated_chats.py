"""Conversations in a model's own chat template, as ids.

The whole conversation is rendered and encoded once, so that its ids are those that the model is served with. What comes
before the first answer is the inputs; the rest is the targets, in which the tokens of each answer bear loss, up to the
token that ends it. An answer that the template writes otherwise once more is said (Qwen 3 leaves out the thoughts of
earlier answers) is an example of its own, with the context that the model has when it gives that answer.
"""

import dataclasses
import re
from collections.abc import Iterator
from typing import Any

import numpy as np

from flan_jax.errors import UserError
from flan_jax.tasks import thoughts, vocabularies
from flan_jax.tasks.conversations import Turn, read_conversation
from flan_jax.tasks.encoding import Finisher
from flan_jax.tasks.example_ids import numbered, source_row
from flan_jax.tasks.passages import (
    LearningChoices,
    Passage,
    alone,
    by_turns,
    passages_of,
    with_tools_told,
    without_first_exchange,
)
from flan_jax.tasks.recipe import Example, Recipe, Request
from flan_jax.tasks.sources import Row
from flan_jax.tasks.tally import BadRow
from flan_jax.tasks.templates import cut
from flan_jax.tasks.written_form import Answer, PlainText, Rendered, rendered_answers
from flan_jax.text.chat_templates import Answers, ChatTemplate

_TRIES = 4
_CLOSING = re.compile(r"\s*(?:</\w+>|\[/\w+\])?\s*")


@dataclasses.dataclass(slots=True)
class _Encoded:
    """A passage in ids.

    Attributes:
      passage: what is said.
      text: as rendered.
      ids: of the text.
      weights: loss weight of each.
      answers: where those in the targets are.
      learnt: first token and text of each that bears loss.
    """

    passage: Passage
    text: str
    ids: list[int]
    weights: list[float]
    answers: list[Answer]
    learnt: list[tuple[int, str]]


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

    def __call__(self, row_id: str, row: Row) -> Iterator[Example]:
        """The examples of a row; none, and counted, where it gives none."""
        found = read_conversation(self._recipe, self._split, row_id, row, self._request, self._read)
        for example_id, one in numbered(row_id, found):
            fitted = self._fitted(example_id, one)
            if fitted is not None:
                yield self._example(example_id, fitted, len(one.ids))

    def _example(self, example_id: str, fitted: _Encoded, whole: int) -> Example:
        self._request.tally.kept += 1
        first, end = fitted.answers[0].first, fitted.answers[-1].end
        lost = max(0, whole - len(fitted.ids))
        self._finisher.count_cut(lost)
        weights = fitted.weights[first:end]
        said = "\n".join(fitted.passage.turns[number].text for number in fitted.passage.answers)
        return Example(
            id=example_id,
            inputs=self._finisher.inputs_array(fitted.ids[:first]),
            targets=np.array(fitted.ids[first:end], np.int32),
            weights=None if all(weight == 1.0 for weight in weights) else np.array(weights, np.float32),
            objective="chat",
            inputs_text=fitted.text[: fitted.answers[0].begin],
            targets_text=said,
            cut_tokens=lost,
            references=(said,),
            learnt=tuple(text for at, text in fitted.learnt if at < end),
        )

    def _read(self, task: LearningChoices, row: Row) -> list[_Encoded]:
        return [one for passage in passages_of(task, row) for one in self._all_encoded(passage)]

    def _all_encoded(self, passage: Passage) -> list[_Encoded]:
        """The passage, and those before it whose answers it holds in another form."""
        if not self._template.writes_tools:
            passage = with_tools_told(passage)
        try:
            found = self._found(passage)
        except UserError as fault:
            joined = by_turns(passage)
            if joined is None:
                raise BadRow(str(fault).rstrip(".")) from None
            return self._all_encoded(joined)
        every = [self._encoded(passage, one) for one in found]
        for one, (_, spans) in zip(every, found, strict=True):
            numbers = [number for number, _, _ in spans]
            if numbers != passage.answers:
                one.passage = alone(passage, numbers)
        return every

    def _found(self, passage: Passage) -> list[Answers]:
        return self._template.every_answer(self._messages(passage), passage.answers, passage.learnt, passage.tools)

    def _again(self, passage: Passage) -> _Encoded | None:
        """A passage that was shortened; None where the template cannot write it so."""
        try:
            found = self._template.answers(self._messages(passage), passage.answers, passage.tools)
            return self._encoded(passage, found)
        except (UserError, BadRow):
            return None

    def _messages(self, passage: Passage) -> list[dict[str, Any]]:
        return [self._message(turn) for turn in passage.turns]

    def _message(self, turn: Turn) -> dict[str, Any]:
        message: dict[str, Any] = {"role": turn.role, "content": turn.text}
        style = self._template.call_style if turn.calls else None
        if style is not None:
            message["content"] = turn.spoken or style.no_content
            message["tool_calls"] = [call.message(style.arguments_as_text) for call in turn.calls]
        if turn.thought and (field := self._template.thoughts_field):
            message[field] = turn.thought
        elif turn.thought:
            message["content"] = thoughts.written(turn.thought, turn.text if style is None else turn.spoken)
        return message | (turn.named if turn.role == "tool" else {})

    def _encoded(self, passage: Passage, found: Answers) -> _Encoded:
        rendered = rendered_answers(self._tokenizer, found)
        weights = [0.0] * len(rendered.ids)
        learnt = []
        for answer in rendered.answers:
            turn = passage.turns[answer.number]
            if turn.weight == 0:
                continue
            begin = self._said_from(rendered, answer, turn)
            first = answer.first if begin == answer.begin else max(answer.first, rendered.token_at(begin))
            weights[first : answer.end] = [turn.weight] * (answer.end - first)
            learnt.append((first, rendered.text[begin : answer.stop].strip()))
        return _Encoded(passage, rendered.text, rendered.ids, weights, rendered.answers, learnt)

    def _said_from(self, rendered: Rendered, answer: Answer, turn: Turn) -> int:
        """The character with which what is learnt of an answer begins.

        Raises:
          BadRow: the template leaves out something that is to be learnt or shown.
        """
        said = rendered.text[: answer.stop]
        if lacking := next((call.name for call in turn.calls if said.find(call.name, answer.begin) < 0), ""):
            raise BadRow(
                f"the chat template does not write the call of {lacking!r} in message {answer.number + 1}; mend the "
                "template, or the row"
            )
        if not turn.thought:
            return answer.begin
        at = said.find(turn.thought, answer.begin)
        if at < 0:
            raise BadRow(
                f"the chat template leaves out the thoughts of message {answer.number + 1}; set thinking to "
                "'left_out', or mend the template"
            )
        if self._recipe.declaration.thinking == "learnt":
            return answer.begin
        after = at + len(turn.thought)
        spoken = turn.spoken if turn.calls and self._template.call_style else turn.text
        begins = said.find(spoken, after) if spoken else _after_mark(said, after)
        if begins < 0:
            raise BadRow(
                f"the chat template writes message {answer.number + 1} otherwise than it is said, so that it is not "
                "clear where its thoughts end; set thinking to 'learnt' or 'left_out'"
            )
        return begins

    def _fitted(self, example_id: str, found: _Encoded) -> _Encoded | None:
        """The passage within the lengths: its longest early turn is shortened, then exchanges are left off."""
        place: Any = lambda: self._recipe.source.where(self._split, source_row(example_id))
        limit, asked = self._finisher.most_inputs, found.answers[0].first
        if limit is not None and asked > limit:
            if self._finisher.is_refused(example_id, "inputs", asked, place):
                return None
            shorter = self._shortened(found, limit)
            if shorter is None:
                self._request.tally.too_long += 1
                return None
            found = shorter
        room = self._request.lengths.get("targets")
        first, end = found.answers[0].first, found.answers[-1].end
        if room is None or end - first <= room:
            return found
        if self._finisher.is_refused(example_id, "targets", end - first, place):
            return None
        # A template may write no end after earlier answers: the last one that is left gets it, as the very last has it.
        ends = {
            answer: [] if found.ids[answer.end - 1] in self._tokenizer.eos_ids else self._finisher.end
            for answer in found.answers
        }
        kept = [answer for answer in found.answers if answer.end + len(ends[answer]) - first <= room]
        if kept:
            last, closing = kept[-1], ends[kept[-1]]
            kept[-1] = dataclasses.replace(last, end=last.end + len(closing))
            ids = found.ids[: last.end] + closing
            weights = found.weights[: last.end] + found.weights[last.end - 1 : last.end] * len(closing)
        else:  # not even the first answer fits: its middle is lost, never its end
            kept, after = [dataclasses.replace(found.answers[0], end=first + room)], found.answers[0].end
            ids = found.ids[: first + room - 1] + found.ids[after - 1 : after]
            weights = found.weights[: first + room - 1] + found.weights[after - 1 : after]
        if not any(weights[first:]):  # what is learnt was cut off
            self._request.tally.too_long += 1
            return None
        return dataclasses.replace(found, ids=ids, weights=weights, answers=kept)

    def _shortened(self, found: _Encoded, limit: int) -> _Encoded | None:
        """The passage with its longest early turn cut, the first exchanges left off where that is not enough."""
        now: _Encoded | None = found
        while now is not None:
            shorter = self._cut_in_the_middle(now, limit)
            if shorter is not None:
                return shorter
            passage = without_first_exchange(now.passage)
            now = None if passage is None else self._again(passage)
        return None

    def _cut_in_the_middle(self, found: _Encoded, limit: int) -> _Encoded | None:
        """The passage with the longest turn before the targets cut in its middle, as its instruction may stand at
        either end; None where that is not enough."""
        for attempt in range(_TRIES):
            over = found.answers[0].first - limit
            if over <= 0:
                return found
            turns, early = found.passage.turns, found.passage.opens
            known = self._tokenizer.encode([turn.text for turn in turns[:early]])
            longest = max(
                (number for number in range(early) if not turns[number].calls),
                key=lambda number: len(known[number]),
                default=None,
            )
            if longest is None or len(known[longest]) <= over:
                return None
            turn, keep = turns[longest], len(known[longest]) - over - 4 * attempt  # the mark of a cut has ids too
            text = cut(turn.text, known[longest], keep, self._tokenizer, "middle")
            shorter = [*turns[:longest], dataclasses.replace(turn, text=text), *turns[longest + 1 :]]
            again = self._again(dataclasses.replace(found.passage, turns=shorter))
            if again is None:
                return None
            found = again
        return found if found.answers[0].first <= limit else None


def _after_mark(text: str, at: int) -> int:
    """The first character after the mark that closes thoughts, "</think>" for one, and the blanks around it."""
    found = _CLOSING.match(text, at)
    return at if found is None else found.end()

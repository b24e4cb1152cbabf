"""Conversations as text with the names of the roles, for models without a chat template.

    System: Be brief.
    User: Hello
    Assistant:                 <- the inputs end here
     Hi!<eos>                  <- weight 1
    User: Who are you?
    Assistant:                 <- weight 0
     A program.<eos>           <- weight 1

Each answer ends in end-of-sequence, so that the model learns to stop.
"""

import dataclasses
from collections.abc import Iterator

import numpy as np

from flan_jax.tasks import thoughts, vocabularies
from flan_jax.tasks.conversations import Turn, read_conversation
from flan_jax.tasks.encoding import Finisher
from flan_jax.tasks.example_ids import numbered, source_row
from flan_jax.tasks.passages import LearningChoices, Passage, passages_of, with_tools_told, without_first_exchange
from flan_jax.tasks.recipe import Example, Recipe, Request
from flan_jax.tasks.sources import Row
from flan_jax.tasks.templates import Pattern, fit
from flan_jax.tasks.written_form import PlainText


@dataclasses.dataclass(slots=True)
class Dialogue:
    """A conversation in text.

    Attributes:
      prompt: the pattern of the inputs, a field a turn.
      values: what is said in those turns.
      exchanges: (context, answer, weight) of each answer; the first one's context is the prompt, of which only
        thoughts stand here.
      passage: what it is made of.
    """

    prompt: Pattern
    values: dict[str, str]
    exchanges: list[tuple[str, str, float]]
    passage: Passage

    @property
    def text(self) -> str:
        """The targets as text."""
        return "".join(f"{context} {answer}" if context else answer for context, answer, _ in self.exchanges)


def dialogues_of(task: LearningChoices, row: Row) -> list[Dialogue]:
    """Renders a row's passages by the names of the roles; see `passages_of`."""
    return [_dialogue(task, with_tools_told(passage)) for passage in passages_of(task, row)]


def _dialogue(task: LearningChoices, passage: Passage) -> Dialogue:
    names, turns, first = dict(task.role_names), passage.turns, passage.opens
    parts: list[tuple[str, str | None]] = []
    values = {}
    for number, turn in enumerate(turns[:first]):
        parts.append((("\n" if number else "") + f"{names[turn.role]}: ", f"turn {number}"))
        values[f"turn {number}"] = turn.text
    parts.append((("\n" if first else "") + f"{names['assistant']}:", None))
    exchanges, context = [], ""
    for number, turn in enumerate(turns[first:]):
        if turn.role == "assistant":
            opening = f"{context}\n{names['assistant']}:" if number else ""
            shown, said = _thought_and_said(turn, task.thinking == "learnt")
            opening = f"{opening} {shown}".strip(" ") if shown else opening
            exchanges.append((opening, said, turn.weight))
            context = ""
        else:
            context += f"\n{names[turn.role]}: {turn.text}"
    return Dialogue(Pattern(tuple(parts)), values, exchanges, passage)


def _thought_and_said(turn: Turn, is_learnt: bool) -> tuple[str, str]:
    """What is shown of an answer, and what is learnt."""
    if not turn.thought:
        return "", turn.text
    return ("", thoughts.written(turn.thought, turn.text)) if is_learnt else (thoughts.written(turn.thought), turn.text)


class RoleEncoder:
    """Turns the rows of one split into examples.

    Args:
      recipe: the task.
      split: of the rows.
      request: how examples are wanted.
    """

    def __init__(self, recipe: Recipe, split: str, request: Request):
        self._recipe = recipe
        self._split = split
        self._request = request
        self._tokenizer = vocabularies.tokenizer(recipe.vocabulary)
        self._finisher = Finisher(recipe.name, PlainText(self._tokenizer, recipe.add_eos_to_inputs), request)

    def __call__(self, row_id: str, row: Row) -> Iterator[Example]:
        """The examples of a row; none, and counted, where it gives none."""
        found = read_conversation(self._recipe, self._split, row_id, row, self._request, dialogues_of)
        for example_id, dialogue in numbered(row_id, found):
            example = self._example(example_id, dialogue)
            if example is not None:
                self._request.tally.kept += 1
                self._finisher.count_cut(example.cut_tokens)
                yield example

    def _example(self, example_id: str, dialogue: Dialogue) -> Example | None:
        prompt = self._prompt(example_id, dialogue)
        targets = prompt and self._targets(example_id, dialogue)
        if not prompt or not targets:
            return None
        weights = [one for _, piece in targets[0] for one in piece]
        kept = dialogue.exchanges[: len(targets[0])]
        return Example(
            id=example_id,
            inputs=self._finisher.inputs_array(prompt[1]),
            targets=np.array([one for piece, _ in targets[0] for one in piece], np.int32),
            weights=None if all(weight == 1.0 for weight in weights) else np.array(weights, np.float32),
            objective="chat",
            inputs_text=prompt[0],
            targets_text=dialogue.text,
            cut_tokens=prompt[2] + targets[1],
            references=(dialogue.text,),
            learnt=tuple(answer for _, answer, weight in kept if weight > 0),
        )

    def _where(self, row_id: str) -> str:
        return self._recipe.source.where(self._split, source_row(row_id))

    def _prompt(self, example_id: str, dialogue: Dialogue) -> tuple[str, list[int], int] | None:
        text = dialogue.prompt.render(dialogue.values)
        ids = self._tokenizer.encode_one(text)
        limit = self._finisher.most_inputs
        if limit is None or len(ids) <= limit:
            return text, ids, 0
        if self._finisher.is_refused(example_id, "inputs", len(ids), lambda: self._where(example_id)):
            return None
        fitted = fit(*self._recent(dialogue, limit), limit, self._finisher.form)
        if fitted is None:
            self._request.tally.too_long += 1
            return None
        return fitted[0], fitted[1], len(ids) - len(fitted[1])

    def _recent(self, dialogue: Dialogue, limit: int) -> tuple[Pattern, dict[str, str]]:
        """The prompt without the first exchanges, as many as do not fit even where the longest turn is left out."""
        while True:
            ids = self._tokenizer.encode([dialogue.prompt.render(dialogue.values), *dialogue.values.values()])
            passage = without_first_exchange(dialogue.passage)
            if passage is None or len(ids[0]) - max(map(len, ids[1:]), default=0) < limit:
                return dialogue.prompt, dialogue.values
            dialogue = _dialogue(self._recipe.declaration, passage)

    def _targets(self, example_id: str, dialogue: Dialogue) -> tuple[list[tuple[list[int], list[float]]], int] | None:
        """Ids and weights of each exchange, and how many tokens were cut; whole exchanges are left off the end before
        an answer is cut."""
        end = self._finisher.end
        pieces = []
        for context, answer, weight in dialogue.exchanges:
            before, ids = self._tokenizer.encode([context, answer])
            pieces.append((before + ids + end, [0.0] * len(before) + [weight] * (len(ids) + len(end))))
        length = sum(len(ids) for ids, _ in pieces)
        limit = self._finisher.most_targets
        if limit is None or length <= limit + len(end):
            kept = pieces
        elif self._finisher.is_refused(example_id, "targets", length, lambda: self._where(example_id)):
            return None
        else:
            kept = self._cut(pieces, limit + len(end))
        if not any(weight for _, weights in kept for weight in weights):  # what is learnt was cut off
            self._request.tally.too_long += 1
            return None
        return kept, length - sum(len(ids) for ids, _ in kept)

    def _cut(self, pieces: list[tuple[list[int], list[float]]], most: int) -> list[tuple[list[int], list[float]]]:
        kept, room = [], most
        for ids, weights in pieces:
            if len(ids) > room:
                break
            kept.append((ids, weights))
            room -= len(ids)
        if kept:
            return kept
        ids, weights = pieces[0]
        ends = len(self._finisher.end)
        return [(ids[: most - ends] + self._finisher.end, weights[: most - ends] + weights[len(weights) - ends :])]

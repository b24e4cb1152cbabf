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

import numpy as np

from flan_jax.tasks import vocabularies
from flan_jax.tasks.conversations import ChatDeclaration, conversation_of, read_conversation
from flan_jax.tasks.encoding import Finisher
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
      exchanges: (context, answer, weight) of each answer; the first one's context is the prompt and empty here.
    """

    prompt: Pattern
    values: dict[str, str]
    exchanges: list[tuple[str, str, float]]

    @property
    def weights(self) -> list[float]:
        """How much each answer counts."""
        return [weight for _, _, weight in self.exchanges]

    @property
    def text(self) -> str:
        """The targets as text."""
        return "".join(f"{context} {answer}" if context else answer for context, answer, _ in self.exchanges)


def dialogue_of(task: ChatDeclaration, row: Row) -> Dialogue | None:
    """Renders a row's conversation by the names of the roles; see `conversation_of`."""
    turns = conversation_of(task, row)
    if turns is None:
        return None
    first = next(number for number, turn in enumerate(turns) if turn.role == "assistant")
    names = dict(task.role_names)
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
            exchanges.append((opening, turn.text, turn.weight if turn.text else 0.0))
            context = ""
        else:
            context += f"\n{names[turn.role]}: {turn.text}"
    return Dialogue(Pattern(tuple(parts)), values, exchanges)


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

    def __call__(self, row_id: str, row: Row) -> Example | None:
        """The example of a row; None, and counted, where it gives none."""
        tally = self._request.tally
        dialogue = read_conversation(self._recipe, self._split, row_id, row, self._request, dialogue_of)
        if dialogue is None:
            return None
        prompt = self._prompt(row_id, dialogue)
        targets = prompt and self._targets(row_id, dialogue)
        if not prompt or not targets:
            return None
        tally.kept += 1
        cut = prompt[2] + targets[2]
        self._finisher.count_cut(cut)
        weights = targets[1]
        return Example(
            id=row_id,
            inputs=self._finisher.inputs_array(prompt[1]),
            targets=np.array(targets[0], np.int32),
            weights=None if all(weight == 1.0 for weight in weights) else np.array(weights, np.float32),
            objective="chat",
            inputs_text=prompt[0],
            targets_text=dialogue.text,
            cut_tokens=cut,
            references=(dialogue.text,),
            learnt=tuple(answer for _, answer, weight in dialogue.exchanges[: targets[3]] if weight > 0),
        )

    def _where(self, row_id: str) -> str:
        return self._recipe.source.where(self._split, row_id)

    def _prompt(self, row_id: str, dialogue: Dialogue) -> tuple[str, list[int], int] | None:
        text = dialogue.prompt.render(dialogue.values)
        ids = self._tokenizer.encode_one(text)
        limit = self._finisher.most_inputs
        if limit is None or len(ids) <= limit:
            return text, ids, 0
        if self._finisher.is_refused(row_id, "inputs", len(ids), lambda: self._where(row_id)):
            return None
        fitted = fit(dialogue.prompt, dialogue.values, limit, self._finisher.form)
        if fitted is None:
            self._request.tally.too_long += 1
            return None
        return fitted[0], fitted[1], len(ids) - len(fitted[1])

    def _targets(self, row_id: str, dialogue: Dialogue) -> tuple[list[int], list[float], int, int] | None:
        """Ids, weights, how many tokens were cut, how many exchanges are left.

        Whole ones are left off the end before an answer is cut.
        """
        end = self._finisher.end
        pieces = []
        for context, answer, weight in dialogue.exchanges:
            before, ids = self._tokenizer.encode([context, answer])
            pieces.append((before + ids + end, [0.0] * len(before) + [weight] * (len(ids) + len(end))))
        length = sum(len(ids) for ids, _ in pieces)
        limit = self._finisher.most_targets
        if limit is None or length <= limit + len(end):
            kept = pieces
        elif self._finisher.is_refused(row_id, "targets", length, lambda: self._where(row_id)):
            return None
        else:
            kept = self._cut(pieces, limit + len(end))
        ids = [one for piece, _ in kept for one in piece]
        weights = [one for _, piece in kept for one in piece]
        if not any(weights):  # what is learnt was cut off
            self._request.tally.too_long += 1
            return None
        return ids, weights, length - len(ids), len(kept)

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

"""Conversations: the prompt is all up to the first answer, the targets are the rest, and only what the assistant says
is learnt.

    System: Be brief.
    User: Hello
    Assistant:                 <- the inputs end here
     Hi!<eos>                  <- weight 1
    User: Who are you?
    Assistant:                 <- weight 0
     A program.<eos>           <- weight 1

Each answer ends in end-of-sequence, so that the model learns to stop. With the vocabulary of a model that has a chat
template the conversation is written by that instead: `flan_jax.tasks.templated_chats`.
"""

import dataclasses
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import numpy as np
import seqio

from flan_jax.errors import UserError
from flan_jax.tasks import metrics as metric_functions
from flan_jax.tasks import registry, vocabularies
from flan_jax.tasks.conversations import Turn, turns_of
from flan_jax.tasks.encoding import Finisher, batched
from flan_jax.tasks.recipe import Encoder, Example, OfDeclaration, Request
from flan_jax.tasks.sources import Row, Source
from flan_jax.tasks.tally import BadRow, OnBadRow, bad_row
from flan_jax.tasks.templates import Pattern, fit
from flan_jax.tasks.user_functions import BrokenFunction, of_task, preprocessed
from flan_jax.text.chat_templates import ChatTemplate

ROLE_NAMES = (("system", "System"), ("user", "User"), ("assistant", "Assistant"), ("tool", "Tool"))


@dataclasses.dataclass(frozen=True)
class ChatTask:
    """Declares a task of conversations.

    Attributes:
      name: the seqio task's name.
      source: rows that hold a list of messages, in OpenAI's form ({"role", "content"}) or ShareGPT's ({"from",
        "value"}). A message's own "loss_weight" is heeded; content may be a list of parts, of which texts and tool
        calls are read.
      messages: the field that holds the list.
      preprocess: turns a row into one with such a field, or None to leave it out.
      role_names: how each role is called in the text, where no chat template says it.
      chat_template: whether the chat template that comes with the vocabulary is used, where one does.
      metrics: names or functions; empty where only the loss is of interest.
      vocabulary: as in `InstructionTask`.
      cap: as in `InstructionTask`.
      cluster: as in `InstructionTask`.
      version: as in `InstructionTask`.
      add_eos_to_inputs: as in `InstructionTask`.
    """

    name: str
    source: Source | seqio.DataSource
    messages: str = "messages"
    preprocess: Callable[[Row], Row | None] | None = None
    role_names: tuple[tuple[str, str], ...] = ROLE_NAMES
    chat_template: bool = True
    metrics: tuple[str | Callable[..., Mapping[str, Any]], ...] = ()
    vocabulary: vocabularies.VocabularyLike = "starter"
    cap: int | None = None
    cluster: str = ""
    version: str = ""
    add_eos_to_inputs: bool = False

    def register(self) -> "ChatTask":
        """Adds the task to seqio's registry; doing so twice changes nothing.

        Raises:
          UserError: the declaration has a fault, or the name is taken.
        """
        if missing := {role for role, _ in ROLE_NAMES} - {role for role, _ in self.role_names}:
            raise UserError(
                f"Task {self.name!r}: role_names leaves out {', '.join(sorted(missing))}; name all four roles."
            )
        for metric in self.metrics:
            metric_functions.function(metric)
        registry.add([ChatRecipe(self)])
        return self


@dataclasses.dataclass(frozen=True)
class ChatRecipe(OfDeclaration):
    """The recipe of a `ChatTask`."""

    declaration: ChatTask

    @property
    def name(self) -> str:
        """The seqio task's name."""
        return self.declaration.name

    @property
    def add_eos_to_inputs(self) -> bool:
        """What the declaration says."""
        return self.declaration.add_eos_to_inputs

    @property
    def metrics(self) -> tuple[str | Callable[..., Mapping[str, Any]], ...]:
        """The declaration's metrics."""
        return self.declaration.metrics

    def encoder(self, split: str, request: Request) -> Encoder:
        """See `Recipe`."""
        template = self.template()
        encode: Callable[[str, Row], Example | None]
        if template is None:
            encode = _ChatEncoder(self, split, request)
        else:
            from flan_jax.tasks.templated_chats import TemplatedEncoder  # which reads conversations as this file does

            encode = TemplatedEncoder(self, template, split, request)

        def encoder(rows: Iterable[tuple[str, Row]]) -> Iterator[Example]:
            for batch in batched(rows, 256):
                for row_id, row in batch:
                    if (example := encode(row_id, row)) is not None:
                        yield example

        return encoder

    def template(self) -> ChatTemplate | None:
        """The chat template that its conversations are written by."""
        return vocabularies.chat_template(self.vocabulary) if self.declaration.chat_template else None

    def prompt_format(self) -> str:
        """How a question of one turn is put, with "{}" in its place; reads the vocabulary."""
        template, names = self.template(), dict(self.declaration.role_names)
        return template.prompt_format() if template else f"{names['user']}: {{}}\n{names['assistant']}:"

    def texts(self, split: str, on_bad_row: OnBadRow) -> Iterator[tuple[str, ...]]:
        """See `Recipe`."""
        request = Request({}, on_bad_row=on_bad_row)
        for row_id, row in of_task(self.name, self.source.rows(split, on_bad_row)):
            if (dialogue := read_conversation(self, split, row_id, row, request, dialogue_of)) is not None:
                yield dialogue.prompt.render(dialogue.values), dialogue.text

    def shaping(self) -> Any:
        """See `Recipe`."""
        task = self.declaration
        how = (task.role_names, task.chat_template, task.add_eos_to_inputs)
        return (task.name, task.messages, task.preprocess, how, task.version)

    def describe(self) -> dict[str, Any]:
        """See `Recipe`."""
        task = self.declaration
        return {
            "task": task.name,
            "kind": "plain",
            "cluster": task.cluster,
            "cap": task.cap,
            "chance": None,
            "siblings": [],
            "sibling": None,
            "shots": 0,
            "options": None,
            "eval_kind": "generate" if task.metrics else "loss",
            "metrics": [metric_functions.name_of(metric) for metric in task.metrics],
            "templates": [],
            "held_out_wordings": 0,
            "objective": "chat",
            "random": False,
            "version": task.version,
        }


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


def conversation_of(task: ChatTask, row: Row) -> list[Turn] | None:
    """A row's turns up to the last answer; None where the assistant says nothing.

    Raises:
      BadRow: the row holds no readable list of messages, or `preprocess` failed at it.
      BrokenFunction: `preprocess` failed in another way.
    """
    if task.preprocess is not None:
        fields = preprocessed(task.preprocess, dict(row))
        if fields is None:
            return None
        row = fields
    if task.messages not in row:
        raise BadRow(f"there is no field {task.messages!r} with the messages, the row has {', '.join(map(str, row))}")
    turns = turns_of(row[task.messages])
    while turns and (turns[-1].role != "assistant" or not turns[-1].text):
        turns.pop()  # nothing answers it
    return turns or None


def dialogue_of(task: ChatTask, row: Row) -> Dialogue | None:
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


def read_conversation(
    recipe: ChatRecipe, split: str, row_id: str, row: Row, request: Request, read: Callable[[ChatTask, Row], Any]
) -> Any:
    """What `read` makes of a row; None, and counted, where it cannot be read or nothing of it would be learnt.

    Args:
      recipe: the task.
      split: of the row.
      row_id: the row's.
      row: its fields.
      request: what becomes of a row that cannot be read.
      read: gives something with the `weights` of its answers, None for no answer; raises `BadRow`.
    """
    tally, place = request.tally, lambda: f"Task {recipe.name!r}, {recipe.source.where(split, row_id)}"
    try:
        dialogue = read(recipe.declaration, row)
    except (BadRow, KeyError, ValueError, TypeError, AttributeError) as fault:
        why = fault if isinstance(fault, BadRow) else f"it cannot be read: {fault!r}"
        bad_row(place, why, request.on_bad_row, tally)
        return None
    except BrokenFunction as fault:
        raise UserError(f"{place()}: {fault}.") from fault.__cause__
    tally.read += 1
    if dialogue is None or not any(weight > 0 for weight in dialogue.weights):
        tally.dropped += 1
        return None
    return dialogue


class _ChatEncoder:
    """Turns the rows of one split into examples."""

    def __init__(self, recipe: ChatRecipe, split: str, request: Request):
        self._recipe = recipe
        self._split = split
        self._request = request
        self._tokenizer = vocabularies.tokenizer(recipe.vocabulary)
        self._finisher = Finisher(recipe.name, self._tokenizer, request, recipe.add_eos_to_inputs)

    def __call__(self, row_id: str, row: Row) -> Example | None:
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
        fitted = fit(dialogue.prompt, dialogue.values, limit, self._tokenizer)
        if fitted is None:
            self._request.tally.too_long += 1
            return None
        return fitted[0], fitted[1], len(ids) - len(fitted[1])

    def _targets(self, row_id: str, dialogue: Dialogue) -> tuple[list[int], list[float], int] | None:
        """Ids, weights and how many tokens were cut; whole exchanges are left off the end before an answer is cut."""
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
        return ids, weights, length - len(ids)

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

"""What of a conversation is learnt, and in how many examples.

    user, assistant, user, assistant    one passage: inputs up to the first answer, targets from there to the end
    assistant, user, assistant          one passage: inputs up to the answer to the user
    loss_on="last"                      one passage: inputs up to the last answer
    each_turn=True                      two passages: user -> assistant; user, assistant, user -> assistant

A passage is in turns still; `role_chats` and `templated_chats` write it.
"""

import dataclasses
import json
import typing
from collections.abc import Sequence
from typing import Any, Literal, Protocol

from flan_jax.errors import UserError, nearest
from flan_jax.tasks import thoughts
from flan_jax.tasks.conversations import ChatDeclaration, Turn, alternating, conversation_of, first_answer, weight_of
from flan_jax.tasks.sources import Row
from flan_jax.tasks.thoughts import Thinking
from flan_jax.tasks.tool_calls import tools_of

LossOn = Literal["all", "last", "marked"]


class LearningChoices(ChatDeclaration, Protocol):
    """What `ChatTask` says of what is learnt."""

    @property
    def loss_on(self) -> LossOn:
        """Which answers bear loss."""
        ...

    @property
    def thinking(self) -> Thinking | None:
        """What becomes of thoughts."""
        ...

    @property
    def tools(self) -> str | None:
        """The field that declares tools."""
        ...

    @property
    def weight(self) -> str | None:
        """The field with the row's weight."""
        ...

    @property
    def each_turn(self) -> bool:
        """Whether each answer is an example of its own."""
        ...


@dataclasses.dataclass(slots=True)
class Passage:
    """A conversation as one example learns it.

    Attributes:
      turns: up to the last answer that belongs to it; the weights say what bears loss.
      opens: the number of the answer that the targets begin with.
      tools: that the assistant may call.
    """

    turns: list[Turn]
    opens: int
    tools: tuple[dict[str, Any], ...] = ()

    @property
    def answers(self) -> list[int]:
        """The numbers of the answers in the targets."""
        return [number for number, turn in enumerate(self.turns) if turn.role == "assistant" and number >= self.opens]

    @property
    def learnt(self) -> list[int]:
        """The numbers of those that bear loss."""
        return [number for number in self.answers if self.turns[number].weight > 0]


def check_choices(task: str, loss_on: Any, thinking: Any) -> None:
    """Refuses what is no choice.

    Raises:
      UserError: which names what there is to choose from.
    """
    choices = (("loss_on", loss_on, LossOn), ("thinking", thinking, Thinking))
    for name, given, kind in choices:
        known = typing.get_args(kind)
        if given not in known and (name, given) != ("thinking", None):
            raise UserError(
                f"Task {task!r}: {name} is {given!r}, wanted one of {', '.join(map(repr, known))}"
                f"{nearest(str(given), known)}."
            )


def passages_of(task: LearningChoices, row: Row) -> list[Passage]:
    """The passages of a row's conversation; none where nothing of it would be learnt.

    Raises:
      BadRow: it cannot be read.
    """
    turns = conversation_of(task, row)
    if turns is None:
        return []
    tools = tools_of(row.get(task.tools)) if task.tools else ()
    share = row.get(task.weight) if task.weight else None
    _settle_thoughts(turns, task.thinking)
    _weigh(turns, task.loss_on, 1.0 if share is None else weight_of(share, f"the row's {task.weight}"))
    whole = Passage(turns, first_answer(turns), tools)
    learnt = whole.learnt
    if not learnt:
        return []
    if task.each_turn:
        return [alone(whole, [number]) for number in learnt]
    return [alone(whole, learnt)] if task.loss_on == "last" else [whole]


def alone(passage: Passage, numbers: Sequence[int]) -> Passage:
    """The passage up to the last of these answers, of which these alone bear loss."""
    turns = [
        turn if number in numbers or turn.role != "assistant" else dataclasses.replace(turn, weight=0.0)
        for number, turn in enumerate(passage.turns[: numbers[-1] + 1])
    ]
    return Passage(turns, numbers[0], passage.tools)


def _settle_thoughts(turns: list[Turn], thinking: Thinking | None) -> None:
    for turn in turns:
        if thinking is not None and turn.role == "assistant" and not turn.thought:
            said = turn.spoken if turn.calls else turn.text
            turn.thought, said = thoughts.told_apart(said)
            if turn.thought and turn.calls:
                turn.text, turn.spoken = turn.text[len(turn.spoken) :].strip(), said
                turn.text = f"{said}\n{turn.text}" if said else turn.text
            elif turn.thought:
                turn.text = said
        if thinking in (None, "left_out") or turn.role != "assistant":
            turn.thought = ""


def _weigh(turns: list[Turn], loss_on: LossOn, share: float) -> None:
    last = max(number for number, turn in enumerate(turns) if turn.role == "assistant")
    for number, turn in enumerate(turns):
        is_learnt = turn.role == "assistant" and bool(turn.text)
        is_learnt &= {"all": True, "last": number == last, "marked": turn.is_marked}[loss_on]
        turn.weight = turn.weight * share if is_learnt else 0.0


def by_turns(passage: Passage) -> Passage | None:
    """The passage with user and assistant by turns (`alternating`); None where it is so already."""
    turns, numbers = alternating(passage.turns)
    return None if len(turns) == len(passage.turns) else Passage(turns, numbers[passage.opens], passage.tools)


def with_tools_told(passage: Passage) -> Passage:
    """The passage with its tools written into the system prompt, for a form that has no other place for them."""
    if not passage.tools:
        return passage
    told = "\n".join(["Tools:", *(json.dumps(tool["function"], ensure_ascii=False) for tool in passage.tools)])
    first = passage.turns[0]
    if first.role == "system":
        system = dataclasses.replace(first, text=f"{first.text}\n\n{told}" if first.text else told)
        return Passage([system, *passage.turns[1:]], passage.opens)
    return Passage([Turn("system", told, 0.0), *passage.turns], passage.opens + 1)


def without_first_exchange(passage: Passage) -> Passage | None:
    """The passage without what was said first, the system prompt kept; None where only one question is left."""
    first = 1 if passage.turns[0].role == "system" else 0
    for number in range(first + 1, passage.opens):
        if passage.turns[number].role == "user" and passage.turns[number - 1].role != "user":
            kept = [*passage.turns[:first], *passage.turns[number:]]
            return Passage(kept, passage.opens - (number - first), passage.tools)
    return None

"""Conversations as lists of messages, in OpenAI's form or ShareGPT's."""

from typing import Any

from flan_jax.tasks.chats import ChatTask
from flan_jax.tasks.formats.places import Place, source_at
from flan_jax.tasks.passages import LossOn
from flan_jax.tasks.thoughts import Thinking
from flan_jax.tasks.vocabularies import VocabularyLike


def messages(
    place: Place,
    name: str,
    *,
    field: str = "messages",
    loss_on: LossOn = "all",
    thinking: Thinking | None = None,
    each_turn: bool = False,
    validation_rows: int | None = 0,
    on_bad_row: str | None = None,
    vocabulary: VocabularyLike | None = None,
    cap: int | None = None,
) -> ChatTask:
    """Declares a task of conversations; call `register()` on it to use it.

    Args:
      place: see `flan_jax.tasks.formats.places.Place`.
      name: the task's name.
      field: the column that holds the list: "messages" as OpenAI calls it, "conversations" as ShareGPT does.
      loss_on: as in `ChatTask`: "all", "last" or "marked".
      thinking: as in `ChatTask`: "left_out", "context" or "learnt"; None takes the text as it stands.
      each_turn: as in `ChatTask`: whether each answer is an example of its own.
      validation_rows: how many of the first rows become the validation split; None: a tenth of them, at most 50.
      on_bad_row: "error" or "skip"; None leaves it to who reads.
      vocabulary: as in `InstructionTask`.
      cap: as in `InstructionTask`.
    """
    shared: dict[str, Any] = {"vocabulary": vocabulary, "cap": cap}
    learnt: dict[str, Any] = {"loss_on": loss_on, "thinking": thinking, "each_turn": each_turn}
    return declared(source_at(place, validation_rows, on_bad_row), name, (field,), **shared, **learnt)


def declared(source: Any, name: str, columns: tuple[str, ...], **shared: Any) -> ChatTask:
    """See `flan_jax.tasks.formats.files`."""
    return ChatTask(name=name, source=source, messages=columns[0], **shared)

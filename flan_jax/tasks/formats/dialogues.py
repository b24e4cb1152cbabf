"""Dialogues of people, in which one side is taken for the assistant: Topical-Chat, Schema-Guided Dialogue, Taskmaster.

    {"utterances": [{"speaker": "user", "text": "Two mochas, please."}, {"speaker": "assistant", "text": "Yes."}]}

What is the assistant's is an argument; what one says in several turns on end becomes one, and turns without words go.
"""

import dataclasses
from collections.abc import Mapping
from typing import Any

from flan_jax.errors import nearest
from flan_jax.tasks.chats import ChatTask
from flan_jax.tasks.formats.cells import text_in
from flan_jax.tasks.formats.places import Place, source_at
from flan_jax.tasks.sources import Row
from flan_jax.tasks.tally import BadRow
from flan_jax.tasks.vocabularies import VocabularyLike

ASSISTANTS = ("assistant", "system", "agent_2", "wizard", "bot", "agent")


@dataclasses.dataclass(frozen=True)
class Dialogue:
    """Makes a row with "messages" of a dialogue.

    Attributes:
      turns: the column that holds the list of turns.
      speaker: a turn's field that tells who speaks.
      said: a turn's field that holds what is said.
      assistant: the speaker who is the assistant, in letters of any case; of several names the first that speaks.
      system: a column whose text becomes the system prompt; empty for none.
    """

    turns: str = "turns"
    speaker: str = "speaker"
    said: str = "utterance"
    assistant: tuple[str, ...] = ASSISTANTS
    system: str = ""

    def __call__(self, row: Row) -> Row:
        """The conversation of a row.

        >>> talk = [{"speaker": "USER", "utterance": "Hi"}, {"speaker": "SYSTEM", "utterance": "Hello!"}]
        >>> Dialogue()({"turns": talk})["messages"]
        [{'role': 'user', 'content': 'Hi'}, {'role': 'assistant', 'content': 'Hello!'}]

        Raises:
          BadRow: the row holds no list of turns, or the assistant is none of its speakers.
        """
        turns = row.get(self.turns)
        if not isinstance(turns, list):
            raise BadRow(f"the field {self.turns!r} is {turns!r}; a list of turns is wanted")
        said: list[tuple[str, str]] = []
        for number, turn in enumerate(turns, 1):
            if not isinstance(turn, Mapping):
                raise BadRow(f"turn {number} is {turn!r}; an object with {self.speaker!r} and {self.said!r} is wanted")
            try:
                who, text = text_in(dict(turn), self.speaker).strip(), text_in(dict(turn), self.said).strip()
            except BadRow as fault:
                raise BadRow(f"in turn {number} {fault}") from None
            if not text:
                continue
            if said and said[-1][0] == who:
                text = f"{said.pop()[1]}\n{text}"
            said.append((who, text))
        assistant = self._assistant([who for who, _ in said])
        prompt = [{"role": "system", "content": text_in(row, self.system)}] if self.system else []
        told = [{"role": "assistant" if who == assistant else "user", "content": text} for who, text in said]
        return {"messages": prompt + told}

    def _assistant(self, speakers: list[str]) -> str:
        """The speaker who is the assistant."""
        known = {who.lower(): who for who in speakers}
        found = next((known[name.lower()] for name in self.assistant if name.lower() in known), None)
        if found is None and speakers:
            close = "".join(nearest(name, known) for name in self.assistant[:1])
            raise BadRow(
                f"none of its speakers ({', '.join(dict.fromkeys(speakers))}) is the assistant, who is called "
                f"{' or '.join(self.assistant)}{close}; name another (dialogues' assistant=)"
            )
        return found or ""


def dialogues(
    place: Place,
    name: str,
    *,
    turns: str = "turns",
    speaker: str = "speaker",
    said: str = "utterance",
    assistant: str | tuple[str, ...] = ASSISTANTS,
    system: str = "",
    validation_rows: int | None = 0,
    on_bad_row: str | None = None,
    vocabulary: VocabularyLike | None = None,
    cap: int | None = None,
) -> ChatTask:
    """Declares a task of dialogues; call `register()` on it to use it.

        dialogues("data_07.json.gz", "taskmaster", turns="utterances", said="text")
        dialogues("dialogues_001.json", "sgd")
        dialogues("train.json", "topical_chat", turns="content", speaker="agent", said="message", assistant="agent_2")

    Args:
      place: see `flan_jax.tasks.formats.places.Place`.
      name: the task's name.
      turns: see `Dialogue`.
      speaker: see `Dialogue`.
      said: see `Dialogue`.
      assistant: see `Dialogue`.
      system: see `Dialogue`.
      validation_rows: how many of the first rows become the validation split; None: a tenth of them, at most 50.
      on_bad_row: "error" or "skip"; None leaves it to who reads.
      vocabulary: as in `InstructionTask`.
      cap: as in `InstructionTask`.
    """
    names = (assistant,) if isinstance(assistant, str) else tuple(assistant)
    preprocess = Dialogue(turns, speaker, said, names, system)
    how: dict[str, Any] = {"preprocess": preprocess, "vocabulary": vocabulary, "cap": cap}
    return declared(source_at(place, validation_rows, on_bad_row), name, (turns, speaker, said), **how)


def declared(source: Any, name: str, columns: tuple[str, ...], **shared: Any) -> ChatTask:
    """See `flan_jax.tasks.formats.files`; the columns are a dialogue's turns, and a turn's speaker and text."""
    return ChatTask(name, source, **{"preprocess": Dialogue(columns[0], columns[1], columns[2]), **shared})

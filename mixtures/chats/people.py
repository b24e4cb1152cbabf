"""Dialogues of two people, one of whom is taken for the assistant.

User: I'd like a table for two tonight.
Assistant:
→ At what time?
  User: At half past seven.
  Assistant: It is booked.

    topical_chat   about what they read (Gopalakrishnan et al., 2019); the assistant is "agent_2", who answers
    sgd            with a service, guided by its schema (Rastogi et al., 2020)
    taskmaster     orders and bookings (Byrne et al., 2019), all four editions

    Data.corpora = {"topical_chat": "conversations/train.json", "sgd": "train/dialogues_*.json",
                    "taskmaster": "TM-4-2024/data/*.json"}

To learn the other side's part, declare one's own: dialogues(FILES, NAME, ..., assistant="agent_1").
"""

from typing import Any

from flan_jax.tasks import Corpus, dialogues

_SAID = ("I'd like a table for two tonight.", "At what time?", "At half past seven.", "It is booked.")
# name: the columns of the turns, of who speaks and of what is said; who asks and who answers; where to get it
_FROM: dict[str, tuple[tuple[str, str, str], tuple[str, str], str]] = {
    "topical_chat": (
        ("content", "agent", "message"),
        ("agent_1", "agent_2"),
        "conversations/*.json of github.com/alexa/Topical-Chat, CDLA-Sharing-1.0",
    ),
    "sgd": (
        ("turns", "speaker", "utterance"),
        ("USER", "SYSTEM"),
        "train/dialogues_*.json of github.com/google-research-datasets/dstc8-schema-guided-dialogue, CC BY-SA 4.0",
    ),
    "taskmaster": (
        ("utterances", "speaker", "text"),
        ("user", "assistant"),
        "TM-*/data/*.json of github.com/google-research-datasets/Taskmaster, CC BY 4.0",
    ),
}


def _corpus(name: str) -> Corpus:
    (turns, speaker, said), who, get = _FROM[name]
    talk: list[dict[str, Any]] = [{speaker: who[number % 2], said: text} for number, text in enumerate(_SAID)]
    return Corpus(name, splits={"train": "train[100:]", "validation": "train[:100]"}, get=get, sample={turns: talk})


TASKS = tuple(
    dialogues(_corpus(name), name, turns=turns, speaker=speaker, said=said, assistant=who[1]).register()
    for name, ((turns, speaker, said), who, _) in _FROM.items()
)

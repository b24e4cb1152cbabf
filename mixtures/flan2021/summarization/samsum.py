"""SAMSum: what a chat between friends is about.

Mia: Are we still on for tomorrow?
Jon: Yes! 6 at the pool?
Mia: Make it 7, I work late.
Jon: Fine, see you there.

Summarize this chat in a sentence or two.
→ Mia and Jon will meet at the pool at 7 tomorrow.
"""

import re
from typing import Any

from flan_jax.mixtures.flan2021.declaring import flan_task
from flan_jax.tasks import Corpus, Hub, Template

_ATTACHED = re.compile(r"<[^<>\n]*>")  # <file_photo> and the like


def _chat(row: dict[str, Any]) -> dict[str, Any] | None:
    dialogue = _ATTACHED.sub(" ", row["dialogue"].replace("\r\n", "\n")).strip()
    return {"dialogue": dialogue, "summary": row["summary"].strip()} if dialogue else None


_SAMSUM = flan_task(
    name="samsum",
    cluster="summarization",
    source=Corpus(
        "samsum",
        tfds="samsum:1.0.0",
        hub=Hub("knkarthick/samsum"),
        splits={"train": "train", "validation": "validation[:200]", "test": "test"},
        rows={"train": 14732, "validation": 818, "test": 819},
        sample={
            "id": "10000001",
            "dialogue": "Mia: Are we still on for tomorrow?\r\nJon: Yes! 6 at the pool?\r\nMia: Make it 7, I work "
            "late.\r\nJon: Fine, see you there.",
            "summary": "Mia and Jon will meet at the pool at 7 tomorrow.",
        },
        gone=("tfds",),  # wants a manual download
    ),
    preprocess=_chat,
    answer="summary",
    metrics=("rouge",),
    templates=(
        "{dialogue}\n\nSummarize this chat in a sentence or two.",
        "Read the messages and tell me what was said or agreed.\n\n{dialogue}",
        "Conversation:\n{dialogue}\n\nSummary:",
        "I was away while they were writing. What did I miss?\n\n{dialogue}",
        "Report the following dialogue in the third person, as briefly as you can:\n{dialogue}",
        "{dialogue}\n\nIn a few words, what happens between these people?",
        "Write a short note on this exchange for somebody who has not seen it.\n---\n{dialogue}",
        "One or two lines, please: what is going on here?\n\n{dialogue}",
    ),
    inverted_templates=(
        ("Make up a chat in which this happens: {answer}", "{dialogue}"),
        ("{answer}\n\nWrite the text messages behind this summary.", "{dialogue}"),
        Template("Invent a short chat between friends.", "{dialogue}", "open"),
    ),
    held_out_templates=(
        "chat log\n========\n{dialogue}\n========\nminutes of the chat:",
        "My phone shows a preview of each unread conversation. Which preview would fit this one?\n\n{dialogue}",
    ),
)

TASKS = (_SAMSUM,)

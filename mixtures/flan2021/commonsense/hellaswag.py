"""HellaSwag: which of four texts continues a caption or a how-to guide.

How to dry herbs
Cut the herbs on a dry morning.
Tie the stems into small bunches.

What comes next?
OPTIONS:
- Hang them upside down in an airy room.
- Hang them under the running shower.
- Pour the stems into a hat. Wait for a week.
- Read them aloud to the neighbours.
→ Hang them upside down in an airy room.
"""

import re

from flan_jax.mixtures.flan2021.declaring import SENTENCES, flan_task
from flan_jax.tasks import Corpus, Hub
from flan_jax.tasks.sources import Row

_MARK = r"\s*\[(?:header|title|step|substeps?)\]\s*"  # of the parts of a how-to guide


def _tfds_row(row: Row) -> Row:
    same = {name: row[name] for name in ("activity_label", "endings", "source_id", "split_type")}
    return {**same, "context": row["ctx"], "label": int(row["label"] or -1)}


def _fields(row: Row) -> Row | None:
    choices = [re.sub(_MARK, " ", ending).strip() for ending in row["endings"]]
    if row["label"] not in range(4) or not all(choices):
        return None
    context = re.sub(_MARK, "\n", row["context"]).strip()
    return {"context": context, "activity": row["activity_label"], "choices": choices, "label": row["label"]}


_CONTEXT = "[header] How to dry herbs [title] Cut the herbs on a dry morning. [step] Tie the stems into small bunches."
_SAME = {
    "activity_label": "Home and Garden",
    "endings": [
        "Hang them upside down in an airy room.",
        "Hang them under the running shower.",
        "Pour the stems into a hat. [substeps] Wait for a week.",
        "Read them aloud to the neighbours.",
    ],
    "source_id": "wikihow~1",
    "split_type": "indomain",
}

_HELLASWAG = flan_task(
    name="hellaswag",
    cluster="commonsense",
    source=Corpus(
        "hellaswag",
        tfds="hellaswag:1.1.0",
        hub=Hub(
            "Rowan/hellaswag",
            row=_tfds_row,
            sample={"ind": 0, **_SAME, "ctx_a": _CONTEXT, "ctx_b": "", "ctx": _CONTEXT, "split": "train", "label": "0"},
            is_sorted=True,  # by source
        ),
        splits={"train": "train[:30000]", "validation": "train[-200:]", "test": "validation"},
        rows={"train": 39_905, "validation": 10_042},
        sample={**_SAME, "context": _CONTEXT, "label": 0},
    ),
    preprocess=_fields,
    options="choices",
    option_styles=SENTENCES,
    answer="label",
    chance=0.25,
    templates=(
        "{context}\n\nWhat comes next?\n{options}",
        "Pick the ending that fits this description best.\n\n{context}\n\n{options}",
        "Topic: {activity}\nText: {context}\nHow does the text most likely go on?\n{options}",
        "The following breaks off in the middle. Complete it sensibly.\n{context}\n{options}",
        'Somebody describes a scene: "{context}" Which continuation would you believe?\n{options}',
        "Think of the ways in which this could continue: which of them is the most natural?\n{context}\n{options}",
        "{context} ...\n\nYou are the narrator. Say what happens now.\n{options}",
        "From the section {activity}:\n\n{context}\n\nSelect the words that follow.\n{options}",
        "Use common sense to carry on from here. {context}\n{options}",
    ),
    inverted_templates=(
        ("The last words of a passage are: {answer}\nWrite what could stand before them.", "{context}"),
        ('Give me the opening of a text on "{activity}" that leads to this: {answer}', "{context}"),
    ),
    held_out_templates=(
        "[START] {context}\n[END] ?\n{options}",
        "Two editors quarrel over how to close this paragraph.\n\n{context}\n\nWhich words do you print?\n{options}",
    ),
)

TASKS = (_HELLASWAG,)

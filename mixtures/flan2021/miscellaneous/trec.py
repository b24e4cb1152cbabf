"""TREC: what kind of answer a question asks for.

Who built the lighthouse at Skagen ?
What kind of answer is wanted here?
Choose from: description, thing, abbreviation, person, number, place
→ person
"""

from flan_jax.mixtures.flan2021.declaring import flan_task
from flan_jax.tasks import Corpus, Hub
from flan_jax.tasks.sources import Row

_TFDS_LABELS = (2, 1, 0, 3, 5, 4)  # of the hub's ABBR, ENTY, DESC, HUM, LOC, NUM


def _from_hub(row: Row) -> Row:
    return {"text": row["text"], "label-coarse": _TFDS_LABELS[row["coarse_label"]]}


_TREC = flan_task(
    name="trec",
    cluster="miscellaneous",
    source=Corpus(
        "trec",
        tfds="trec:1.0.0",
        hub=Hub(
            "CogComp/trec",
            row=_from_hub,
            sample={"text": "Who built the lighthouse at Skagen ?", "coarse_label": 3, "fine_label": 29},
        ),
        splits={"train": "train[:-200]", "validation": "train[-200:]", "test": "test"},
        rows={"train": 5452, "test": 500},
        sample={"text": "Who built the lighthouse at Skagen ?", "label-coarse": 3},
    ),
    options=("description", "thing", "abbreviation", "person", "number", "place"),
    answer="label-coarse",
    templates=(
        "{text}\nWhat kind of answer is wanted here?\n{options}",
        "Classify this question by the type of its answer.\n\n{text}\n\n{options}",
        "Question: {text}\nType of answer:\n{options}",
        'Somebody enters "{text}" in a search box. What is being looked for?\n{options}',
        "Don't answer the question below; just say to which category its answer belongs.\n{text}\n{options}",
        "A quiz master sorts his cards by what they ask for. On which pile does this one go? {text}\n{options}",
        'If you were to answer "{text}", what would you name?\n{options}',
        "Label the following for a system that finds answers on the web.\n\nUser: {text}\nLabel:\n{options}",
        "What does one have to come up with when asked this? {text}\n{options}",
    ),
    inverted_templates=(
        ('Make up a quiz question for the category "{answer}".', "{text}"),
        ("Ask me something. The answer should be of this kind: {answer}", "{text}"),
    ),
    held_out_templates=(
        "query = {text}\nanswer_type = ?\n{options}",
        "Before we look anything up, let us be clear about what we are after. {text} Into which class will the reply "
        "fall?\n{options}",
    ),
)

TASKS = (_TREC,)

"""SST-2 (GLUE): whether a sentence or a phrase of a film review is negative or positive.

A critic writes "a warm and quietly funny portrait of two sisters" about a film. Is that positive or negative?
→ positive
"""

from flan_jax.mixtures.flan2021.declaring import flan_task
from flan_jax.tasks import Corpus, Hub
from flan_jax.tasks.sources import Row


def _fields(row: Row) -> Row:
    return {"sentence": row["sentence"].strip(), "label": row["label"]}


_SST2 = flan_task(
    name="sst2",
    cluster="sentiment",
    source=Corpus(
        "sst2",
        tfds="glue/sst2:2.0.0",
        hub=Hub("nyu-mll/glue", "sst2"),
        splits={"train": "train[:30000]", "validation": "train[-200:]", "test": "validation"},
        rows={"train": 67_349, "validation": 872},
        sample={"sentence": "a warm and quietly funny portrait of two sisters ", "label": 1, "idx": 0},
    ),
    preprocess=_fields,
    options=("negative", "positive"),
    answer="label",
    templates=(
        "{sentence}\nWhat sentiment do these words about a movie carry?\n{options}",
        'A critic writes "{sentence}" about a film. Is that positive or negative?',
        "Snippet: {sentence}\nSentiment (positive or negative):",
        "Pick the label that suits this line from a movie review.\n{sentence}\n{options}",
        'On a page of review quotes, would "{sentence}" go with the negative or with the positive ones?',
        "The reviewer's words: {sentence}\nThe reviewer's opinion?\n{options}",
        "Tell me how this sounds, negative or positive: {sentence}",
        "I have a fragment of a review and want to know its tone.\n\nFragment: {sentence}\n\nWhich is it?\n{options}",
        "You come across this in the film section of a newspaper: {sentence}\nHow would you rate its attitude?\n"
        "{options}",
    ),
    inverted_templates=(
        ("Write a few {answer} words about a film.", "{sentence}"),
        ("Give me a phrase that a critic with a {answer} view of some movie could use.", "{sentence}"),
    ),
    held_out_templates=(
        'negative <-----------> positive\nTo which end of this scale is "{sentence}" nearer?',
        'Dear editor,\nthe line "{sentence}" came in without its rating. Kindly state the one that it should get.\n'
        "{options}",
    ),
)

TASKS = (_SST2,)

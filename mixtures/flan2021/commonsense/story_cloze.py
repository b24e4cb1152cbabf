"""StoryCloze (2016): which of two sentences ends a story of four.

Lena planted a bean in a pot. She watered it every day. After a week a green tip came up. She showed it to her brother.

How does the story end?
OPTIONS:
- They were both proud of the little plant.
- They were angry that it had rained inside.
→ They were both proud of the little plant.
"""

from flan_jax.mixtures.flan2021.declaring import SENTENCES, flan_task
from flan_jax.tasks import Corpus
from flan_jax.tasks.sources import Row


def _fields(row: Row) -> Row | None:
    if row["label"] not in (1, 2):  # it counts from 1
        return None
    return {"context": row["context"], "choices": row["endings"], "label": row["label"] - 1}


_STORY_CLOZE = flan_task(
    name="story_cloze",
    cluster="commonsense",
    source=Corpus(
        "story_cloze",
        tfds="story_cloze/2016:1.0.0",
        splits={"train": "validation[:-200]", "validation": "validation[-200:]", "test": "test"},
        rows={"validation": 1871, "test": 1871},
        sample={
            "context": "Lena planted a bean in a pot. She watered it every day. After a week a green tip came up. She "
            "showed it to her brother.",
            "endings": ["They were both proud of the little plant.", "They were angry that it had rained inside."],
            "label": 1,
        },
        gone=("tfds",),  # its files are sent on request
    ),
    preprocess=_fields,
    options="choices",
    option_styles=SENTENCES,
    answer="label",
    chance=0.5,
    templates=(
        "{context}\n\nHow does the story end?\n{options}",
        "Choose the last sentence of this short story.\n{context}\n{options}",
        "A story has five sentences. Four of them are here:\n{context}\nWhat should the fifth be?\n{options}",
        "I lost the final line of a bedtime story. Can you work out what it was?\n\n{context}\n\n{options}",
        "Which ending makes sense after this? {context}\n{options}",
        "Read the beginning, then finish the tale in the way that suits it.\n\n{context}\n\n{options}",
        "{context} And then?\n{options}",
        "Beginning: {context}\nState the conclusion that agrees with it.\n{options}",
        "You are proofreading a story, and its ending has gone missing: {context}\nPut it back.\n{options}",
    ),
    inverted_templates=(
        ("Write four sentences of a story that lead up to this ending: {answer}", "{context}"),
        ("Here is how a short story closes: {answer}\nHow might it have begun?", "{context}"),
    ),
    held_out_templates=(
        "SCENE 1: {context}\nSCENE 2: ?\n{options}",
        'The teacher reads aloud: "{context}" She looks up. "Who can guess what happened in the end?"\n{options}',
    ),
)

TASKS = (_STORY_CLOZE,)

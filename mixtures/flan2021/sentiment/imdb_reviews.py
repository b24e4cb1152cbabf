"""IMDb: whether a film review is negative or positive.

Would you file this movie review under negative or positive?

The first hour drags and the jokes are old.
I left before the end.
→ negative
"""

import re

from flan_jax.mixtures.flan2021.declaring import flan_task
from flan_jax.tasks import Corpus, Hub
from flan_jax.tasks.sources import Row


def _fields(row: Row) -> Row:
    return {"text": re.sub(r"(?:\s*<br ?/?>\s*)+", "\n", row["text"]).strip(), "label": row["label"]}


_IMDB_REVIEWS = flan_task(
    name="imdb_reviews",
    cluster="sentiment",
    source=Corpus(
        "imdb_reviews",
        tfds="imdb_reviews/plain_text:1.0.0",
        hub=Hub("stanfordnlp/imdb", "plain_text", is_sorted=True),
        splits={"train": "train[:-200]", "validation": "train[-200:]", "test": "test"},
        rows={"train": 25_000, "test": 25_000},
        sample={
            "text": "The first hour drags and the jokes are old.<br /><br />I left before the end.",
            "label": 0,
        },
    ),
    preprocess=_fields,
    options=("negative", "positive"),
    answer="label",
    templates=(
        "{text}\n\nWhat did the person who wrote this make of the film?\n{options}",
        "Would you file this movie review under negative or positive?\n\n{text}",
        "Judge the overall attitude of the film review below.\n\nReview: {text}\n\n{options}",
        "On a film forum someone posted this:\n{text}\n\nHow do they feel about the movie?\n{options}",
        "Movie review: {text}\nVerdict (negative or positive):",
        "I might watch this tonight, but first tell me which way the following review leans.\n{text}\n{options}",
        "{text}\n\nA studio counts its reviews as negative or positive. Which of the two is this?",
        "Here is a review from a film magazine: {text}\nName the side that it takes.\n{options}",
        "What kind of opinion does this viewer hold?\n\n{text}\n\n{options}",
    ),
    inverted_templates=(
        ("Write a film review that is {answer} on the whole.", "{text}"),
        ("I need an example of what a moviegoer with a {answer} opinion might post. Can you make one up?", "{text}"),
    ),
    held_out_templates=(
        'There are two trays on my desk. Into which of them does this review go?\n"""\n{text}\n"""\n{options}',
        "FILM CLUB NEWSLETTER\nA member writes: {text}\nThe editor adds one word to sum up this opinion. Say which.\n"
        "{options}",
    ),
)

TASKS = (_IMDB_REVIEWS,)

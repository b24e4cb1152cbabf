"""Sentiment140: whether a tweet is negative or positive; neutral ones are left out.

Classify this social media post as positive or negative: @anna the new bakery is open & the rolls are so good
→ positive
"""

import html

from flan_jax.mixtures.flan2021.declaring import flan_task
from flan_jax.tasks import Corpus, Hub
from flan_jax.tasks.sources import Row


def _tfds_row(row: Row) -> Row:
    return {**{name: row[name] for name in ("text", "date", "user", "query")}, "polarity": row["sentiment"]}


def _fields(row: Row) -> Row | None:
    if row["polarity"] == 2:  # neutral; 0 and 1 are negative, 3 and 4 positive
        return None
    return {"text": html.unescape(row["text"]).strip(), "label": int(row["polarity"] > 2)}


_TWEET = {
    "text": "@anna the new bakery is open &amp; the rolls are so good ",
    "date": "Sat Jun 06 09:12:45 PDT 2009",
    "user": "marktheday",
    "query": "NO_QUERY",
}

_SENTIMENT140 = flan_task(
    name="sentiment140",
    cluster="sentiment",
    source=Corpus(
        "sentiment140",
        tfds="sentiment140:1.0.0",
        hub=Hub(
            "stanfordnlp/sentiment140",
            "sentiment140",
            row=_tfds_row,
            sample={**_TWEET, "sentiment": 4},
            is_sorted=True,
        ),
        splits={"train": "train[:30000]", "validation": "train[-200:]", "test": "test"},
        rows={"train": 1_600_000, "test": 498},
        sample={**_TWEET, "polarity": 4},
        gone=("tfds",),
    ),
    preprocess=_fields,
    options=("negative", "positive"),
    answer="label",
    templates=(
        "Tweet: {text}\nMood of the tweet (negative or positive):",
        "How is the person who tweeted this feeling?\n{text}\n{options}",
        '"{text}"\n\nDoes this message sound positive or negative to you?',
        "Tell me the sentiment of the following tweet.\n\n{text}\n\n{options}",
        "{text}\nIf you had to add a smiley to that post, what kind would it be?\n{options}",
        "We sort what people write about us by tone. On which pile does this one go?\n{text}\n{options}",
        "A friend posts: {text}\nGood day or bad day? Reply with positive or negative.",
        "Classify this social media post as positive or negative: {text}",
        "Read between the lines: is the emotion behind these 140 characters negative or positive?\n\n{text}",
    ),
    inverted_templates=(
        ("Write a tweet in a {answer} mood.", "{text}"),
        ("What might somebody post on Twitter if they feel {answer} about something?", "{text}"),
    ),
    held_out_templates=(
        "Complete the last row of the table.\n| tweet | sentiment |\n| {text} | ? |\n{options}",
        "@helpbot what's the vibe here??\n> {text}\n{options}",
    ),
)

TASKS = (_SENTIMENT140,)

"""AG News: the topic of a news item. It is no summary; FLAN counts it here.

Rovers draw in the rain
ASHFORD - Two late goals gave the Rovers a 2-2 draw against league leaders Milton on Saturday.

Which section of the newspaper does this belong to?
OPTIONS:
- World
- Sports
- Business
- Science/Tech
→ Sports
"""

from typing import Any

from flan_jax.mixtures.flan2021.declaring import flan_task
from flan_jax.tasks import Corpus, Hub


def _item(row: dict[str, Any]) -> dict[str, Any]:
    """Puts right what is left of line breaks and of apostrophes: "a\\b", "Ann #39;s"."""
    tidy = {name: row[name].replace("\\", " ").replace(" #39;", "'").strip() for name in ("title", "description")}
    return {"title": tidy["title"], "text": tidy["description"], "label": row["label"]}


def _from_hub(row: dict[str, Any]) -> dict[str, Any]:
    """The hub's labels count from one."""
    return {**row, "label": row["label"] - 1}


_AG_NEWS = flan_task(
    name="ag_news_subset",
    cluster="summarization",
    source=Corpus(
        "ag_news_subset",
        tfds="ag_news_subset:1.0.0",
        hub=Hub(
            "sh0416/ag_news",
            row=_from_hub,
            sample={
                "title": "Rovers draw in the rain",
                "description": "ASHFORD - Two late goals gave the Rovers a 2-2 draw against league leaders Milton on "
                "Saturday.",
                "label": 2,
            },
        ),
        splits={"train": "train[:30000]", "validation": "train[-200:]", "test": "test"},
        rows={"train": 120000, "test": 7600},
        sample={
            "title": "Rovers draw in the rain",
            "description": "ASHFORD - Two late goals gave the Rovers a 2-2 draw against league leaders Milton on "
            "Saturday.",
            "label": 1,
        },
    ),
    preprocess=_item,
    options=("World", "Sports", "Business", "Science/Tech"),
    answer="label",
    templates=(
        "{title}\n{text}\n\nWhich section of the newspaper does this belong to?\n{options}",
        "Classify the news item by topic.\n\nHeadline: {title}\nText: {text}\n\n{options}",
        "What is this news about? {text}\n{options}",
        "{text}\n\nPick the category that fits best.\n{options}",
        'A report with the headline "{title}" has come in. Where should the desk file it?\n\n{text}\n{options}',
        "Name the subject of the following article.\n{title}\n{text}\n{options}",
        "I only read one kind of news. What kind have we here?\n\n{title}\n\n{text}\n\n{options}",
        "News: {text}\nTitle: {title}\nTopic?\n{options}",
    ),
    inverted_templates=(
        ("Write a headline for the {answer} section of a newspaper.", "{title}"),
        ("Topic: {answer}\nHeadline: {title}\n\nWrite the opening of the article.", "{text}"),
        ("Make up a short news item that would be filed under {answer}.", "{text}"),
    ),
    held_out_templates=(
        "Choose one tag for this post in a news feed.\n\n>> {title}\n>> {text}\n\n{options}",
        'Someone reads to you from the paper: "{text}" What does that deal with?\n{options}',
    ),
)

TASKS = (_AG_NEWS,)

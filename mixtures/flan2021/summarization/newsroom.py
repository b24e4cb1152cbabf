"""Newsroom: the summary that a newspaper's own editors wrote of an article.

Harbour bridge to reopen in June

The harbour bridge will reopen to traffic on June 3, four months late. Storms in January had damaged two of its piers.

Sum up this article in a sentence or two.
→ After storm repairs, the harbour bridge reopens on June 3, four months behind plan.
"""

from typing import Any

from flan_jax.mixtures.flan2021.declaring import flan_task
from flan_jax.tasks import Corpus, Template


def _article(row: dict[str, Any]) -> dict[str, Any] | None:
    fields = {name: row[name].strip() for name in ("title", "text", "summary")}
    return fields if all(fields.values()) else None


_NEWSROOM = flan_task(
    name="newsroom",
    cluster="summarization",
    source=Corpus(
        "newsroom",
        tfds="newsroom:1.0.0",
        splits={"train": "train[:30000]", "validation": "validation[:200]", "test": "test"},
        rows={"train": 995041, "validation": 108837, "test": 108862},
        sample={
            "title": "Harbour bridge to reopen in June",
            "text": "The harbour bridge will reopen to traffic on June 3, four months late. Storms in January had "
            "damaged two of its piers.",
            "summary": "After storm repairs, the harbour bridge reopens on June 3, four months behind plan.",
            "url": "http://news.example/harbour-bridge",
            "date": "20160504000000",
            "density": 1.5,
            "density_bin": "low",
            "coverage": 0.75,
            "coverage_bin": "medium",
            "compression": 1.5,
            "compression_bin": "low",
        },
        gone=("tfds", "hugging_face"),  # its authors hand it out on request
    ),
    preprocess=_article,
    answer="summary",
    metrics=("rouge",),
    templates=(
        "{title}\n\n{text}\n\nSum up this article in a sentence or two.",
        "Write the teaser that a website would show under this headline.\nHeadline: {title}\nFull article: {text}",
        "Give a brief summary of the news below.\n{text}",
        "{text}\n\nWhat is this about, in short?",
        'An article called "{title}" turned up in my feed. What does it say?\n\n{text}\n\nKeep it brief.',
        "Title: {title}\nBody: {text}\nAbstract:",
        "Put the main message of this piece into a line or two: {text}",
        "How would the editors describe the following story on their front page?\n\n{text}",
    ),
    inverted_templates=(
        ("Write an article that could be summarized as follows: {answer}", "{text}"),
        ("A news story is summed up like this: {answer}\nWhat might its title be?", "{title}"),
        Template("{text}\n\nFind a headline for this.", "{title}", "open"),
    ),
    held_out_templates=(
        "{title}\n{text}\n\ntl;dr",
        "Suppose that readers will see nothing of the report but a line or two. What should they be told?\n\nReport: "
        "{text}",
    ),
)

TASKS = (_NEWSROOM,)

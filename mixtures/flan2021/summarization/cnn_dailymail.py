"""CNN/Daily Mail: the highlights of a news article, a line each.

A ferry with 140 people on board ran aground in thick fog on Tuesday. All were brought ashore within two hours, the
coastguard said. Two passengers were treated for minor injuries.

List the main points of this article, one on each line.
→ Ferry with 140 on board runs aground in fog.
  Two passengers slightly hurt.
"""

import re
from typing import Any

from flan_jax.mixtures.flan2021.declaring import flan_task
from flan_jax.tasks import Corpus, Hub, Template

# What stands before the report: "LISBON, Portugal (CNN) -- ", or who wrote it and when it was published and updated.
_HEAD = re.compile(r"^.{0,80}?\) -- |^.{0,400}(?:PUBLISHED|UPDATED):.{0,60}?\b20\d\d\s?\. ", re.DOTALL)
_LOOSE_PERIOD = re.compile(r" \.(?=\s|$)")


def _report(row: dict[str, Any]) -> dict[str, Any]:
    return {"text": _HEAD.sub("", row["article"]), "highlights": row["highlights"]}


def _from_hub(row: dict[str, Any]) -> dict[str, Any]:
    """The hub has a version in which added periods stand apart."""
    return {**row, **{field: _LOOSE_PERIOD.sub(".", row[field]) for field in ("article", "highlights")}}


_CNN_DAILYMAIL = flan_task(
    name="cnn_dailymail",
    cluster="summarization",
    source=Corpus(
        "cnn_dailymail",
        tfds="cnn_dailymail:3.4.0",
        hub=Hub(
            "abisee/cnn_dailymail",
            "3.0.0",
            row=_from_hub,
            sample={
                "article": "LISBON, Portugal (CNN) -- A ferry with 140 people on board ran aground in thick fog on "
                "Tuesday. All were brought ashore within two hours, the coastguard said. Two passengers were treated "
                "for minor injuries .",
                "highlights": "Ferry with 140 on board runs aground in fog .\nTwo passengers slightly hurt .",
                "id": "00c0ffee",
            },
        ),
        splits={"train": "train[:30000]", "validation": "validation[:200]", "test": "test"},
        rows={"train": 287113, "validation": 13368, "test": 11490},
        sample={
            "article": "LISBON, Portugal (CNN) -- A ferry with 140 people on board ran aground in thick fog on "
            "Tuesday. All were brought ashore within two hours, the coastguard said. Two passengers were treated for "
            "minor injuries.",
            "highlights": "Ferry with 140 on board runs aground in fog.\nTwo passengers slightly hurt.",
            "id": "00c0ffee",
        },
    ),
    preprocess=_report,
    answer="highlights",
    metrics=("rouge",),
    templates=(
        "{text}\n\nList the main points of this article, one on each line.",
        "Write the highlights that would stand in a box beside this news story:\n\n{text}",
        "Article: {text}\n\nHighlights:",
        "I have no time to read all of this. What are the few things I should know?\n\n{text}",
        "Sum up the text below in three or four short sentences.\n\n{text}",
        "{text}\nWhat is the gist of it, in a handful of brief statements?",
        "You edit a news site and the following report has come in. Which key points do you print above it?\n\n{text}",
        "Condense this piece of news to its essentials: {text}",
    ),
    inverted_templates=(
        ("Here are the highlights of a news article:\n{answer}\n\nWrite the article itself.", "{text}"),
        ("Turn these notes into a full story for the paper.\n\n{answer}", "{text}"),
        Template("Write a news article such as CNN or the Daily Mail might publish.", "{text}", "open"),
    ),
    held_out_templates=(
        "What happened? Read the report and tell it in brief.\nREPORT >>> {text} <<<",
        "A friend missed the news today. Send them the most important facts, one per line.\n\nSource: {text}\n\nYour "
        "message:",
    ),
)

TASKS = (_CNN_DAILYMAIL,)

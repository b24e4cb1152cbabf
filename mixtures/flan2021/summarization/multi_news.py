"""Multi-News: one summary of several articles on the same event.

Article 1: The city council voted 9 to 4 on Monday to close Main Street to cars on weekends from May.

Article 2: Shop owners on Main Street fear for their trade. "People come by car," said baker Tom Lind.

Write one summary that covers all of the above.
→ Main Street will be closed to cars on weekends from May after a 9-4 council vote, over the protests of shop owners.
"""

from typing import Any

from flan_jax.mixtures.flan2021.declaring import flan_task
from flan_jax.tasks import Corpus, Hub


def _coverage(row: dict[str, Any]) -> dict[str, Any] | None:
    articles = [article.strip() for article in row["document"].split("|||||") if article.strip()]
    summary = row["summary"].strip().removeprefix("–").strip()  # Newser opens with a dash
    if not articles or not summary:
        return None
    numbered = [f"Article {number}: {article}" for number, article in enumerate(articles, 1)]
    return {"articles": "\n\n".join(numbered), "first": articles[0], "summary": summary}


_MULTI_NEWS = flan_task(
    name="multi_news",
    cluster="summarization",
    source=Corpus(
        "multi_news",
        tfds="multi_news:2.1.0",
        hub=Hub("alexfabbri/multi_news"),
        splits={"train": "train[:30000]", "validation": "validation[:200]", "test": "test"},
        rows={"train": 44972, "validation": 5622, "test": 5622},
        sample={
            "document": "The city council voted 9 to 4 on Monday to close Main Street to cars on weekends from May. "
            '||||| Shop owners on Main Street fear for their trade. "People come by car," said baker Tom Lind.',
            "summary": "– Main Street will be closed to cars on weekends from May after a 9-4 council vote, over the "
            "protests of shop owners.",
        },
    ),
    preprocess=_coverage,
    answer="summary",
    metrics=("rouge",),
    templates=(
        "{articles}\n\nWrite one summary that covers all of the above.",
        "Below is what the press wrote about an event. Tell the whole story in a single paragraph.\n\n{articles}",
        "News coverage:\n{articles}\n\nDigest:",
        "How would you sum this up for someone who has read none of it?\n\n{articles}",
        "Combine the following sources into a short account of the news.\n{articles}",
        "{articles}\nTaken together, what do these texts say?",
        "I am putting together a weekly roundup and found this:\n\n{articles}\n\nCould you make one entry of it?",
        "Read everything first, then summarize it: {articles}",
    ),
    inverted_templates=(
        ("Several papers reported this: {answer}\n\nWrite one of their articles.", "{first}"),
        ("{answer}\n\nThat is the digest of the press coverage. Produce an article it might rest on.", "{first}"),
    ),
    held_out_templates=(
        "SOURCES\n{articles}\n\nTASK\nWrite the briefing that an editor would draw from the sources.",
        "So what's the story here? Mention what the accounts share and what each of them adds.\n\n{articles}",
    ),
)

TASKS = (_MULTI_NEWS,)

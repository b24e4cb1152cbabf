"""XSum: a BBC article in one sentence.

The walls were found by workers laying pipes in Mill Lane last week. Experts from the county museum say that they belong
to a bath house of the second century. The dig will go on until autumn.

Say in one sentence what this article is about.
→ The remains of a Roman bath house have been found under a street.
"""

from typing import Any

from flan_jax.mixtures.flan2021.declaring import flan_task
from flan_jax.tasks import Corpus, Hub


def _with_text(row: dict[str, Any]) -> dict[str, Any] | None:
    return row if row["document"].strip() else None


_XSUM = flan_task(
    name="xsum",
    cluster="summarization",
    source=Corpus(
        "xsum",
        tfds="xsum:1.0.0",
        hub=Hub("EdinburghNLP/xsum"),
        splits={"train": "train[:30000]", "validation": "validation[:200]", "test": "test"},
        rows={"train": 203577, "validation": 11305, "test": 11301},
        sample={
            "document": "The walls were found by workers laying pipes in Mill Lane last week.\nExperts from the county "
            "museum say that they belong to a bath house of the second century.\nThe dig will go on until autumn.",
            "summary": "The remains of a Roman bath house have been found under a street.",
        },
        gone=("tfds",),  # wants a manual download
    ),
    preprocess=_with_text,
    answer="summary",
    metrics=("rouge",),
    templates=(
        "{document}\n\nSay in one sentence what this article is about.",
        "Write the sentence that introduces the report below.\n\n{document}",
        "Article: {document}\n\nOne-sentence summary:",
        "What is the news here? A single sentence will do.\n\n{document}",
        "The BBC opens each story with a line that sums it up. Here that line is missing; restore it.\n\n{document}",
        "Can you compress all of this into one line? {document}",
        "{document}\nIf you could tell a friend only one thing about it, what would you say?",
        "Summarize very briefly: {document}",
    ),
    inverted_templates=(
        ("A news story starts like this: {answer}\n\nContinue it.", "{document}"),
        ('Write the full report behind the sentence "{answer}"', "{document}"),
    ),
    held_out_templates=(
        "Too long, not read:\n{document}\n\nSo, in a nutshell:",
        "An exercise in brevity. Rules: a single sentence, no opinion, the main fact first.\nText: {document}\nWhat is "
        "your sentence?",
    ),
)

TASKS = (_XSUM,)

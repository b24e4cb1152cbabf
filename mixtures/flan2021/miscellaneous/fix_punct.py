"""Punctuation (ParaCrawl): to put punctuation marks back.

Add the missing punctuation to this text: In May the old Café Nord opened again its been full ever since
→ In May, the old Café Nord opened again; it's been full ever since!
"""

import re

from flan_jax.mixtures.flan2021.declaring import flan_task
from flan_jax.mixtures.flan2021.miscellaneous.para_crawl import english_lines
from flan_jax.tasks.sources import Row

_MARKS = re.compile(r"[^\w\s]")


def _stripped(row: Row) -> Row | None:
    """Without its marks; the blanks around a dash would tell where it stood, so that none are left double."""
    bare = " ".join(_MARKS.sub("", row["en"]).split())
    return {"bare": bare, "text": row["en"]} if bare and _MARKS.search(row["en"]) else None


_FIX_PUNCT = flan_task(
    name="fix_punct",
    cluster="miscellaneous",
    source=english_lines("fix_punct", 1),
    preprocess=_stripped,
    answer="text",
    metrics=("edit_distance", "exact_match"),
    templates=(
        "Add the missing punctuation to this text: {bare}",
        "{bare}\n\nAll the commas, full stops and other marks were lost here. Put them back.",
        "Where do the punctuation marks go? Write the line out in full.\n{bare}",
        "Without punctuation: {bare}\nWith punctuation:",
        'How should "{bare}" be punctuated?',
        "The captions of our film come out like this:\n{bare}\nCan you make them easier to read by punctuating them?",
        "Proofread what follows. Its words are right, but the signs between and inside them are gone.\n\n"
        "Draft: {bare}\nFinal version:",
        "This message was typed in a hurry.\n\n{bare}\n\nRewrite it with proper punctuation and leave the words alone.",
        "{bare}\nThe same with its commas, stops, quotation marks, hyphens and apostrophes:",
    ),
    inverted_templates=(
        ("Write this again with no punctuation at all.\n{text}", "{bare}"),
        ("{text}\n\nWhat is left of that once its punctuation marks are removed?", "{bare}"),
    ),
    held_out_templates=(
        "fix my punctuation pls: {bare}",
        'A pupil gets this back with the remark "no punctuation!": {bare} What would the corrected version look like?',
    ),
)

TASKS = (_FIX_PUNCT,)

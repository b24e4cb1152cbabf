"""Word segmentation (ParaCrawl): to put the spaces back between words.

Put the spaces back between the words: InMay,theoldCaféNordopenedagain;it'sbeenfulleversince!
→ In May, the old Café Nord opened again; it's been full ever since!
"""

from flan_jax.mixtures.flan2021.declaring import flan_task
from flan_jax.mixtures.flan2021.miscellaneous.para_crawl import english_lines
from flan_jax.tasks.sources import Row


def _joined(row: Row) -> Row | None:
    words = row["en"].split()
    return {"joined": "".join(words), "text": " ".join(words)} if len(words) > 1 else None


_WORD_SEGMENT = flan_task(
    name="word_segment",
    cluster="miscellaneous",
    source=english_lines("word_segment", 2),
    preprocess=_joined,
    answer="text",
    metrics=("edit_distance", "exact_match"),
    templates=(
        "Put the spaces back between the words: {joined}",
        "{joined}\n\nThe space bar of this keyboard does not work. What did its owner mean to type?",
        "Split the following string into words.\n\n{joined}",
        "run together: {joined}\nseparated:",
        'Read "{joined}" aloud to yourself, then write it as ordinary text.',
        "I copied a line out of a PDF and got this:\n{joined}\nCan you repair it?",
        "Where does one word end and the next begin? Mark each boundary with a space.\n{joined}",
        "{joined}\nThe above has no blanks in it. Rewrite it in plain English, letter for letter.",
        "Web addresses run words together, and so does this: {joined} Please give it with spaces.",
    ),
    inverted_templates=(
        ("Write this without any spaces: {text}", "{joined}"),
        ("{text}\n\nWhat do you get if you join all the words of that into one string?", "{joined}"),
    ),
    held_out_templates=(
        "i forgot all the spaces, add them for me? {joined}",
        "Word segmentation.\n\nInput:\n{joined}\n\nOutput:",
    ),
)

TASKS = (_WORD_SEGMENT,)

"""True-casing (ParaCrawl): to put capital letters back.

Restore the capital letters in this text.

in may, the old café nord opened again; it's been full ever since!
→ In May, the old Café Nord opened again; it's been full ever since!
"""

from flan_jax.mixtures.flan2021.declaring import flan_task
from flan_jax.mixtures.flan2021.miscellaneous.para_crawl import english_lines
from flan_jax.tasks.sources import Row


def _lowered(row: Row) -> Row | None:
    text = row["en"]
    return None if text == text.lower() else {"lower": text.lower(), "text": text}


_TRUE_CASE = flan_task(
    name="true_case",
    cluster="miscellaneous",
    source=english_lines("true_case", 0),
    preprocess=_lowered,
    answer="text",
    metrics=("edit_distance", "exact_match"),
    templates=(
        "Restore the capital letters in this text.\n\n{lower}",
        "{lower}\n\nMy shift key is broken. Can you write that again with capitals where they belong?",
        "Which letters should be upper case here? Rewrite the line accordingly.\n{lower}",
        "lower case: {lower}\nproper case:",
        'How would an editor capitalise "{lower}"?',
        "Our speech recogniser knows no capitals and gave us this:\n{lower}\nMake it look as it would in a newspaper.",
        "{lower}\nIn the above, capitalise names, beginnings of sentences and whatever else needs it; change no word.",
        "Everything below is in small letters. Correct that.\n\nText: {lower}\nCorrected text:",
        "Someone typed without ever pressing shift: {lower}\nWhat should it look like?",
    ),
    inverted_templates=(
        ("Write this without any capital letters: {text}", "{lower}"),
        ("{text}\n\nWhat do you get when you set that in lower case throughout?", "{lower}"),
    ),
    held_out_templates=(
        "please fix the caps in this for me, thanks\n{lower}",
        "Copy out the following, with a capital for every letter that English spelling wants large, and report the "
        "outcome: {lower}",
    ),
)

TASKS = (_TRUE_CASE,)

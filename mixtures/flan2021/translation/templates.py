"""What the translation tasks of FLAN 2021 have in common: templates, splits, and how a row of two languages is read.

The forward templates go from English into the other language, the inverted ones come back into English.
"""

import functools

from flan_jax.mixtures.flan2021.declaring import TRAIN, VALIDATION, flan_task
from flan_jax.tasks import Corpus, InstructionTask
from flan_jax.tasks.sources import Row

WMT_SPLITS = {"train": f"train[:{TRAIN}]", "validation": f"validation[:{VALIDATION}]", "test": "test"}

_TEMPLATES = (
    "Translate into {language}:\n{english}",
    "{english}\n\nHow would you say that in {language}?",
    "English: {english}\n{language}:",
    "hey, can you put this into {language} for me? {english}",
    "Give the {language} version of the English text below.\n\n{english}",
    'A colleague of mine reads nothing but {language}, and this note is for her: "{english}"\nWrite it so that she '
    "understands it.",
    "Source language: English\nTarget language: {language}\nSource: {english}\nTarget:",
    'You are interpreting from English. The speaker says: "{english}" What do your {language} listeners hear?',
    "{english}\n\nRewrite the above in fluent {language}, and keep its meaning.",
    'What is a good {language} translation of "{english}"?',
)
_INVERTED = (
    ("{answer}\n\nWhat does this {language} text mean in English?", "{english}"),
    ("Translate from {language} to English: {answer}", "{english}"),
    ("{language}: {answer}\nEnglish:", "{english}"),
)
_HELD_OUT = (
    "Fill in the blank.\nSpeakers of English write: {english}\nSpeakers of {language} write: ___",
    "Here is something from a web page.\n{english}\nMy readers speak {language}. Could you translate it for them?",
)


def hub_pair(row: Row) -> Row:
    """A row of the hub's as TFDS has it: both languages side by side."""
    return row["translation"]


def translation_task(name: str, code: str, language: str, source: Corpus) -> InstructionTask:
    """A task to translate from English.

    Args:
      name: the task's.
      code: the field of the other language.
      language: its name.
      source: the data set.
    """
    return flan_task(
        name=name,
        cluster="translation",
        source=source,
        preprocess=functools.partial(_pair, code=code, language=language),
        answer="translation",
        templates=_TEMPLATES,
        inverted_templates=_INVERTED,
        held_out_templates=_HELD_OUT,
        metrics=("bleu",),
    )


def _pair(row: Row, code: str, language: str) -> Row | None:
    english, translation = row["en"].strip(), row[code].strip()
    if not english or not translation:
        return None
    return {"language": language, "english": english, "translation": translation}

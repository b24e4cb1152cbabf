"""WSC273: which continuation makes sense, of two that put either noun in a pronoun's place; for evaluation only.

The crow could not lift the stone because
How does it go on?
OPTIONS:
- the crow was too weak.
- the stone was too weak.
→ the crow was too weak.
"""

from flan_jax.mixtures.flan2021.declaring import SENTENCES, flan_task
from flan_jax.tasks import Corpus, Hub
from flan_jax.tasks.sources import Row

_ARTICLES = ("the", "a", "an", "my", "his", "her", "their")
_POSSESSIVES = ("my", "his", "her", "our", "their")


def _tfds_row(row: Row) -> Row:
    start, (option1, option2) = row["pronoun_loc"], row["options"]
    return {
        "text": row["text"],
        "option1": option1,
        "option2": option2,
        "pronoun_start": start,
        "pronoun_end": start + len(row["pronoun"]),
        "pronoun_text": row["pronoun"],
        "label": row["label"],
    }


def _in_place(option: str, pronoun: str) -> str:
    """An option as it reads where the pronoun stands.

    >>> _in_place("The crow", "it"), _in_place("the crow", "It"), _in_place("Ida", "her")
    ('the crow', 'The crow', "Ida's")
    """
    first, blank, rest = option.partition(" ")
    if first.lower() in _ARTICLES:
        first = first.lower() if pronoun[0].islower() else first.capitalize()
    ending = "'s" if pronoun.lower() in _POSSESSIVES and not option.endswith("'s") else ""
    return first + blank + rest + ending


def _fields(row: Row) -> Row:
    text, pronoun = row["text"], row["pronoun_text"]
    before, after = text[: row["pronoun_start"]].strip(), text[row["pronoun_end"] :].strip()
    after = after if after[:1] in ("", *".,;!?") else f" {after}"
    choices = [_in_place(row[option], pronoun) + after for option in ("option1", "option2")]
    return {"context": before, "choices": choices, "label": row["label"]}


_TEXT = {"text": "The crow could not lift the stone because it was too weak.", "label": 0}

_WSC273 = flan_task(
    name="wsc273",
    cluster="coreference",
    source=Corpus(
        "wsc273",
        tfds="wsc273:1.0.0",
        hub=Hub(
            "ErnestSDavis/winograd_wsc",
            "wsc273",
            row=_tfds_row,
            sample={
                **_TEXT,
                "pronoun": "it",
                "pronoun_loc": 42,
                "quote": "it was too weak",
                "quote_loc": 42,
                "options": ["The crow", "The stone"],
                "source": "",
            },
        ),
        splits={"validation": "test", "test": "test"},
        rows={"test": 273},
        sample={
            **_TEXT,
            "option1": "The crow",
            "option2": "The stone",
            "pronoun_start": 42,
            "pronoun_end": 44,
            "pronoun_text": "it",
        },
    ),
    preprocess=_fields,
    options="choices",
    option_styles=SENTENCES,
    answer="label",
    chance=0.5,
    templates=(
        "{context}\nHow does it go on?\n{options}",
        "Finish this text so that it makes sense.\n\n{context}\n\n{options}",
        "Which continuation is the more plausible one?\n{context} ...\n{options}",
        'Complete what was said: "{context}"\n{options}',
        "Beginning: {context}\nPick the end that goes with it.\n{options}",
        "Someone starts to speak. {context}\nWhat do they say next?\n{options}",
        "{context} [...]\n\nThe rest was cut off. Work out what it must have been.\n{options}",
        "Use what you know about the world to find the right ending for the words below.\n{context}\n{options}",
        "State the only ending that does not go against common sense.\nThe words so far: {context}\n{options}",
        "I would like to hear the rest of this. Can you say it? {context}\n{options}",
    ),
    held_out_templates=(
        "part 1: {context}\npart 2: ?\n{options}",
        'A parrot has learnt half of a saying: "{context}" Teach it to say the other half.\n{options}',
    ),
)

TASKS = (_WSC273,)

"""Rows of three sentences, each with one person, animal, food, vehicle and colour.

    {"passage": "First Anna took a goat and some bread on the red bus. Then ... Finally ...",
     "first_person": "Anna", "first_animal": "goat", ..., "third_colour": "blue", "animals": "goat, cow, fox", ...,
     "entities": ["Anna", "goat", "bread", "bus", "red", ...]}

No word is named twice in a passage, so no two instructions about it have the same answer.
"""

from collections.abc import Iterator

from flan_jax.mixtures.starter import draws
from flan_jax.mixtures.starter.lexicon import KINDS

ORDINALS = ("first", "second", "third")

_OPENINGS = ("First", "Then", "Finally")
_SENTENCES = (
    "{person} took a {animal} and {food} on a {colour} {vehicle}.",
    "{person} rode a {colour} {vehicle} with a {animal} and {food}.",
    "a {animal} ate {food} in the {colour} {vehicle} of {person}.",
    "a {colour} {vehicle} brought {food} and a {animal} to {person}.",
)


def _passage(draw: draws.Draws) -> draws.Row:
    chosen = {kind: draw.distinct(words, len(ORDINALS)) for kind, words in KINDS.items()}
    sentences = [
        f"{opening} {form.format_map({kind: words[place] for kind, words in chosen.items()})}"
        for place, (opening, form) in enumerate(zip(_OPENINGS, draw.distinct(_SENTENCES, len(ORDINALS)), strict=True))
    ]
    row: draws.Row = {"passage": " ".join(sentences)}
    for kind, words in chosen.items():
        row[f"{kind}s"] = ", ".join(words)
        for ordinal, word in zip(ORDINALS, words, strict=True):
            row[f"{ordinal}_{kind}"] = word
    for place, ordinal in enumerate(ORDINALS):
        row[f"all_{ordinal}"] = ", ".join(words[place] for words in chosen.values())
    row["entities"] = [words[place] for place in range(len(ORDINALS)) for words in chosen.values()]
    return row


def passages(split: str) -> Iterator[draws.Row]:
    """Yields the rows of a split; every task of the clusters `ordinals` and `listing` reads these same rows."""
    return draws.rows("passages", "passage", _passage, split)


def held_out_passages(split: str) -> Iterator[draws.Row]:
    """The same rows and after them more to score on, for the tasks that are held out whole."""
    return draws.rows("passages", "passage", _passage, split, draws.HELD_OUT_ROWS)

"""One word out of a list of five: by its place or by its kind.

    inputs:  Pick the last word: lamp, goat, bus, bread, chair
    targets: chair

The four tasks read the same rows. The animal and the food never stand first or last, so the answers always differ.
"""

from collections.abc import Iterator

from flan_jax.mixtures.starter import draws
from flan_jax.mixtures.starter.held_out import TEMPLATES
from flan_jax.mixtures.starter.lexicon import ANIMALS, COLOURS, FOODS, THINGS, VEHICLES
from flan_jax.mixtures.starter.templates import fill
from flan_jax.tasks import InstructionTask, generator

_TEMPLATES = (
    "What is the {what} in this list? {words}",
    "List: {words}. What is the {what}?",
    "Give the {what} of the list. List: {words}",
    "Pick the {what}: {words}",
    "Here is a list: {words}. Pick out the {what}.",
    "{words}: which one is the {what}?",
    "Which one is the {what}? {words}",
    "From the list {words} take the {what}.",
    "Take the {what} from this list. {words}",
    "Words: {words}. Give the {what}.",
    "Look at the words and find the {what}: {words}",
    "I want the {what} of this list: {words}",
)
_OTHERS = THINGS + VEHICLES + COLOURS
_ASKED = {"first": "first word", "last": "last word", "animal": "animal", "food": "food"}


def _row(draw: draws.Draws) -> draws.Row:
    first, between, last = draw.distinct(_OTHERS, 3)
    animal, food = draw.pick(ANIMALS), draw.pick(FOODS)
    words = [first, *draw.distinct((animal, food, between), 3), last]
    return {"words": ", ".join(words), "list": words, "first": first, "last": last, "animal": animal, "food": food}


def word_lists(split: str) -> Iterator[draws.Row]:
    """Yields the rows of a split."""
    return draws.rows("word_lists", "words", _row, split)


def _task(asked: str, what: str) -> InstructionTask:
    words = {"what": what}
    return InstructionTask(
        name=f"list_{asked}",
        source=generator(word_lists, num_rows=draws.NUM_ROWS),
        templates=fill(_TEMPLATES, **words),
        held_out_templates=fill(TEMPLATES["word_lists"], **words),
        options="list",
        answer=asked,
        cluster="word_lists",
        siblings=tuple(f"list_{other}" for other in _ASKED if other != asked),
        chance=1 / 3 if asked in ("first", "last") else 1 / 5,  # three words are neither animal nor food
        cap=1_000,
    )


ALL = tuple(_task(asked, what) for asked, what in _ASKED.items())

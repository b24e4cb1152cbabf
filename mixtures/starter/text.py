"""Plain text of the starter's world, to pretrain on: who has which animal, what it eats and where it is taken.

    Nina has a big goat. The goat of Nina likes honey. On Friday, Nina took the goat to Leo on a red bus, and Leo gave
    the big goat honey. Leo has a small cat. The cat of Leo saw a goat on Friday.

What a sentence says comes back in later ones, so a model has something to learn from what stands before. A task for
each objective: `starter_text_span_corruption`, `starter_text_prefix_lm`, `starter_text_causal_lm`, `starter_text_ul2`.
"""

from collections.abc import Iterator

from flan_jax.mixtures.plain_text.objectives import text_tasks
from flan_jax.mixtures.starter import draws
from flan_jax.mixtures.starter.lexicon import ANIMALS, COLOURS, DAYS, FOODS, OPPOSITE_OF, PEOPLE, VEHICLES
from flan_jax.tasks import generator

NUM_ROWS = {"train": 20_000, "validation": 200}

_OWNERS = ("{one} has a {size} {animal}.", "There was a {size} {animal} in the house of {one}.")
_TASTES = ("The {animal} of {one} likes {food}.", "It wanted {food}.")
_JOURNEYS = (
    "On {day}, {one} took the {animal} to {two} on a {colour} {vehicle}, and {two} gave the {size} {animal} {food}.",
    "On {day} the {animal} rode on the {colour} {vehicle} of {two}, and {one} brought {food} for the {animal}.",
)
_ENDS = (
    "{two} has a {other} {second}. The {second} of {two} saw a {animal} on {day}.",
    "Then {two} painted the {vehicle} of {one} {colour}. The {other} {second} of {two} ate the {food}.",
)


def _row(draw: draws.Draws) -> draws.Row:
    one, two = draw.distinct(PEOPLE, 2)
    animal, second = draw.distinct(ANIMALS, 2)
    size = draw.pick(tuple(OPPOSITE_OF))
    words = {"one": one, "two": two, "animal": animal, "second": second, "size": size, "other": OPPOSITE_OF[size]}
    kinds = {"food": FOODS, "day": DAYS, "colour": COLOURS, "vehicle": VEHICLES}
    words |= {name: draw.pick(of) for name, of in kinds.items()}
    return {"text": " ".join(draw.pick(of).format_map(words) for of in (_OWNERS, _TASTES, _JOURNEYS, _ENDS))}


def stories(split: str) -> Iterator[draws.Row]:
    """Yields the rows of a split, a story each."""
    return draws.rows("text", "text", _row, split, NUM_ROWS)


TASKS = tuple(task.register() for task in text_tasks(generator(stories, num_rows=NUM_ROWS), "starter_text"))

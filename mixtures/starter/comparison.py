"""Who of three is tallest, shortest, oldest or youngest, told in words.

inputs:  Anna is taller than Ben but shorter than Carl. Who is the tallest? OPTIONS: Ben / Anna / Carl
targets: Carl
"""

from collections.abc import Callable, Iterator
from functools import partial

from flan_jax.mixtures.starter import draws
from flan_jax.mixtures.starter.held_out import TEMPLATES
from flan_jax.mixtures.starter.lexicon import PEOPLE
from flan_jax.mixtures.starter.templates import fill
from flan_jax.tasks import InstructionTask, generator

_TEMPLATES = (
    "{statement} Who is the {what}? {options}",
    "Who is the {what}? {statement} {options}",
    "Read this: {statement} Who is {what} of all? {options}",
    "{statement} Name the {what} one. {options}",
    "Name the {what} person. {statement}",
    "Which person is the {what}? {statement} {options}",
    "{statement} Which of them is the {what}? {options}",
    "Pick the {what} of the three. {statement} {options}",
    "{statement} Pick the {what} person. {options}",
    "Tell me who is the {what}. {statement}",
    "{statement} The {what} of them is",
    "Question: {statement} Who is the {what} one? {options} Answer:",
)
_STATEMENTS = (
    "{middle} is {more} than {least} but {less} than {most}.",
    "{middle} is {less} than {most} but {more} than {least}.",
    "{middle} is {more} than {least} and {less} than {most}.",
    "{middle} is {less} than {most} and {more} than {least}.",
)


def _row(more: str, less: str, draw: draws.Draws) -> draws.Row:
    most, middle, least = draw.distinct(PEOPLE, 3)
    statement = draw.pick(_STATEMENTS).format(most=most, middle=middle, least=least, more=more, less=less)
    return {"statement": statement, "most": most, "least": least, "people": draw.distinct((most, middle, least), 3)}


def heights(split: str) -> Iterator[draws.Row]:
    """Yields the rows of a split about who is taller."""
    return draws.rows("heights", "statement", partial(_row, "taller", "shorter"), split)


def ages(split: str) -> Iterator[draws.Row]:
    """Yields the rows of a split about who is older."""
    return draws.rows("ages", "statement", partial(_row, "older", "younger"), split)


def _task(what: str, answer: str, sibling: str, source: Callable[[str], Iterator[draws.Row]]) -> InstructionTask:
    words = {"what": what}
    return InstructionTask(
        name=f"compare_{what}",
        source=generator(source, num_rows=draws.NUM_ROWS),
        templates=fill(_TEMPLATES, **words),
        held_out_templates=fill(TEMPLATES["comparison"], **words),
        options="people",
        answer=answer,
        cluster="comparison",
        siblings=(f"compare_{sibling}",),
        chance=1 / 3,
        cap=1_000,
    )


ALL = (
    _task("tallest", "most", "shortest", heights),
    _task("shortest", "least", "tallest", heights),
    _task("oldest", "most", "youngest", ages),
    _task("youngest", "least", "oldest", ages),
)

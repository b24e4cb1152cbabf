"""What comes next or before: days of the week and numbers, asked of the same events.

inputs:  On Monday, Anna bought five lamps. Which day comes after it?
targets: Tuesday
"""

from collections.abc import Iterator

from flan_jax.mixtures.starter import draws
from flan_jax.mixtures.starter.held_out import TEMPLATES
from flan_jax.mixtures.starter.lexicon import DAYS, NUMBERS, PEOPLE, THINGS
from flan_jax.mixtures.starter.templates import fill
from flan_jax.tasks import InstructionTask, Template, generator

_DAY_TEMPLATES = (
    "Which day comes {what} this? {event}",
    "{event} Which day comes {what} it?",
    "Name the day {what} this. {event}",
    "{event} Name the day {what} that.",
    "What day is the day {what}? {event}",
    "{event} What is the day {what} that?",
    "Give the day that comes {what} this one: {event}",
    "{event} The day {what} that is",
    "Look at the day and name the one {what} it. {event}",
    "{event} Say which day is the one {what}.",
    "Find the day {what} the day named here. {event}",
    "Question: which day is {what} this day? {event} Answer:",
)
_NUMBER_TEMPLATES = (
    "{event} How many would there be with one {what}?",
    "How many would it be with one {what}? {event}",
    "{event} Give the number if there were one {what}.",
    "Give the number that is one {what}. {event}",
    "Take one {what} than the number here: {event}",
    "{event} What number is one {what} than this?",
    "What is one {what} than the number? {event}",
    "{event} Write the number with one {what}.",
    "Write one {what} than this number. {event}",
    "{event} Now one {what}: how many?",
    "If there were one {what}, how many would there be? {event}",
    "Question: what is the number with one {what}? {event} Answer:",
)
_DAY_INVERTED = (
    "The day after is {after}. Which day is it?",
    "Which day comes before {after}?",
    "{after} is the day after. Name the day.",
    "Name the day if the day after is {after}.",
)
_FORMS = (
    "On {day}, {person} {verb} {number} {things}.",
    "{person} {verb} {number} {things} on {day}.",
    "On {day} {number} {things} came for {person}.",
    "There were {number} {things} for {person} on {day}.",
)
_VERBS = ("bought", "sold", "found", "made", "lost")
_PLURALS = tuple(f"{thing}es" if thing.endswith("ch") else f"{thing}s" for thing in THINGS)


def _row(draw: draws.Draws) -> draws.Row:
    day, number = draw.below(len(DAYS)), 1 + draw.below(len(NUMBERS) - 2)  # one more and one fewer have names too
    event = draw.pick(_FORMS).format(
        day=DAYS[day],
        number=NUMBERS[number],
        things=draw.pick(_PLURALS),
        person=draw.pick(PEOPLE),
        verb=draw.pick(_VERBS),
    )
    return {
        "event": event,
        "day": DAYS[day],
        "after": DAYS[(day + 1) % len(DAYS)],
        "before": DAYS[day - 1],
        "more": NUMBERS[number + 1],
        "fewer": NUMBERS[number - 1],
    }


def events(split: str) -> Iterator[draws.Row]:
    """Yields the rows of a split; the four tasks read the same ones."""
    return draws.rows("events", "event", _row, split)


def _task(
    name: str, what: str, sibling: str, options: tuple[str, ...], inverted: tuple[Template, ...] = ()
) -> InstructionTask:
    of_days, words = options == DAYS, {"what": what}
    return InstructionTask(
        name=name,
        source=generator(events, num_rows=draws.NUM_ROWS),
        templates=fill(_DAY_TEMPLATES if of_days else _NUMBER_TEMPLATES, **words),
        held_out_templates=fill(TEMPLATES["days" if of_days else "numbers"], **words),
        inverted_templates=inverted,
        options=options,
        answer=what,
        cluster="sequences",
        siblings=(sibling,),
        chance=1 / 3,  # the named one, the one before it or the one after it
        cap=2_000,
    )


ALL = (
    _task("day_after", "after", "day_before", DAYS, fill(_DAY_INVERTED, "{day}")),
    _task("day_before", "before", "day_after", DAYS),
    _task("number_more", "more", "number_fewer", NUMBERS),
    _task("number_fewer", "fewer", "number_more", NUMBERS),
)

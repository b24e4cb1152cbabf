"""Short sentences about one thing: its adjective, the opposite of that, and what kind of thing it is.

inputs:  Give the opposite of the adjective. Anna saw the small goat.
targets: big
"""

from collections.abc import Iterator

from flan_jax.mixtures.starter import draws
from flan_jax.mixtures.starter.held_out import TEMPLATES
from flan_jax.mixtures.starter.lexicon import KINDS, OPPOSITE_OF, PEOPLE
from flan_jax.mixtures.starter.templates import fill
from flan_jax.tasks import InstructionTask, Template, generator

_TEMPLATES = (
    "Give the {what}. {sentence}",
    "{sentence} Give the {what}.",
    "What is the {what} in this sentence? {sentence}",
    "{sentence} What is the {what} here?",
    "Write down the {what}: {sentence}",
    "{sentence} Write the {what} of this sentence.",
    "Find the {what} in this sentence: {sentence}",
    "Sentence: {sentence} The {what} is",
    "Here is a sentence: {sentence} Find the {what}.",
    "I want the {what}. {sentence}",
    "Tell me the {what} of this: {sentence}",
    "{sentence} Question: what is the {what}? Answer:",
)
_KIND_TEMPLATES = (
    "{sentence} What kind of thing is it? {options}",
    "What kind of thing is in this sentence? {sentence} {options}",
    "Is this about an animal, a food or a vehicle? {sentence}",
    "{sentence} Is it an animal, a food or a vehicle?",
    "Give the kind of thing. {sentence} {options}",
    "{sentence} Give the kind of the thing here. {options}",
    "Sentence: {sentence} Which kind of thing is named? {options}",
    "Which kind fits this sentence? {sentence} {options}",
    "{sentence} Which of these is it? {options}",
    "Say what kind of thing is named: {sentence} {options}",
    "Pick the kind of the thing named here. {sentence} {options}",
    "{sentence} Pick the kind. {options}",
)
_OPPOSITE_INVERTED = (
    "Which word in this sentence is the opposite of {opposite}? {sentence}",
    "{sentence} Which word is the opposite of {opposite}?",
    "Find the opposite of {opposite} here: {sentence}",
    "Sentence: {sentence} Give the opposite of {opposite}.",
)
_KIND_INVERTED = (
    "Which {kind} is in this sentence? {sentence}",
    "{sentence} Which {kind} is named here?",
    "Name the {kind} in this sentence: {sentence}",
    "Sentence: {sentence} Give the {kind}.",
)
_NOUN_KINDS = ("animal", "food", "vehicle")
_VERBS = ("saw", "liked", "found", "wanted", "painted", "lost", "met", "drew")


def _row(draw: draws.Draws) -> draws.Row:
    kind = draw.pick(_NOUN_KINDS)
    noun, adjective = draw.pick(KINDS[kind]), draw.pick(tuple(OPPOSITE_OF))
    sentence = f"{draw.pick(PEOPLE)} {draw.pick(_VERBS)} the {adjective} {noun}."
    return {
        "sentence": sentence,
        "adjective": adjective,
        "opposite": OPPOSITE_OF[adjective],
        "kind": kind,
        "noun": noun,
    }


def sentences(split: str) -> Iterator[draws.Row]:
    """Yields the rows of a split; the three tasks read the same ones."""
    return draws.rows("sentences", "sentence", _row, split)


def _task(answer: str, what: str, siblings: tuple[str, ...], inverted: tuple[Template, ...] = ()) -> InstructionTask:
    words = {"what": what}
    return InstructionTask(
        name=f"sentence_{answer}",
        source=generator(sentences, num_rows=draws.NUM_ROWS),
        templates=fill(_TEMPLATES, **words),
        held_out_templates=fill(TEMPLATES["sentence_words"], **words),
        inverted_templates=inverted,
        options=tuple(OPPOSITE_OF),
        answer=answer,
        cluster="sentences",
        siblings=siblings,
        chance=1 / 2,  # knowing which pair of opposites it is and guessing the side
        cap=2_000,
    )


ALL = (
    _task("adjective", "adjective", ("sentence_opposite",)),
    _task(
        "opposite",
        "opposite of the adjective",
        ("sentence_adjective",),
        inverted=fill(_OPPOSITE_INVERTED, "{adjective}"),
    ),
    InstructionTask(
        name="sentence_kind",
        source=generator(sentences, num_rows=draws.NUM_ROWS),
        templates=fill(_KIND_TEMPLATES),
        held_out_templates=fill(TEMPLATES["sentence_kind"]),
        inverted_templates=fill(_KIND_INVERTED, "{noun}"),
        options=_NOUN_KINDS,
        answer="kind",
        cluster="sentences",
        chance=1 / 3,
        cap=2_000,
    ),
)

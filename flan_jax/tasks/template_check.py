"""Finds templates that a model learns little or the wrong thing from; what `flan-jax tasks --check` tells.

What is looked at are words: a template that passes may still be a bad one.
"""

import itertools
import re
from collections.abc import Iterator, Sequence
from typing import Any

from flan_jax.errors import UserError
from flan_jax.tasks.instruction import InstructionTask
from flan_jax.tasks.sources import Corpus
from flan_jax.tasks.tally import BadRow
from flan_jax.tasks.templates import OPTIONS, Template, values_for

NEAR = 0.6  # share of pairs of neighbouring words that two templates may have in common
_WORDS = re.compile(r"\{\w+\}|\w+")
_INSTRUCTIONS = frozenset(("instruction", "inputs"))  # fields in which rows of ready-made prompts bring theirs
_OF_COURSE = ({"yes", "no"}, {"true", "false"})  # what a question asks for by being one
_ASKS = frozenset(
    str.split(
        """
        add answer arrange ask break change choose classify combine come complete compose condense continue convert
        correct cut decide describe determine draft express figure fill find finish fix form generate give guess
        identify imagine insert invent judge label link list make mark name pick point predict produce provide put rate
        read rephrase reply report respond restore rewrite say score select sentence shorten solve sort split state sum
        summarise summarize take tell translate turn use want wanted work write
        """
    )
)


def faults(task: InstructionTask) -> list[str]:
    """What is wrong with a task's templates, a sentence each; empty where nothing is.

    Looked for are near-duplicates among its forward templates, held-out ones among them, and among its inverted ones
    (by the share of pairs of neighbouring words that they have in common, see `similarity`); answers that a prompt
    gives away; fields that the sample of the task's `Corpus` has not; labels that are asked for and shown nowhere; and
    prompts that ask for nothing. Of a template that only lays out a row's own instruction neither the first nor the
    last is said.
    """
    forward = [one for template in (*task.templates, *task.held_out_templates) for one in template.wordings]
    inverted = [one for template in task.inverted_templates for one in template.wordings]
    found = [fault for group in (forward, inverted) for fault in _near_duplicates(group)]
    fields = _sample_fields(task)
    for template in (*forward, *inverted):
        found += [f"{template.inputs!r} {what}" for what in _of_one(task, template, fields)]
    return [f"Task {task.name!r}: template {fault}." for fault in found]


def similarity(one: Template, other: Template) -> float:
    """The share of pairs of neighbouring words that two templates have in common, fields counting as words.

    >>> similarity(Template("Is {word} a fruit?"), Template("Tell me: is {word} a fruit?"))
    0.6
    """
    ours, theirs = _pairs(one), _pairs(other)
    return len(ours & theirs) / max(1, len(ours | theirs))


def _pairs(template: Template) -> set[tuple[str, str]]:
    words = [word.lower() for word in _WORDS.findall(template.inputs)]
    return set(itertools.pairwise(words)) or {(word, "") for word in words}


def _is_layout(template: Template) -> bool:
    """Whether a template only lays out a row that brings its instruction with it."""
    return not _INSTRUCTIONS.isdisjoint(template.prompt.fields)


def _near_duplicates(templates: Sequence[Template]) -> Iterator[str]:
    for one, other in itertools.combinations((one for one in templates if not _is_layout(one)), 2):
        if (alike := similarity(one, other)) > NEAR:
            yield f"{one.inputs!r} reads much like {other.inputs!r} ({alike:.0%} of their pairs of words)"


def _sample_fields(task: InstructionTask) -> dict[str, Any] | None:
    """What templates may name, where a sample tells it."""
    if not isinstance(task.source, Corpus):
        return None
    row = dict(task.source.sample)
    fields = row if task.preprocess is None else task.preprocess(row)
    if not fields:
        raise UserError(f"Task {task.name!r}: its preprocess function leaves the sample out; give one that it keeps.")
    found = fields[0] if isinstance(fields, list) else fields
    drawn = found[task.wordings][0] if task.wordings else {}
    return {**found, **drawn} if isinstance(drawn, dict) else found


def _of_one(task: InstructionTask, template: Template, fields: dict[str, Any] | None) -> Iterator[str]:
    answer = {"answer", task.answer}
    prompt = set(template.prompt.fields)
    if template.direction == "forward" and prompt & answer:
        yield f"gives the answer away: {', '.join(sorted(prompt & answer))} stands in its inputs"
    if fields is not None:
        try:
            values_for([field for field in template.fields if field not in answer], fields, template.inputs)
        except BadRow as fault:
            yield f"does not fit the sample: {fault}"
    # Options that differ from row to row are answers that a question may have without them.
    if template.direction == "forward" and isinstance(task.options, tuple) and OPTIONS not in prompt:
        yield from _unseen_labels(task.options, template)
    if not (task.options is None and _is_layout(template)) and not _asks(template):
        yield "asks for nothing: it has no question, no request and no beginning to go on from"


def _unseen_labels(options: tuple[str, ...], template: Template) -> Iterator[str]:
    text = template.inputs.lower()
    if "?" in text and any({option.lower() for option in options} <= known for known in _OF_COURSE):
        return
    unseen = [option for option in options if option.lower() not in text]
    if unseen:
        yield f"asks for {', '.join(map(repr, unseen))}, which it does not show; put {{options}} in its inputs"


def _asks(template: Template) -> bool:
    literals = " ".join(literal for literal, _ in template.prompt.parts)
    text = template.inputs.replace(f"{{{OPTIONS}}}", "").rstrip()
    text = "" if text.endswith("}") else text
    words = {word.lower() for word in _WORDS.findall(literals)}
    goes_on = bool(text) and text[-1] not in ".!"  # the targets go on from there
    return "?" in literals or bool(words & _ASKS) or (bool(words) and goes_on)

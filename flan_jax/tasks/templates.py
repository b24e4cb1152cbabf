"""Templates: an instruction with named fields, rendered for a row and shortened to fit.

    Template("Is this review good or bad?\n{review}\n{options}", "{answer}")

What is cut from a prompt that is too long is a field's value, never the instruction around it.
"""

import dataclasses
import functools
import math
import re
import typing
from collections.abc import Iterable, Mapping
from typing import Literal

from flan_jax.errors import UserError, nearest
from flan_jax.tasks.tally import BadRow
from flan_jax.tasks.vocabularies import Tokenizer
from flan_jax.tasks.written_form import WrittenForm

OPTIONS = "options"
Direction = Literal["forward", "inverted", "open"]
_TOKENS = re.compile(r"\{\{|\}\}|\{([^{}]*)\}|[{}]")


@dataclasses.dataclass(frozen=True)
class Pattern:
    """A parsed text with fields.

    Attributes:
      parts: (text, field) pairs in order; the field follows the text, and is None at the end.
    """

    parts: tuple[tuple[str, str | None], ...]

    @functools.cached_property
    def fields(self) -> tuple[str, ...]:
        """The names of the fields, in order, each once."""
        return tuple(dict.fromkeys(field for _, field in self.parts if field is not None))

    def count(self, field: str) -> int:
        """How often a field occurs."""
        return sum(field == name for _, name in self.parts)

    def within(self, before: str, after: str) -> "Pattern":
        """The same with text before and after it.

        >>> parse("Hi {name}").within("Q: ", " A:").render({"name": "Ann"})
        'Q: Hi Ann A:'
        """
        return Pattern(((before, None), *self.parts, (after, None)))

    def render(self, values: Mapping[str, str]) -> str:
        """The text with each field replaced by its value.

        Raises:
          KeyError: a field is not among the values.
        """
        pieces = []
        for literal, field in self.parts:
            pieces.append(literal)
            if field is not None:
                pieces.append(values[field])
        return "".join(pieces)


def parse(text: str) -> Pattern:
    """Parses `{field}` placeholders; `{{` and `}}` stand for braces.

    Raises:
      UserError: a brace is unbalanced or a placeholder is empty.

    >>> parse("Hi {name}, {{ok}}").parts
    (('Hi ', 'name'), (', {ok}', None))
    """
    parts: list[tuple[str, str | None]] = []
    literal, end = "", 0
    for match in _TOKENS.finditer(text):
        literal += text[end : match.start()]
        end = match.end()
        token, field = match.group(), match.group(1)
        if token in ("{{", "}}"):
            literal += token[0]
        elif field is None:
            raise UserError(
                f"Template {text!r} has an unbalanced {token!r} at character {match.start()}; write {token * 2!r} for "
                f"a brace."
            )
        elif not field.strip() or field != field.strip():
            raise UserError(
                f"Template {text!r} has the placeholder {token!r}; put a field's name between the braces, without "
                f"blanks."
            )
        else:
            parts.append((literal, field))
            literal = ""
    return Pattern((*parts, (literal + text[end:], None)))


@dataclasses.dataclass(frozen=True)
class Template:
    """One way to put a task into words.

    Attributes:
      inputs: the prompt. `{field}` is a field of the row, `{options}` the block of answer options.
      targets: what is to be answered; `{answer}` is the answer's text.
      direction: "forward" asks for the answer; "inverted" shows it and asks for a field ("Write a review that is
        {answer}."); "open" does neither ("Write a review."). Evaluations use forward ones alone.
      paraphrases: other wordings of the inputs, with the same fields and targets. Of a template that is drawn, one of
        its wordings is drawn, so that a template with many weighs no more than one with few.
      weight: how often it is drawn, beside the weights of the others that suit the row.
      given: a field that must hold something for the template to suit a row; "" for none.
      lacking: a field that must be empty, or not there, for the template to suit a row; "" for none.

    >>> Template("Is {word} a fruit?").render({"word": "plum", "answer": "yes"})
    ('Is plum a fruit?', 'yes')
    """

    inputs: str
    targets: str = "{answer}"
    # No part of fingerprints: which fields stand on which side, and so all that is rendered, shows without it.
    direction: Direction = dataclasses.field(default="forward", metadata={"shapes": False})
    # Fingerprints have these of their own (`Variant.shaping`), so that templates without any keep theirs.
    paraphrases: tuple[str, ...] = dataclasses.field(default=(), metadata={"shapes": False})
    weight: float = dataclasses.field(default=1.0, metadata={"shapes": False})
    given: str = dataclasses.field(default="", metadata={"shapes": False})
    lacking: str = dataclasses.field(default="", metadata={"shapes": False})

    def __post_init__(self):
        object.__setattr__(self, "paraphrases", tuple(self.paraphrases))

    @functools.cached_property
    def wordings(self) -> "tuple[Template, ...]":
        """The template in each of its wordings, its own inputs first."""
        alone = dataclasses.replace(self, paraphrases=())
        return (alone, *(dataclasses.replace(alone, inputs=one) for one in self.paraphrases))

    @property
    def suits_all(self) -> bool:
        """Whether it suits every row."""
        return not self.given and not self.lacking

    def suits(self, fields: Mapping[str, object]) -> bool:
        """Whether it suits a row, by the fields that it must have and must not.

        >>> Template("{task}\\n{input}", given="input").suits({"task": "Greet.", "input": ""})
        False
        """
        return (not self.given or bool(fields.get(self.given))) and not (self.lacking and fields.get(self.lacking))

    @functools.cached_property
    def prompt(self) -> Pattern:
        """The parsed inputs."""
        return parse(self.inputs)

    @functools.cached_property
    def response(self) -> Pattern:
        """The parsed targets."""
        return parse(self.targets)

    @functools.cached_property
    def fields(self) -> tuple[str, ...]:
        """All fields but the options block, each once."""
        return tuple(field for field in dict.fromkeys((*self.prompt.fields, *self.response.fields)) if field != OPTIONS)

    def check(self, has_options: bool, answer: str = "answer") -> None:
        """Finds faults that show without a row.

        Args:
          has_options: whether its task has options.
          answer: the name of the field that holds the answer.

        Raises:
          UserError: unbalanced braces, no field at all, an options block in a task without options, or fields that do
            not go with the direction.
        """
        if not self.weight > 0:
            raise UserError(f"Template {self.inputs!r} has the weight {self.weight!r}; a number above 0 is wanted.")
        if not self.response.fields:
            raise UserError(
                f"Template {self.inputs!r} has the targets {self.targets!r}, which name no field, such as '{{answer}}'."
            )
        if OPTIONS in self.response.fields:
            raise UserError(
                f"Template {self.inputs!r} has {{options}} in its targets; it can stand in the inputs only."
            )
        if OPTIONS in self.prompt.fields and not has_options:
            raise UserError(
                f"Template {self.inputs!r} has {{options}}, but its task declares none; set the task's options."
            )
        self._check_direction(has_options, {"answer", answer})
        for one in self.wordings[1:]:
            if set(one.prompt.fields) != set(self.prompt.fields):
                raise UserError(
                    f"Template {self.inputs!r} has the paraphrase {one.inputs!r}, which names "
                    f"{', '.join(one.prompt.fields) or 'no field'}; it must name what the template does: "
                    f"{', '.join(self.prompt.fields) or 'no field'}."
                )

    def _check_direction(self, has_options: bool, answer: set[str]) -> None:
        shown, asked = answer & set(self.prompt.fields), answer & set(self.response.fields)
        what = f"The {self.direction} template {self.inputs!r} "
        if self.direction not in typing.get_args(Direction):
            raise UserError(
                f"Template {self.inputs!r} has the direction {self.direction!r}; it is 'forward', 'inverted' or 'open'."
            )
        if self.direction == "forward":
            if has_options and not asked:
                raise UserError(
                    f"Template {self.inputs!r} has the targets {self.targets!r}, which leave out {{answer}}, one of "
                    f"the options; one that shows the answer belongs to inverted_templates."
                )
            return
        if asked:
            raise UserError(f"{what}asks for the answer itself; name another field in its targets.")
        if shown and self.direction == "open":
            raise UserError(f"{what}shows the answer; its direction is 'inverted'.")
        if not shown and self.direction == "inverted":
            raise UserError(
                f"{what}does not show the answer; put {{answer}} in its inputs, or give it the direction 'open'."
            )

    def render(self, values: Mapping[str, str]) -> tuple[str, str]:
        """Inputs and targets for the values of a row's fields."""
        return self.prompt.render(values), self.response.render(values)


def as_templates(
    templates: Iterable[Template | str | tuple[str, str]], direction: Direction = "forward"
) -> tuple[Template, ...]:
    """Takes templates, plain inputs, and (inputs, targets) pairs; `direction` is that of those which say none."""
    if isinstance(templates, str | Template):
        templates = (templates,)
    pairs = [(one,) if isinstance(one, str) else one for one in templates]
    found = [one if isinstance(one, Template) else Template(*one) for one in pairs]
    return tuple(dataclasses.replace(one, direction=direction) if one.direction == "forward" else one for one in found)


def text_of(value: object) -> str | None:
    """How a field's value reads in a prompt: text as it is, numbers by `str`, lists joined by commas, None for nothing
    that reads, as NaN is, by which a table says that a cell is empty.

    >>> text_of(["red", "green"]), text_of(3), text_of({"a": 1}), text_of(float("nan"))
    ('red, green', '3', None, None)
    """
    if isinstance(value, str):
        return value
    if isinstance(value, bool | int | float):
        return str(value) if math.isfinite(value) else None
    if isinstance(value, list | tuple):
        texts = [text_of(item) for item in value]
        return None if None in texts else ", ".join(texts)  # type: ignore[arg-type]
    return None


def values_for(fields: Iterable[str], row: Mapping[str, object], template: str) -> dict[str, str]:
    """The texts of the named fields of a row.

    Args:
      fields: the names wanted.
      row: the row.
      template: its inputs, for the error.

    Raises:
      BadRow: a field is missing, null, or neither text, number nor a list of them.
    """
    values = {}
    for field in fields:
        value = row.get(field)
        text = value if isinstance(value, str) else text_of(value)
        if text is None:
            if field in row:
                seen = "null" if value is None else value if isinstance(value, float) else f"a {type(value).__name__}"
                raise BadRow(
                    f"field {field!r} of template {template!r} is {seen}; text, a number or a list of them is wanted"
                )
            known = [str(name) for name in row]
            raise BadRow(
                f"template {template!r} names the field {field!r}, the row has "
                f"{', '.join(known) or 'none'}{nearest(field, known)}"
            )
        values[field] = text
    return values


def fit(
    pattern: Pattern,
    values: Mapping[str, str],
    limit: int,
    form: WrittenForm,
    trim_field: str | None = None,
    trim_from: str = "end",
) -> tuple[str, list[int]] | None:
    """Renders a prompt in at most `limit` tokens by cutting the end of its longest field.

    Args:
      pattern: the prompt.
      values: the fields' texts.
      limit: the most tokens.
      form: how the prompt is written, and so how many tokens it has.
      trim_field: the only field that may be cut; None lets the longest be, in tokens, but never the options.
      trim_from: "end", or "middle" to keep the field's beginning and its end.

    Returns:
      The text and its ids, or None where it does not fit even with those fields empty.
    """
    shortened, tokenizer = dict(values), form.tokenizer
    candidates = [field for field in pattern.fields if field == trim_field or (trim_field is None and field != OPTIONS)]
    known = dict(zip(candidates, tokenizer.encode([values[field] for field in candidates]), strict=True))
    lengths = {field: len(ids) for field, ids in known.items()}
    while True:
        text = pattern.render(shortened)
        (ids,) = form.prompts([text])
        over = len(ids) - limit
        if over <= 0:
            return text, ids
        longest = max(lengths, key=lambda field: lengths[field], default=None)
        if longest is None or lengths[longest] == 0:
            return None
        keep = max(0, lengths[longest] - -(-over // pattern.count(longest)))
        shortened[longest] = cut(values[longest], known[longest], keep, tokenizer, trim_from)
        lengths[longest] = min(keep, len(tokenizer.encode_one(shortened[longest])))


def cut(text: str, ids: list[int], keep: int, tokenizer: Tokenizer, trim_from: str) -> str:
    """A text shortened to about `keep` tokens, from its end, or from its middle; `ids` are its own."""
    if trim_from == "end" or keep < 4:
        return tokenizer.prefix(text, keep, ids).rstrip()
    head, tail = tokenizer.prefix(text, keep // 2, ids), tokenizer.suffix(text, keep // 2, ids)
    return f"{head.rstrip()} ... {tail.lstrip()}"

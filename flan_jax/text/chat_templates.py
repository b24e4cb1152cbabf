"""A model's own chat template: a conversation as the text that the model was tuned on, and which of it is answers.

    <|im_start|>user
    Hello<|im_end|>
    <|im_start|>assistant
    Hi!<|im_end|>              <- "Hi!<|im_end|>" is what is learnt

Templates are Jinja and come with the weights, from whoever wrote those: they are rendered in Jinja's sandbox, with the
few names that Hugging Face's templates use.
"""

import datetime
import functools
import json
from collections.abc import Mapping, Sequence
from typing import Any

import jinja2
import jinja2.ext
import jinja2.nodes

from flan_jax.errors import UserError
from flan_jax.text.chat_template_bounds import BoundedEnvironment, TooMuch, bounded, checked
from flan_jax.text.tokenizer_folder import TokenizerFolder, named_ends

# What templates that tell the date (Llama 3) are told: a run's examples must not depend on the day they are made on.
# Llama's own template says this day where it is told none.
TODAY = datetime.datetime(2024, 7, 26)
_OPEN, _SHUT = "\ufdd0", "\ufdd1"  # noncharacters, which no text holds (Unicode 23.7)
_PLACE = "\ufdd2text\ufdd3"
Message = Mapping[str, Any]


class _Refused(Exception):
    """A template's own objection."""


class _Generation(jinja2.ext.Extension):
    """`{% generation %}` … `{% endgeneration %}`: what the assistant says, between the two marks."""

    tags = {"generation"}

    def parse(self, parser: Any) -> Any:
        line = next(parser.stream).lineno
        body = parser.parse_statements(("name:endgeneration",), drop_needle=True)
        mark = lambda text: jinja2.nodes.Output([jinja2.nodes.TemplateData(text)])
        return [mark(_OPEN).set_lineno(line), *body, mark(_SHUT).set_lineno(line)]


def _refuse(message: str) -> None:
    raise _Refused(message)


def _to_json(value: Any, ensure_ascii: bool = False, indent: int | None = None, **how: Any) -> str:
    return json.dumps(value, ensure_ascii=ensure_ascii, indent=indent, **how)


@functools.lru_cache(maxsize=32)
def _compiled(source: str) -> jinja2.Template:
    environment = BoundedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=["jinja2.ext.loopcontrols", _Generation]
    )
    environment.filters["tojson"] = checked("tojson", _to_json)
    environment.globals["raise_exception"] = _refuse
    environment.globals["strftime_now"] = TODAY.strftime
    return environment.from_source(source)


class ChatTemplate:
    """A chat template.

    Args:
      source: its Jinja text.
      place: where it comes from, for errors.
      tokens: names that it may use: "bos_token", "eos_token", "unk_token", "pad_token".
      begins: whether the row itself begins with bos_token, so that it is taken off the text.
    """

    def __init__(self, source: str, place: str, tokens: Mapping[str, str | None], begins: bool):
        self._source, self._place = source, place
        self._tokens = {name: token for name, token in tokens.items() if token is not None}
        self._begin = self._tokens.get("bos_token", "") if begins else ""

    def render(self, messages: Sequence[Message], answering: bool = False) -> str:
        """The text of a conversation.

        Args:
          messages: {"role", "content"} each.
          answering: whether the text ends where the assistant begins to speak.

        Raises:
          UserError: the template objects, or cannot be rendered.
        """
        return self._marked(messages, answering).replace(_OPEN, "").replace(_SHUT, "")

    def _marked(self, messages: Sequence[Message], answering: bool) -> str:
        names = {"messages": list(messages), "add_generation_prompt": answering, "tools": None, "documents": None}
        try:
            with bounded():
                text = _compiled(self._source).render(**names, **self._tokens)
        except TooMuch as error:
            raise UserError(
                f"The chat template of {self._place} is given up on: {error}; mend it, or shorten the conversation."
            ) from None
        except _Refused as error:
            roles = ", ".join(str(message["role"]) for message in messages)
            raise UserError(
                f"The chat template of {self._place} refuses a conversation of {roles}: {error}; mend the rows, or "
                "leave such ones out with --on_bad_row skip."
            ) from error
        except Exception as error:  # Jinja's own, and whatever its expressions raise
            told = f"{type(error).__name__}: {' '.join(str(error).split())}"
            raise UserError(f"The chat template of {self._place} cannot be rendered ({told}); mend it.") from None
        return text.removeprefix(self._begin) if self._begin else text

    def answers(self, messages: Sequence[Message]) -> tuple[str, list[tuple[int, int, int]]]:
        """The text of a conversation, and where in it the assistant speaks.

        By the template's generation marks where it has them. Otherwise by rendering the conversation up to each
        answer and up to its end: what the latter has more is the answer, the token that ends it included. A template
        that writes earlier answers otherwise than the last one (Qwen 3 leaves out their thoughts) gives the last.

        Args:
          messages: {"role", "content"} each, the last one the assistant's.

        Returns:
          The text, and (number of the message, first character, end) of each answer.

        Raises:
          UserError: not even the last answer can be found.
        """
        numbers = [number for number, message in enumerate(messages) if message["role"] == "assistant"]
        marked = self._marked(messages, False)
        if _OPEN in marked:
            inside_of, text = [], ""
            for number, part in enumerate(marked.split(_OPEN)):
                inside, _, after = part.partition(_SHUT) if number else ("", "", part)
                inside_of.append((len(text), len(text) + len(inside)))
                text += inside + after
            inside_of = inside_of[1:]
            if len(inside_of) != len(numbers):
                raise UserError(self._unclear(f"marks {len(inside_of)} answers of {len(numbers)}"))
            return text, [(number, *span) for number, span in zip(numbers, inside_of, strict=True)]
        found = []
        for number in numbers:
            before = self.render(messages[:number], answering=True)
            upto = marked if number == len(messages) - 1 else self.render(messages[: number + 1])
            if marked.startswith(upto) and upto.startswith(before):
                found.append((number, len(before), len(upto)))
        if not found or found[-1][0] != len(messages) - 1:
            raise UserError(self._unclear("writes a conversation otherwise than its beginning and an answer"))
        return marked, found

    def _unclear(self, what: str) -> str:
        return (
            f"The chat template of {self._place} {what}, so that it is not clear what the assistant says; put "
            "{% generation %} and {% endgeneration %} around it in the template."
        )

    @classmethod
    @functools.lru_cache(maxsize=64)
    def of(cls, tokenizer: TokenizerFolder) -> "ChatTemplate | None":
        """The chat template that comes with a tokenizer, None where none does; compiled and tried once.

        Raises:
          UserError: it cannot be rendered, or does not write what the user says: prompts would go without it.
        """
        return cls.made(tokenizer.chat_template, str(tokenizer.folder), tokenizer) if tokenizer.chat_template else None

    @classmethod
    def made(cls, source: str, place: str, tokenizer: TokenizerFolder) -> "ChatTemplate":
        """A chat template for a tokenizer, tried once.

        Args:
          source: its Jinja text.
          place: where it comes from, for errors.
          tokenizer: whose tokens it may name.

        Raises:
          UserError: as `of`.
        """
        tokens = {role: tokenizer.token(role) for role in ("bos_token", "eos_token", "unk_token", "pad_token")}
        made = cls(source, place, tokens, tokenizer.around[0] >= 0)
        made._check()
        return made

    def _check(self) -> None:
        try:
            text = self.render([{"role": "user", "content": _PLACE}], True)
        except UserError as error:
            if isinstance(error.__cause__, _Refused):  # it may want other turns
                return
            raise
        if _PLACE not in text:
            raise UserError(
                f"The chat template of {self._place} writes {text[:60]!r} of a user's question, without the question; "
                "mend it, or take it out to ask without a form."
            )

    def prompt_format(self) -> str:
        """The text around a question of one turn, "{}" in its place; "{}" alone where it cannot be told."""
        return self._around([{"role": "user", "content": _PLACE}], True, "{}") or "{}"

    def after_answer(self) -> str:
        """What is written after an answer at a conversation's end; empty where it cannot be told."""
        turns = [{"role": "user", "content": "?"}, {"role": "assistant", "content": _PLACE}]
        return self._around(turns, False, _PLACE).rpartition(_PLACE)[2]

    def _around(self, messages: Sequence[Message], answering: bool, place: str) -> str:
        """A conversation with `place` for the one `_PLACE` in it; empty where there is not one, or it is refused."""
        try:
            text = self.render(messages, answering)
        except UserError:
            return ""
        return text.replace(_PLACE, place) if text.count(_PLACE) == 1 else ""


def answer_ends(tokenizer: TokenizerFolder) -> tuple[int, ...]:
    """All tokens that end an answer: `eos_id` first, those that the model's settings name, the chat template's own.

    The last one is in no file of some base models, whose answers would then never end (Qwen 2.5).
    """
    template = ChatTemplate.of(tokenizer)
    ends: list[int | None] = [tokenizer.eos_id, *named_ends(tokenizer.folder)]
    ends.append(None if template is None else tokenizer.first_special(template.after_answer()))
    return tuple(dict.fromkeys(end for end in ends if end is not None))

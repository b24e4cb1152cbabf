"""A model's own chat template: a conversation as the text that the model was tuned on, and which of it is answers.

    <|im_start|>user
    Hello<|im_end|>
    <|im_start|>assistant
    Hi!<|im_end|>              <- "Hi!<|im_end|>" is what is learnt

Templates are Jinja and come with the weights, from whoever wrote those: they are rendered in Jinja's sandbox, with the
few names that Hugging Face's templates use.
"""

import dataclasses
import datetime
import functools
import json
import os.path
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, TypeAlias

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
Tools = Sequence[Mapping[str, Any]]
Answers: TypeAlias = tuple[str, list[tuple[int, int, int]]]  # a text, and (message, first character, end) of each


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


@dataclasses.dataclass(frozen=True)
class CallStyle:
    """How a template wants a call of a tool.

    Attributes:
      no_content: the content of a message that says nothing beside.
      arguments_as_text: whether the arguments are JSON text.
    """

    no_content: str | None = ""
    arguments_as_text: bool = False


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

    def render(self, messages: Sequence[Message], answering: bool = False, tools: Tools = ()) -> str:
        """The text of a conversation.

        Args:
          messages: {"role", "content"} each.
          answering: whether the text ends where the assistant begins to speak.
          tools: that the assistant may call.

        Raises:
          UserError: the template objects, or cannot be rendered.
        """
        return self._marked(messages, answering, tools).replace(_OPEN, "").replace(_SHUT, "")

    def _marked(self, messages: Sequence[Message], answering: bool, tools: Tools) -> str:
        names: dict[str, Any] = {"messages": list(messages), "add_generation_prompt": answering, "documents": None}
        names["tools"] = list(tools) or None
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

    def answers(self, messages: Sequence[Message], asked: Collection[int] | None = None, tools: Tools = ()) -> Answers:
        """The text of a conversation, and where in it the assistant speaks.

        By the template's generation marks where it has them. Otherwise by rendering the conversation up to each
        answer and up to its end: what the latter has more is the answer, the token that ends it included. What a
        generation prompt supplies is no part of it. Earlier answers that a template writes otherwise than the last
        one (Qwen 3 leaves out their thoughts) are passed over; see `every_answer`.

        Args:
          messages: {"role", "content"} each, the last one the assistant's.
          asked: numbers of the messages that are looked for, the last one among them; None for all of the assistant's.
          tools: that the assistant may call.

        Returns:
          The text, and (number of the message, first character, end) of each answer.

        Raises:
          UserError: not even the last answer can be found.
        """
        return self._answers(messages, asked, tools, self._rendering(messages, tools))

    def every_answer(
        self, messages: Sequence[Message], asked: Collection[int], needed: Collection[int], tools: Tools = ()
    ) -> list[Answers]:
        """Texts in which each needed answer stands as it is written when the model is asked for it.

        One text is enough where a template writes all answers alike. Of one that writes earlier answers otherwise, the
        conversation up to such an answer is a text of its own, in which only what no later text holds is looked for.

        Args:
          messages: as in `answers`.
          asked: as in `answers`.
          needed: numbers of those that must be found.
          tools: as in `answers`.

        Returns:
          What `answers` gives for each text, in the conversation's order; each holds a needed answer.

        Raises:
          UserError: one of them cannot be found.
        """
        rendered = self._rendering(messages, tools)
        parts = [self._answers(messages, asked, tools, rendered)]
        left = set(needed).difference(number for number, _, _ in parts[0][1])
        while left:
            upto = max(left) + 1
            parts.insert(0, self._answers(messages[:upto], left, tools, rendered))
            left.difference_update(number for number, _, _ in parts[0][1])
        return [part for part in parts if any(number in needed for number, _, _ in part[1])]

    def _rendering(self, messages: Sequence[Message], tools: Tools) -> Callable[[int, bool], str]:
        return functools.cache(lambda upto, answering: self.render(messages[:upto], answering, tools))

    def _answers(
        self,
        messages: Sequence[Message],
        asked: Collection[int] | None,
        tools: Tools,
        rendered: Callable[[int, bool], str],
    ) -> Answers:
        said = [number for number, message in enumerate(messages) if message["role"] == "assistant"]
        numbers = said if asked is None else sorted(asked)
        marked = self._marked(messages, False, tools)
        if _OPEN in marked:
            text, spans = _between_marks(marked)
            if len(spans) != len(said):
                raise UserError(self._unclear(f"marks {len(spans)} answers of {len(said)}"))
            return text, [(number, *span) for number, span in zip(said, spans, strict=True) if number in numbers]
        found = []
        for number in numbers:
            upto = marked if number == len(messages) - 1 else rendered(number + 1, False)
            begin = _begins(rendered, number, str(messages[number]["content"] or ""), upto)
            if marked.startswith(upto) and begin is not None:
                found.append((number, begin, len(upto)))
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
        if not tokenizer.chat_template:
            return None
        tokens = {role: tokenizer.token(role) for role in ("bos_token", "eos_token", "unk_token", "pad_token")}
        made = cls(tokenizer.chat_template, str(tokenizer.folder), tokens, tokenizer.around[0] >= 0)
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

    def after_answer(self, asked_on: bool = False) -> str:
        """What is written after an answer; empty where it cannot be told.

        Args:
          asked_on: whether the user says more after it, or the conversation ends there.
        """
        more = [{"role": "user", "content": "?"}] if asked_on else []
        turns = [{"role": "user", "content": "?"}, {"role": "assistant", "content": _PLACE}, *more]
        return self._around(turns, False, _PLACE).rpartition(_PLACE)[2]

    def before(self, role: str) -> str:
        """What is written before what a role says first; empty where it cannot be told."""
        more = [{"role": "user", "content": "?"}] if role == "system" else []
        return self._around([{"role": role, "content": _PLACE}, *more], False, _PLACE).partition(_PLACE)[0]

    @functools.cached_property
    def writes_tools(self) -> bool:
        """Whether the tools that the assistant may call are written somewhere."""
        function = {"name": _PLACE, "description": "?", "parameters": {"type": "object", "properties": {}}}
        return self._tells([{"role": "user", "content": "?"}], [{"type": "function", "function": function}])

    @functools.cached_property
    def call_style(self) -> CallStyle | None:
        """How the template wants the assistant's calls of tools; None where it writes them in no way."""
        for style in (CallStyle(), CallStyle(None), CallStyle(arguments_as_text=True), CallStyle(None, True)):
            arguments: Any = '{"a": "b"}' if style.arguments_as_text else {"a": "b"}
            call = {"id": "a1b2c3d4e", "type": "function", "function": {"name": _PLACE, "arguments": arguments}}
            calling = {"role": "assistant", "content": style.no_content, "tool_calls": [call]}
            result = {"role": "tool", "content": "?", "name": "?", "tool_call_id": "a1b2c3d4e"}
            turns: list[Message] = [{"role": "user", "content": "?"}, calling]
            if self._tells(turns) or self._tells([*turns, result]):
                return style
        return None

    @functools.cached_property
    def thoughts_field(self) -> str | None:
        """The field of a message by which the template takes the thoughts of an answer; None where it takes none."""
        for field in ("reasoning_content", "thinking", "reasoning"):
            if self._tells([{"role": "user", "content": "?"}, {"role": "assistant", "content": "!", field: _PLACE}]):
                return field
        return None

    def _tells(self, messages: Sequence[Message], tools: Tools = ()) -> bool:
        """Whether `_PLACE` comes to stand in the text."""
        try:
            return _PLACE in self.render(messages, False, tools)
        except UserError:
            return False

    def _around(self, messages: Sequence[Message], answering: bool, place: str) -> str:
        """A conversation with `place` for the one `_PLACE` in it; empty where there is not one, or it is refused."""
        try:
            text = self.render(messages, answering)
        except UserError:
            return ""
        return text.replace(_PLACE, place) if text.count(_PLACE) == 1 else ""


def _between_marks(marked: str) -> tuple[str, list[tuple[int, int]]]:
    """A text without its generation marks, and where they stood."""
    spans, text = [], ""
    for number, part in enumerate(marked.split(_OPEN)):
        inside, _, after = part.partition(_SHUT) if number else ("", "", part)
        spans.append((len(text), len(text) + len(inside)))
        text += inside + after
    return text, spans[1:]


def _begins(rendered: Callable[[int, bool], str], number: int, content: str, upto: str) -> int | None:
    """Where in a conversation up to an answer that answer begins; None where that is not clear.

    After the generation prompt. One may supply more than an answer has: "<think>" for thoughts that the row lacks. Then
    the answer begins where the two part, and with its own content at the latest.
    """
    prompt = rendered(number, True)
    if upto.startswith(prompt):
        return len(prompt)
    if upto.startswith(prompt.rstrip()):
        return len(prompt.rstrip())
    before = rendered(number, False)
    if not (upto.startswith(before) and prompt.startswith(before)):
        return None
    said = upto.find(content, len(before))
    shared = len(os.path.commonprefix([prompt, upto]))
    return None if said < 0 else min(shared, said) if content else shared


@functools.lru_cache(maxsize=64)
def next_ends(tokenizer: TokenizerFolder) -> int | None:
    """The token that ends an answer where a template writes it in front of the next message; None where it does not.

        <|user|>Hello<|end|><|assistant|>Hi!<|end|><|user|>Who?
        <|user|>Hello<|end|><|assistant|>Hi!                      <- none at the conversation's end

    It is told from what begins a message by what stands in front of the first ones.
    """
    template = ChatTemplate.of(tokenizer)
    if template is None or tokenizer.first_special(template.after_answer()) is not None:
        return None
    after = template.after_answer(asked_on=True)
    found = tokenizer.specials(after)
    asking = tokenizer.specials(template.before("user"))
    if not found or not after.lstrip().startswith(tokenizer.pieces(found[:1])[0]):
        return None
    begins = tokenizer.specials(template.before("system")) or asking
    return None if found[0] in begins or found[0] in asking[-1:] else found[0]


def answer_ends(tokenizer: TokenizerFolder) -> tuple[int, ...]:
    """All tokens that end an answer: `eos_id` first, those that the model's settings name, the chat template's own.

    The last one is in no file of some base models, whose answers would then never end (Qwen 2.5).
    """
    template = ChatTemplate.of(tokenizer)
    ends: list[int | None] = [tokenizer.eos_id, *named_ends(tokenizer.folder)]
    ends += [] if template is None else [tokenizer.first_special(template.after_answer()), next_ends(tokenizer)]
    return tuple(dict.fromkeys(end for end in ends if end is not None))

"""ChatTask: conversations, of which only what the assistant says is learnt.

The prompt is all up to the first answer, the targets are the rest; `passages` says what else there is to choose. They
are written by the chat template that comes with the run's vocabulary (`templated_chats`), or where there is none by the
names of the roles (`role_chats`).
"""

import dataclasses
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import seqio

from flan_jax.errors import UserError
from flan_jax.tasks import metrics as metric_functions
from flan_jax.tasks import registry, row_contents, run_form, vocabularies
from flan_jax.tasks.conversations import read_conversation, rows_of
from flan_jax.tasks.encoding import batched
from flan_jax.tasks.passages import LossOn, check_choices
from flan_jax.tasks.recipe import Description, Encoder, Example, OfDeclaration, Read, Request
from flan_jax.tasks.role_chats import RoleEncoder, dialogues_of
from flan_jax.tasks.sources import Row, Source
from flan_jax.tasks.tally import OnBadRow
from flan_jax.tasks.templated_chats import TemplatedEncoder
from flan_jax.tasks.thoughts import Thinking
from flan_jax.tasks.user_functions import of_task
from flan_jax.tasks.vocabularies import VocabularyLike
from flan_jax.text.chat_templates import ChatTemplate

_VERSION = 2  # raise it when the same conversations come to give other tokens
ROLE_NAMES = (("system", "System"), ("user", "User"), ("assistant", "Assistant"), ("tool", "Tool"))


@dataclasses.dataclass(frozen=True)
class ChatTask:
    """Declares a task of conversations.

    Attributes:
      name: the seqio task's name.
      source: rows that hold a list of messages, in OpenAI's form ({"role", "content"}) or ShareGPT's ({"from",
        "value"}). Content may be a list of parts, of which texts, thoughts and tool calls are read. Calls of tools
        ("tool_calls", "function_call", or messages of that role) are learnt as what else the assistant says, their
        results are not; without a chat template that knows tools they are written as JSON.
      messages: the field that holds the list.
      preprocess: turns a row into one with such a field, into a list of such rows, each an example, or into None to
        leave it out.
      loss_on: which of the assistant's messages bear loss: "all"; "last"; or "marked", those that say so themselves. A
        message says by "loss_weight", "weight" (numbers), "train", "train_on_turn" or "trainable" (true, false) how
        much it counts, whatever is chosen here.
      thinking: what becomes of thoughts that led to an answer (parts of the type "reasoning" or "thinking", fields
        "reasoning_content", "reasoning" or "thinking", "<think>…</think>" before the answer): "left_out"; "context",
        shown before the answer and out of the loss; "learnt". None leaves them out where the file has them apart
        from the text, and takes the text as it stands.
      tools: the field that declares the tools, a list or the JSON text of one; None for no such field.
      weight: the field with the weight of the whole row; None for no such field.
      each_turn: whether each message of the assistant that bears loss is an example of its own, whose inputs are all
        that was said before; for an encoder-decoder, which then reads that with its encoder. What does not fit loses
        the first exchanges.
      role_names: how each role is called in the text, where no chat template says it.
      chat_template: whether the chat template that comes with the vocabulary is used, where one does.
      metrics: names or functions; empty where only the loss is of interest.
      vocabulary: as in `InstructionTask`.
      cap: as in `InstructionTask`.
      cluster: as in `InstructionTask`.
      version: as in `InstructionTask`.
      add_eos_to_inputs: as in `InstructionTask`.
    """

    name: str
    source: Source | seqio.DataSource
    messages: str = "messages"
    preprocess: Callable[[Row], Row | list[Row] | None] | None = None
    loss_on: LossOn = "all"
    thinking: Thinking | None = None
    tools: str | None = "tools"
    weight: str | None = "weight"
    each_turn: bool = False
    role_names: tuple[tuple[str, str], ...] = ROLE_NAMES
    chat_template: bool = True
    metrics: tuple[str | Callable[..., Mapping[str, Any]], ...] = ()
    vocabulary: VocabularyLike | None = None
    cap: int | None = None
    cluster: str = ""
    version: str = ""
    add_eos_to_inputs: bool | None = None

    def register(self) -> "ChatTask":
        """Adds the task to seqio's registry; doing so twice changes nothing.

        Raises:
          UserError: the declaration has a fault, or the name is taken.
        """
        if missing := {role for role, _ in ROLE_NAMES} - {role for role, _ in self.role_names}:
            raise UserError(
                f"Task {self.name!r}: role_names leaves out {', '.join(sorted(missing))}; name all four roles."
            )
        check_choices(self.name, self.loss_on, self.thinking)
        for metric in self.metrics:
            metric_functions.function(metric)
        registry.add([ChatRecipe(self)])
        return self


@dataclasses.dataclass(frozen=True)
class ChatRecipe(OfDeclaration):
    """The recipe of a `ChatTask`."""

    declaration: ChatTask

    @property
    def name(self) -> str:
        """The seqio task's name."""
        return self.declaration.name

    @property
    def metrics(self) -> tuple[str | Callable[..., Mapping[str, Any]], ...]:
        """The declaration's metrics."""
        return self.declaration.metrics

    def encoder(self, split: str, request: Request) -> Encoder:
        """See `Recipe`."""
        template = self.template()
        encode = (
            RoleEncoder(self, split, request) if template is None else TemplatedEncoder(self, template, split, request)
        )

        def encoder(rows: Iterable[tuple[str, Row]]) -> Iterator[Example]:
            for batch in batched(rows, 256):
                for row_id, row in rows_of(self, split, batch, request):
                    yield from encode(row_id, row)

        return encoder

    def template(self) -> ChatTemplate | None:
        """The chat template that its conversations are written by."""
        return run_form.template_for(self.vocabulary, self.declaration.chat_template)

    @property
    def form(self) -> str:
        """See `OfDeclaration`."""
        return "roles" if self.template() is None else "chat"

    def prompt_format(self) -> str:
        """How a question of one turn is put, with "{}" in its place; reads the vocabulary."""
        template, names = self.template(), dict(self.declaration.role_names)
        return template.prompt_format() if template else f"{names['user']}: {{}}\n{names['assistant']}:"

    def texts(self, split: str, on_bad_row: OnBadRow) -> Iterator[tuple[str, ...]]:
        """See `Recipe`."""
        request = Request({}, on_bad_row=on_bad_row)
        rows = of_task(self.name, self.source.rows(split, on_bad_row))
        for row_id, row in rows_of(self, split, rows, request):
            for dialogue in read_conversation(self, split, row_id, row, request, dialogues_of):
                yield dialogue.prompt.render(dialogue.values), dialogue.text

    def contents(self) -> Read:
        """See `Recipe`."""
        return row_contents.of_conversations(self.declaration)

    def shaping(self) -> Any:
        """See `Recipe`."""
        task = self.declaration
        how = (task.role_names, task.chat_template, self.add_eos_to_inputs)
        # Of a template that is not used although the declaration would, nothing else tells.
        unused = task.chat_template and self.form == "roles" and vocabularies.chat_template(self.vocabulary) is not None
        learnt = (task.loss_on, task.thinking, task.tools, task.weight, task.each_turn)
        return (
            _VERSION,
            *(task.name, task.messages, task.preprocess, how, task.version, *(["plain"] if unused else [])),
            *(["learnt", *learnt] if learnt != ("all", None, "tools", "weight", False) else []),
        )

    def describe(self) -> Description:
        """See `Recipe`."""
        task = self.declaration
        return Description(
            task=task.name,
            objective="chat",
            eval_kind="generate" if task.metrics else "loss",
            cluster=task.cluster,
            cap=task.cap,
            metrics=[metric_functions.name_of(metric) for metric in task.metrics],
            version=task.version,
        )

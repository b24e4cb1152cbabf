"""What the run says where a declaration leaves it open: the vocabulary its text is read with, and plain or chat form.

A declaration is strings. The same mixture trains a T5 and a chat model: the data process is told the run's vocabulary
and form before tasks are registered (`flan_jax.data.preparing.registering`), and recipes ask for them here. Where
nobody has said anything, in a user's own Python, the packaged starter vocabulary serves.
"""

import dataclasses
import typing

from flan_jax.errors import UserError
from flan_jax.tasks import vocabularies
from flan_jax.tasks.vocabularies import VocabularyLike
from flan_jax.text.chat_templates import ChatTemplate
from flan_jax.text.vocabulary_names import STARTER, Form


@dataclasses.dataclass(frozen=True)
class RunForm:
    """The run's part of its tasks.

    Attributes:
      vocabulary: of tasks that declare none; None where the run starts from a model that does not say its own.
      form: "chat" writes instructions and conversations by the vocabulary's chat template, "plain" writes them without,
        "auto" is chat where there is a template.
    """

    vocabulary: VocabularyLike | None = STARTER
    form: str = "auto"


_run = RunForm()


def use(run: RunForm) -> None:
    """Says what the run is, for every task that is asked from here on.

    Raises:
      UserError: there is no such form.
    """
    global _run
    forms = typing.get_args(Form)
    if run.form not in forms:
        raise UserError(f"FORM is {run.form!r}, wanted one of {', '.join(map(repr, forms))}")
    _run = run


def vocabulary_of(declared: VocabularyLike | None) -> VocabularyLike:
    """A declaration's vocabulary, or the run's where it is None; see `check_said`."""
    return declared if declared is not None else STARTER if _run.vocabulary is None else _run.vocabulary


def check_said(task: str, declared: VocabularyLike | None) -> None:
    """Refuses a task that leaves its vocabulary to a run that has none.

    Raises:
      UserError: neither of them says it.
    """
    if declared is None and _run.vocabulary is None:
        raise UserError(
            f"INIT_FROM does not say its vocabulary, and task {task!r} declares none; set VOCABULARY to what the model "
            "was trained with, --vocabulary spiece.model for one"
        )


def template_for(vocabulary: VocabularyLike, wanted: bool = True) -> ChatTemplate | None:
    """The chat template that a task is written by, None for plain text.

    Args:
      vocabulary: the task's.
      wanted: whether its declaration lets a template be used.

    Raises:
      UserError: the form is "chat", and no template comes with the vocabulary.
    """
    if not wanted or _run.form == "plain":
        return None
    template = vocabularies.chat_template(vocabulary)
    if template is None and _run.form == "chat":
        named = vocabularies.named(vocabulary)
        raise UserError(
            f"FORM is 'chat', but no chat template comes with the vocabulary {named['path'] or named['kind']}; set "
            "FORM to 'auto' or 'plain', or start from a model that has one"
        )
    return template

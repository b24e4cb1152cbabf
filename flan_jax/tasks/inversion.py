"""Inverted tasks: the answer is given and a field is asked for ("write a review that is negative")."""

from collections.abc import Iterable

from flan_jax.errors import UserError
from flan_jax.tasks.templates import Template

SUFFIX = "inverted"


def check(templates: Iterable[Template], answer: str) -> None:
    """Finds templates that turn nothing around.

    Args:
      templates: the inverted templates.
      answer: the name of the field that holds the answer.

    Raises:
      UserError: a template's inputs do not show the answer, or its targets ask for it.
    """
    shown = {"answer", answer}
    for template in templates:
        if not shown & set(template.prompt.fields):
            raise UserError(
                f"The inverted template {template.inputs!r} does not show the answer; put {{answer}} in its inputs."
            )
        if shown & set(template.response.fields):
            raise UserError(
                f"The inverted template {template.inputs!r} asks for the answer itself; name another field in its "
                f"targets."
            )
        template.check(has_options=True)

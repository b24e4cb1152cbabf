"""The tasks declared here, by the names of their seqio tasks; seqio's own registry holds them too."""

from typing import Any

import seqio

from flan_jax.errors import UserError, nearest
from flan_jax.tasks import bridge, fingerprints
from flan_jax.tasks.recipe import Recipe

_RECIPES: dict[str, Recipe] = {}


def add(recipes: list[Recipe]) -> None:
    """Registers tasks with seqio; one that is registered already with the same declaration is left as it is.

    Raises:
      UserError: a name is taken by a different task, or is none that seqio takes.
    """
    fresh = [recipe for recipe in recipes if not _is_known(recipe)]
    for recipe in fresh:
        try:
            seqio.TaskRegistry.add_provider(recipe.name, bridge.seqio_task(recipe))
        except ValueError as error:
            raise UserError(f"seqio does not take the task {recipe.name!r}: {error}") from None
        _RECIPES[recipe.name] = recipe


def _is_known(recipe: Recipe) -> bool:
    name = recipe.name
    if name in seqio.MixtureRegistry.names():
        raise UserError(f"{name!r} is the name of a mixture already; give the task another name.")
    if name not in seqio.TaskRegistry.names():
        return False
    known = _RECIPES.get(name)
    if known is None:
        raise UserError(
            f"{name!r} is the name of a seqio task already that other code registered; give the task another name."
        )
    if known == recipe or fingerprints.of(known) == fingerprints.of(recipe):
        return True
    raise UserError(f"{name!r} is registered already with a different declaration; give one of the two another name.")


def recipe(name: str) -> Recipe | None:
    """The recipe of one of our tasks, or None for names that other code registered or nobody did."""
    return _RECIPES.get(name) if name in seqio.TaskRegistry.names() else None


def declared(name: str) -> Any | None:
    """The declaration (`InstructionTask`, `ChatTask`, ...) behind a seqio task's name, or None where it is not one of
    ours."""
    found = recipe(name)
    return None if found is None else found.declaration


def names() -> list[str]:
    """The names of all seqio tasks that were declared here, derived ones included, in the order of registration."""
    return [name for name in _RECIPES if name in seqio.TaskRegistry.names()]


def seqio_task(name: str) -> seqio.Task:
    """The seqio task of that name.

    Raises:
      UserError: there is none.
    """
    known = seqio.TaskRegistry.names()
    if name not in known:
        kind = "a mixture, not a task" if name in seqio.MixtureRegistry.names() else "not a registered task"
        raise UserError(f"{name!r} is {kind}{nearest(name, known)}.")
    return seqio.TaskRegistry.get(name)

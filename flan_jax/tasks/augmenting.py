"""What a run changes about how its instruction tasks are worded, and which inverted tasks it adds.

The run's settings are `flan_jax.data.augment_config.AugmentConfig`; they reach this room as plain words and numbers. An
augmented task is the same declaration with other values, so its fingerprint says all that differs.
"""

import collections
import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from flan_jax.errors import UserError, counted, nearest
from flan_jax.names import meaning
from flan_jax.tasks import registry
from flan_jax.tasks.recipe import Recipe
from flan_jax.tasks.templates import Template
from flan_jax.tasks.variants import Variant

Inverted = float | Mapping[str, float] | None
"""A share of every task's rate, or shares by a task's name, a pattern of names or a cluster."""

_NAMED = 4  # tasks that a notice names


class Inversion(NamedTuple):
    """An inverted task beside the one that it inverts: that one's name, and the share of its rate."""

    of: str
    share: float


def augmented(recipe: Recipe | None, wording: Mapping[str, Any]) -> Recipe | None:
    """A task that words its rows as a run wants them worded.

    Args:
      recipe: a task of ours; one that is no `InstructionTask`'s comes back as it is, and so does None.
      wording: any of "inverted", see `Inverted`, of which NAME.with_inverted has its share; "templates", how many of
        the first word its rows; "shuffle_options"; "word_dropout", a share.
    """
    if not wording or not isinstance(recipe, Variant):
        return recipe
    task = recipe.declaration
    changes: dict[str, Any] = {}
    if most := wording.get("templates"):
        changes = {field: first_of_each(getattr(task, field), most) for field in ("templates", "inverted_templates")}
    if recipe.kind == "with_inverted" and (share := _share_of(recipe.name, wording.get("inverted"))) is not None:
        changes["inverted_share"] = share / (1 + share)
    if wording.get("shuffle_options") and task.options is not None:
        changes["shuffle_options"] = True
    if share := wording.get("word_dropout"):
        changes["word_dropout"] = share
    return dataclasses.replace(recipe, declaration=dataclasses.replace(task, **changes))


def first_of_each(templates: Sequence[Template], most: int) -> tuple[Template, ...]:
    """The first templates, so many of each kind: any row that one of them suited still has one.

    >>> templates = [Template("{a}"), Template("{b}"), Template("{c}", given="c"), Template("{d}")]
    >>> [template.inputs for template in first_of_each(templates, 1)]
    ['{a}', '{c}']
    """
    met: collections.Counter = collections.Counter()
    kept = []
    for template in templates:
        met[template.given, template.lacking] += 1
        if met[template.given, template.lacking] <= most:
            kept.append(template)
    return tuple(kept)


def inversions(names: Sequence[str], wanted: Inverted) -> dict[str, Inversion]:
    """The inverted tasks whose rates a run sets, by their names.

    Args:
      names: the tasks of its mixture.
      wanted: see `Inverted`.

    Raises:
      UserError: a name fits no task that has an inversion, or shares are wanted and no task has one.
    """
    shares = _shares(wanted)
    if not shares:
        return {}
    kinds = {name: getattr(registry.recipe(name), "kind", "") for name in names}
    can = [name for name in names if kinds[name] == "with_inverted" or registry.recipe(f"{name}.inverted") is not None]
    if not can and any(shares.values()):
        raise UserError(
            f"Augment.inverted is {wanted}, and none of the {counted(len(names), 'task')} of MIXTURE has inverted "
            f"templates; declare some, or leave it out"
        )
    for word, share in shares.items():
        if share and not any(_words([word], name) for name in can):
            clusters = {_declared(name).cluster for name in can}
            raise UserError(
                f"Augment.inverted names {word!r}, and no task of MIXTURE that has inverted templates is called so or "
                f"is of such a cluster{nearest(word, [*can, *sorted(clusters - {''})])}"
            )
    found = {name: _share_of(name, wanted) for name in can if kinds[name] != "with_inverted"}
    return {f"{name}.inverted": Inversion(name, share) for name, share in found.items() if share is not None}


def _shares(wanted: Inverted) -> Mapping[str, float]:
    return {} if wanted is None else wanted if isinstance(wanted, Mapping) else {"*": wanted}


def _share_of(name: str, wanted: Inverted) -> float | None:
    """The share that a task has, or None."""
    shares = _shares(wanted)
    words = _words(shares, name)
    return shares[words[0]] if words else None


def _words(given: Iterable[str], name: str) -> list[str]:
    """Those words that mean a task, by its own name or that of its declaration; see `names.meaning`."""
    declared = _declared(name)
    return [word for one in (name, declared.name) for word in meaning(given, one, declared.cluster)]


def _declared(name: str) -> Any:
    """The `InstructionTask` of a task that is known to have one."""
    return registry.declared(name)


def with_inversions(names: Iterable[str], found: Mapping[str, Inversion]) -> list[str]:
    """The tasks of a mixture and the inversions that a run adds, without those that it leaves out.

    >>> found = {"a.inverted": Inversion("a", 0.0), "b.inverted": Inversion("b", 0.3)}
    >>> with_inversions(["a", "a.inverted", "b"], found)
    ['a', 'b', 'b.inverted']
    """
    wanted = {name for name, inversion in found.items() if inversion.share}
    kept = [name for name in names if name not in found or name in wanted]
    return kept + [name for name in found if name in wanted and name not in kept]


def notes(names: Sequence[str], wording: Mapping[str, Any]) -> list[str]:
    """What to say of tasks whose wording a run would change and cannot.

    Args:
      names: the tasks that it trains on.
      wording: see `augmented`.
    """
    changes = [name for name in wording if name != "inverted"]
    recipes = {name: registry.recipe(name) for name in names} if changes else {}
    others = [name for name, recipe in recipes.items() if not isinstance(recipe, Variant)]
    said = []
    if others:
        more = f" and {counted(len(others) - _NAMED, 'more task')}" if len(others) > _NAMED else ""
        settings = ", ".join(f"Augment.{name}" for name in changes)
        said.append(
            f"{settings}: not for {', '.join(others[:_NAMED])}{more}, which no InstructionTask declares; they stay as "
            "they are"
        )
    ours = [recipe for recipe in recipes.values() if isinstance(recipe, Variant)]
    most = max((len(recipe.templates) for recipe in ours), default=0)
    if ours and wording.get("templates", 0) > most:
        said.append(f"Augment.templates is {wording['templates']}, and no task has more than {most}: all are used")
    return said

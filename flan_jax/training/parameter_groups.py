"""Which settings of the optimiser each parameter has, by patterns over names: `OptimizerConfig.groups`."""

import fnmatch
import math
from collections.abc import Iterable
from typing import Any

import jax

from flan_jax.config.training_settings import OptimizerConfig
from flan_jax.errors import UserError, nearest, together
from flan_jax.training.parameter_names import path_names

REST = "rest"  # the label of what no pattern matches


def label_of(number: int) -> str:
    """The label of a pattern, counted from 0: its name in the optimiser's state, where "*" and "." would not do."""
    return f"group_{number + 1}"


def labels(config: OptimizerConfig, params: Any) -> Any:
    """The label of each parameter's group, in the tree of `params`.

    Args:
      config: its `groups` are read; the first pattern that matches a name is taken.
      params: parameters or their shapes.

    Raises:
      UserError: a pattern that no parameter is left for, or nothing that would move.

    >>> embedding = OptimizerConfig(groups={"*.up": {"learning_rate_factor": 0.5}})
    >>> labels(embedding, {"mlp": {"down": 0, "up": 0}})
    {'mlp': {'down': 'rest', 'up': 'group_1'}}
    """
    named = jax.tree_util.tree_map_with_path(lambda path, _: ".".join(path_names(path)), params)
    names = jax.tree.leaves(named)
    patterns = list(config.groups)
    taken = {name: _first(name, patterns) for name in names}
    faults = [_unmatched(pattern, number, names, taken) for number, pattern in enumerate(patterns)]
    if any(faults):
        raise UserError(together([fault for fault in faults if fault]))
    if all(number is not None and config.groups[patterns[number]].get("frozen") for number in taken.values()):
        raise UserError(f"Optimizer.groups freezes every one of the {len(names)} parameters; leave some to train")
    return jax.tree.map(lambda name: REST if (number := taken[name]) is None else label_of(number), named)


def moving(config: OptimizerConfig, params: Any) -> Any:
    """True for each parameter that is not frozen, in the tree of `params`; None where no group freezes any.

    Raises:
      UserError: as `labels`.
    """
    frozen = {label_of(number) for number, group in enumerate(config.groups.values()) if group.get("frozen")}
    return jax.tree.map(lambda label: label not in frozen, labels(config, params)) if frozen else None


def described(config: OptimizerConfig, params: Any) -> list[str]:
    """A line for each group: its pattern, how many numbers it holds, and what differs for them.

    Raises:
      UserError: as `labels`.
    """
    held = dict.fromkeys(config.groups, 0)
    by_label = {label_of(number): pattern for number, pattern in enumerate(config.groups)}
    for label, leaf in zip(jax.tree.leaves(labels(config, params)), jax.tree.leaves(params), strict=True):
        if label != REST:
            held[by_label[label]] += math.prod(leaf.shape)
    said = lambda group: ", ".join(name if value is True else f"{name} {value}" for name, value in group.items())
    return [f"{pattern}: {said(config.groups[pattern])} ({held[pattern]:,} parameters)" for pattern in config.groups]


class Cut:
    """Cuts trees of parameters, or of what goes with them, into what moves and what is held.

    Args:
      flags: from `moving`. Where it is None all moves, and trees stay as they are.
    """

    def __init__(self, flags: Any):
        self.flags = None if flags is None else jax.tree.leaves(flags)

    def moving(self, tree: Any) -> Any:
        """The leaves that move, as a list."""
        if self.flags is None:
            return tree
        return [leaf for leaf, moves in zip(jax.tree.leaves(tree), self.flags, strict=True) if moves]

    def whole(self, moved: Any, held: Any) -> Any:
        """The tree `held` with these leaves in the place of those that move."""
        if self.flags is None:
            return moved
        leaves, shape = jax.tree.flatten(held)
        new = iter(moved)
        merged = [next(new) if moves else leaf for leaf, moves in zip(leaves, self.flags, strict=True)]
        return jax.tree.unflatten(shape, merged)


def _first(name: str, patterns: Iterable[str]) -> int | None:
    return next((number for number, pattern in enumerate(patterns) if fnmatch.fnmatchcase(name, pattern)), None)


def _unmatched(pattern: str, number: int, names: list[str], taken: dict[str, int | None]) -> str:
    """What is wrong with a pattern that no parameter is left for; nothing where there is one."""
    if number in taken.values():
        return ""
    if any(fnmatch.fnmatchcase(name, pattern) for name in names):
        return f"Optimizer.groups: earlier patterns match all that {pattern!r} does; put it before them"
    word, parts = pattern.strip("*.[]?"), dict.fromkeys(part for name in names for part in name.split("."))
    like = nearest(word, names) or nearest(word, parts)
    shown = ", ".join(names[:8]) + (", …" if len(names) > 8 else "")
    return f"Optimizer.groups: no parameter matches {pattern!r}{like}; there are {shown}"

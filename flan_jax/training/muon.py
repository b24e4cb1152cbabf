"""Muon (Jordan 2024): the momentum of a matrix, made nearly orthogonal; from `optax.contrib`.

It is for the matrices between a model's layers. Embeddings, heads, norms and biases go by another rule, as its author
advises. An update is scaled to the size that AdamW's have, 0.2 * sqrt(larger side) (Liu et al. 2025, arXiv 2502.16982),
so that learning rate and decay may be those of AdamW.
"""

import math
from collections.abc import Callable
from typing import Any

import jax
import optax
from optax import contrib

from flan_jax.models.lora import ROWS
from flan_jax.training.parameter_names import path_names, spared

_RMS = 0.2  # of AdamW's updates
_WITHIN = "head_dim"  # an axis that goes with the one before it


def matrix_axes(params: Any) -> dict[tuple[str, ...], contrib.MuonDimensionNumbers]:
    """The parameters that are matrices, by their names, each with the axes that it sums over and that come out.

    A stacked leaf holds a matrix for each layer, and attention's heads make one together. Leaves without `axes`
    metadata (plain arrays) are matrices where they have two dimensions.

    Args:
      params: parameters or their shapes.
    """
    found = {}
    leaves = jax.tree_util.tree_leaves_with_path(params, is_leaf=lambda leaf: hasattr(leaf, "axes"))
    for path, leaf in leaves:
        names = path_names(path)
        axes = getattr(leaf, "axes", None) or (None,) * len(leaf.shape)
        axes = axes[1:] if axes[:1] == ("layers",) else axes
        sides: list[list[int]] = []
        for at, axis in enumerate(axes, start=len(leaf.shape) - len(axes)):
            if axis == _WITHIN and sides:
                sides[-1].append(at)
            else:
                sides.append([at])
        if len(sides) == 2 and "vocab" not in axes and names[-1] not in ROWS and not spared(names):
            found[names] = contrib.MuonDimensionNumbers(tuple(sides[0]), tuple(sides[1]))
    return found


def muon_direction(
    params: Any,
    still: Callable[[optax.GradientTransformation], optax.GradientTransformation],
    others: optax.GradientTransformation,
) -> optax.GradientTransformation:
    """Muon's direction for matrices, another rule's for all else.

    Args:
      params: the whole model's parameters or their shapes.
      still: makes Muon keep its statistics where a step is skipped.
      others: the other rule.
    """
    axes = matrix_axes(params)

    def axes_of(tree: Any) -> Any:
        return jax.tree_util.tree_map_with_path(lambda path, _: axes[path_names(path)], tree)

    def sized(updates: Any, _: Any = None) -> Any:
        def one(path: tuple[Any, ...], update: jax.Array) -> jax.Array:
            sides = axes[path_names(path)]
            larger = max(math.prod(update.shape[at] for at in side) for side in sides)
            return _RMS * math.sqrt(larger) * update

        return jax.tree_util.tree_map_with_path(one, updates)

    muon = optax.chain(still(contrib.scale_by_muon(weight_dimension_numbers=axes_of)), optax.stateless(sized))
    label = lambda path, _: "matrices" if path_names(path) in axes else "others"
    labels = lambda tree: jax.tree_util.tree_map_with_path(label, tree)
    return optax.partition({"matrices": muon, "others": others}, labels)

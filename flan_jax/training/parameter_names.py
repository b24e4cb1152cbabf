"""What the names and the axes of parameters say of them."""

from typing import Any

import jax


def decay_mask(params: Any) -> Any:
    """True for the leaves that weight decay applies to, in the tree of `params`.

    Judged by name, as a norm's scale stacked over layers has two dimensions like a matrix.

    >>> decay_mask({"mlp": {"up": 0, "bias": 0}, "norm": {"scale": 0}, "decoder_bias": {"table": 0}})
    {'decoder_bias': {'table': False}, 'mlp': {'bias': False, 'up': True}, 'norm': {'scale': False}}
    """
    return jax.tree_util.tree_map_with_path(lambda path, _: not spared(path_names(path)), params)


def spared(names: tuple[str, ...]) -> bool:
    """Whether a parameter is a norm's scale, a bias or a table of relative positions."""
    words = [name.lower() for name in names]
    return words[-1].endswith("scale") or any(
        word.endswith("bias") or "norm" in word or "relative" in word for word in words
    )


def path_names(path: tuple[Any, ...]) -> tuple[str, ...]:
    """A tree path as plain names: `(DictKey('mlp'), DictKey('up'), GetAttrKey('value'))` is `('mlp', 'up')`.

    The attribute by which a Flax variable holds its array is left out, so that a tree of variables and a tree of
    arrays give the same names.

    >>> [path_names(path) for path, _ in jax.tree_util.tree_flatten_with_path({"a": [1, 2]})[0]]
    [('a', '0'), ('a', '1')]
    """
    names = []
    for key in path:
        for attribute in ("key", "name", "idx"):
            if hasattr(key, attribute):
                names.append(str(getattr(key, attribute)))
                break
    if len(path) > 1 and isinstance(path[-1], jax.tree_util.GetAttrKey) and names[-1] == "value":
        names.pop()
    return tuple(names)


def layer_counts(params: Any) -> Any:
    """The number of layers stacked in front of each leaf, 0 for a leaf that stands alone, in the tree of `params`.

    A leaf is stacked where its `axes` metadata names fewer axes than it has dimensions, or names "layers" first.
    Leaves without such metadata (plain arrays) stand alone.
    """

    def count(leaf: Any) -> Any:
        axes = getattr(leaf, "axes", None)
        if axes is None:
            return jax.tree.map(lambda _: 0, leaf)
        stacked = len(leaf.shape) > len(axes) or tuple(axes[:1]) == ("layers",)
        return jax.tree.map(lambda array: int(array.shape[0]) if stacked else 0, leaf)

    return jax.tree.map(count, params, is_leaf=lambda leaf: hasattr(leaf, "axes"))

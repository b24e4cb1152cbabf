"""Wordings shared by the tasks of a cluster, with each task's own words filled in."""

from collections.abc import Sequence

from flan_jax.tasks import Template


def wordings(patterns: Sequence[str], targets: str = "{answer}", **words: str) -> tuple[Template, ...]:
    """Templates from patterns; what is not among `words` stays a field of the row.

    >>> wordings(["Name the {kind}. {passage}"], kind="animal")
    (Template(inputs='Name the animal. {passage}', targets='{answer}'),)
    """
    filled = list(patterns)
    for name, word in words.items():
        filled = [pattern.replace("{" + name + "}", word) for pattern in filled]
    return tuple(Template(pattern, targets) for pattern in filled)

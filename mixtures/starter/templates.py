"""Templates shared by the tasks of a cluster, with each task's own words filled in."""

from collections.abc import Sequence

from flan_jax.tasks import Template


def fill(patterns: Sequence[str], targets: str = "{answer}", **words: str) -> tuple[Template, ...]:
    """Templates from patterns; what is not among `words` stays a field of the row.

    >>> fill(["Name the {kind}. {passage}"], kind="animal")[0].inputs
    'Name the animal. {passage}'
    """
    filled = list(patterns)
    for name, word in words.items():
        filled = [pattern.replace("{" + name + "}", word) for pattern in filled]
    return tuple(Template(pattern, targets) for pattern in filled)

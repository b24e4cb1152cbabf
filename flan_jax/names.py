"""Names of mixtures and tasks as settings give them: one or several with commas between, and names that mean many."""

import fnmatch


def names_in(text: str) -> list[str]:
    """The names that a setting gives, each once.

    "starter,own_text_causal_lm" means the tasks of both; a task that is in both has the sum of its rates.

    >>> names_in("starter, own_text_causal_lm")
    ['starter', 'own_text_causal_lm']
    """
    return list(dict.fromkeys(name for part in text.split(",") if (name := part.strip())))


def is_named(by: str, task: str, cluster: str = "") -> bool:
    """Whether a setting means a task: by its name, a pattern of names, or its cluster.

    >>> is_named("flan.*", "flan.boolq"), is_named("nli", "rte", cluster="nli"), is_named("rte", "rte.inverted")
    (True, True, False)
    """
    return by in (task, cluster) or fnmatch.fnmatchcase(task, by)

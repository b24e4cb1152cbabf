"""Names of mixtures and tasks as settings give them: one or several with commas between, and names that mean many."""

import fnmatch
from collections.abc import Iterable


def names_in(text: str) -> list[str]:
    """The names that a setting gives, each once.

    "starter,own_text_causal_lm" means the tasks of both; a task that is in both has the sum of its rates.

    >>> names_in("starter, own_text_causal_lm")
    ['starter', 'own_text_causal_lm']
    """
    return list(dict.fromkeys(name for part in text.split(",") if (name := part.strip())))


def meaning(words: Iterable[str], task: str, cluster: str = "", objective: str = "") -> list[str]:
    """Those of a setting's words that mean a task, the most special first.

    A word is a task's name, a pattern of names, a cluster or an objective, and is as special in this order; of patterns
    the longest is.

    >>> meaning(["nli", "*", "rte*", "rte"], "rte", cluster="nli"), meaning(["nli", "rte"], "rte.inverted")
    (['rte', 'rte*', '*', 'nli'], [])
    """
    words = list(words)
    patterns = sorted((word for word in words if fnmatch.fnmatchcase(task, word)), key=len, reverse=True)
    special = (task, *patterns, cluster, objective)
    return [word for word in dict.fromkeys(special) if word and word in words]

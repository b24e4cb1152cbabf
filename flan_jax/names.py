"""Names of mixtures and tasks as settings give them: one, or several with commas between."""


def names_in(text: str) -> list[str]:
    """The names that a setting gives, each once.

    "starter,own_text_causal_lm" means the tasks of both; a task that is in both has the sum of its rates.

    >>> names_in("starter, own_text_causal_lm")
    ['starter', 'own_text_causal_lm']
    """
    return list(dict.fromkeys(name for part in text.split(",") if (name := part.strip())))

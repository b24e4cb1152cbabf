"""What is wrong with loss masks, as it is counted and told; the data process proves them, see `preparing.proof`."""

from collections.abc import Mapping

WRONG_MASKS = {
    "wrong_untrained": "without a trained token",
    "wrong_cut": "cut to nothing",
    "wrong_begin": "begun twice",
    "wrong_end": "without an end",
    "wrong_start": "trained before the answer",
    "wrong_text": "of another text",
}
"""The counts of a `flan_jax.tasks.tally.Tally` that say why an example's loss mask is wrong, and how each is told."""


def wrong_in(tally: Mapping[str, int]) -> dict[str, int]:
    """The counts of a tally that are of wrong masks."""
    return {check: tally[check] for check in WRONG_MASKS if tally.get(check)}


def wrong_words(wrong: Mapping[str, int]) -> str:
    """Such counts in words.

    >>> wrong_words({"wrong_cut": 9, "wrong_end": 3})
    '9 cut to nothing, 3 without an end'
    """
    return ", ".join(f"{count:,} {WRONG_MASKS[check]}" for check, count in wrong.items())

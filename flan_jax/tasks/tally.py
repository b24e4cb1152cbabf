"""What became of the examples that were read: nothing is left out without being counted."""

import dataclasses
from collections.abc import Callable
from typing import Literal

from flan_jax.errors import UserError

OnBadRow = Literal["error", "skip"]
OnLong = Literal["truncate", "refuse", "drop"]


@dataclasses.dataclass
class Tally:
    """Counts of one pass over a task.

    Every row that is read is kept, bad, dropped, too long or, once its tokens are there, of a wrong mask; for tasks
    that cut a row into several examples, `read` counts those.

    Attributes:
      read: examples read.
      kept: examples handed on.
      bad_rows: rows that could not be used and were skipped because `on_bad_row` is "skip".
      dropped: rows left out on purpose: by the task's `preprocess`, or because their targets are empty.
      truncated: examples from which something was cut (they are among `kept`).
      cut_tokens: how many tokens were cut from those.
      too_long: examples left out because they do not fit.
      pruned_exemplars: few-shot exemplars left out so that the prompt fits.
      proved: examples whose loss mask was proved on their tokens.
      wrong_untrained: examples of which no token would be trained.
      wrong_cut: examples of which nothing but an end would be trained.
      wrong_begin: examples that hold the token that begins a text more often than a row may.
      wrong_end: examples in which something trained does not end in a token that ends an answer.
      wrong_start: examples in which training starts before the first answer.
      wrong_text: examples whose trained tokens do not read as their text.
    """

    read: int = 0
    kept: int = 0
    bad_rows: int = 0
    dropped: int = 0
    truncated: int = 0
    cut_tokens: int = 0
    too_long: int = 0
    pruned_exemplars: int = 0
    proved: int = 0
    wrong_untrained: int = 0
    wrong_cut: int = 0
    wrong_begin: int = 0
    wrong_end: int = 0
    wrong_start: int = 0
    wrong_text: int = 0


class BadRow(Exception):
    """A row that cannot be used; its text says why, without the row's place."""


def bad_row(place: Callable[[], str], why: object, on_bad_row: str, tally: Tally | None) -> None:
    """Raises for a bad row, or counts it where they are to be skipped.

    Args:
      place: gives the row's place, for example "reviews.jsonl:17"; asked only for an error.
      why: what is wrong with it.
      on_bad_row: "error" or "skip".
      tally: counts the row as read and bad; None counts nothing.

    Raises:
      UserError: when `on_bad_row` is "error".
    """
    if on_bad_row == "error":
        raise UserError(f"{place()}: {why}. To leave such rows out and count them, add --on_bad_row skip.")
    if tally is not None:
        tally.read += 1
        tally.bad_rows += 1

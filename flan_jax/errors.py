"""Faults that the user can mend, told in a sentence."""

import difflib
import sys
from collections.abc import Iterable


class UserError(Exception):
    """A fault in what the user gave; `flan-jax` prints it as one sentence and exits with code 2.

    The message names what was seen, what was wanted and the setting to change.
    """


def users_line(error: BaseException, but_in: str = "<frozen") -> str:
    """The last place in the user's own code that an error passed, as " (file, line N)"; empty where it passed none.

    Args:
      error: what was raised.
      but_in: a folder whose code is not the user's, besides what is installed.
    """
    trace, place = error.__traceback__, ""
    while trace is not None:
        name = trace.tb_frame.f_code.co_filename
        if not name.startswith((sys.prefix, sys.base_prefix, "<frozen", but_in)):
            place = f" ({name}, line {trace.tb_lineno})"
        trace = trace.tb_next
    return place


def nearest(word: str, known: Iterable[str], most: int = 3) -> str:
    """Names the closest known words, ready to be appended to an error message.

    Args:
      word: what the user wrote.
      known: the names that would have been accepted.
      most: how many names to offer.

    Returns:
      A phrase that starts with "; ", or an empty string when nothing is close.

    >>> nearest("startr", ["starter", "chat"])
    "; did you mean 'starter'?"
    >>> nearest("xyz", ["starter"])
    ''
    """
    close = difflib.get_close_matches(word, list(known), n=most, cutoff=0.6)
    return f"; did you mean {' or '.join(repr(name) for name in close)}?" if close else ""

"""Faults that the user can mend, told in a sentence each."""

import difflib
import errno
import sys
from collections.abc import Iterable, Sequence

_EACH = "\n- "  # stands before each of several faults


class UserError(Exception):
    """A fault in what the user gave; `flan-jax` prints it and exits with code 2.

    The message names what was seen, what was wanted and the setting to change. Several faults are joined by `together`.
    """

    def each(self) -> list[str]:
        """The faults one by one, each with what the message says of all of them before it.

        >>> UserError(together(["a is 1", "b is 2"], "Optimizer")).each()
        ['Optimizer: a is 1', 'Optimizer: b is 2']
        """
        head, *faults = str(self).split(_EACH)
        of_all = head.rpartition(", ")[0] if ", " in head else ""
        return [f"{of_all}: {fault}" if of_all else fault for fault in faults] or [head]


class NotFinite(UserError):
    """Figures that are infinite or not a number, where nothing can go on with them."""


def together(faults: Sequence[str], head: str = "", many: str = "{} faults:") -> str:
    """Joins faults into one message, in which each has a line.

    Args:
      faults: one or more.
      head: what they have in common: the file, the section.
      many: said of several, with their number.

    >>> together(["a is 1"], "Optimizer")
    'Optimizer: a is 1'
    >>> print(together(["a is 1", "b is 2"], "Optimizer"))
    Optimizer, 2 faults:
    - a is 1
    - b is 2
    """
    faults = [" ".join(fault.split()) for fault in faults]
    if len(faults) == 1:
        return f"{head}: {faults[0]}" if head else faults[0]
    return _EACH.join([(f"{head}, " if head else "") + many.format(len(faults)), *faults])


def told(message: str) -> str:
    """A message as it is printed: a line for each fault, and a stop at each one's end.

    >>> print(told(together(["no 'startr'; did you mean 'starter'?", "SEED is -1"])))
    2 faults:
      no 'startr'; did you mean 'starter'?
      SEED is -1.
    """
    lines = (" ".join(part.split()).replace("?.", "?") for part in message.split(_EACH))
    return "\n  ".join(line if line.endswith((".", "?", "!", ":")) else f"{line}." for line in lines)


def counted(number: int, noun: str, nouns: str = "") -> str:
    """A number with its noun, in the plural where it is not one.

    Args:
      number: how many.
      noun: of one.
      nouns: of several; by default with an "s" behind it.

    >>> counted(1, "task"), counted(1200, "task"), counted(0, "loss", "losses")
    ('1 task', '1,200 tasks', '0 losses')
    """
    return f"{number:,} {noun if number == 1 else nouns or f'{noun}s'}"


# What the system says of a path that cannot be what it is used as, whatever lies there.
_PATH_FAULTS = (errno.ENAMETOOLONG, errno.ENOTDIR, errno.EISDIR, errno.EROFS, errno.EACCES)
_SHOWN_PATH = 120


def path_fault(error: OSError) -> str | None:
    """Tells an error of the system by the path that the user gave; None where it is none of a path's.

    >>> path_fault(NotADirectoryError(errno.ENOTDIR, "Not a directory", "notes.txt/resolved"))
    "'notes.txt/resolved': Not a directory; name another path in the setting or flag that leads there"
    """
    if error.filename is None or error.errno not in _PATH_FAULTS:
        return None
    name = str(error.filename)
    name = name if len(name) <= _SHOWN_PATH else f"{name[:_SHOWN_PATH]}…"
    return f"{name!r}: {error.strerror}; name another path in the setting or flag that leads there"


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
      A phrase that starts with "; ", or an empty string when nothing is close. What dotted names share before their
      last dot makes them no closer, and capitals no further apart.

    >>> nearest("startr", ["starter", "chat"])
    "; did you mean 'starter'?"
    >>> nearest("optax.adamm", ["optax.adam", "optax.ema"])
    "; did you mean 'optax.adam'?"
    >>> nearest("xyz", ["starter"])
    ''
    """
    names = list(dict.fromkeys(known))
    head = word.rpartition(".")[0] + "." if "." in word else ""
    within = [name for name in names if head and name.startswith(head)]
    for at, among in ((len(head), within), (0, [name for name in names if name not in set(within)])):
        tails: dict[str, list[str]] = {}
        for name in among:
            tails.setdefault(name[at:].lower(), []).append(name)
        close = difflib.get_close_matches(word[at:].lower(), tails, n=most, cutoff=0.7)
        if found := [name for tail in close for name in tails[tail]][:most]:
            return f"; did you mean {' or '.join(map(repr, found))}?"
    return ""

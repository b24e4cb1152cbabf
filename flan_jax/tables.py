"""Aligned text tables."""

from collections.abc import Sequence
from typing import Any

from flan_jax.errors import counted


def table(heads: Sequence[str], rows: Sequence[Sequence[Any]], rule_before: Sequence[int] = ()) -> str:
    """Lays out rows under their heads; text to the left, numbers to the right.

    Args:
      heads: names of the columns.
      rows: cells; None is shown as a dash.
      rule_before: indices of rows that get a rule above them.

    >>> print(table(["task", "count"], [["qa", 1200], ["nli", None]]))
    task  count
    -----------
    qa    1,200
    nli       -
    """
    cells = [[_shown(cell) for cell in row] for row in rows]
    widths = [max(len(head), *(len(row[i]) for row in cells)) if cells else len(head) for i, head in enumerate(heads)]
    right = [all(not isinstance(row[i], str) for row in rows) and bool(rows) for i in range(len(heads))]

    def line(row: Sequence[str]) -> str:
        shown = [c.rjust(w) if r else c.ljust(w) for c, w, r in zip(row, widths, right, strict=True)]
        return "  ".join(shown).rstrip()

    rule = "-" * (sum(widths) + 2 * (len(widths) - 1))
    lines = [line(heads), rule]
    for number, row in enumerate(cells):
        lines += [rule] * (number in rule_before) + [line(row)]
    return "\n".join(lines)


def _shown(cell: Any) -> str:
    if cell is None:
        return "-"
    if isinstance(cell, bool) or not isinstance(cell, int | float):
        return str(cell)
    return f"{cell:,}" if isinstance(cell, int) else f"{cell:,.2f}"


def few(names: Sequence[str], most: int = 4, between: str = ", ") -> str:
    """The first few of many names of tasks.

    >>> few(["a", "b", "c"], most=1), few(["a"])
    ('a, and 2 more tasks', 'a')
    """
    rest = len(names) - most
    return between.join([*names[:most], *([f"and {counted(rest, 'more task')}"] if rest > 0 else [])])


def percent(part: float | None, digits: int = 1) -> str:
    """A rate as people read it.

    >>> percent(0.123), percent(None)
    ('12.3%', '-')
    """
    return "-" if part is None else f"{100 * part:.{digits}f}%"


class Share(float):
    """A float that a table shows as a percentage, to the right like any number."""

    def __format__(self, spec: str) -> str:
        return f"{100 * float(self):.1f}%"


def in_bytes(count: float) -> str:
    """A number of bytes as a person reads it.

    >>> in_bytes(512), in_bytes(2.5e9)
    ('512 B', '2.5 GB')
    """
    for unit in ("B", "kB", "MB", "GB"):
        if count < 1000:
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1000
    return f"{count:.1f} TB"

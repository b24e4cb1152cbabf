"""Two plans side by side: what each gives every task and every cluster, and where they differ most."""

from collections.abc import Mapping, Sequence
from typing import Any

from flan_jax import tables
from flan_jax.errors import counted

_FIGURES = ("rate", "share", "epochs")
_OF_A_RUN = ("mixture", "estimate", "steps", "batch_size", "rows")


def compared(tables_by_name: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """Puts two plans side by side.

    Args:
      tables_by_name: what `plan_table.plan_table` made of each of two runs, by the runs' names.

    Returns:
      {"runs": what they are, "tasks": a row each, "clusters": a row each}. A row has the "task" or "cluster", and under
      "runs" for each run its "rate" (share of the examples), "share" (of the tokens that bear loss) and "epochs"; None
      where the run has none of it.
    """
    both = list(tables_by_name.values())
    return {
        "runs": [
            {"name": name, **{key: one[key] for key in _OF_A_RUN}, "trainable": one["total"]["trainable"]}
            for name, one in tables_by_name.items()
        ],
        "tasks": _side_by_side("task", [one["tasks"] for one in both]),
        "clusters": _side_by_side("cluster", [one["clusters"] for one in both]),
    }


def _side_by_side(key: str, both: Sequence[Sequence[Mapping[str, Any]]]) -> list[dict[str, Any]]:
    """Rows of both by what they are of, in the order of the first."""
    by_name = [{row[key]: row for row in rows} for rows in both]
    names = dict.fromkeys(name for rows in by_name for name in rows)
    figures = [
        [{figure: rows[name][figure] for figure in _FIGURES} if name in rows else None for rows in by_name]
        for name in names
    ]
    return [{key: name, "runs": runs} for name, runs in zip(names, figures, strict=True)]


def difference(row: Mapping[str, Any]) -> float:
    """By how much two runs differ in a row of `compared`: in the share of examples or of trainable tokens.

    >>> difference({"runs": [{"rate": 0.5, "share": 0.2}, {"rate": 0.4, "share": 0.5}]})
    0.3
    >>> difference({"runs": [None, {"rate": 0.4, "share": 0.1}]})
    0.4
    """
    one, other = (figures or {"rate": 0.0, "share": 0.0} for figures in row["runs"])
    return max(abs(one[key] - other[key]) for key in ("rate", "share"))


def render_comparison(comparison: Mapping[str, Any], most: int = 40) -> str:
    """A comparison as text; of more than `most` tasks or clusters, those that differ most."""
    lines = [
        f"{letter}: {run['name']}, {run['steps']:,} steps of {run['batch_size']} rows of {run['mixture']!r}, "
        f"{run['trainable']:,} trainable tokens" + (" (an estimate from a sample)" if run["estimate"] else "")
        for letter, run in zip("AB", comparison["runs"], strict=True)
    ]
    lines += ["", "Shares of the examples and of the trainable tokens, and epochs, in A and in B"]
    tasks, clusters = comparison["tasks"], comparison["clusters"]
    lines.append(_table("task", tasks, most))
    for letter, number in (("A", 0), ("B", 1)):
        if alone := [row["task"] for row in tasks if row["runs"][1 - number] is None]:
            lines.append(
                f"in {letter} alone: {', '.join(alone) if len(alone) <= most else counted(len(alone), 'task')}"
            )
    if 1 < len(clusters) < len(tasks):
        named = [{**row, "cluster": row["cluster"] or "of no cluster"} for row in clusters]
        lines += ["", _table("cluster", named, most)]
    return "\n".join(lines)


def _table(key: str, rows: Sequence[Mapping[str, Any]], most: int) -> str:
    if len(rows) > most:
        rows = sorted(rows, key=difference, reverse=True)
    cells = [_cells(row[key], row["runs"]) for row in rows[:most]]
    if rest := rows[most:]:
        of_both = [[figures[number] for figures in (row["runs"] for row in rest)] for number in (0, 1)]
        summed = [
            {name: sum(one[name] for one in ones if one) for name in ("rate", "share")} | {"epochs": None}
            for ones in of_both
        ]
        cells.append(_cells(f"… {counted(len(rest), f'more {key}')}, less apart", summed))
    heads = [f"{word} {letter}" for word in ("examples", "trainable", "epochs") for letter in "AB"]
    return tables.table([key, *heads], cells)


def _cells(name: str, runs: Sequence[Mapping[str, Any] | None]) -> list[Any]:
    values = [None if one is None else one[figure] for figure in _FIGURES for one in runs]
    return [name, *(value if value is None else tables.Share(value) for value in values[:4]), *values[4:]]

"""The plan of a run as text: tables by task and by cluster, and a line for each thing that is to be known of it."""

from collections.abc import Mapping, Sequence
from typing import Any

from flan_jax import tables
from flan_jax.data import part_shares
from flan_jax.data.wrong_masks import wrong_words
from flan_jax.errors import counted
from flan_jax.plan_table import SUMMED
from flan_jax.teacher_plan import teacher_line

_TASKS = 6  # that a line names
_HEADS = ("task", "examples", "cap", "rate", "seen", "epochs", "tokens", "trainable", "share", "truncated", "dropped")


def render_plan(table: dict[str, Any], most: int = 40) -> str:
    """The plan as text; of more than `most` tasks, the largest are shown and the rest is summed."""
    rows = sorted(table["tasks"], key=lambda row: -row["rate"]) if len(table["tasks"]) > most else table["tasks"]
    shown = [_cells(row) for row in rows[:most]]
    if rest := rows[most:]:
        summed = {key: sum(row[key] for row in rest) for key in table["total"]}
        shown.append(_cells({"task": f"… {len(rest)} more tasks", "cap": None, "epochs": None, **summed}))
    shown.append(_cells({"task": counted(len(rows), "task"), "cap": None, "epochs": None, **table["total"]}))
    model = table["model"]
    state = tables.in_bytes(model["state_bytes"])
    adapters = model["trained"] if model["trained"] != model["parameters"] else 0
    beside = f" that stay as they are, {adapters:,} in adapters" if adapters else ""
    lines = [
        f"Plan of {table['mixture']!r}" + (" (an estimate from a sample)" if table["estimate"] else ""),
        tables.table(_HEADS, shown, rule_before=[len(shown) - 1]),
        *_cluster_table(table, most),
        *_steps_told(table),
        read_as(table["vocabulary"], table["forms"]),
        *table.get("added", []),
        *([f"augmented: {'; '.join(table['augment'])}"] if table.get("augment") else []),
        f"model: {model['parameters']:,} parameters{beside}; with the optimiser's state {state}",
        *(f"optimiser: {said}" for said in model.get("groups", ())),
    ]
    lines += _of_the_loss(table)
    lines += part_shares.told(table.get("parts", ()), table.get("prepared_text", ()))
    if not table["estimate"]:
        lines.append(mask_line(table))
    if missing := table.get("missing"):
        lines.append(f"left out, as their corpora cannot be had or give no rows: {', '.join(missing)}")
    lines += table.get("order", [])
    lines += _hygiene(table.get("hygiene")) + [f"leak: {said}" for said in table.get("leaks") or ()]
    if by_hand := table.get("from_samples"):
        which = f"{counted(len(by_hand), 'task')}" if len(by_hand) > 5 else ", ".join(by_hand)
        lines.append(f"not at hand, so counts are as declared and lengths of a made-up row: {which}")
    if "seconds" in table:
        minutes, speed = table["seconds"] / 60, table["tokens_per_second"]
        lines.append(f"about {minutes:.0f} min at the {speed:,.0f} tokens/s of this run's last steps")
    return "\n".join(lines)


def _steps_told(table: Mapping[str, Any]) -> list[str]:
    """The steps and their rows, in a line for each kind of rows."""
    lines = []
    for number, lane in enumerate(table.get("lanes", [table])):
        full = ", ".join(f"{name} {share:.1%}" for name, share in lane["full"].items())
        row = " + ".join(f"{length} {name}" for name, length in lane["row"].items())
        of = ("", " of plain text alone")[number]
        said = f"{lane['steps']:,} steps of {lane['batch_size']} rows{of} ({row} tokens)"
        lines.append(f"{said}; positions that hold tokens: {full}")
    return lines


def _of_the_loss(table: Mapping[str, Any]) -> list[str]:
    """Lines on loss weights and on the teacher."""
    lines = []
    if weights := table.get("loss_weights"):
        said = [
            f"{word} {weight:g}" + ("" if weight else " (read, not learnt)")
            for word, weight in weights["tasks"].items()
        ]
        if weights["plain_text"] != 1:
            said.append(f"plain text {weights['plain_text']:g}")
        if weights["prompts"]:
            said.append(f"prompts {weights['prompts']:g}, whose tokens are not among the trainable ones above")
        lines.append(f"loss weights: {', '.join(said)}")
    return lines + ([teacher_line(table["teacher"])] if "teacher" in table else [])


def mask_line(table: Mapping[str, Any]) -> str:
    """What was proved of the loss masks of a plan's examples, in a line.

    >>> mask = {"proved": 80, "trained": 0.25, "left_out": {"wrong_cut": 3}}
    >>> total = {"tokens": 4000, "trainable": 1000}
    >>> mask_line({"tasks": [{"task": "alpaca", "examples": 80, "mask": mask}], "total": total})
    'mask proved on 80 examples of 1 task, 25.0% of whose tokens are trained; left out: 3 (alpaca: 3 cut to nothing)'
    """
    rows = [(row["task"], row["examples"], row.get("mask", {"proved": 0, "left_out": {}})) for row in table["tasks"]]
    proved = sum(mask["proved"] for _, _, mask in rows)
    unproved = [name for name, examples, mask in rows if mask["proved"] < examples]
    trained = tables.percent(table["total"]["trainable"] / max(1, table["total"]["tokens"]))
    of = f"{counted(proved, 'example')} of {counted(len(rows) - len(unproved), 'task')}"
    said = f"mask proved on {of}, {trained} of whose tokens are trained" if proved else "mask proved on no example"
    if unproved:
        said += f"; not proved: {tables.few(unproved)}, whose stores an earlier version wrote"
    wrong = [(name, mask["left_out"]) for name, _, mask in rows if mask["left_out"]]
    if wrong:
        count = sum(sum(left_out.values()) for _, left_out in wrong)
        named = [f"{name}: {wrong_words(left_out)}" for name, left_out in wrong]
        said += f"; left out: {count:,} ({tables.few(named, between='; ')})"
    return said


def _hygiene(found: Mapping[str, Any] | None) -> list[str]:
    """What hygiene left out or reported: a line a reason, with the tasks that have most of it."""
    if found is None:
        return []
    lines = []
    for key, said in (("left_out", "left out by Hygiene"), ("reported", "reported by Hygiene")):
        for why, count in found[key].items():
            most = sorted((task for task in found["tasks"] if task[key].get(why)), key=lambda task: -task[key][why])
            shown = tables.few([f"{task['name']} {task[key][why]:,}" for task in most], _TASKS)
            lines.append(f"{said}, {why}: {counted(count, 'example')} ({shown})")
    lines += [f"all of it left out by Hygiene: {task['name']}" for task in found["tasks"] if not task["count"]]
    if found["skipped"]:
        lines.append(f"not compared with, as their data cannot be had: {', '.join(found['skipped'])}")
    return lines or ["Hygiene leaves nothing out"]


FORMS = {"chat": "as chat, by the model's template", "roles": "as chat, by the roles' names", "plain": "plain"}


def read_as(vocabulary: dict[str, Any], forms: dict[str, int]) -> str:
    """What the tasks are read with and how they are written, in a line.

    >>> read_as({"name": "/models/Llama/tokenizer.json", "size": 128256}, {"chat": 3, "plain": 1})
    "vocabulary: Llama/tokenizer.json (128,256 ids); written as chat, by the model's template: 3 tasks, plain: 1 task"
    """
    short = "/".join(vocabulary["name"].split("/")[-2:])
    counts = {form: f": {counted(count, 'task')}" if len(forms) > 1 else "" for form, count in forms.items()}
    said = ", ".join(f"{FORMS.get(form, form)}{count}" for form, count in counts.items())
    return f"vocabulary: {short} ({vocabulary['size']:,} ids); written {said}"


def _cells(row: Mapping[str, Any], heads: Sequence[str] = _HEADS) -> list[Any]:
    return [tables.Share(row[name]) if name in ("rate", "share") else row[name] for name in heads]


def _cluster_table(table: Mapping[str, Any], most: int) -> list[str]:
    """The sums of clusters, where they are fewer than the tasks; of more than `most`, the largest are shown."""
    if not 1 < len(table["clusters"]) < len(table["tasks"]):
        return []
    rows = [{**row, "cluster": row["cluster"] or "of no cluster"} for row in table["clusters"]]
    rows.sort(key=lambda row: -row["rate"])
    if rest := rows[most:]:
        summed = {key: sum(row[key] for row in rest) for key in ("tasks", *SUMMED)}
        rows = [*rows[:most], {"cluster": f"… {len(rest)} more clusters", "epochs": None, **summed}]
    heads = ("cluster", "tasks", "examples", "rate", "seen", "epochs", "tokens", "trainable", "share")
    return ["", tables.table(heads, [_cells(row, heads) for row in rows]), ""]

"""Tables of scores: before and after tuning, beside chance and the best sibling instruction.

An eval mixture may hold, for a task NAME, two kinds of entry besides itself: `NAME.held_out_templates` (the same rows
under templates not trained on), and `NAME.as_OTHER` (the same rows and answers under another task's instruction).
A score under OTHER's instruction is the control: a model that reads its instruction does not give NAME's answer there.
For a task that was held out whole, the best of its `as_OTHER` scores is what following the nearest trained instruction
would earn.

Losses of held-out plain text, see `held_out_text`, are a group of their own.

Figures are told together only where they are of one unit: percentages, losses, or one other metric's own. The groups
of percentages go by their plain names, the others as "seen templates: loss".
"""

import dataclasses
import math
import re
from collections.abc import Mapping, Sequence
from typing import Any

from flan_jax import tables
from flan_jax.errors import UserError, nearest
from flan_jax.evaluation import cluster_scores

_HELD_OUT, _AS = ".held_out_templates", ".as_"
# What names of encodings end in, see `flan_jax.tasks.formats`.
_ENCODED = r"task_name|definition|examples|(one|four)_positive|negative|(negative_and_)?explanations"
_ENCODED += r"|with_title|without_\w+|no_instruction|prompt(_\w+)?|positive_examples"
_OF_TEMPLATES = r"held_out_templates|inverted|with_inverted|no_options|(\d+_to_)?\d+_shot"
_DERIVED = re.compile(rf"(\.({_OF_TEMPLATES}|{_ENCODED}))+$")
SEEN, TEMPLATES, TASKS = "seen templates", "held-out templates", "held-out tasks"
BOTH, CONTROL = "held-out tasks under held-out templates", "another task's instruction"
TEXT = "held-out pretraining"
GROUPS = (SEEN, TEMPLATES, TASKS, BOTH, CONTROL, TEXT)


PERCENT, LOSS = "%", "loss"
MEAN = "mean/score"
WORST = 5  # tasks of a group that are shown, the worst
_FAILURES = 5  # failures that are shown


def of_text(score: Any) -> Any:
    """A score that says of itself that it is of held-out plain text."""
    return dataclasses.replace(score, about={**score.about, "part": "pretraining"})


def is_text(about: Mapping[str, Any]) -> bool:
    """Whether a score with such facts is of held-out plain text."""
    return about.get("part") == "pretraining"


def _plain(scores: Sequence[Any]) -> list[Any]:
    """Scores without the controls and held-out text; these where there is nothing else."""
    tasks = [score for score in scores if not is_text(score.about)] or list(scores)
    return [score for score in tasks if _AS not in score.task] or tasks


def metrics_of(scores: Sequence[Any]) -> dict[str, float]:
    """Scores as metrics for the choice of the best checkpoint: one a task, and "mean/score" where there is a mean.

    The mean is of percentages, without the controls and held-out text; losses and other figures take no part. Where
    there are no percentages it is of what is left, if that has one unit; losses count downwards then. There is no mean
    where a task of it could not be scored: it would be of other tasks than another step's.
    """
    shown = {f"{score.task}/score": score.score for score in scores if score.score is not None}
    plain = _plain(scores)
    of = [score for score in plain if score.unit == PERCENT] or plain
    if of and len({score.unit for score in of}) == 1 and all(score.score is not None for score in of):
        sign = -1 if of[0].unit == LOSS else 1
        shown[MEAN] = sign * sum(score.score for score in of) / len(of)
    return shown


def check_metric(setting: str, name: str, tasks: Sequence[str]) -> None:
    """Checks that a metric by which checkpoints are judged is one that these tasks' scores have.

    Args:
      setting: which names it, for the error.
      name: the metric.
      tasks: what is scored.

    Raises:
      UserError: it is none of them.
    """
    known = [MEAN, *(f"{task}/score" for task in tasks)]
    if name not in known:
        raise UserError(
            f"{setting} is {name!r}; the scores of EVAL_MIXTURE are {', '.join(known[:_FAILURES])}"
            f"{', …' if len(known) > _FAILURES else ''}{nearest(name, known)}"
        )


def one_line(scores: Sequence[Any]) -> str:
    """The mean of each unit, for the log; another task's instruction takes no part."""
    plain = _plain([score for score in scores if not is_text(score.about)])
    said = []
    for unit in dict.fromkeys(score.unit for score in plain):
        of = [score.score for score in plain if score.unit == unit and score.score is not None]
        if of:
            mean = sum(of) / len(of)
            name, shown = ("score", f"{mean:.1f}") if unit == PERCENT else (unit, f"{mean:.4f}")
            said.append(f"mean {name} {shown} over {_tasks(len(of))}")
    if text := [score.score for score in scores if is_text(score.about)]:
        said.append(f"mean pretraining loss {sum(text) / len(text):.4f} over {_tasks(len(text))}")
    failed = sum(score.score is None for score in plain)
    return ", ".join(said + [f"{_tasks(failed)} without a score"] * bool(failed))


def logged(scores: Sequence[Any], trained: Sequence[str]) -> dict[str, Any]:
    """Scores as the run's log keeps them, under names that TensorBoard takes.

    Returns:
      {"mean", where there is one; "by_group": means; "by_task": every figure of each task}.
    """
    metrics = metrics_of(scores)
    groups = table([dataclasses.asdict(score) for score in scores], None, trained, 0)["groups"]
    by_group = {_tag(name): figures["after"] for name, figures in groups.items() if figures["after"] is not None}
    by_task = {
        score.task: {name: value for name, value in score.metrics.items() if value is not None} for score in scores
    }
    mean = {"mean": metrics[MEAN]} if MEAN in metrics else {}
    return {**mean, "by_group": by_group, "by_task": {task: figures for task, figures in by_task.items() if figures}}


def _tag(name: str) -> str:
    """
    >>> _tag("another task's instruction: loss")
    'another_tasks_instruction_loss'
    """
    return name.replace("'", "").replace(":", "").replace(" ", "_")


def _tasks(count: int) -> str:
    return f"{count} task{'s' * (count != 1)}"


def table(
    after: Sequence[Mapping[str, Any]], before: Sequence[Mapping[str, Any]] | None, trained: Sequence[str], step: int
) -> dict[str, Any]:
    """Joins scores into rows and groups.

    Args:
      after: scores as `dataclasses.asdict(TaskScore)`.
      before: the same before the first step, where they were taken.
      trained: names of the tasks that were trained on.
      step: when `after` was taken.

    Returns:
      {"step", "tasks": a row each, "groups": means by group and unit, with standard errors, "clusters": means over the
      examples of each cluster, "failures": sentences}.
    """
    old = {score["task"]: score["score"] for score in before or ()}
    known = set(map(_base, trained))
    rows = []
    for score in after:
        name = score["task"]
        base = _base(name)
        if is_text(score["about"]):
            group = TEXT
        elif _AS in name:
            group = CONTROL
        elif name.endswith(_HELD_OUT):
            group = TEMPLATES if base in known or not known else BOTH
        else:
            group = SEEN if base in known or not known else TASKS
        row = {
            "task": name,
            "cluster": score["about"].get("cluster") or None,
            "group": group,
            "examples": score["examples"],
            "before": old.get(name),
            "after": score["score"],
            "chance": score["chance"],
            "unit": (unit := score.get("unit") or (LOSS if score["kind"] == "loss" else PERCENT)),
            "standard_error": _standard_error(score["score"], _rows(score)) if unit == PERCENT else 0.0,
            "metrics": score["metrics"],
            "by_template": dict(score.get("by_template") or {}),
        }
        rows.append(row)
    for row in rows:
        if row["group"] == TASKS:
            like = [r for r in rows if r["task"].startswith(row["task"] + _AS) and r["unit"] == row["unit"]]
            siblings = {r["task"].split(_AS)[1]: r["after"] for r in like if r["after"] is not None}
            best = max(siblings, key=lambda name: siblings[name], default=None) if row["unit"] != LOSS else None
            row["sibling"], row["sibling_score"] = best, siblings.get(best) if best else None
    grouped = _grouped(rows)
    groups = {name: _group(members) for name, members in grouped.items()}
    if TEMPLATES in groups:
        groups[TEMPLATES] |= _kept(grouped.get(SEEN, []), grouped[TEMPLATES])
    failures = [sentence for score in after for sentence in score.get("failures", ())]
    clusters = cluster_scores.means([row for row in rows if row["group"] not in (CONTROL, TEXT)])
    return {"step": step, "tasks": rows, "groups": groups, "clusters": clusters, "failures": failures}


def _base(name: str) -> str:
    """The declaration that a task is derived from: trained in any way, it is no held-out task.

    >>> [_base(name) for name in ("rte.with_inverted", "rte.0_to_16_shot.no_options", "uk.reviews.as_books")]
    ['rte', 'rte', 'uk.reviews']
    """
    return _DERIVED.sub("", name.split(_AS)[0])


def _rows(score: Mapping[str, Any]) -> int:
    """How many rows of data were scored: one under several templates is no more evidence than one."""
    return max(1, score["examples"] // max(1, score.get("repeats", 1)))


def _grouped(rows: Sequence[Mapping[str, Any]]) -> dict[str, list[Mapping[str, Any]]]:
    """The rows of each group and unit, in the order of a table."""
    found = {}
    for group in GROUPS:
        members = [row for row in rows if row["group"] == group]
        units = sorted({row["unit"] for row in members}, key=lambda unit: (unit != PERCENT, unit))
        for unit in units:
            name = group if unit == PERCENT else f"{group}: {unit}"
            found[name] = [row for row in members if row["unit"] == unit]
    return found


def _mean(values: Sequence[float]) -> float | None:
    return sum(values) / len(values) if values else None


def _group(rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Means over a group of one unit, all over the same tasks: those that have a score.

    What not all of these have (a score before, a chance) has no mean here.
    """
    merged: dict[str, Any] = {"tasks": len(rows), "examples": sum(row["examples"] for row in rows)}
    rows = [row for row in rows if row["after"] is not None]
    for key in ("before", "after", "chance"):
        values = [row[key] for row in rows]
        merged[key] = None if None in values else _mean(values)
    guessed = [row for row in rows if row["chance"] is not None]
    merged["with_chance"] = len(guessed)
    merged["above_chance"] = _mean([row["after"] - row["chance"] for row in guessed])
    merged["standard_error"] = _error_of_mean(rows)
    # Beside the stronger of chance and the best sibling instruction, those that have either.
    barred = [(row, _bar(row)) for row in rows if _bar(row) is not None]
    merged["with_baseline"] = len(barred)
    merged["stronger_baseline"] = _mean([bar for _, bar in barred])
    merged["above_baseline"] = _mean([row["after"] - bar for row, bar in barred])
    merged["above_baseline_error"] = _error_of_mean([row for row, _ in barred])
    return merged


def _bar(row: Mapping[str, Any]) -> Any:
    return max((bar for bar in (row["chance"], row.get("sibling_score")) if bar is not None), default=None)


def _error_of_mean(rows: Sequence[Mapping[str, Any]]) -> float:
    return math.sqrt(sum(row["standard_error"] ** 2 for row in rows)) / max(1, len(rows))


def _kept(seen: Sequence[Mapping[str, Any]], templates: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """How much of the trained templates' score the others keep, over the tasks that were scored under both."""
    old = {row["task"]: row["after"] for row in seen if row["after"] is not None}
    names = {row["task"].removesuffix(_HELD_OUT): row["after"] for row in templates if row["after"] is not None}
    both = [name for name in names if name in old]
    whole = sum(old[name] for name in both)
    return {"with_seen": len(both), "kept": sum(names[name] for name in both) / whole if whole else None}


def _standard_error(score: float | None, examples: int) -> float:
    """Of a percentage over independent examples; 0 where there is none.

    With two more right and two more wrong (Agresti and Coull 1998), so that 100 of 100 is not taken for certain.
    """
    if score is None or not 0 <= score <= 100:
        return 0.0
    rate = (score / 100 * examples + 2) / (examples + 4)
    return 100 * math.sqrt(rate * (1 - rate) / (examples + 4))


def render(result: Mapping[str, Any], kept_in: Any = None) -> str:
    """The table as text, and what it says in a few lines.

    Args:
      result: from `table`.
      kept_in: the file that holds all of it; of a group of many tasks the worst are shown then. None shows every task.
    """
    rows = result["tasks"]
    shown = {name: _worst(members, kept_in is None) for name, members in _grouped(rows).items()}
    count = sum(map(len, shown.values()))
    lines = [_losses(result, shown) if all(row["unit"] == LOSS for row in rows) else _scores(result, shown)]
    if count < len(rows):
        lines.append(f"Of {len(rows)} tasks the worst {WORST} of each group are shown; all are in {kept_in}.")
    clusters = cluster_scores.render(result.get("clusters", {}))
    said = [*lines, *_sentences(result["groups"]), *failures(result["failures"], kept_in)]
    return "\n".join(said + ([f"\n{clusters}"] if clusters else []))


def failures(sentences: Sequence[str], kept_in: Any = None) -> list[str]:
    """The first of what failed, and how much more there is."""
    rest = len(sentences) - _FAILURES
    more = f"And {rest} more metrics failed{'' if kept_in is None else f': see {kept_in}'}."
    return [*sentences[:_FAILURES], *([more] if rest > 0 else [])]


def _worst(rows: Sequence[Mapping[str, Any]], whole: bool) -> list[Mapping[str, Any]]:
    """The tasks of a group that are shown, in the mixture's order where that is all of them."""
    if whole or len(rows) <= WORST:
        return list(rows)
    low_is_good = [row["unit"] == LOSS or row["group"] == CONTROL for row in rows][0]
    worst = lambda row: (row["after"] is not None, (-1 if low_is_good else 1) * (row["after"] or 0.0))
    return sorted(rows, key=worst)[:WORST]


def _scores(result: Mapping[str, Any], shown: Mapping[str, Sequence[Mapping[str, Any]]]) -> str:
    heads = ["task", "examples", "before", "after", "chance", "best sibling instruction"]
    body: list[list[Any]] = []
    rules = []
    for group, rows in shown.items():
        rules.append(len(body))
        figures = result["groups"][group]
        body.append([group.upper(), figures["examples"], *_figures(figures), None])
        for row in rows:
            sibling = f"{row['sibling_score']:.1f} ({row['sibling']})" if row.get("sibling") else None
            body.append([f"  {row['task']}", row["examples"], *_figures(row), sibling])
    table = tables.table(heads, body, rule_before=rules[1:])
    return f"Zero-shot scores at step {result['step']}\n{table}"


def _losses(result: Mapping[str, Any], shown: Mapping[str, Sequence[Mapping[str, Any]]]) -> str:
    """The table where nothing but losses was taken."""
    body: list[list[Any]] = []
    for group, rows in shown.items():
        figures = result["groups"][group]
        if len(rows) < figures["tasks"] or rows[0]["group"] == TEXT:
            name = group.removesuffix(f": {LOSS}").upper()
            body.append([name, figures["examples"], *_figures(figures)[:2]])
        body += [[row["task"], row["examples"], *_figures(row)[:2]] for row in rows]
    table = tables.table(["task", "examples", "loss before", "loss after"], body)
    return f"Losses a token, on rows that were not trained on, at step {result['step']}\n{table}"


def _figures(row: Mapping[str, Any]) -> list[Any]:
    return [None if row[key] is None else float(row[key]) for key in ("before", "after", "chance")]


def _sentences(groups: Mapping[str, Any]) -> list[str]:
    """What percentages say."""
    said = []
    held_out, tasks, control = (groups.get(group) for group in (TEMPLATES, TASKS, CONTROL))
    if held_out and held_out["kept"] is not None:
        of = f" ({held_out['with_seen']} of {held_out['tasks']} tasks)" * (held_out["with_seen"] < held_out["tasks"])
        above = held_out["above_chance"]
        chance = "" if above is None else f", {above:.0f} points above chance"
        if chance and held_out["with_chance"] < held_out["tasks"]:
            chance = (
                f"; the {held_out['with_chance']} of {held_out['tasks']} tasks that have a chance are "
                f"{above:.0f} points above it"
            )
        kept = tables.percent(held_out["kept"])
        said.append(f"Templates never trained on keep {kept} of the trained ones' score{of}{chance}.")
    if tasks and tasks["above_baseline"] is not None:
        above, error, bar = tasks["above_baseline"], tasks["above_baseline_error"], tasks["stronger_baseline"]
        whole = tasks["with_baseline"] == tasks["tasks"]
        of = "" if whole else f" ({tasks['with_baseline']} of {tasks['tasks']})"
        said.append(
            f"Tasks never trained on{of}: {bar + above:.1f}, {above:+.1f} points from the stronger of chance and "
            f"the best sibling instruction ({bar:.1f}): "
            f"{above / max(error, 1e-9):+.1f} standard errors."
        )
    if control and control["after"] is not None:
        given = f"{control['after']:.1f}%"
        said.append(f"The same inputs under another task's instruction give this task's answer in {given}.")
    return said


def next_steps(folder: Any, steps: int) -> str:
    """What to type next, after a run of so many steps."""
    step = f"{min(100, steps):<9}"
    return "\n".join(
        [
            f"The run is in {folder}. Next:",
            f"  flan-jax generate --run_dir {folder}                 ask it something",
            f"  flan-jax inspect --run_dir {folder} --step {step} what it trained on in that step",
            f"  uvx tensorboard --logdir {folder}                    its curves (figures: {folder}/metrics.jsonl)",
        ]
    )

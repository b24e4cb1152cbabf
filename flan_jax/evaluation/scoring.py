"""Scores a model on the prepared tasks of an eval mixture, with the tasks' own metrics.

A task with answer options is scored by rank classification: its prompt is read once, each option gets the
log-probability that the model gives it, the best one is the prediction. A task whose metrics compare texts is scored by
the answers that the model writes, and one without metrics (chats, plain text) by its mean loss a token.
"""

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from flan_jax.data.packing import pack
from flan_jax.data.resolve import Resolved, ResolvedTask
from flan_jax.data.rows import RowShape, Segment, assemble
from flan_jax.data.store import Store, open_store
from flan_jax.data.vocabulary import Codec
from flan_jax.data.worker import Worker
from flan_jax.evaluation.model import Asked, Writing

RANKINGS = ("sum", "mean", "unconditional")


@dataclasses.dataclass(frozen=True)
class TaskScore:
    """How a model did on one task.

    Attributes:
      task: the seqio task.
      kind: "rank", "generate" or "loss".
      examples: how many it was scored on.
      metrics: all of the task's metrics.
      score: the first of them; of our own metrics a percentage, as seqio's users know it.
      chance: the percentage of guessing among the options, None where there are none.
      about: the task's declaration.
    """

    task: str
    kind: str
    examples: int
    metrics: dict[str, float]
    score: float
    chance: float | None
    about: dict[str, Any]


def score(
    asked: Asked,
    resolved: Resolved,
    worker: Worker,
    codec: Codec,
    *,
    shape: RowShape,
    batch_size: int,
    ranking: str = "sum",
    measure: str = "metrics",
    max_new_tokens: int | None = None,
    num_beams: int = 1,
    on_progress: Callable[[int, int], None] | None = None,
) -> list[TaskScore]:
    """Scores every task of a resolved eval mixture.

    Args:
      asked: the model.
      resolved: the eval mixture; its stores' order is the order of the predictions.
      worker: computes the metrics.
      codec: turns generated ids into text.
      shape: how a row is laid out, for losses.
      batch_size: prompts asked at once; the mesh must divide it.
      ranking: how options are compared; see `choose`.
      measure: "metrics", or "loss" for the loss of every task whatever its metrics.
      max_new_tokens: length of generated answers; None takes the longest that a target may have.
      num_beams: answers are written by a search with so many beams; 1: greedily.
      on_progress: called with (tasks done, tasks).

    Returns:
      A score a task, in the mixture's order.
    """
    lengths = resolved.request.lengths
    jobs, losses = [], {}
    for done, task in enumerate(resolved.tasks):
        store = open_store(task.store())
        if _kind(task, measure) == "rank":
            choices = choose(asked, store, lengths["inputs"], batch_size, ranking)
            # The right option's text is the target's own; how it was written is not in its tokens.
            texts: list[str | None] = [
                None if c == store.answer(i) else codec.decode(store.options(i)[c]) for i, c in enumerate(choices)
            ]
        elif _kind(task, measure) == "loss":
            losses[task.name] = {"loss": mean_loss(asked, store, shape, batch_size)}
        else:
            how = Writing(max_new_tokens or lengths["targets"], num_beams=num_beams)
            rows = write(asked, store, lengths["inputs"], how, batch_size)
            texts = [codec.decode(row) for row in rows]
        if task.name not in losses:
            jobs.append({"task": task.name, "predictions": texts})
        if on_progress:
            on_progress(done + 1, len(resolved.tasks))
    scored = worker.call("score", jobs=jobs, **_how(resolved)) if jobs else []
    metrics = losses | {job["task"]: figures for job, figures in zip(jobs, scored, strict=True)}
    return [_task_score(task, _kind(task, measure), metrics[task.name]) for task in resolved.tasks]


def mean_loss(asked: Asked, store: Store, shape: RowShape, batch_size: int) -> float:
    """Mean cross-entropy a token, by the examples' own loss weights; examples share rows as in training."""
    examples = [store[i] for i in range(store.count)]
    count = lambda feature: np.array([len(getattr(one, feature)) for one in examples], np.int64)
    lengths = shape.budgets(count("inputs"), count("targets"))
    row_of = pack(lengths, np.array(list(shape.capacities.values())))
    rows: list[list[Segment]] = [[] for _ in range(int(row_of.max(initial=-1)) + 1)]
    for row, one in zip(row_of, examples, strict=True):
        rows[row].append(Segment(one.inputs, one.targets, one.weights))
    # A batch that is mostly empty costs as much as a full one.
    while batch_size % (2 * asked.mesh.size) == 0 and -(-len(rows) // batch_size) * batch_size > 1.1 * len(rows):
        batch_size //= 2
    total, weight = 0.0, 0.0
    for start in range(0, len(rows), batch_size):
        some = rows[start : start + batch_size]
        loss, seen = asked.loss(assemble(some + [[]] * (batch_size - len(some)), shape))
        total, weight = total + loss, weight + seen
    return total / max(weight, 1e-9)


def choose(asked: Asked, store: Store, length: int, batch_size: int, ranking: str = "sum") -> list[int]:
    """Ranks the options of every example.

    Args:
      asked: the model.
      store: a store with options.
      length: tokens of a prompt.
      batch_size: prompts at once.
      ranking: "sum" compares summed log-probabilities (FLAN's way, which favours short options), "mean" divides by the
        option's tokens, "unconditional" subtracts the option's log-probability after an empty prompt.

    Returns:
      The index of the best option of each example.
    """
    most = max(len(store.options(i)) for i in range(store.count))
    longest = max(len(option) for i in range(store.count) for option in store.options(i))
    # Few shapes, few compilations.
    shape = (batch_size, max(4, 1 << (most - 1).bit_length()), -(-longest // 2) * 2)
    chosen: list[int] = []
    for start in range(0, store.count, batch_size):
        rows = range(start, min(start + batch_size, store.count))
        inputs = padded([store.tokens("inputs", i) for i in rows], (batch_size, length))
        options = np.full(shape, -1, np.int32)
        for b, i in enumerate(rows):
            for o, option in enumerate(store.options(i)):
                options[b, o, : len(option)] = option
        sums, tokens = asked.option_scores(inputs, options)
        if ranking == "mean":
            sums = sums / np.maximum(tokens, 1)
        elif ranking == "unconditional":
            alone, _ = asked.option_scores(np.full_like(inputs, -1), options)
            sums = np.where(np.isfinite(sums), sums - np.where(np.isfinite(alone), alone, 0), sums)
        chosen += [int(best) for best in np.argmax(sums[: len(rows)], axis=1)]
    return chosen


def write(asked: Asked, store: Store, length: int, how: Writing, batch_size: int) -> list[np.ndarray]:
    """Writes an answer to every example's prompt; token ids up to and with the one that ends it."""
    rows: list[np.ndarray] = []
    for start in range(0, store.count, batch_size):
        prompts = [store.tokens("inputs", i) for i in range(start, min(start + batch_size, store.count))]
        # The last prompt fills the rows up: unlike an empty one it ends when the others do.
        inputs = padded(prompts + prompts[-1:] * (batch_size - len(prompts)), (batch_size, length))
        tokens = asked.answers(inputs, how, first_row=start).tokens[: len(prompts)]
        rows += [row[row >= 0] for row in tokens]
    return rows


def padded(rows: Sequence[np.ndarray], shape: tuple[int, int]) -> np.ndarray:
    """Token ids as an int32 array, -1 where there is none.

    >>> padded([np.array([5, 6]), np.array([7])], (3, 3)).tolist()
    [[5, 6, -1], [7, -1, -1], [-1, -1, -1]]
    """
    array = np.full(shape, -1, np.int32)
    for b, row in enumerate(rows):
        array[b, : len(row)] = row[: shape[1]]
    return array


def _kind(task: ResolvedTask, measure: str) -> str:
    return "loss" if measure == "loss" else task.about.get("eval_kind", "generate")


def _how(resolved: Resolved) -> dict[str, Any]:
    return {k: v for k, v in resolved.request.arguments().items() if k not in ("mixture", "store_dir", "max_draws")}


def _task_score(task: ResolvedTask, kind: str, metrics: dict[str, float]) -> TaskScore:
    chance = None if kind == "loss" else task.about.get("chance")
    if chance is None and kind == "rank":
        store = open_store(task.store())
        chance = float(np.mean([1 / len(store.options(i)) for i in range(store.count)]))
    chance = None if chance is None else 100 * chance
    first = next(iter(metrics.values())) if metrics else float("nan")
    return TaskScore(task.name, kind, task.count, metrics, first, chance, dict(task.about))

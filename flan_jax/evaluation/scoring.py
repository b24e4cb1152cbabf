"""Scores a model on the prepared tasks of an eval mixture, with the tasks' own metrics.

A task with answer options is scored by rank classification: its prompt is read once, each option gets the
log-probability that the model gives it, the best one is the prediction. A task whose metrics compare texts is scored by
the answers that the model writes, one whose metrics want no more by the log-likelihood of its targets, and one without
metrics (chats, plain text) by its mean loss a token.
"""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from flan_jax.data.planning.packing import pack
from flan_jax.data.resolve import Resolved, ResolvedTask
from flan_jax.data.rows import RowShape, Segment, assemble
from flan_jax.data.stores.store import Store, open_store
from flan_jax.data.worker import Worker
from flan_jax.inference.model import Asked, Writing
from flan_jax.text.codec import Codec

RANKINGS = ("sum", "mean", "unconditional")


@dataclasses.dataclass(frozen=True)
class TaskScore:
    """How a model did on one task.

    Attributes:
      task: the seqio task.
      kind: "rank", "generate", "score" or "loss".
      examples: how many it was scored on.
      metrics: all figures of the task's metrics; None for one that is no finite number.
      score: the first of them; None where the metric that gives it failed.
      chance: the percentage of guessing among the options, None where there are none.
      about: the task's declaration.
      unit: what the score is counted in: "%" for our own metrics, "loss", else the figure's name.
      failures: a sentence for each metric that failed.
    """

    task: str
    kind: str
    examples: int
    metrics: dict[str, float | None]
    score: float | None
    chance: float | None
    about: dict[str, Any]
    unit: str = "%"
    failures: Sequence[str] = ()

    @classmethod
    def read(cls, kept: Mapping[str, Any]) -> "TaskScore":
        """A score as a run's folder keeps it; before there were units, all but losses were percentages."""
        return cls(**{"unit": "loss" if kept["kind"] == "loss" else "%", **kept})


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
    how = Writing(max_new_tokens or lengths["targets"], num_beams=num_beams)
    jobs: list[dict[str, Any]] = []
    measured: dict[str, dict[str, Any]] = {}
    for done, task in enumerate(resolved.tasks):
        store, kind, wants = open_store(task.store()), _kind(task, measure), _wants(task)
        job: dict[str, Any] = {"task": task.name}
        if kind == "loss":
            loss = mean_loss(asked, store, shape, batch_size)
            measured[task.name] = {"figures": {"loss": loss}, "score": "loss", "unit": "loss", "failures": []}
        else:
            jobs.append(job)
        if kind == "rank":
            values, sums = rank(asked, store, lengths["inputs"], batch_size, ranking)
            chosen = [int(choice) for choice in np.argmax(values, axis=1)]
            # The right option's text is the target's own; how it was written is not in its tokens.
            job["predictions"] = [
                None if c == store.answer(i) else codec.decode(store.options(i)[c]) for i, c in enumerate(chosen)
            ]
            job["prediction_scores"] = [float(sums[i, c]) for i, c in enumerate(chosen)]
        elif kind == "generate":
            answers = write(asked, store, lengths["inputs"], how, batch_size)
            job["predictions"] = [codec.decode(tokens) for tokens, _ in answers]
            job["tokens"] = [tokens.tolist() for tokens, _ in answers]
            job["prediction_scores"] = [value for _, value in answers]
        if kind != "loss" and "scores" in wants:
            job["scores"] = log_likelihoods(asked, store, shape, batch_size)
        if on_progress:
            on_progress(done + 1, len(resolved.tasks))
    found = worker.call("score", jobs=jobs, request=resolved.request) if jobs else []
    measured |= {job["task"]: each for job, each in zip(jobs, found, strict=True)}
    return [_task_score(task, _kind(task, measure), measured[task.name]) for task in resolved.tasks]


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


def log_likelihoods(asked: Asked, store: Store, shape: RowShape, batch_size: int) -> list[float]:
    """The log-likelihood of every example's targets, summed by their loss weights: seqio's `scores`."""
    found: list[float] = []
    for start in range(0, store.count, batch_size):
        some = [store[i] for i in range(start, min(start + batch_size, store.count))]
        rows: list[list[Segment]] = [[Segment(one.inputs, one.targets, one.weights)] for one in some]
        losses = asked.row_losses(assemble(rows + [[]] * (batch_size - len(rows)), shape))
        found += [-float(loss) for loss in losses[: len(rows)]]
    return found


def choose(asked: Asked, store: Store, length: int, batch_size: int, ranking: str = "sum") -> list[int]:
    """The index of the best option of each example; see `rank`."""
    return [int(best) for best in np.argmax(rank(asked, store, length, batch_size, ranking)[0], axis=1)]


def rank(
    asked: Asked, store: Store, length: int, batch_size: int, ranking: str = "sum"
) -> tuple[np.ndarray, np.ndarray]:
    """Ranks the options of every example.

    Args:
      asked: the model.
      store: a store with options.
      length: tokens of a prompt.
      batch_size: prompts at once.
      ranking: "sum" compares summed log-probabilities (FLAN's way, which favours short options), "mean" divides by the
        option's tokens, "unconditional" subtracts the option's log-probability after an empty prompt.

    Returns:
      float32 [N, O], what is compared, the best option has the highest; and the summed log-probabilities. Both are -inf
      where an example has no such option.
    """
    most = max(len(store.options(i)) for i in range(store.count))
    longest = max(len(option) for i in range(store.count) for option in store.options(i))
    # Few shapes, few compilations.
    shape = (batch_size, max(4, 1 << (most - 1).bit_length()), -(-longest // 2) * 2)
    ranked, summed = [], []
    for start in range(0, store.count, batch_size):
        rows = range(start, min(start + batch_size, store.count))
        inputs = padded([store.tokens("inputs", i) for i in rows], (batch_size, length))
        options = np.full(shape, -1, np.int32)
        for b, i in enumerate(rows):
            for o, option in enumerate(store.options(i)):
                options[b, o, : len(option)] = option
        sums, tokens = asked.option_scores(inputs, options)
        values = sums
        if ranking == "mean":
            values = sums / np.maximum(tokens, 1)
        elif ranking == "unconditional":
            alone, _ = asked.option_scores(np.full_like(inputs, -1), options)
            values = np.where(np.isfinite(sums), sums - np.where(np.isfinite(alone), alone, 0), sums)
        ranked.append(values[: len(rows)])
        summed.append(sums[: len(rows)])
    return np.concatenate(ranked), np.concatenate(summed)


def write(asked: Asked, store: Store, length: int, how: Writing, batch_size: int) -> list[tuple[np.ndarray, float]]:
    """Writes an answer to every example's prompt: token ids up to and with the one that ends it, and their score."""
    answers: list[tuple[np.ndarray, float]] = []
    for start in range(0, store.count, batch_size):
        prompts = [store.tokens("inputs", i) for i in range(start, min(start + batch_size, store.count))]
        # The last prompt fills the rows up: unlike an empty one it ends when the others do.
        inputs = padded(prompts + prompts[-1:] * (batch_size - len(prompts)), (batch_size, length))
        found = asked.answers(inputs, how, first_row=start)
        answers += [
            (row[row >= 0], float(value))
            for row, value in zip(found.tokens[: len(prompts)], found.scores[: len(prompts)], strict=True)
        ]
    return answers


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


def _wants(task: ResolvedTask) -> Sequence[str]:
    return task.about.get("wants", ("predictions",))


def _task_score(task: ResolvedTask, kind: str, measured: dict[str, Any]) -> TaskScore:
    chance = None if kind == "loss" else task.about.get("chance")
    if chance is None and kind == "rank":
        store = open_store(task.store())
        chance = float(np.mean([1 / len(store.options(i)) for i in range(store.count)]))
    # Chance is a share of right answers: it says nothing of a figure that is no percentage.
    chance = None if chance is None or measured["unit"] not in ("%", "") else 100 * chance
    figures = measured["figures"]
    first = figures.get(measured["score"])
    about = dict(task.about)
    unit = measured["unit"] or "%"
    return TaskScore(task.name, kind, task.count, figures, first, chance, about, unit, tuple(measured["failures"]))

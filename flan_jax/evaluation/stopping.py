"""Whether a run's scores have stopped getting better: told from the scores that its folder keeps, whoever asks."""

from collections.abc import Sequence

import jax

from flan_jax.config.training_settings import StoppingConfig
from flan_jax.errors import counted
from flan_jax.evaluation import reports
from flan_jax.evaluation.scoring import TaskScore
from flan_jax.parallel import multihost
from flan_jax.run_folder import RunFolder


def stopped(config: StoppingConfig, folder: RunFolder, step: int) -> str:
    """Why a run is complete after a step, from the scores up to it; nothing where it goes on.

    All processes of a run call it together: the first one reads, and the others say as it does.

    Args:
      config: when a run ends.
      folder: the run's.
      step: the last that is done.

    Raises:
      UserError: kept scores are damaged.
    """
    if config.metric is None:
        return ""
    scores: list[tuple[int, float | None]] = []
    for scored in folder.scored_steps() if jax.process_index() == 0 else ():
        if scored <= step:
            rows = folder.read_scores(scored) or []
            scores.append((scored, reports.metrics_of([TaskScore.read(row) for row in rows]).get(config.metric)))
    best, since = best_of(config, scores)
    best, since = multihost.of_first(best), multihost.of_first(since)
    if since < config.patience:
        return ""
    found = f"was best at step {best}, and not better" if best >= 0 else "was not found"
    return (
        f"{config.metric} {found} in {counted(since, 'scoring')} since; raise Stopping.patience, which is "
        f"{config.patience}, to go on"
    )


def best_of(config: StoppingConfig, scores: Sequence[tuple[int, float | None]]) -> tuple[int, int]:
    """The step of the best score, -1 without any, and how many scorings came after it.

    A score is better than the best before it by more than `min_delta`; one that is missing or no number is not.

    Args:
      config: which way is better.
      scores: the metric of each step that was scored, in order.

    >>> best_of(StoppingConfig("mean/score", min_delta=1.0), [(10, 40.0), (20, 45.0), (30, 45.5), (40, None)])
    (20, 2)
    """
    sign = 1 if config.mode == "max" else -1
    best, highest, since = -1, float("-inf"), 0
    for step, value in scores:
        if value is not None and sign * value > highest + (config.min_delta if best >= 0 else 0.0):
            best, highest, since = step, sign * value, 0
        else:
            since += 1
    return best, since

"""What is wrong with a run's eval mixture, found before its data are prepared or a vocabulary is learnt."""

import sys

from flan_jax import setup
from flan_jax.config.run_config import RunConfig
from flan_jax.data.resolve import check_evals
from flan_jax.data.worker import Worker
from flan_jax.evaluation import reports
from flan_jax.evaluation.held_out_text import text_tasks


def check_eval_mixture(config: RunConfig, worker: Worker) -> None:
    """Refuses an EVAL_MIXTURE that the run could not score; what only reading its rows would show is not looked for.
    Pretraining tasks without the split that is scored are told.

    Args:
      config: the run.
      worker: its data process, started only if nobody has asked the same before.

    Raises:
      UserError: there is no such mixture or split, it has another vocabulary than the training mixture, the model
        cannot take one of its tasks, or `Checkpoints.best_metric` or `Stopping.metric` is none of its scores.
    """
    tasks = []
    if config.eval_mixture:
        beside = None if setup.learns_vocabulary(config) else config.mixture
        tasks = check_evals(setup.eval_request(config), beside, worker, config.model.architecture)
    split, text, without = text_tasks(config, worker)
    if without:
        print(f"held-out loss: {', '.join(without)} lack the split {split!r}", file=sys.stderr)
    metrics = {"Checkpoints.best_metric": config.checkpoints.best_metric, "Stopping.metric": config.stopping.metric}
    for setting, metric in metrics.items():
        if metric and (tasks or text):
            reports.check_metric(setting, metric, [*tasks, *text])

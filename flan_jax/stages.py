"""Trains the runs that a command line means: one, or the stages of one after the other."""

from collections.abc import Sequence

from flan_jax.config.run_config import RunConfig
from flan_jax.train import train


def train_runs(configs: Sequence[RunConfig]) -> int:
    """Trains runs one after the other; see `resolving.resolve_runs`.

    Returns:
      The exit code of the first that was stopped, or 0.

    Raises:
      UserError: anything that the user can mend.
    """
    for config in configs:
        if code := train(config):
            return code
    return 0

"""Shares of a mixture's tasks by the run's own rules, in the place of the rates that the mixture declares."""

from flan_jax.data.mixing_config import BalanceConfig
from flan_jax.data.resolve import Resolved


def balanced(resolved: Resolved, settings: BalanceConfig) -> Resolved:
    """The mixture with the rates that a run's `Balance` settings give its tasks.

    Args:
      resolved: what is trained on, as it was selected.
      settings: the run's.
    """
    return resolved

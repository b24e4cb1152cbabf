"""`flan-jax plan`: what every task will contribute, before the first step."""

import json
import sys

from flan_jax import setup
from flan_jax.config.checks import check
from flan_jax.config.run_config import RunConfig
from flan_jax.evaluation.check import check_eval_mixture
from flan_jax.plan_table import estimated_table, plan_table, render_plan


def plan_command(config: RunConfig, as_json: bool = False, estimate: bool = False) -> int:
    """Prints the plan of a run without training.

    Args:
      config: the run.
      as_json: print JSON instead of the table.
      estimate: from a sample of the sources, without preparing.
    """
    check(config)
    with setup.worker_of(config) as worker:
        check_eval_mixture(config, worker)
        if estimate:
            table = estimated_table(config, worker)
        else:
            data = setup.open_data(config, worker, guard=True)
            table = plan_table(config, data, data.steps(config))
    json.dump(table, sys.stdout, indent=1) if as_json else print(render_plan(table))
    if as_json:
        print()
    return 0

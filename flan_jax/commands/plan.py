"""`flan-jax plan`: what every task will contribute, before the first step."""

import json
import sys
from collections.abc import Sequence
from typing import Any

from flan_jax import setup
from flan_jax.config.checks import check
from flan_jax.config.run_config import RunConfig
from flan_jax.evaluation.check import check_eval_mixture
from flan_jax.plan_table import estimated_table, plan_table, render_plan
from flan_jax.stage_tasks import before_they_begin, check_stages, name_of


def plan_command(config: RunConfig, as_json: bool = False, estimate: bool = False) -> int:
    """Prints the plan of a run without training.

    Args:
      config: the run.
      as_json: print JSON instead of the table.
      estimate: from a sample of the sources, without preparing.
    """
    table = _table(config, estimate)
    json.dump(table, sys.stdout, indent=1) if as_json else print(render_plan(table))
    if as_json:
        print()
    return 0


def plan_stages(configs: Sequence[RunConfig], as_json: bool = False, estimate: bool = False) -> int:
    """Prints the plans of stages, one after the other; with `as_json` one object with a plan for each stage's name."""
    with setup.worker_of(configs[0]) as worker:
        check_stages(configs, worker)
    tables = {}
    for number, config in enumerate(before_they_begin(configs), 1):
        tables[name_of(config)] = table = _table(config, estimate)
        if not as_json:
            print(f"Stage {number} of {len(configs)}, {name_of(config)}\n{render_plan(table)}\n", flush=True)
    if as_json:
        json.dump(tables, sys.stdout, indent=1)
        print()
    return 0


def _table(config: RunConfig, estimate: bool) -> dict[str, Any]:
    """What is planned, as `plan_table` gives it."""
    check(config)
    with setup.worker_of(config) as worker:
        check_eval_mixture(config, worker)
        if estimate:
            return estimated_table(config, worker)
        data = setup.open_data(config, worker, guard=True)
        return plan_table(config, data, data.steps(config))

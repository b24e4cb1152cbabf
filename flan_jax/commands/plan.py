"""`flan-jax plan`: what every task will contribute, before the first step."""

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from flan_jax import run_data, setup
from flan_jax.config.checks import check
from flan_jax.config.run_config import RunConfig
from flan_jax.data.worker import Worker
from flan_jax.evaluation.check import check_eval_mixture
from flan_jax.plan_comparison import compared, render_comparison
from flan_jax.plan_estimate import estimated_table
from flan_jax.plan_table import plan_table
from flan_jax.plan_text import render_plan
from flan_jax.stage_tasks import before_they_begin, check_stages, name_of


def plan_command(config: RunConfig, as_json: bool = False, estimate: bool = False) -> int:
    """Prints the plan of a run without training.

    Args:
      config: the run.
      as_json: print JSON instead of the table.
      estimate: from a sample of the sources, without preparing.
    """
    _show(_planned(config, estimate), render_plan, as_json)
    return 0


def plan_stages(configs: Sequence[RunConfig], as_json: bool = False, estimate: bool = False) -> int:
    """Prints the plans of stages, one after the other; with `as_json` one object with a plan for each stage's name."""
    with setup.worker_of(configs[0]) as worker:
        check_stages(configs, worker)
    tables = {}
    for number, config in enumerate(before_they_begin(configs), 1):
        tables[name_of(config)] = table = _planned(config, estimate)
        if not as_json:
            print(f"Stage {number} of {len(configs)}, {name_of(config)}\n{render_plan(table)}\n", flush=True)
    if as_json:
        print(json.dumps(tables, indent=1))
    return 0


def compare_plans(configs: Mapping[str, RunConfig], as_json: bool = False, estimate: bool = False) -> int:
    """Prints the plans of two runs side by side, without training.

    Args:
      configs: the runs, by what they are called.
      as_json: print JSON instead of the tables.
      estimate: from samples of the sources, without preparing.
    """
    for config in configs.values():
        check(config)
        setup.refuse_unknown(config)  # before anything is prepared for the other one
    found = {}
    for name, config in configs.items():
        with setup.worker_of(config) as worker:
            found[name] = _table(config, worker, estimate)
    _show(compared(found), render_comparison, as_json)
    return 0


def _planned(config: RunConfig, estimate: bool) -> dict[str, Any]:
    """The plan of a run that is looked at as `train` looks at it."""
    check(config)
    with setup.worker_of(config) as worker:
        check_eval_mixture(config, worker)
        return _table(config, worker, estimate, guard=True)


def _table(config: RunConfig, worker: Worker, estimate: bool, guard: bool = False) -> dict[str, Any]:
    if estimate:
        return estimated_table(config, worker)
    data = run_data.open_data(config, worker, guard=guard)
    return plan_table(config, data, data.steps(config))


def _show(found: dict[str, Any], render: Callable[[dict[str, Any]], str], as_json: bool) -> None:
    print(json.dumps(found, indent=1) if as_json else render(found))

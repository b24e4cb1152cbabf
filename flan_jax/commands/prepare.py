"""`flan-jax prepare` and `flan-jax vocab`: what a run would do first, ahead of it."""

import pathlib
from collections.abc import Sequence

from flan_jax import config as configs
from flan_jax import setup
from flan_jax.config import RunConfig
from flan_jax.data import beam
from flan_jax.data.resolve import resolve
from flan_jax.data.store import open_store
from flan_jax.errors import UserError


def prepare_command(config: RunConfig, runner: str = "local", beam_options: Sequence[str] = ()) -> int:
    """Writes the token stores of a run's training and eval mixtures, and says where they are.

    Args:
      config: the run.
      runner: "local" uses the cores of this machine, "beam" runs an Apache Beam pipeline.
      beam_options: Beam's flags.

    Raises:
      UserError: Beam is wanted and not installed, …
    """
    configs.check(config, needs=("mixture",))
    flags = None
    if runner == "beam":
        beam.check_installed()
        flags = beam_options
    elif beam_options:
        raise UserError(f"{beam_options[0]!r} is no flag of `flan-jax prepare`; flags of Beam go with --runner beam")
    with setup.worker_of(config, flags) as worker:
        data = setup.open_data(config, worker, draws="all")
        counts = [task.count for task in data.resolved.tasks]
        print(f"{config.mixture}: {len(counts)} tasks, {sum(counts):,} examples in {pathlib.Path(config.store_dir)}")
        if config.eval_mixture:
            limit = config.evaluation.max_examples
            evals = resolve(setup.request_of(config, config.eval_mixture, config.evaluation.split, limit), worker)
            total = sum(open_store(task.store()).count for task in evals.tasks)
            print(f"{config.eval_mixture}: {len(evals.tasks)} tasks, {total:,} examples to score")
    return 0


def vocab_command(config: RunConfig, size: int, output: str, max_examples: int) -> int:
    """Trains a SentencePiece vocabulary on the rendered text of a mixture."""
    configs.check(config, needs=("mixture",))
    with setup.worker_of(config) as worker:
        made = worker.call(
            "vocabulary",
            mixture=config.mixture,
            split=config.data.split,
            size=size,
            output=str(pathlib.Path(output).absolute()),
            max_examples=max_examples,
            on_bad_row=config.data.on_bad_row,
        )
    pieces, sentinels = made["size"] - made["extra_ids"], made["extra_ids"]
    print(f"{output}: {pieces:,} pieces (tasks add {sentinels} sentinels); tasks use it by vocabulary={output!r}")
    return 0

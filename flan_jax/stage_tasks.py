"""What the stages of a run train on and are scored on, known before the first of them begins."""

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path

from flan_jax import setup
from flan_jax.config.run_config import RunConfig
from flan_jax.data import registrations
from flan_jax.data.worker import Worker
from flan_jax.errors import UserError, nearest
from flan_jax.evaluation.check import check_eval_mixture
from flan_jax.names import names_in


def name_of(config: RunConfig) -> str:
    """The name of a stage, as STAGES has it.

    >>> name_of(RunConfig(run_dir="runs/mine/2-chat"))
    'chat'
    """
    return Path(config.run_dir).name.partition("-")[2]


def check_stages(configs: Sequence[RunConfig], worker: Worker) -> dict[str, list[str]]:
    """Refuses stages that name tasks which are not there, or replay what no stage before them trains on.

    Args:
      configs: the stages.
      worker: the data process of the first, asked only where the index of what is registered does not say.

    Returns:
      For each name in EVAL_MIXTURE its tasks.

    Raises:
      UserError: as said; names the stage.
    """
    entries = registrations.listing(worker)
    members = {entry["name"]: entry["tasks"] for entry in entries if entry["kind"] == "mixture"}
    members = {entry["name"]: [entry["name"]] for entry in entries if entry["kind"] == "task"} | members
    broken = {entry["name"]: entry["why"] for entry in entries if entry["kind"] == "broken"}
    folders = [entry for entry in entries if entry["kind"] == "folder"]
    trained: list[str] = []
    for config in configs:
        stage = name_of(config)
        settings = {"MIXTURE": config.mixture, "EVAL_MIXTURE": config.eval_mixture, "REPLAY": config.replay.mixture}
        for setting, given in settings.items():
            for name in names_in(given or ""):
                if name not in members:
                    raise registrations.unknown(name, members, f"{stage}/{setting}", broken, folders)
        if trained:
            _check_replayed(stage, names_in(config.replay.mixture or ""), trained, members)
        trained += names_in(config.mixture)
        check_eval_mixture(config, worker)
    return {name: members[name] for name in names_in(configs[0].eval_mixture or "")}


def _check_replayed(
    stage: str, names: Sequence[str], trained: Sequence[str], members: Mapping[str, Sequence[str]]
) -> None:
    known = {task for mixture in trained for task in members[mixture]}
    for name in names:
        if not set(members[name]) <= known:
            there = nearest(name, [*trained, *sorted(known)]) or f"; they train on {', '.join(dict.fromkeys(trained))}."
            raise UserError(
                f"stage {stage!r} replays {name!r}, which no stage before it trains on{there} Name some of that in "
                f"{stage}/REPLAY, or leave it out to replay all"
            )


def refuse_unknown(configs: Sequence[RunConfig]) -> None:
    """Refuses mixtures that are not registered, as far as that is known without a data process."""
    for config in configs:  # asked as the first stage is: what a later one starts from may not be there yet
        like = dataclasses.replace(configs[0], mixture=config.mixture, eval_mixture=config.eval_mixture)
        setup.refuse_unknown(like)

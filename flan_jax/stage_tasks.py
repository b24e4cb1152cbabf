"""What the stages of a run train on and are scored on, looked up before the first of them begins."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from flan_jax import setup
from flan_jax.config.run_config import RunConfig
from flan_jax.data import registrations
from flan_jax.data.resolve import check_evals
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


def refuse_unknown(configs: Sequence[RunConfig]) -> None:
    """Refuses mixtures that are not registered, as far as that is known without a data process."""
    for config in configs:  # asked as the first stage is: what a later one starts from may not be there yet
        named = {name: getattr(config, name) for name in ("mixture", "eval_mixture", "pretraining", "replay")}
        setup.refuse_unknown(dataclasses.replace(configs[0], **named))


def before_they_begin(configs: Sequence[RunConfig]) -> list[RunConfig]:
    """Stages as their data can be read before what they start from is there: by the first one's vocabulary."""
    vocabulary = setup.vocabulary_of(configs[0]) or None
    return [configs[0], *(dataclasses.replace(config, vocabulary=vocabulary) for config in configs[1:])]


def check_stages(configs: Sequence[RunConfig], worker: Worker) -> dict[str, list[str]]:
    """Refuses stages that name tasks which are not there, or replay what no stage before them trains on.

    Args:
      configs: the stages.
      worker: the data process of the first, started only where what is known of earlier runs does not say.

    Returns:
      For each name in EVAL_MIXTURE its tasks.

    Raises:
      UserError: as said; names the stage.
    """
    registered = _Registered(worker)
    trained: list[str] = []
    for config in configs:
        replayed = names_in(config.replay.mixture or "")
        try:
            if config.eval_mixture:
                check_eval_mixture(config, worker)  # which looks at MIXTURE too
            else:
                registered.members(names_in(config.mixture), "MIXTURE")
            if trained and not set(replayed) <= set(trained):
                _check_replayed(replayed, trained, registered)
        except UserError as fault:
            raise UserError(f"stage {name_of(config)!r}: {fault}") from fault
        trained += names_in(config.mixture)
    scored = {
        name: dataclasses.replace(configs[0], eval_mixture=name) for name in names_in(configs[0].eval_mixture or "")
    }
    return {name: check_evals(setup.eval_request(config), None, worker) for name, config in scored.items()}


def _check_replayed(replayed: Sequence[str], trained: Sequence[str], registered: "_Registered") -> None:
    known = registered.members(trained, "MIXTURE")
    for name in replayed:
        if not registered.members([name], "REPLAY") <= known:
            there = nearest(name, [*trained, *sorted(known)]) or f"; they train on {', '.join(dict.fromkeys(trained))}."
            raise UserError(
                f"REPLAY names {name!r}, which no stage before it trains on{there} Name some of that, or leave REPLAY "
                "out to replay all of it"
            )


class _Registered:
    """What is registered, asked for once and only where it is needed."""

    def __init__(self, worker: Worker):
        self._worker = worker
        self._entries: list[dict[str, Any]] = []

    def members(self, names: Sequence[str], setting: str) -> set[str]:
        """The tasks of mixtures and tasks.

        Raises:
          UserError: one of them is not registered.
        """
        self._entries = self._entries or registrations.listing(self._worker)
        of_mixtures = {entry["name"]: entry["tasks"] for entry in self._entries if entry["kind"] == "mixture"}
        known = {entry["name"]: [entry["name"]] for entry in self._entries if entry["kind"] == "task"} | of_mixtures
        for name in names:
            if name not in known:
                broken = {entry["name"]: entry["why"] for entry in self._entries if entry["kind"] == "broken"}
                folders = [entry for entry in self._entries if entry["kind"] == "folder"]
                raise registrations.unknown(name, known, setting, broken, folders)
        return {task for name in names for task in known[name]}

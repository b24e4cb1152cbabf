"""Trains the runs that a command line means: one, or the stages of one after the other.

A stage is an ordinary run in a folder of its own, RUN_DIR/1-tasks, RUN_DIR/2-chat, that starts from the one before.
RUN_DIR/stages.json keeps from which step each started, and the scores after every stage; see `stage_scores`.
"""

import gc
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import jax

from flan_jax import setup
from flan_jax.config.kept import CONFIG_FILE, STAGES_FILE
from flan_jax.config.run_config import RunConfig
from flan_jax.errors import UserError, counted
from flan_jax.evaluation import stage_scores
from flan_jax.files import atomic
from flan_jax.parallel import multihost
from flan_jax.run_folder import newest_step
from flan_jax.stage_tasks import check_stages, name_of
from flan_jax.train import say, train

_MEND = "delete it: the stages write it anew, and their own folders hold all that is learnt"


def train_runs(configs: Sequence[RunConfig]) -> int:
    """Trains runs one after the other; see `resolving.resolve_runs`.

    Those that are finished say so, and the next begins or goes on.

    Returns:
      The exit code of the first that was stopped, or 0.

    Raises:
      UserError: anything that the user can mend; what stages name is looked up before the first begins.
    """
    if len(configs) == 1:
        return train(configs[0])
    multihost.initialize()
    with setup.worker_of(configs[0]) as worker:
        columns = check_stages(configs, worker)
    folder = StagesFolder(Path(configs[0].run_dir).parent, [name_of(config) for config in configs])
    for number, config in enumerate(configs):
        name = name_of(config)
        folder.begin(number)
        length = f"{config.epochs:g} epochs" if config.steps is None else counted(config.steps, "step")
        say(f"\nStage {number + 1} of {len(configs)}, {name}: {config.mixture}, {length}, in {config.run_dir}")
        if code := train(config):
            return code
        folder.keep_scores(columns)
        gc.collect()  # the parameters of this stage, before the next reads its own
    if columns:
        say(f"\n{stage_scores.render(folder.matrix(columns), folder.path / STAGES_FILE)}")
    return 0


class StagesFolder:
    """RUN_DIR of stages.

    Args:
      path: the folder.
      names: the stages.

    Raises:
      UserError: it is the folder of an ordinary run, or of other stages.
    """

    def __init__(self, path: Path, names: Sequence[str]):
        self.path, self.names = path, list(names)
        if (path / CONFIG_FILE).exists():
            raise UserError(
                f"RUN_DIR {path} is the folder of a run without stages ({CONFIG_FILE} is in it); take another --run_dir"
            )
        there = self._kept()["stages"]
        common = min(len(there), len(names))
        if list(there)[:common] != self.names[:common]:
            raise UserError(
                f"RUN_DIR {path} holds the stages {', '.join(there)}, STAGES are {', '.join(names)}: a stage may be "
                "added or left out at the end alone; take another --run_dir"
            )

    def begin(self, number: int) -> None:
        """Notes from which step of the one before a stage begins; one that has begun must go on from the same.

        Raises:
          UserError: the stage before has been trained further since.
        """
        now = self._reached(number - 1) if number else None
        name, kept = self.names[number], self._kept()
        began = kept["stages"].get(name, {}).get("began_from")
        if self._reached(number) is None or name not in kept["stages"]:
            kept["stages"] |= {name: {"began_from": now}}
            self._write(kept)
        elif began != now:
            before = self.names[number - 1]
            raise UserError(
                f"stage {name!r} began from step {began} of {before!r}, which is at step {now} now: give {before!r} "
                f"the STEPS that it had, or delete {self._folder(number)} and what comes after it to train that anew"
            )

    def keep_scores(self, columns: Mapping[str, Sequence[str]]) -> None:
        """Writes the matrix of the stages so far."""
        self._write({**self._kept(), "columns": dict(columns), **self.matrix(columns)})

    def matrix(self, columns: Mapping[str, Sequence[str]]) -> dict[str, Any]:
        """The scores after the stages that are done; see `stage_scores.matrix`."""
        tables = {}
        for number, name in enumerate(self.names):
            if (path := self._folder(number) / "results.json").exists():
                tables[name] = atomic.read_json(path, "delete it, and the run's own command writes it anew")
        return stage_scores.matrix(tables, columns)

    def _folder(self, number: int) -> Path:
        return self.path / f"{number + 1}-{self.names[number]}"

    def _reached(self, number: int) -> int | None:
        """The step that a stage is at; None for one that has no checkpoint."""
        return newest_step(self._folder(number))

    def _write(self, kept: Mapping[str, Any]) -> None:
        if jax.process_index() == 0:
            self.path.mkdir(parents=True, exist_ok=True)
            atomic.write_json(self.path / STAGES_FILE, kept)

    def _kept(self) -> dict[str, Any]:
        path = self.path / STAGES_FILE
        try:
            kept = atomic.read_json(path, _MEND)
        except FileNotFoundError:
            return {"stages": {}}
        stages = kept.get("stages") if isinstance(kept, dict) else None
        if not isinstance(stages, dict) or not all(isinstance(one, dict) for one in stages.values()):
            raise UserError(f"{path} is damaged (it holds no stages); {_MEND}")
        return {"stages": stages}

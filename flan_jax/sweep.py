"""`flan-jax sweep`: trains every run of a sweep, one after the other, and tells what their scores come to.

Each run is an ordinary one, or a run of stages, in a folder of the sweep's that is named after its values. Those that
are finished are not begun again, so after a kill the same command goes on, and a scheduler may train some of them.
"""

import gc
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import jax

from flan_jax.config.run_config import RunConfig
from flan_jax.config.sweeps import SweepRun, launch
from flan_jax.errors import UserError, counted, path_fault, told
from flan_jax.evaluation import sweep_scores
from flan_jax.files import atomic
from flan_jax.run_folder import newest_step, read_plan
from flan_jax.stages import train_runs
from flan_jax.train import say
from flan_jax.training.metrics import read_metrics

_MEND = "delete it, and the run's own command writes it anew"


def sweep(
    runs: Sequence[SweepRun],
    write: str | None = None,
    report: bool = False,
    show: Sequence[str] = (),
    words: Sequence[str] = (),
) -> int:
    """Trains the runs of a sweep and prints its table.

    Args:
      runs: from `config.sweeps.runs_of`.
      write: a file for the launch commands of runs that are not finished; nothing is trained then.
      report: whether to print the table of the runs that are finished, and train nothing.
      show: tasks that the table has beside the groups.
      words: the command line without `--gin.` flags and options of a sweep's own, for launch commands.

    Returns:
      The exit code: 0; 2 where a run ended by a fault; that of a run which was stopped.

    Raises:
      UserError: there is nothing to report, or what is kept of a run is damaged.
    """
    done = [is_finished(run) for run in runs]  # of all, now: every host comes to the same
    if write is not None:
        return _write(write, [launch(run, words) for run, finished in zip(runs, done, strict=True) if not finished])
    faults = {} if report else _train(runs, done)
    if isinstance(faults, int):
        return faults
    _report(runs, faults, show)
    return 2 if faults else 0


def _train(runs: Sequence[SweepRun], done: Sequence[bool]) -> dict[str, str] | int:
    """Trains what is not done; the faults of runs by their folders, or the exit code of one that was stopped."""
    faults: dict[str, str] = {}
    if any(done):
        say(f"{sum(done)} of {counted(len(runs), 'run')} are finished already")
    for number, (run, finished) in enumerate(zip(runs, done, strict=True), 1):
        if finished:
            continue
        say(f"\nrun {number} of {len(runs)}: {run.label}")
        try:
            if code := train_runs(run.configs):
                return code
        except UserError as fault:
            faults[run.run_dir] = str(fault)
        except OSError as error:
            if (said := path_fault(error)) is None:
                raise
            faults[run.run_dir] = said
        if run.run_dir in faults:
            say(f"run {number} of {len(runs)}: {told(faults[run.run_dir])}")
        gc.collect()  # the parameters of this run, before the next has its own
    return faults


def is_finished(run: SweepRun) -> bool:
    """Whether a run was trained to its end by the very settings that it has now, and scored where it is to be."""
    return all(_is_finished(config) for config in run.configs)


def _is_finished(config: RunConfig) -> bool:
    folder = Path(config.run_dir)
    try:
        same = (folder / "operative.gin").read_text() == config.operative
        steps = read_plan(folder)["table"]["steps"]
    except OSError:
        return False
    reached = newest_step(folder) or 0
    scored = reached if not config.eval_mixture else (_kept(folder / "results.json") or {}).get("step")
    ended = reached == steps or config.stopping.metric is not None  # by its scores, before the last step
    return same and reached > 0 and ended and scored == reached


def _write(path: str, commands: Sequence[str]) -> int:
    atomic.write_text(Path(path), "".join(f"{command}\n" for command in commands))
    say(
        f"{path} has {counted(len(commands), 'command')}, a run each, to be started in {os.getcwd()}; when they are "
        "done, the sweep's own command with --report prints the table"
    )
    return 0


def _kept(path: Path) -> Any:
    try:
        return atomic.read_json(path, _MEND)
    except FileNotFoundError:
        return None


def record(run: SweepRun) -> dict[str, Any]:
    """What sweep.json keeps of a run."""
    kept: dict[str, Any] = {"values": dict(run.values), "run_dir": run.run_dir, "finished": is_finished(run)}
    if kept["finished"]:
        last = Path(run.configs[-1].run_dir)
        matrix = _kept(Path(run.run_dir) / "stages.json") if len(run.configs) > 1 else None
        kept |= sweep_scores.figures_of(_kept(last / "results.json"), matrix, read_metrics(last / "metrics.jsonl"))
    return kept


def _report(runs: Sequence[SweepRun], faults: Mapping[str, str], show: Sequence[str]) -> None:
    """Prints the table of the runs that are finished, and keeps it with all their figures."""
    if jax.process_index() != 0:
        return
    kept = [record(run) for run in runs]
    folder = Path(runs[0].run_dir).parent
    if not any(run["finished"] for run in kept):
        how = "every run ended by a fault, told above" if faults else "without --report the sweep trains them"
        raise UserError(f"no run of the sweep in {folder} is finished; {how}")
    found = sweep_scores.summary(kept, show)
    for run in kept:
        run |= {"fault": faults[run["run_dir"]]} if run["run_dir"] in faults else {}
    path = folder / "sweep.json"
    atomic.write_json(path, {"runs": kept, **found})
    say(f"\n{sweep_scores.render(found)}")
    for sentence in sweep_scores.unknown_tasks(kept, show):
        say(sentence)
    if faults:
        say(f"{counted(len(faults), 'run')} ended by a fault: {', '.join(Path(name).name for name in faults)}")
    say(f"every run's figures: {path}")

"""`flan-jax compare`: what a run forgot of what the model did before it, beyond the noise."""

import dataclasses
import json
import pathlib
import sys
from collections.abc import Sequence
from contextlib import closing
from typing import Any

import numpy as np

from flan_jax import setup
from flan_jax.config.kept import load_run
from flan_jax.config.origins import HuggingFaceFolder, origin_of
from flan_jax.config.run_config import RunConfig
from flan_jax.data.stores.store import open_store
from flan_jax.data.worker import Worker
from flan_jax.errors import UserError, counted
from flan_jax.evaluation import forgetting, reports
from flan_jax.evaluation.forgetting import Scores
from flan_jax.evaluation.losses import log_likelihoods
from flan_jax.evaluation.run import Evaluator
from flan_jax.files import atomic
from flan_jax.inference.loading import load_model
from flan_jax.names import names_in
from flan_jax.run_folder import RunFolder, trained_tasks
from flan_jax.text import kept_vocabulary as vocabulary
from flan_jax.training.checkpoints import Checkpoints

_TASKS = ("modules", "data_files", "data_fields", "data_held_out", "form")  # settings that say what tasks are
_HOW = ("evaluation", "feature_lengths", "seed", "store_dir", "data", "module_folders", *_TASKS)


def compare_command(
    config: RunConfig,
    before: str,
    repeats: Sequence[str] = (),
    mixture: str | None = None,
    forgot: bool = False,
    as_json: bool = False,
) -> int:
    """Compares two runs on the same examples, and gives the verdict on forgetting.

    Args:
      config: the run that is judged, read back from its folder; how it scores is how all are scored.
      before: the folder of the run that it started from, or of any other.
      repeats: folders of runs of the judged run's recipe with other seeds.
      mixture: what to score on: one or several, with commas between; by default the judged run's eval mixture.
      forgot: whether the exit code tells the verdict.
      as_json: whether to print the comparison as JSON instead of a table.

    Returns:
      0; with `forgot` 1 where something was forgotten beyond the noise.

    Raises:
      UserError: a folder holds no run or no checkpoint, another vocabulary, or nothing can be compared.
    """
    name = mixture or config.eval_mixture
    if not name:
        raise UserError(f"{config.run_dir} has no EVAL_MIXTURE; say what to score on, with --mixture NAME")
    first, *others = (_run_in(folder) for folder in (before, *repeats))
    with setup.worker_of(config) as worker:
        was, old_step = _scores(first, config, name, worker, bool(repeats))
        now, step = _scores(config, config, name, worker, bool(repeats))
        again = [_scores(run, config, name, worker, True)[0] for run in others]
    result = forgetting.report(was, [now, *again], _trained(config))
    if not result["groups"]:
        raise UserError(f"no task of {name!r} has a score in both {before} and {config.run_dir}; see `flan-jax eval`")
    models = {"before": {"run": before, "step": old_step}, "after": {"run": config.run_dir, "step": step}}
    scored = {"mixture": name, "split": config.evaluation.split, **models, "repeats": list(repeats)}
    path = pathlib.Path(config.run_dir) / "compare.json"
    kept_in: pathlib.Path | None = path
    try:
        atomic.write_json(path, {**scored, **result})
    except OSError:  # another's folder, or a full disk: then what is printed is all
        kept_in = None
    if as_json:
        json.dump({**scored, **result}, sys.stdout, indent=1)
        print()
    else:
        more = f" and {counted(len(repeats), 'repeat')}" if repeats else ""
        print(f"{before} at step {old_step}, then {config.run_dir} at step {step}{more}, on {name}")
        print(forgetting.render(result, kept_in))
    return int(forgot and result["forgot"])


def _run_in(folder: str) -> RunConfig:
    """The run of a folder.

    Raises:
      UserError: it holds none.
    """
    if isinstance(origin_of(folder), HuggingFaceFolder):
        raise UserError(
            f"{folder} is a Hugging Face folder; make a run of it with `flan-jax import {folder}`, and compare that"
        )
    return load_run(folder)


def _scores(
    run: RunConfig, like: RunConfig, mixture: str, worker: Worker, repeated: bool
) -> tuple[dict[str, Scores], int]:
    """What a run's latest checkpoint comes to, by suite, and its step: as it was scored before, or anew.

    Args:
      run: whose checkpoint.
      like: the run as which it is scored.
      mixture: one or several.
      worker: the data process of `like`.
      repeated: whether the noise is told by repeats; if not, losses are taken example by example.
    """
    if (kept := _kept(run, like, mixture, repeated)) is not None:
        return kept
    run = dataclasses.replace(run, **{name: getattr(like, name) for name in _HOW})
    model, codec, step = load_model(run, None, worker.call)
    found = {}
    for suite in names_in(mixture):
        evaluator = Evaluator(dataclasses.replace(run, eval_mixture=suite), worker, codec, model.with_params)
        scores = evaluator(model.params)
        losses, by_loss = {}, {score.task for score in scores if score.kind == "loss"}
        assert evaluator.resolved is not None
        for task in evaluator.resolved.tasks:
            if task.name in by_loss and not repeated:
                store = open_store(task.store())
                of_each = log_likelihoods(model, store, setup.shape_of(run), run.evaluation.batch_size)
                losses[task.name] = (-np.array(of_each), np.array([_tokens(store[i]) for i in range(store.count)]))
        found[suite] = Scores([dataclasses.asdict(score) for score in scores], losses)
    return found, step


def _tokens(example: Any) -> float:
    """Tokens of an example that bear loss, by their weights."""
    return float(len(example.targets) if example.weights is None else example.weights.sum())


def _kept(run: RunConfig, like: RunConfig, mixture: str, repeated: bool) -> tuple[dict[str, Scores], int] | None:
    """The scores that a run's folder keeps of its latest checkpoint; None where they are of other examples, were taken
    otherwise, or do not tell enough: of losses without repeats each example's is wanted."""

    def scored_as(of: RunConfig) -> tuple[Any, ...]:
        request = setup.eval_request(dataclasses.replace(of, eval_mixture=mixture))
        how = dataclasses.replace(of.evaluation, before=False)
        described = vocabulary.kept(pathlib.Path(of.run_dir), check=False) or {}
        tasks = [getattr(of, name) for name in _TASKS]
        return dataclasses.replace(request, store_dir=""), how, described.get("fingerprint"), tasks

    if run.eval_mixture != mixture or len(names_in(mixture)) > 1 or scored_as(run) != scored_as(like):
        return None
    with closing(Checkpoints(pathlib.Path(run.run_dir) / "checkpoints", read_only=True)) as checkpoints:
        step = checkpoints.latest()
    scores = None if step is None else RunFolder(run.run_dir).read_scores(step)
    if step is None or scores is None:
        return None
    if not repeated and any((one.get("unit") or one["kind"]) == reports.LOSS for one in scores):
        return None
    return {mixture: Scores(scores)}, step


def _trained(config: RunConfig) -> list[str]:
    """The tasks that a run trained on; none for one that was imported."""
    try:
        return trained_tasks(pathlib.Path(config.run_dir))
    except FileNotFoundError:
        return []

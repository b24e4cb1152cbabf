"""Evaluates a run: while it trains, and by `flan-jax eval`."""

import dataclasses
import functools
import pathlib
import shutil
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from flan_jax import setup
from flan_jax.config.run_config import RunConfig
from flan_jax.data.resolve import Resolved, resolve
from flan_jax.data.rows import RowShape
from flan_jax.data.worker import Worker
from flan_jax.errors import UserError
from flan_jax.evaluation import reports, samples, template_scores
from flan_jax.evaluation.held_out_text import held_out_text
from flan_jax.evaluation.scoring import TaskScore, score
from flan_jax.files import atomic
from flan_jax.inference.loading import load_model
from flan_jax.inference.model import InferenceModel
from flan_jax.progress import Progress
from flan_jax.run_folder import trained_tasks
from flan_jax.text import kept_vocabulary as vocabulary
from flan_jax.text.codec import Codec


class Evaluator:
    """Scores parameters on a run's eval mixture and its held-out text; false where the run has neither.

    Args:
      config: the run.
      worker: its data process.
      codec: its vocabulary.
      model_of: makes a model to ask of parameters.
    """

    def __init__(self, config: RunConfig, worker: Worker, codec: Codec, model_of: Callable[[Any], InferenceModel]):
        self.config, self.worker, self.codec, self.model_of = config, worker, codec, model_of
        self.resolved: Resolved | None = None
        if config.eval_mixture:
            request, architecture = setup.eval_request(config), config.model.architecture
            self.resolved = resolve(request, worker, "EVAL_MIXTURE", architecture)
            vocabulary.check_same(self.resolved.vocabulary, codec.description, config.run_dir)
        scored = [task.name for task in self.resolved.tasks] if self.resolved else []
        self.text = held_out_text(config, worker, scored)
        if self.text:
            vocabulary.check_same(self.text.vocabulary, codec.description, config.run_dir)

    def __bool__(self) -> bool:
        return self.resolved is not None or self.text is not None

    def __call__(self, params: Any, kept_in: pathlib.Path | None = None) -> list[TaskScore]:
        """Scores these parameters on every task.

        Args:
          params: the parameters.
          kept_in: the folder that answers are kept in, see `samples`; None keeps none.
        """
        model = self.model_of(params)
        if kept_in is not None:
            shutil.rmtree(kept_in, ignore_errors=True)
        found: list[TaskScore] = []
        parts = [one for one in (self.resolved, self.text) if one is not None]
        with Progress("scoring", sum(len(one.tasks) for one in parts), unit="task", every=10**9) as bar:
            if self.resolved is not None:
                shape = setup.shape_of(self.config)
                found += self._scores(model, self.resolved, self.config.evaluation.measure, shape, bar, 0, kept_in)
            if self.text is not None:
                shape = setup.text_shape_of(self.config)
                found += map(reports.of_text, self._scores(model, self.text, "loss", shape, bar, len(found)))
        return found

    def _scores(
        self,
        model: InferenceModel,
        resolved: Resolved,
        measure: str,
        shape: RowShape,
        bar: Progress,
        before: int,
        kept_in: pathlib.Path | None = None,
    ) -> list[TaskScore]:
        """The scores of a mixture in rows of a shape, when `before` tasks were scored of another."""
        how = self.config.evaluation
        keep = None if kept_in is None else functools.partial(_keep_samples, kept_in)
        return score(
            model,
            resolved,
            self.worker,
            self.codec,
            shape=shape,
            batch_size=how.batch_size,
            ranking=how.ranking,
            measure=measure,
            max_new_tokens=how.max_new_tokens,
            num_beams=how.num_beams,
            samples=samples.of_each_task(how.samples, len(resolved.tasks)) if keep else 0,
            on_samples=keep,
            on_progress=lambda done, _: bar.update(before + done),
        )


def _keep_samples(folder: pathlib.Path, task: str, rows: Sequence[Mapping[str, Any]]) -> None:
    """Keeps a task's samples; where they cannot be written, scoring goes on without them."""
    try:
        samples.write(folder, task, rows)
    except OSError as error:
        print(f"the answers to {task!r} are not kept in {folder}: {error.strerror}", file=sys.stderr)


def evaluate_run(
    config: RunConfig,
    mixture: str | None = None,
    split: str | None = None,
    step: int | None = None,
    each_template: bool = False,
) -> int:
    """Scores a checkpoint of the run in `config.run_dir`, prints the table and keeps it there as `eval.json`.

    Args:
      config: the run, read back from its folder.
      mixture: what to score on; by default the run's eval mixture, else what it trained on.
      split: which split; by default the run's.
      step: which checkpoint; by default the latest.
      each_template: whether each row is scored under each of its task's templates; by default as the run has it.
    """
    evaluation = dataclasses.replace(config.evaluation, split=split or config.evaluation.split)
    if each_template:
        evaluation = dataclasses.replace(evaluation, each_template=True)
    name = mixture or config.eval_mixture or config.mixture
    pretraining = dataclasses.replace(config.pretraining, eval=config.pretraining.eval and mixture is None)
    config = dataclasses.replace(config, eval_mixture=name, evaluation=evaluation, pretraining=pretraining)
    with setup.worker_of(config) as worker:
        model, codec, step = load_model(config, step, worker.call)
        kept_in = pathlib.Path(config.run_dir) / samples.FOLDER / "eval"
        scores = Evaluator(config, worker, codec, model.with_params)(model.params, kept_in)
    try:
        trained = trained_tasks(pathlib.Path(config.run_dir))
    except FileNotFoundError:  # imported, and not trained since
        trained = []
    result = reports.table([dataclasses.asdict(s) for s in scores], None, trained, step)
    path = pathlib.Path(config.run_dir) / "eval.json"
    chosen_on = template_scores.chosen(_kept(path), name, evaluation.split, step)
    templates = template_scores.rows(template_scores.by_template(result), chosen_on)
    result |= {"chosen_on": chosen_on, "templates": templates}
    try:
        atomic.write_json(path, {"mixture": name, "split": evaluation.split, **result})
        print(reports.render(result, path))
    except OSError:  # another's folder, or a full disk: then all is printed
        print(reports.render(result))
    if table := template_scores.render(templates, chosen_on):
        print(f"\n{table}")
    return 0


def _kept(path: pathlib.Path) -> dict[str, Any] | None:
    """What the evaluation before this one left; None where there is none that can be read."""
    try:
        return atomic.read_json(path, "")
    except (FileNotFoundError, UserError):
        return None

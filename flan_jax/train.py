"""The training loop.

Every step goes in this order, and nothing else happens between:

    load      the batch of step s (threads made it ahead; a function of the plan and s)
    step      dispatch the jitted step; the device works from here on
    log       the metrics of step s - 1, which are ready by now
    save      every SAVE_PERIOD steps: metrics.jsonl is synced first, then the checkpoint is written in the background
    eval      every EVAL_PERIOD steps, on the parameters after step s; whatever fails here, the step is saved
    stop      if a signal asked for it, or the scores (`Stopping`): save, then leave

So what a checkpoint of step s holds, the metrics up to s and the plan are enough to go on exactly. A run that goes on
from a step that was due to be scored and was not begins with that.
"""

import dataclasses
import pathlib
import time
from contextlib import closing
from typing import Any

import jax
import numpy as np

from flan_jax import run_data, setup
from flan_jax.config.checks import check
from flan_jax.config.run_config import RunConfig
from flan_jax.errors import NotFinite, UserError, counted
from flan_jax.evaluation import reports, samples
from flan_jax.evaluation.check import check_eval_mixture
from flan_jax.evaluation.run import Evaluator
from flan_jax.evaluation.scoring import TaskScore
from flan_jax.evaluation.stopping import stopped
from flan_jax.files import atomic
from flan_jax.inference.model import InferenceModel
from flan_jax.parallel import mesh as meshes
from flan_jax.parallel import multihost
from flan_jax.plan_table import plan_table
from flan_jax.plan_text import mask_line, render_plan
from flan_jax.progress import Progress
from flan_jax.run_folder import RunFolder, changed_state
from flan_jax.run_lock import RunLock
from flan_jax.text import kept_vocabulary as vocabulary
from flan_jax.text.sentencepiece_folder import unused_template
from flan_jax.training import carried, start
from flan_jax.training.averaging import scored_parameters
from flan_jax.training.checkpoints import Checkpoints, OtherState
from flan_jax.training.disk import full_disk_named
from flan_jax.training.finite import SkippedSteps, check_parameters
from flan_jax.training.logbook import Logbook
from flan_jax.training.metrics import MetricsWriter
from flan_jax.training.optimizer import describe_schedule
from flan_jax.training.program import check_patterns, make_program
from flan_jax.training.run_state import RunState
from flan_jax.training.step import place_batch
from flan_jax.training.stop import StopRequest


def train(config: RunConfig) -> int:
    """Trains, scores and keeps a model; goes on where an earlier run of the same folder stopped.

    Returns:
      The exit code: 0 when the run is complete, 130 after Ctrl-C and 143 after SIGTERM, with everything saved.

    Raises:
      UserError: anything that the user can mend; found before the first step where that is possible.
    """
    check(config)
    multihost.initialize()
    mesh = meshes.make_mesh(config.mesh)
    meshes.check_batch(config.batch_size, config.microbatches, mesh)
    if config.pretraining.apart:
        what = "Pretraining.batch_size"
        meshes.check_batch(setup.text_batch_of(config), config.microbatches, mesh, what)
    check_patterns(config)
    folder = RunFolder(config.run_dir)
    with full_disk_named(folder.path), RunLock(folder.path) as lock, setup.worker_of(config) as worker:
        if lock.notice:
            say(lock.notice)
        check_eval_mixture(config, worker)
        data = run_data.open_data(config, worker, folder.path, draws="ahead", guard=True)
        data = run_data.with_teacher(config, data)
        changed = folder.check_plan(config, data)
        model, lora = setup.model_for(config, data.codec.size), setup.lora_for(config)
        config = dataclasses.replace(config, model=model, lora=lora)
        table = plan_table(config, data, data.steps(config))
        say(render_plan(table))
        for line in changed:
            say(f"the plan differs from the one before: {line}")
        with closing(Checkpoints(folder.checkpoints, **dataclasses.asdict(config.checkpoints))) as checkpoints:
            run = _Run(config, data, mesh, folder, checkpoints)
            run.evaluator = Evaluator(config, worker, data.codec, run.inference_model)
            with closing(data):
                return run.go(table)


def say(text: str) -> None:
    """Prints, on the first host only."""
    if jax.process_index() == 0:
        print(text, flush=True)


class _Run:
    """One run in progress: what the loop needs, and the loop."""

    evaluator: Evaluator

    def __init__(self, config: RunConfig, data: run_data.Data, mesh: Any, folder: RunFolder, checkpoints: Checkpoints):
        self.config, self.data, self.mesh = config, data, mesh
        self.folder, self.checkpoints = folder, checkpoints
        self.steps = data.steps(config)
        self.tasks = [task.name for task in data.tasks]
        self.program = make_program(
            mesh,
            config.model,
            config.optimizer,
            config.loss,
            steps=self.steps,
            num_tasks=len(self.tasks),
            microbatches=config.microbatches,
            seed=config.seed,
            lora=config.lora,
            distillation=config.distillation,
        )
        self.frozen: tuple[Any, ...] = ()  # the base of adapters, read when the state is
        self.stop = StopRequest()
        self.saved = checkpoints.latest()  # the step that was saved last
        # A run of fewer steps than may be skipped is not complete with all of them skipped.
        self.skipped = SkippedSteps(self.tasks, min(config.optimizer.max_skipped_steps, self.steps))
        self.waits = False  # whether a save was due at a step that was skipped
        self.ended = ""  # why the scores have ended the run, once they have

    def inference_model(self, params: Any) -> InferenceModel:
        """The model with these parameters, ready to be scored."""
        parts = (params, *self.frozen) if self.frozen else params
        return InferenceModel(self.program.graph, parts, self.mesh, self.data.codec.eos_ids)

    def go(self, table: dict[str, Any]) -> int:
        """Restores or starts, loops, and reports."""
        earlier, done = self.folder.earlier(), self.saved or 0
        self.ended = stopped(self.config.stopping, self.folder, done)
        if done >= self.steps or self.ended:
            self._keep_vocabulary()
            why = f"{self.ended}." if done < self.steps else "Give more STEPS to go on."
            say(f"{self.folder.path} is finished: step {done} of {self.steps}. {why}")
            if self.evaluator and done == self.steps and self.folder.read_scores(done) is None:
                # Scoring was cut short when the last step was done, or there was nothing to score by then.
                state = self._restore(done, earlier)[0]
                with closing(self._metrics_writer(done)) as writer:
                    self._evaluate(state, done, writer)
            self._report(done, table)
            return 0
        state, before = self._restore(done, earlier) if done else (self._fresh(), RunState())
        if jax.process_index() == 0:
            self.folder.write(self.config, self.data, table)
            self.folder.forget_scores(done)
        try:
            with self.stop:
                done = self._loop(state, done, before)
        except NotFinite as fault:
            raise self._with_checkpoint(fault) from None
        if self.skipped.total:
            said = "was" if self.skipped.total == 1 else "were"
            say(f"{self.skipped.total} of {done} steps {said} skipped, as the loss or its gradient was not finite")
        if self.stop:
            say(f"stopped and saved at step {done} of {self.steps}; the same command goes on from there")
            return 128 + (self.stop.signal or 0)
        if self.ended and done < self.steps:
            say(f"complete at step {done} of {self.steps}: {self.ended}")
        self._report(done, table)
        return 0

    def _loop(self, state: Any, done: int, before: RunState) -> int:
        """The steps from `done` on; see the module's docstring for the order."""
        config = self.config
        loader = self.data.loader(config, lambda rows: meshes.local_rows(rows, self.mesh))
        bar = Progress("training", self.steps, done, every=config.log_period)
        with bar, closing(self._metrics_writer(done)) as writer:
            groups = self._objectives(), config.log_period, self.steps, self.skipped, self.data.parts()
            log = Logbook(writer, bar, self.tasks, *groups)
            self.skipped.total, self.skipped.in_a_row = before.skipped
            if np.shape(before.task_sums) == log.task_sums.shape:
                log.task_sums[:] = before.task_sums
            try:
                self._score_if_due(state, done, writer, bar, log, anew=False)
                for step, batch in loader.from_step(done, done if self.ended else self.steps):
                    state, metrics = self.program.step(state, place_batch(batch, self.mesh), *self.frozen)
                    done = step + 1
                    log.add(done, metrics, _tokens(batch))
                    self._save_if_due(writer, log, state, done)
                    if not self.stop:
                        self._score_if_due(state, done, writer, bar, log)
                    if self.stop or self.ended:
                        self._save(writer, log, state, done)
                        break
            except NotFinite:
                raise
            except UserError:
                # A fault in the data loses nothing that was learnt before it.
                self._save(writer, log, state, done)
                raise
            finally:
                self.checkpoints.wait()
        return done

    def _save_if_due(self, writer: MetricsWriter, log: Logbook, state: Any, done: int) -> None:
        """Saves this step if it is one that is saved, or the first to be learnt from after such a one was skipped."""
        if not (done == self.steps or _due(done, self.config.save_period) or self.stop or self.waits):
            return
        log.flush()
        # While steps are skipped, the same parameters would push older checkpoints out.
        self.waits = self.skipped.in_a_row > 0 and done < self.steps and not self.stop
        if not self.waits:
            self._save(writer, log, state, done)

    def _save(self, writer: MetricsWriter, log: Logbook, state: Any, done: int) -> None:
        """Saves this step, once.

        Raises:
          NotFinite: no checkpoint should hold its parameters.
        """
        if self.saved == done:
            return
        log.flush()
        check_parameters(state["params"], done)
        writer.sync()
        reached = RunState(
            step=done,
            plan=self.data.fingerprint,
            data=self.data.state(done, self.config.batch_size),
            seed=self.config.seed,
            task_sums=log.task_sums.tolist(),
            skipped=(self.skipped.total, self.skipped.in_a_row),
            operative=self.config.operative,
        )
        self.checkpoints.save(done, state, reached.to_json())
        self.saved = done
        log.pause()

    def _with_checkpoint(self, fault: NotFinite) -> NotFinite:
        """The fault, and what of the run stays."""
        kept = self.checkpoints.latest()
        goes_on = "no checkpoint was written before" if kept is None else f"the same command goes on from step {kept}"
        return NotFinite(f"{str(fault).rstrip('.')}; {goes_on}.")

    def _score_if_due(
        self, state: Any, done: int, writer: MetricsWriter, bar: Progress, log: Logbook, anew: bool = True
    ) -> None:
        """Scores this step if it is one that is scored; unless `anew`, only if a run before has not done so."""
        periodic = self.config.evaluation.before if done == 0 else _due(done, self.config.eval_period)
        if not self.evaluator or not (periodic or done == self.steps):
            return
        kept = None if anew else self.folder.read_scores(done)
        if kept is not None:
            self._rank(done, [TaskScore.read(row) for row in kept])
            return
        log.flush()
        try:
            self._evaluate(state, done, writer, bar)
        except Exception:
            if done:
                self._save(writer, log, state, done)
            raise
        self.ended = stopped(self.config.stopping, self.folder, done)
        log.pause()

    def _evaluate(self, state: Any, step: int, writer: MetricsWriter, bar: Progress | None = None) -> None:
        """Scores the eval mixture and keeps the scores; those in the run's folder say that all is done."""
        began = time.perf_counter()
        answers = self.folder.path / samples.FOLDER
        kept_in = answers / f"step-{step}" if jax.process_index() == 0 else None
        scores = self.evaluator(scored_parameters(state, self.config.evaluation.averaged), kept_in)
        writer.write_scores(step, reports.logged(scores, self.tasks))
        self._rank(step, scores)
        if jax.process_index() == 0:
            self.folder.write_scores(step, scores)
            samples.keep_newest(answers, self.config.checkpoints.keep)
            tell = bar.line if bar else say
            tell(f"step {step}: {reports.one_line(scores)} ({time.perf_counter() - began:.0f} s)")
            for sentence in reports.failures([sentence for score in scores for sentence in score.failures]):
                tell(sentence)

    def _rank(self, step: int, scores: list[TaskScore]) -> None:
        """Says how good the checkpoint of this step is, if there is one."""
        metrics, wanted = reports.metrics_of(scores), self.config.checkpoints.best_metric
        if step and step == self.saved:
            self.checkpoints.rank(step, metrics)
            if wanted and wanted not in metrics:
                say(
                    f"step {step} cannot be kept as the best: it has no {wanted!r}, as tasks have unlike units or no "
                    f"score; Checkpoints.best_metric may name a task's, as {next(iter(metrics), 'TASK/score')!r}"
                )

    def _report(self, done: int, table: dict[str, Any]) -> None:
        """The final table, and what to type next."""
        after = self.folder.read_scores(done)
        if jax.process_index() != 0:
            return
        if after is not None:
            result = reports.table(after, self.folder.read_scores(0), self.tasks, done)
            result["mask"] = {"said": mask_line(table), "tasks": {row["task"]: row["mask"] for row in table["tasks"]}}
            atomic.write_json(path := self.folder.path / "results.json", result)
            say(f"{reports.render(result, path)}\n{result['mask']['said']}")
        say(reports.next_steps(self.folder.path, done))

    def _fresh(self) -> Any:
        """The state of step 0."""
        described = self.data.resolved.vocabulary
        self.frozen = start.frozen_base(self.config, described, self.mesh)
        state = start.fresh_state(self.config, described, self.program, self.mesh)
        state = carried.over(self.config, state, self.program)
        if self.config.lora:
            say(self._about_adapters(state["params"]))
        elif self.config.init_from:
            say(f"starting from the parameters of {self.config.init_from}; {carried.told(self.config)}")
        if self.config.init_from and (unused := unused_template(pathlib.Path(self.config.init_from))):
            say(unused)
        return state

    def _restore(self, done: int, earlier: RunConfig | None) -> tuple[Any, RunState]:
        """The state of this run's checkpoint, and what was saved beside it."""
        where = str(self.folder.path)
        self._keep_vocabulary()
        self.frozen = start.frozen_base(self.config, self.data.resolved.vocabulary, self.mesh)
        try:
            state, extra = self.checkpoints.restore(done, self.program.abstract)
        except OtherState as fault:
            changed = changed_state(earlier, self.config) if earlier else []
            if not changed:
                raise
            raise UserError(
                f"{where} cannot go on from step {done}, as its checkpoint holds another model or optimiser: "
                f"{'; '.join(changed)}. Undo that, or take another --run_dir"
            ) from fault
        reached = RunState.of(extra)
        if reached.data is not None and reached.plan == self.data.fingerprint:
            self.data.anchor(reached.data)
        say(f"going on from step {done} of {self.steps} in {where}")
        if earlier and earlier.steps not in (None, self.steps):
            before = describe_schedule(earlier.optimizer, earlier.steps)
            now = describe_schedule(self.config.optimizer, self.steps)
            say(f"STEPS was {earlier.steps}, is {self.steps}; learning rate before: {before}; from here on: {now}")
        return state, reached

    def _keep_vocabulary(self) -> None:
        """Checks that the folder's vocabulary is the data's, and mends copies of it that were lost or exchanged."""
        ours, folder = self.data.resolved.vocabulary, self.folder.path
        vocabulary.check_same(ours, vocabulary.kept(folder, check=False), str(folder))
        try:
            vocabulary.kept(folder)
        except UserError:
            if jax.process_index() == 0:  # only then: a finished run may lie where nothing can be written
                vocabulary.keep(ours, folder)

    def _about_adapters(self, params: Any) -> str:
        """What is trained, in a line."""
        lora, count = self.config.lora, lambda tree: sum(leaf.size for leaf in jax.tree.leaves(tree))
        modules = len(lora.modules(self.config.model))
        rows = f" and the rows of {counted(len(lora.rows), 'token')}" if lora.rows else ""
        return (
            f"training adapters of rank {lora.rank} beside {modules} modules{rows}, {count(params):,} parameters; the "
            f"{count(self.frozen):,} of {self.config.init_from} stay as they are; {carried.told(self.config)}"
        )

    def _objectives(self) -> list[str]:
        by_name = {task.name: task.about.get("objective", "seqio") for task in self.data.resolved.tasks}
        return [by_name[name] for name in self.tasks]

    def _metrics_writer(self, done: int) -> MetricsWriter:
        # The other hosts write their copy aside: one code path for every host.
        here = self.folder.path if jax.process_index() == 0 else self.folder.path / f"host-{jax.process_index()}"
        return MetricsWriter(here, done)


def _tokens(batch: dict[str, np.ndarray]) -> int:
    return sum(int((array > 0).sum()) for name, array in batch.items() if name.endswith("segment_ids"))


def _due(step: int, period: int) -> bool:
    return period > 0 and step % period == 0

"""The training loop.

Every step goes in this order, and nothing else happens between:

    load      the batch of step s (threads made it ahead; a function of the plan and s)
    step      dispatch the jitted step; the device works from here on
    log       the metrics of step s - 1, which are ready by now
    eval      every EVAL_PERIOD steps, on the parameters after step s
    save      every SAVE_PERIOD steps: metrics.jsonl is synced first, then the checkpoint is written in the background
    stop      if a signal asked for it: save, then leave

So what a checkpoint of step s holds, the metrics up to s and the plan are enough to go on exactly.
"""

import dataclasses
import signal
import time
from contextlib import closing
from typing import Any

import jax
import numpy as np
from flax import nnx

from flan_jax import config as configs
from flan_jax import setup
from flan_jax.commands.plan import plan_table, render_plan
from flan_jax.config import RunConfig
from flan_jax.data import vocabulary
from flan_jax.data.store import write_json
from flan_jax.errors import UserError
from flan_jax.evaluation import reports
from flan_jax.evaluation.model import Asked
from flan_jax.evaluation.run import Evaluator
from flan_jax.models.build import abstract_model, build
from flan_jax.parallel import mesh as meshes
from flan_jax.parallel import multihost
from flan_jax.progress import Progress
from flan_jax.run_folder import RunFolder
from flan_jax.training import state as states
from flan_jax.training.checkpoints import Checkpoints
from flan_jax.training.metrics import MetricsWriter
from flan_jax.training.optimizer import describe_schedule, learning_rate_schedule, make_optimizer
from flan_jax.training.step import make_train_step, place_batch


def train(config: RunConfig) -> int:
    """Trains, scores and keeps a model; goes on where an earlier run of the same folder stopped.

    Returns:
      The exit code: 0 when the run is complete, 130 after Ctrl-C and 143 after SIGTERM, with everything saved.

    Raises:
      UserError: anything that the user can mend; found before the first step where that is possible.
    """
    configs.check(config)
    multihost.initialize()
    mesh = meshes.make_mesh(config.mesh)
    meshes.check_batch(config.batch_size, config.microbatches, mesh)
    folder = RunFolder(config.run_dir)
    with setup.worker_of(config) as worker:
        data = setup.open_data(config, worker, folder.path)
        changed = folder.check_plan(data, config.data.on_changed_plan)
        steps = data.steps(config)
        config = _with_vocabulary(config, data.codec.size)
        table = plan_table(config, data, steps)
        say(render_plan(table))
        for line in changed:
            say(f"the plan differs from the one before: {line}")
        with closing(Checkpoints(folder.checkpoints, **dataclasses.asdict(config.checkpoints))) as checkpoints:
            run = _Run(config, data, steps, mesh, folder, checkpoints)
            run.evaluator = Evaluator(config, worker, data.codec, run.asked)
            return run.go(table)


def say(text: str) -> None:
    """Prints on the first host only."""
    if jax.process_index() == 0:
        print(text, flush=True)


class _Run:
    """One run in progress: what the loop needs, and the loop."""

    evaluator: Evaluator

    def __init__(
        self, config: RunConfig, data: setup.Data, steps: int, mesh: Any, folder: RunFolder, checkpoints: Checkpoints
    ):
        self.config, self.data, self.steps, self.mesh = config, data, steps, mesh
        self.folder, self.checkpoints = folder, checkpoints
        self.task_names = [task.name for task in data.plan.tasks]
        self.task_sums = np.zeros((2, len(self.task_names)))  # loss and weight since the last LOG_PERIOD
        self.schedule = learning_rate_schedule(config.optimizer, steps)
        self.graph, params = nnx.split(abstract_model(config.model), nnx.Param)
        self.tx = make_optimizer(config.optimizer, steps, params)
        self.abstract = states.abstract_state(params, self.tx, mesh)
        self.step_fn = make_train_step(
            self.graph,
            self.tx,
            mesh=mesh,
            state_shardings=jax.tree.map(lambda leaf: leaf.sharding, self.abstract),
            schedule=self.schedule,
            num_tasks=len(self.task_names),
            loss_config=config.loss,
            microbatches=config.microbatches,
            seed=config.seed,
            dropout=config.model.dropout_rate > 0,
        )
        self.stopped_by: int | None = None

    def asked(self, params: Any) -> Asked:
        """The model with these parameters, ready to be scored."""
        return Asked(self.graph, params, self.mesh, self.data.codec.eos_id)

    def go(self, table: dict[str, Any]) -> int:
        """Restores or starts, loops, and reports."""
        earlier, start = self.folder.earlier(), self.checkpoints.latest() or 0
        if start >= self.steps:
            say(f"{self.folder.path} is finished: step {start} of {self.steps}. Give more STEPS to go on.")
            self._report(start)
            return 0
        state = self._state(start, earlier)
        if jax.process_index() == 0:
            self.folder.write(self.config, self.data, table)
        if start == 0 and self.config.evaluation.before and self.folder.read_scores(0) is None:
            self._evaluate(state["params"], 0)
        state, done = self._loop(state, start)
        if self.stopped_by is not None:
            say(f"stopped and saved at step {done} of {self.steps}; the same command goes on from there")
            return 128 + self.stopped_by
        self._report(done)
        return 0

    def _loop(self, state: Any, start: int) -> tuple[Any, int]:
        """The steps from `start` on; see the module's docstring for the order."""
        config, done = self.config, start
        loader = self.data.loader(config, meshes.local_rows(config.batch_size, self.mesh))
        bar = Progress("training", self.steps, start, every=config.log_period)
        pending: tuple[int, Any, int] | None = None
        with _signals(self), closing(MetricsWriter(self.folder.path, start)) as writer, bar:
            self.began = time.perf_counter()
            try:
                for step, batch in loader.from_step(start, self.steps):
                    tokens = sum(int((batch[k] > 0).sum()) for k in batch if k.endswith("segment_ids"))
                    state, metrics = self.step_fn(state, place_batch(batch, self.mesh))
                    self._log(writer, bar, pending)
                    pending, done = (step + 1, metrics, tokens), step + 1
                    last = done == self.steps or self.stopped_by is not None
                    scores = None
                    if self.evaluator and (done == self.steps or _due(done, config.eval_period)):
                        pending = self._log(writer, bar, pending)
                        scores = self._evaluate(state["params"], done, bar)
                    if last or _due(done, config.save_period):
                        pending = self._log(writer, bar, pending)
                        self._save(writer, state, done, scores)
                    if last:
                        break
            except UserError:
                # A fault in the data loses nothing that was learnt before it.
                self._log(writer, bar, pending)
                self._save(writer, state, done, None)
                raise
        self.checkpoints.wait()
        return state, done

    def _log(self, writer: MetricsWriter, bar: Progress, pending: tuple[int, Any, int] | None) -> None:
        """Writes the metrics of a step that was dispatched earlier; returns None, as nothing is pending then."""
        if pending is None:
            return
        step, metrics, tokens = pending
        values = {name: np.asarray(value) for name, value in metrics.items()}
        now = time.perf_counter()
        speed, self.began = tokens * jax.process_count() / (now - self.began), now
        loss = values["loss_sum"] / np.maximum(values["weight_sum"], np.float32(1e-9))
        row = {"loss": loss, "tokens_per_second": float(round(speed, 1))}
        row |= {k: values[k] for k in ("grad_norm", "learning_rate", "weight_sum")}
        self.task_sums += np.stack([values["task_loss_sum"], values["task_weight_sum"]])
        if _due(step, self.config.log_period) or step == self.steps:
            row |= {"by_task": self._by(self.task_names), "by_objective": self._by(self._objectives())}
            self.task_sums[:] = 0
        writer.write(step, row)
        bar.update(step, loss=f"{float(loss):.4f}", **{"tokens/s": f"{speed:,.0f}"})

    def _by(self, groups: list[str]) -> dict[str, Any]:
        """Loss and weight since the last LOG_PERIOD, of the groups that occurred."""
        sums: dict[str, np.ndarray] = {}
        for group, pair in zip(groups, self.task_sums.T, strict=True):
            sums[group] = sums.get(group, np.zeros(2)) + pair
        return {
            group: {"loss": float(loss / weight), "loss_sum": float(loss), "weight_sum": float(weight)}
            for group, (loss, weight) in sums.items()
            if weight > 0
        }

    def _objectives(self) -> list[str]:
        by_name = {task.name: task.about.get("objective", "instruction") for task in self.data.resolved.tasks}
        return [by_name[name] for name in self.task_names]

    def _save(self, writer: MetricsWriter, state: Any, done: int, scores: list[Any] | None) -> None:
        writer.sync()
        extra = {
            "step": done,
            "plan": self.data.plan.fingerprint,
            "seed": self.config.seed,
            "task_sums": self.task_sums.tolist(),
            "operative": self.config.operative,
            "model": dataclasses.asdict(self.config.model),
        }
        self.checkpoints.save(done, state, extra, reports.metrics_of(scores) if scores else None)

    def _evaluate(self, params: Any, step: int, bar: Progress | None = None) -> list[Any] | None:
        """Scores the eval mixture and keeps the scores."""
        if not self.evaluator:
            return None
        began = time.perf_counter()
        scores = self.evaluator(params)
        if jax.process_index() == 0:
            self.folder.write_scores(step, scores)
            (bar.line if bar else say)(f"step {step}: {reports.one_line(scores)} ({time.perf_counter() - began:.0f} s)")
        self.began = time.perf_counter()
        return scores

    def _report(self, done: int) -> None:
        """The final table, and what to type next."""
        after = self.folder.read_scores(done)
        if jax.process_index() != 0:
            return
        if after is not None:
            result = reports.table(after, self.folder.read_scores(0), self.task_names, done)
            write_json(self.folder.path / "results.json", result)
            say(reports.render(result))
        say(reports.next_steps(self.folder.path, self.config))

    def _state(self, start: int, earlier: RunConfig | None) -> Any:
        """The state to go on from: this run's checkpoint, another run's parameters, or fresh ones."""
        config = self.config
        if start:
            vocabulary.check_same(
                self.data.resolved.vocabulary, vocabulary.kept(self.folder.path), str(self.folder.path)
            )
            state, extra = self.checkpoints.restore(start, self.abstract)
            if len(extra["task_sums"][0]) == len(self.task_names):
                self.task_sums = np.array(extra["task_sums"])
            say(f"going on from step {start} of {self.steps} in {self.folder.path}")
            if earlier and earlier.steps not in (None, self.steps):
                before = describe_schedule(earlier.optimizer, earlier.steps)
                now = describe_schedule(config.optimizer, self.steps)
                say(f"STEPS was {earlier.steps}, is {self.steps}; learning rate before: {before}; from here on: {now}")
            return state
        if config.init_from:
            params = initial_params(config, self.data.resolved.vocabulary, self.abstract["params"])
            say(f"starting from the parameters of {config.init_from}; optimiser and step are new")
            return states.create_state(params, self.tx, self.mesh)
        fresh = lambda: nnx.split(build(config.model, nnx.Rngs(config.seed)), nnx.Param)[1]
        return states.create_state(fresh, self.tx, self.mesh)


def initial_params(config: RunConfig, described: Any, abstract: Any) -> Any:
    """Parameters of the run that INIT_FROM names: its best checkpoint, else its latest."""
    source = RunFolder(configs.load_run(config.init_from or "").run_dir)
    vocabulary.check_same(described, vocabulary.kept(source.path), str(source.path))
    with closing(Checkpoints(source.checkpoints, read_only=True)) as checkpoints:
        step = checkpoints.latest()
        if step is None:
            raise UserError(f"INIT_FROM {config.init_from} holds no checkpoint; train it first, or leave INIT_FROM out")
        return checkpoints.restore_params(step, abstract)


def _with_vocabulary(config: RunConfig, size: int) -> RunConfig:
    """Fills in a vocab_size of 0, rounded up so that meshes and matrix units divide it."""
    if config.model.vocab_size == 0:
        model = dataclasses.replace(config.model, vocab_size=-(-size // 128) * 128)
        return dataclasses.replace(config, model=model)
    if config.model.vocab_size < size:
        raise UserError(
            f"Model.vocab_size is {config.model.vocab_size}, the tasks' vocabulary has {size}; raise it to that"
        )
    return config


def _due(step: int, period: int) -> bool:
    return period > 0 and step % period == 0


class _signals:
    """Lets Ctrl-C and SIGTERM end the loop after the step under way; a second one ends it at once."""

    def __init__(self, run: _Run):
        self.run = run

    def __enter__(self) -> None:
        def ask(number: int, _frame: Any) -> None:
            if self.run.stopped_by is not None:
                raise KeyboardInterrupt
            self.run.stopped_by = number

        self.before = {s: signal.signal(s, ask) for s in (signal.SIGINT, signal.SIGTERM)}

    def __exit__(self, *_: object) -> None:
        for number, handler in self.before.items():
            signal.signal(number, handler)

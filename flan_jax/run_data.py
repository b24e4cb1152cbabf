"""Opens what a run trains on: resolved, balanced, put beside other parts, ordered, planned; see `open_data`."""

import dataclasses
import math
import pathlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal

from flan_jax import setup
from flan_jax.config.run_config import RunConfig
from flan_jax.data import lanes, teaching
from flan_jax.data.balance import balanced
from flan_jax.data.beside import parts_beside
from flan_jax.data.blending import RunLength, blended, virtual_time
from flan_jax.data.curriculum import FirstTokens, easy_first, in_order, order_notes, tokens_a_row, window_of
from flan_jax.data.draws import Draws
from flan_jax.data.lanes import Lane, Lanes, LanesLoader
from flan_jax.data.loader import Loader, Reader
from flan_jax.data.loss_weights import LossWeights, task_factors
from flan_jax.data.planning import plan as plans
from flan_jax.data.planning.row_index import RowIndex
from flan_jax.data.resolve import RatesFrom, Resolved, resolve
from flan_jax.data.rows import RowShape
from flan_jax.data.selection import Selection, select
from flan_jax.data.selection import leaks as leaks_of
from flan_jax.data.worker import Worker
from flan_jax.errors import UserError, counted, together
from flan_jax.text.codec import Codec


@dataclasses.dataclass(frozen=True)
class Data:
    """What a run trains on; what hygiene left out of it, and what it is scored by and trains on nevertheless.

    Attributes:
      order: what a plan tells of a curriculum.
      windows: about how many windows the run goes through, where its first ones do not tell, as the later ones hold
        others; None elsewhere.
      lanes: where plain text has rows of its own: the first is what `plan`, `index`, `reader` and `draws` are of.
    """

    resolved: Resolved
    plan: plans.Plan
    index: RowIndex
    reader: Reader
    draws: Draws
    codec: Codec
    selection: Selection | None = None
    leaks: Sequence[str] = ()
    order: Sequence[str] = ()
    windows: float | None = None
    loss_weights: LossWeights = LossWeights()
    teacher: teaching.TeacherColumns | None = None
    lanes: Lanes | None = None

    @property
    def shape(self) -> RowShape:
        """The shape of a row."""
        return self.reader.shape

    @property
    def tasks(self) -> list[plans.PlannedTask]:
        """All that is trained on, numbered as in batches."""
        return [task for lane in (self.lanes.lanes if self.lanes else [self]) for task in lane.plan.tasks]

    @property
    def fingerprint(self) -> str:
        """Equal fingerprints mean equal batches."""
        return self.lanes.fingerprint if self.lanes else self.plan.fingerprint

    def state(self, step: int, batch_size: int) -> dict[str, Any]:
        """What a checkpoint keeps of the data after a step; see `RowIndex.state`."""
        if self.lanes:
            return {"step": step, "lanes": self.lanes.state(step)}
        return self.index.state(step, batch_size)

    def anchor(self, state: Mapping[str, Any]) -> None:
        """Takes what a checkpoint with this fingerprint kept as known."""
        if self.lanes:
            self.lanes.anchor(state["lanes"])
        else:
            self.index.anchor(state["window"], state["rows_before"])

    def close(self) -> None:
        """Ends the preparing of draws; see `Draws.close`."""
        (self.lanes or self.draws).close()

    def lane_steps(self, steps: int) -> list[int]:
        """How many of the run's first steps train on rows of each lane."""
        return self.lanes.order.steps_by(steps) if self.lanes else [steps]

    def parts(self) -> list[str]:
        """What part of the run each of the plan's tasks is of; empty where nothing stands beside its mixture."""
        by_name = {task.name: task.part for task in self.resolved.tasks}
        parts = [by_name[task.name] or "instruction" for task in self.tasks]
        return parts if any(by_name.values()) else []

    def loader(self, config: RunConfig, local_rows: Callable[[int], range] = range) -> Loader | LanesLoader:
        """Batches of this data for a run, or for the rows that one of its hosts owns.

        Args:
          config: the run.
          local_rows: gives those of a batch of so many.
        """
        loaders = [
            Loader(
                lane.plan,
                lane.reader,
                lane.batch_size,
                local_rows=local_rows(lane.batch_size),
                index=lane.index,
                threads=config.data.threads,
                prefetch=config.data.prefetch,
                loss_weights=self.loss_weights,
                teacher=self.teacher,
                first_task=lane.first_task,
            )
            for lane in self.each_lane(config)
        ]
        return LanesLoader(loaders, self.lanes.order) if self.lanes else loaders[0]

    def each_lane(self, config: RunConfig) -> Sequence[Lane]:
        """The lanes; one, where all is in the same rows."""
        if self.lanes:
            return self.lanes.lanes
        return [Lane(self.plan, self.index, self.reader, self.draws, config.batch_size)]

    def steps(self, config: RunConfig) -> int:
        """How many steps the run takes: STEPS, or as many as EPOCHS needs."""
        if config.steps is not None:
            return config.steps
        if config.epochs is None:
            raise UserError("neither STEPS nor EPOCHS is set; set one of them")
        return self.lanes.steps if self.lanes else _steps_of(config, self.index)


def open_data(
    config: RunConfig,
    worker: Worker,
    folder: pathlib.Path | None = None,
    draws: Literal["met", "ahead", "all"] = "met",
    guard: bool = False,
) -> Data:
    """Resolves, prepares and plans a run's training data.

    Args:
      config: the run.
      worker: its data process; started only if something has to be resolved or prepared.
      folder: the run's folder, which keeps the index of rows; None keeps it in memory.
      draws: when draws beyond the first are prepared: as they are met, in the background ahead of that, or all that
        the run reaches at once.
      guard: whether to look for what EVAL_MIXTURE scores in what is trained on.

    Raises:
      UserError: something of it is found, and `Hygiene.on_leak` is "refuse"; …
    """
    setup.learn_vocabulary(config, worker)
    request = setup.train_request(config)
    resolved = resolve(request, worker, architecture=config.model.architecture)
    setup.check_extended(config, resolved.vocabulary)
    resolved, selection = selected(config, resolved, worker)
    leaks = _leaks(config, resolved, worker) if guard else []
    shape = setup.shape_of(config)
    resolved = balanced(resolved, config.balance)
    length = run_length(config)
    resolved_by = lambda asked, setting: resolve(asked, worker, setting, config.model.architecture)
    resolved, parts = parts_beside(resolved, config.pretraining, config.replay, length, resolved_by)
    for number, part in enumerate(parts):
        if part.beside:  # what is in MIXTURE was looked at with it
            kept, found = selected(config, part.resolved, worker)
            parts[number] = dataclasses.replace(part, resolved=kept)
            selection = selection and found and selection.with_tasks_of(found)
            leaks += _leaks(config, kept, worker, part.setting) if guard else []
    apart = config.pretraining.apart
    resolved, courses = blended(resolved, lanes.without_schedules(parts) if apart else parts, length)
    tokens = _tokens(config, resolved, shape) if config.curriculum.orders else 0.0
    resolved = easy_first(resolved, config.curriculum, worker)
    resolved, courses = in_order(resolved, courses, config.curriculum, tokens)
    mixed, text = lanes.divided(resolved, parts) if apart else (resolved, None)
    plan = mixed.plan(shape.capacities, config.data.pack, config.data.window, courses)
    order: Sequence[str] = ()
    windows = None
    if config.curriculum.orders:
        passes = _passes(config, resolved, courses, tokens, plan)
        window = window_of(config.curriculum, config.data.window, plan.epoch_size, passes)
        plan = resolved.plan(shape.capacities, config.data.pack, window, courses)
        order, windows = order_notes(resolved, config.curriculum, plan), plan.windows_of(passes)
    lane = lanes.open_lane(resolved, plan, shape, config.batch_size, worker, folder)
    beside = None if text is None else _lanes(config, resolved, lane, text, worker, folder)
    codec = Codec(resolved.vocabulary, worker.call, config.mixture)
    data = Data(
        resolved, plan, lane.index, lane.reader, lane.draws, codec, selection, leaks, order, windows, lanes=beside
    )
    data = dataclasses.replace(data, loss_weights=loss_weights_of(config, resolved, data.tasks))
    for lane, reached in zip(data.each_lane(config), _windows(data, config), strict=True):
        if draws == "ahead":
            lane.draws.start(reached)
        elif draws == "all":
            lane.draws.prepare(lane.draws.reached(reached))
    return data


def _lanes(
    config: RunConfig, resolved: Resolved, first: Lane, text: Resolved, worker: Worker, folder: pathlib.Path | None
) -> Lanes:
    """The lanes of a run whose plain text has rows of its own.

    Args:
      config: the run.
      resolved: the tasks of all lanes.
      first: MIXTURE's lane.
      text: the tasks of the other.
      worker: the run's.
      folder: the run's.
    """
    shape = setup.text_shape_of(config)
    plan = text.plan(shape.capacities, config.data.pack, config.data.window)
    batch_size, first_task = setup.text_batch_of(config), len(first.plan.tasks)
    other = lanes.open_lane(resolved, plan, shape, batch_size, worker, folder, first_task)
    means = {task.name: task.mean_tokens() for task in resolved.tasks}
    trainable = [lane.trainable_a_step(means) for lane in (first, other)]
    first_steps = lambda: _steps_of(config, first.index)
    return Lanes([first, other], *lanes.ordered(config.pretraining.fraction, trainable, config.steps, first_steps))


def loss_weights_of(config: RunConfig, resolved: Resolved, planned: Sequence[plans.PlannedTask]) -> LossWeights:
    """What becomes of the stored loss weights, by `Loss` and `Pretraining`.

    Raises:
      UserError: `Loss.task_weights` names what is not trained on.
    """
    by_name = {task.name: task for task in resolved.tasks}
    tasks = [by_name[task.name] for task in planned]
    factors = task_factors(tasks, config.loss.task_weights, config.pretraining.loss_weight)
    return LossWeights(factors, config.loss.prompt_weight)


def reached(config: RunConfig, data: Data) -> teaching.Mask:
    """Which examples of which stores a run trains on."""
    counts = {number: data.reader.store(number, 0).count for number in range(len(data.plan.tasks))}
    rows = data.steps(config) * config.batch_size
    return teaching.reached(data.plan, data.index, rows, data.reader.stored, counts)


def with_teacher(config: RunConfig, data: Data) -> Data:
    """The data of a run with what its teacher, if it has one, thinks of them.

    Raises:
      UserError: the teacher has not read all of them yet.
    """
    wanted = config.distillation
    if not wanted:
        return data
    folder = str(wanted.teacher)
    note = teaching.read_note(teaching.note_path(config.store_dir, folder, wanted.top_k))
    mend = f"type `flan-jax prepare --teacher {folder}` with the run's settings first"
    if note is None:
        nothing = f"nothing yet with Distillation.top_k {wanted.top_k}"
        raise UserError(f"Distillation.teacher {folder} has read {nothing}; {mend}")
    read = set(note["tasks"])
    pairs = zip(data.plan.tasks, data.reader.folders, strict=True)
    folders = [place if task.name in read else None for task, place in pairs]
    if not any(folders):
        raise UserError(f"Distillation.teacher {folder} has read no task of {config.mixture!r}; {mend}")
    columns = teaching.TeacherColumns(folders, note["key"], wanted.top_k, data.codec.size)
    if unread := columns.unread(reached(config, data)):
        said = f"{counted(unread, 'example')} that the run trains on"
        raise UserError(f"Distillation.teacher {folder} has not read {said}; {mend}")
    return dataclasses.replace(data, teacher=columns)


def selected(config: RunConfig, resolved: Resolved, worker: Worker) -> tuple[Resolved, Selection | None]:
    """What is left of a run's mixture by its `Hygiene` settings, and what was found."""
    evals = config.hygiene.against or ((config.eval_mixture,) if config.eval_mixture else ())
    return select(resolved, config.hygiene, evals, config.evaluation.split, worker)


def run_length(config: RunConfig) -> RunLength:
    """How long a run is, as shares of its tokens go by it; one that is only prepared may have no length."""
    each = config.batch_size
    if config.pretraining.apart:  # as many as hold the tokens of a step of text
        tokens, of_text = (
            sum(shape.capacities.values()) for shape in (setup.shape_of(config), setup.text_shape_of(config))
        )
        each = max(each, math.ceil(setup.text_batch_of(config) * of_text / tokens))
    rows = None if config.steps is None else config.steps * each
    return RunLength(rows, setup.shape_of(config), config.epochs, config.data.pack)


def _leaks(config: RunConfig, resolved: Resolved, worker: Worker, setting: str = "MIXTURE") -> list[str]:
    if not config.eval_mixture:
        return []
    refuses = config.hygiene.on_leak == "refuse"
    found = leaks_of(resolved, config.eval_mixture, config.evaluation.split, worker, thorough=refuses)
    if found and refuses:
        many = f"{setting} {resolved.request.mixture!r} holds what EVAL_MIXTURE {config.eval_mixture!r} scores:"
        mend = "leave rows out by Hygiene.contamination = 'drop', score something else, or set Hygiene.on_leak = 'tell'"
        raise UserError(together([*found, mend], many=many))
    return found


def _tokens(config: RunConfig, resolved: Resolved, shape: RowShape) -> float:
    """About how many tokens a run of STEPS trains on, by how its first window fills rows; 0 where EPOCHS says it."""
    if config.steps is None:
        if config.curriculum.tasks:
            raise UserError("Curriculum.tasks join when a part of the run is done; say by STEPS how long it is")
        return 0.0
    plan = resolved.plan(shape.capacities, config.data.pack, config.data.window)
    reader = Reader(resolved.folders(plan), shape, resolved.selections(plan))
    return config.steps * config.batch_size * tokens_a_row(plan, reader)


def _passes(
    config: RunConfig, resolved: Resolved, courses: Sequence[RatesFrom], tokens: float, plan: plans.Plan
) -> float:
    """About how often the run goes through the mixture."""
    if config.steps is None:
        return config.epochs or 1.0
    rates = [RatesFrom(0, tuple(task.rate for task in resolved.tasks)), *courses]
    return virtual_time(tokens, rates, FirstTokens(resolved.tasks).total) / plan.epoch_size


def _steps_of(config: RunConfig, index: RowIndex) -> int:
    """How many steps EPOCHS of a plan take."""
    return max(1, math.ceil(index.rows_in(config.epochs or 0) / config.batch_size))


def _windows(data: Data, config: RunConfig) -> list[int]:
    """About how many windows of each lane the run reaches; a draw that is misjudged is prepared when it is met."""
    if data.lanes:
        each = zip(data.lanes.lanes, data.lanes.rows(), strict=True)
        return [math.ceil(rows / max(1, lane.index.end(0))) + 1 for lane, rows in each]
    if data.windows is not None:
        return [max(1, math.ceil(data.windows))]
    if config.steps is None:
        return [max(1, math.ceil(data.plan.windows_of(config.epochs or 0)))]
    return [math.ceil(config.steps * config.batch_size / max(1, data.index.end(0))) + 1]

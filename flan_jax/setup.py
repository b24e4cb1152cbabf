"""From a configuration to the data it trains on: the parts that `train`, `plan`, `inspect` and `prepare` share."""

import dataclasses
import json
import math
import os
import pathlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal

from flan_jax.config import origins
from flan_jax.config.run_config import RunConfig
from flan_jax.data import lanes, registrations, teaching
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
from flan_jax.data.request import Request, WorkerSetup
from flan_jax.data.resolve import RatesFrom, Resolved, resolve
from flan_jax.data.rows import RowShape, row_shape
from flan_jax.data.selection import Selection, select
from flan_jax.data.selection import leaks as leaks_of
from flan_jax.data.worker import Worker
from flan_jax.errors import UserError, counted, together
from flan_jax.files import atomic, filesystem
from flan_jax.models.config import ModelConfig
from flan_jax.models.lora_config import LoraConfig
from flan_jax.progress import WorkerProgress
from flan_jax.text import extended_tokenizer
from flan_jax.text.codec import Codec
from flan_jax.text.extended_tokenizer import Extended, Extension
from flan_jax.text.tokenizer_folder import TOKENIZER, TokenizerFolder
from flan_jax.text.vocabulary_names import NAMES, STARTER


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


def shape_of(config: RunConfig) -> RowShape:
    """The shape of a run's rows, as its model reads them."""
    return row_shape(config.model.architecture, config.feature_lengths, config.model.begin_id)


def text_shape_of(config: RunConfig) -> RowShape:
    """The shape of the rows that a run's plain text is in: its own, or all others'."""
    lengths = config.pretraining.rows or config.feature_lengths
    return row_shape(config.model.architecture, lengths, config.model.begin_id)


def text_batch_of(config: RunConfig) -> int:
    """How many rows a step takes of plain text that has rows of its own."""
    if config.pretraining.batch_size is not None:
        return config.pretraining.batch_size
    return lanes.batch_beside(config.batch_size, shape_of(config), text_shape_of(config))


def worker_of(config: RunConfig, beam_options: Sequence[str] | None = None) -> Worker:
    """The data process of a run, not started yet; with flags of Apache Beam, it prepares by that.

    Raises:
      UserError: what the run adds to its tokenizer cannot be added.
    """
    extend_vocabulary(config)
    setup = WorkerSetup(
        modules=config.modules,
        folders=config.module_folders,
        data_files=config.data_files,
        data_fields=config.data_fields,
        data_held_out=config.data_held_out,
        vocabulary=vocabulary_of(config),
        vocabulary_is_learnt=learns_vocabulary(config),
        form=config.form,
        corpora=config.data.corpora,
        on_missing_corpus=config.data.on_missing_corpus,
        beam_options=None if beam_options is None else tuple(beam_options),
    )
    return Worker(setup, on_progress=WorkerProgress())


def refuse_unknown(config: RunConfig, worker: Worker | None = None) -> None:
    """Refuses mixtures that are not registered.

    Args:
      config: the run.
      worker: its data process, asked where there is need; without one, nothing is said of names that are not known.

    Raises:
      UserError: there is no such mixture or task.
    """
    names = {"MIXTURE": config.mixture, "EVAL_MIXTURE": config.eval_mixture or None}
    names |= {"PRETRAINING": config.pretraining.mixture, "REPLAY": config.replay.mixture}
    if worker is not None:
        registrations.refuse_unknown(worker, names, ask=True)
        return
    with worker_of(config) as idle:
        registrations.refuse_unknown(idle, names)


def model_for(config: RunConfig, vocabulary_size: int) -> ModelConfig:
    """The run's model with a row for each token: fills in a vocab_size of 0, and raises one for SPECIAL_TOKENS.

    It is rounded up then, so that meshes and matrix units divide it.

    Raises:
      UserError: the model's vocabulary is smaller than the data's.
    """
    model = config.model
    if model.vocab_size == 0 or (model.vocab_size < vocabulary_size and config.special_tokens):
        return dataclasses.replace(model, vocab_size=-(-vocabulary_size // 128) * 128)
    if model.vocab_size < vocabulary_size:
        raise UserError(
            f"Model.vocab_size is {model.vocab_size}, the tasks' vocabulary has {vocabulary_size}; raise it to "
            f"that, or leave it at 0"
        )
    return model


def vocabulary_of(config: RunConfig) -> str:
    """The run's vocabulary, which tasks that declare none are read with, by a name that `tasks.vocabularies` knows.

    That is VOCABULARY; or what INIT_FROM was trained with; or one that is learnt from the files of `--data`; or the
    starter's; with what the run adds to it. Empty where INIT_FROM's cannot be named.
    """
    if config.extension:
        # A task that is looked at by itself has no run's folder.
        extended = os.path.abspath(os.path.join(config.run_dir or config.store_dir, extended_tokenizer.FOLDER))
        return extended if _can_extend(config) else origins.EarlierRun(config.run_dir).vocabulary()
    return _own_vocabulary(config)


def extend_vocabulary(config: RunConfig) -> Extended | None:
    """Writes the run's tokenizer with SPECIAL_TOKENS and CHAT_TEMPLATE into its folder, where they are set.

    Returns:
      What it did; None where nothing is added, or what is was added before and cannot be again.

    Raises:
      UserError: it cannot be done.
    """
    if not (config.extension and _can_extend(config)):
        return None
    own = _own_vocabulary(config)
    if own in ("", *NAMES) or learns_vocabulary(config):
        named = f"the {own} vocabulary" if own else f"what INIT_FROM {config.init_from} does not say"
        named = "a vocabulary that is learnt from --data" if learns_vocabulary(config) else named
        raise UserError(
            f"{config.extension.settings}: what is added goes into a {TOKENIZER}, and the run is read with {named}; "
            "start from a model that has one with --init_from, name one with --vocabulary, or add nothing"
        )
    extended = extended_tokenizer.extend(own, config.extension)
    extended.write(pathlib.Path(vocabulary_of(config)))
    return extended


def lora_for(config: RunConfig) -> LoraConfig:
    """The run's adapters, beside which the rows of new SPECIAL_TOKENS are trained: nobody has ever trained those."""
    if not (config.lora and config.special_tokens):
        return config.lora
    new = extended_tokenizer.extend(_own_vocabulary(config), Extension(config.special_tokens)).new
    return dataclasses.replace(config.lora, rows=tuple(sorted({*config.lora.rows, *new.values()})))


def check_extended(config: RunConfig, described: Mapping[str, Any]) -> None:
    """Refuses tasks that are read with another vocabulary than the one that the run adds to."""
    if config.extension and described["fingerprint"] != TokenizerFolder(vocabulary_of(config)).fingerprint:
        named = described.get("path") or f"a {described['kind']} vocabulary"
        raise UserError(
            f"{config.extension.settings}: what is added goes into {vocabulary_of(config)}, and the tasks of "
            f"{config.mixture} insist on {named}; leave `vocabulary` out of their declarations, or add nothing"
        )


def _can_extend(config: RunConfig) -> bool:
    """Whether what is extended is there; or else the run keeps what came of it, and is read with that."""
    named = [config.chat_template, config.vocabulary if config.vocabulary not in NAMES else None]
    named += [config.init_from if not config.vocabulary else None]
    there = all(name is None or filesystem.is_remote(name) or os.path.exists(name) for name in named)
    return there or not origins.EarlierRun(config.run_dir).vocabulary()


def _own_vocabulary(config: RunConfig) -> str:
    """The vocabulary that the run starts from; see `vocabulary_of`."""
    if config.vocabulary in NAMES:
        return config.vocabulary
    kept = origins.EarlierRun(config.run_dir).vocabulary  # where what was named is gone since
    if config.vocabulary:
        is_there = filesystem.is_remote(config.vocabulary) or os.path.exists(config.vocabulary)
        return (not is_there and kept()) or filesystem.absolute(config.vocabulary)
    if config.init_from:
        return origins.origin_of(config.init_from).vocabulary() if os.path.exists(config.init_from) else kept()
    return os.path.abspath(os.path.join(config.run_dir, "data_vocabulary.model")) if config.data_files else STARTER


def learns_vocabulary(config: RunConfig) -> bool:
    """Whether the run's vocabulary is learnt from its `--data`, and so may not be there yet."""
    return bool(config.data_files) and not config.init_from and not config.vocabulary


def learn_vocabulary(config: RunConfig, worker: Worker) -> None:
    """Learns the vocabulary of `--data`, unless one was from the same; a few thousand pieces, fewer for small files.

    What it was learnt from lies beside it, so that one that another command left is not taken for other data.
    """
    if config.data_files and not vocabulary_of(config):
        raise UserError(
            f"INIT_FROM {config.init_from} does not say its vocabulary, which --data is read with; set VOCABULARY to "
            "what the model was trained with, --vocabulary spiece.model for one"
        )
    if not learns_vocabulary(config):
        return
    from flan_jax.tasks.formats import instruction_folders

    path = pathlib.Path(vocabulary_of(config))
    how: dict[str, Any] = {"split": config.data.split, "on_bad_row": config.data.on_bad_row}
    how |= {"size": 4096, "max_examples": 50_000, "shrink": True}
    files = [[name, *filesystem.state(name)] for name in instruction_folders.files_of(config.data_files)]
    learnt = {"files": files, "fields": dict(config.data_fields), "held_out": config.data_held_out, **how}
    beside = path.with_suffix(".json")
    if path.exists() and beside.exists() and beside.read_text(encoding="utf-8") == json.dumps(learnt):
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    beside.unlink(missing_ok=True)
    worker.call("vocabulary", mixture=config.mixture, output=str(path), **how)
    atomic.write_text(beside, json.dumps(learnt))


def eval_request(config: RunConfig) -> Request:
    """What a run asks of its EVAL_MIXTURE."""
    how = config.evaluation
    request = request_of(config, config.eval_mixture or "", how.split, how.max_examples)
    return dataclasses.replace(request, each_template=how.each_template)


def train_request(config: RunConfig) -> Request:
    """What a run asks of its MIXTURE, the one that it augments."""
    request = request_of(config, config.mixture, config.data.split)
    return dataclasses.replace(request, augment=config.augment)


def request_of(config: RunConfig, mixture: str, split: str, limit: int | None = None) -> Request:
    """What a run asks of its data."""
    return Request(
        mixture=mixture,
        split=split,
        lengths=config.feature_lengths,
        seed=config.seed,
        store_dir=config.store_dir,
        on_long=config.data.on_long,
        on_bad_row=config.data.on_bad_row,
        on_wrong_mask=config.data.on_wrong_mask,
        max_draws=config.data.max_draws,
        limit=limit,
    )


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
    learn_vocabulary(config, worker)
    request = train_request(config)
    resolved = resolve(request, worker, architecture=config.model.architecture)
    check_extended(config, resolved.vocabulary)
    resolved, selection = selected(config, resolved, worker)
    leaks = _leaks(config, resolved, worker) if guard else []
    shape = shape_of(config)
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
    shape = text_shape_of(config)
    plan = text.plan(shape.capacities, config.data.pack, config.data.window)
    batch_size, first_task = text_batch_of(config), len(first.plan.tasks)
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
        tokens, of_text = (sum(shape.capacities.values()) for shape in (shape_of(config), text_shape_of(config)))
        each = max(each, math.ceil(text_batch_of(config) * of_text / tokens))
    rows = None if config.steps is None else config.steps * each
    return RunLength(rows, shape_of(config), config.epochs, config.data.pack)


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

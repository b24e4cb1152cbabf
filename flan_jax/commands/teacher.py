"""`flan-jax prepare --teacher RUN`: a teacher reads what a run trains on, and leaves its likeliest tokens beside it."""

import dataclasses
import pathlib
from collections.abc import Sequence

import numpy as np
from flax import nnx
from jax.sharding import Mesh

from flan_jax import run_data
from flan_jax.config.origins import T5XCheckpoint, origin_of
from flan_jax.config.run_config import RunConfig
from flan_jax.data import teaching
from flan_jax.data.planning.packing import pack
from flan_jax.data.rows import RowShape, Segment, assemble, row_shape
from flan_jax.data.stores import store as stores
from flan_jax.data.stores.store import Store, Stored
from flan_jax.data.stores.teacher_lots import LOT, TeacherLots, as_entries
from flan_jax.data.teaching import trained_places
from flan_jax.errors import UserError, counted
from flan_jax.inference.likeliest import likeliest
from flan_jax.inference.model import InferenceModel
from flan_jax.models.lora_config import LoraConfig
from flan_jax.models.model import abstract_model
from flan_jax.parallel import mesh as meshes
from flan_jax.progress import Progress
from flan_jax.tables import in_bytes
from flan_jax.teacher_plan import free_disk
from flan_jax.training import frozen, start


@dataclasses.dataclass(frozen=True)
class Teacher:
    """A model that is learnt from.

    Attributes:
      model: ready to be asked.
      shape: rows as it reads them.
      fingerprint: of its parameters.
    """

    model: InferenceModel
    shape: RowShape
    fingerprint: str


def open_teacher(folder: str, config: RunConfig, data: run_data.Data, mesh: Mesh) -> Teacher:
    """Reads a teacher's model.

    Args:
      folder: a run's, or that of a Hugging Face model.
      config: the student's run.
      data: what it trains on.
      mesh: where the parameters go.

    Raises:
      UserError: it is neither, it has another vocabulary than the run's tasks, or it cannot read one of them.
    """
    origin = origin_of(folder)
    if isinstance(origin, T5XCheckpoint):
        raise UserError(
            f"--teacher {folder} is a T5X checkpoint, which does not say its model; name a run started from it"
        )
    model = origin.model().resolved()
    if model.architecture == "encoder_decoder":
        _refuse_without_inputs(data)
    # What the student adds to its tokenizer, its teacher must have known: no exception for what is extended.
    own = dataclasses.replace(config, model=model, lora=LoraConfig(), special_tokens=(), chat_template=None)
    params = start.parameters_of(folder, data.resolved.vocabulary, own, mesh)
    read = frozen.Fingerprint()
    for _ in read.of(nnx.to_flat_state(params)):
        pass
    shape = row_shape(model.architecture, config.feature_lengths, model.begin_id)
    graph, _ = nnx.split(abstract_model(model), nnx.Param)
    return Teacher(InferenceModel(graph, params, mesh, data.codec.eos_ids), shape, str(read))


def _refuse_without_inputs(data: run_data.Data) -> None:
    without = [task.name for task in data.resolved.tasks if task.about.get("objective") == "causal_lm"]
    if without:
        raise UserError(
            f"--teacher is an encoder-decoder, and task {without[0]!r} of causal language modelling gives its encoder "
            "nothing to read; name a decoder as the teacher, or train on that task apart"
        )


def teach(config: RunConfig, data: run_data.Data, folder: str) -> None:
    """Has a teacher read every example that a run reaches, and keeps its `Distillation.top_k` likeliest tokens of each
    trained token; what it has read before stays.

    Args:
      config: the student's run.
      data: what it trains on, with all its draws prepared.
      folder: the teacher's.

    Raises:
      UserError: see `open_teacher`; the disk is too small; …
    """
    if data.lanes is not None:
        raise UserError(
            f"--teacher reads one kind of rows, and Pretraining.rows is {config.pretraining.rows}; leave one of both "
            "out"
        )
    top_k, vocab_size = config.distillation.top_k, data.codec.size
    note = teaching.note_path(config.store_dir, folder, top_k)
    mesh = meshes.make_mesh(config.mesh)
    meshes.check_batch(config.batch_size, 1, mesh)
    teacher = open_teacher(folder, config, data, mesh)
    key = teaching.key_of(teacher.fingerprint, top_k)
    wanted = run_data.reached(config, data)
    folders = data.reader.folders
    lots = {(task, draw): teaching.lots_of(folders[task], key, draw, top_k, vocab_size) for task, draw in wanted}
    left = {place: mask & ~lots[place].read() for place, mask in wanted.items()}
    size = sum(_bytes_of(data.reader.store(*place), mask, lots[place]) for place, mask in left.items())
    _refuse_full(config.store_dir, size)
    teaching.write_note(note, folder, key, [data.plan.tasks[task].name for task, _ in wanted])
    done, total = 0, sum(int(mask.sum()) for mask in left.values())
    with stores.told(config.store_dir), Progress("the teacher reads", total, unit="example", every=LOT) as bar:
        for place, mask in left.items():
            with stores.Lock(lots[place].folder):
                lots[place].begin()
                for number in np.unique(np.flatnonzero(mask) // LOT).tolist():
                    done += _read_lot(teacher, data.reader.store(*place), lots[place], number, mask, config.batch_size)
                    bar.update(done)
    every, tasks = sum(int(mask.sum()) for mask in wanted.values()), len({task for task, _ in wanted})
    print(
        f"{folder} has read {counted(every, 'example')} of {counted(tasks, 'task')}, {total:,} of them now: its "
        f"{top_k} likeliest tokens of each trained token take {in_bytes(size)} more in {config.store_dir}"
    )


def _bytes_of(store: Store, mask: np.ndarray, lots: TeacherLots) -> float:
    """About what these examples take: those that are left to read may be longer or shorter than the store's mean."""
    return float(mask.sum()) * (store.mean_tokens()[1] * lots.dtype.itemsize + 16)


def _refuse_full(store_dir: str, size: float) -> None:
    there, free = pathlib.Path(store_dir), free_disk(store_dir)
    if size > free:
        raise UserError(
            f"what the teacher thinks takes {in_bytes(size)}, and the disk of {there} has {in_bytes(free)} left; lower "
            "Distillation.top_k, train for fewer STEPS, or set --store_dir elsewhere"
        )


def _read_lot(teacher: Teacher, store: Store, lots: TeacherLots, number: int, mask: np.ndarray, batch_size: int) -> int:
    """Has the teacher read what is left of a lot and writes it, with what was in it; says how many it read."""
    here = range(number * LOT, min(store.count, (number + 1) * LOT))
    before = lots.read()
    todo = [at for at in here if mask[at] and not before[at]]
    found = {at: lots.entries(at) for at in here if before[at]}
    found |= dict(zip(todo, entries_of(teacher, [store[at] for at in todo], lots, batch_size), strict=True))
    lots.write(number, found)
    return len(todo)


def entries_of(teacher: Teacher, examples: Sequence[Stored], lots: TeacherLots, batch_size: int) -> list[np.ndarray]:
    """What a teacher says of examples; they share its rows, as in training.

    Args:
      teacher: the teacher.
      examples: as a store has them; their trained tokens are asked for.
      lots: where the answers go, which say how many tokens of which vocabulary.
      batch_size: rows at a time.

    Returns:
      Of each example, [trained tokens] of the lots' dtype.
    """
    shape = teacher.shape
    count = lambda feature: np.array([len(getattr(one, feature)) for one in examples], np.int64)
    row_of = pack(shape.budgets(count("inputs"), count("targets")), np.array(list(shape.capacities.values())))
    rows: list[list[int]] = [[] for _ in range(int(row_of.max(initial=-1)) + 1)]
    for number, row in enumerate(row_of.tolist()):
        rows[row].append(number)
    found: list[np.ndarray] = [np.zeros(0, lots.dtype)] * len(examples)
    for first in range(0, len(rows), batch_size):
        some = rows[first : first + batch_size]
        segments = [
            [Segment(examples[n].inputs, examples[n].targets, examples[n].weights) for n in row] for row in some
        ]
        batch = assemble(segments + [[]] * (batch_size - len(some)), shape)
        answers = as_entries(*likeliest(teacher.model, batch, lots.top_k, lots.vocab_size), lots.dtype)
        _, counts = trained_places(batch, np.repeat(np.arange(len(some)), [len(row) for row in some]))
        in_order = [number for row in some for number in row]
        for number, answer in zip(in_order, np.split(answers, np.cumsum(counts)[:-1]), strict=True):
            silent = _trained(examples[number]) - len(answer)  # of a text's first token without a begin token
            nothing = as_entries(np.zeros((silent, 1), np.int32), np.full((silent, 1), -np.inf), lots.dtype)
            found[number] = np.concatenate([nothing, answer])
    return found


def _trained(example: Stored) -> int:
    return len(example.targets) if example.weights is None else int((example.weights > 0).sum())

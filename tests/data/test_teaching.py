"""What a teacher thinks of examples, kept beside their store and laid out in batches, position by position."""

import dataclasses
import pathlib

import numpy as np
import pytest

from flan_jax.data import teaching
from flan_jax.data.loader import Loader, Reader
from flan_jax.data.planning.plan import Plan, PlannedTask, shares_of
from flan_jax.data.planning.row_index import RowIndex
from flan_jax.data.rows import RowShape
from flan_jax.data.stores import teacher_lots
from flan_jax.data.stores.store import forget
from flan_jax.data.stores.teacher_lots import as_entries
from flan_jax.data.teaching import TeacherColumns, lots_of, reached
from flan_jax.errors import UserError
from tests.data.written import Written, write_store

TOP_K, VOCAB, KEY = 2, 500, "key"
SHAPES = {
    "encoder_decoder": RowShape("encoder_decoder", 12, 10),
    "decoder": RowShape("decoder", 12, 10),
    "decoder without a begin token": RowShape("decoder", 12, 10, begin=-1),
}
EXAMPLES = [
    Written("a", [5, 6, 7], [8, 1]),
    Written("b", [], [9, 11, 1], np.array([0.5, 0, 1], np.float32)),  # its first token has loss and no inputs before it
    Written("c", [4], [12, 13, 14, 1], np.array([0, 1, 0, 1], np.float32)),
]


def said_of(example: int, token: int) -> int:
    """The id that the teacher of these tests thinks likeliest at a target token."""
    return 100 * example + token


def read(lots, examples):
    """Has the lots' teacher read some of the examples; entry by entry of each token with loss."""
    lots.begin()
    by_lot: dict[int, dict] = {}
    for number in examples:
        weights = EXAMPLES[number % 3].weights
        places = [i for i in range(len(EXAMPLES[number % 3].targets)) if weights is None or weights[i] > 0]
        ids = np.array([[said_of(number, i), 1] for i in places])
        logprobs = np.array([[-0.25, -2.0 - number] for _ in places])
        by_lot.setdefault(number // teacher_lots.LOT, {})[number] = as_entries(ids, logprobs, lots.dtype)
    for number, found in by_lot.items():
        lots.write(number, found)


@pytest.fixture
def task(tmp_path):
    """The folder of a task with a store of three examples."""
    write_store(tmp_path / "draw-0", EXAMPLES)
    return str(tmp_path)


def lots(task, draw=0):
    return lots_of(task, KEY, draw, TOP_K, VOCAB)


@pytest.mark.parametrize("packed", [True, False])
@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
def test_each_position_with_loss_has_what_the_teacher_said_of_its_token(task, shape, packed):
    read(lots(task), range(3))
    plan = Plan([PlannedTask("t", 3, shares_of([1])[0], "f")], shape.capacities, 7, packed)
    columns = TeacherColumns([task], KEY, TOP_K, VOCAB)
    loader = Loader(plan, Reader([task], shape), 3, teacher=columns)
    batch = loader.batch(0)
    seen = set()
    for b, row in enumerate(loader.contents(0)):
        for segment, (_, example, _, _) in enumerate(row, 1):
            one = EXAMPLES[example]
            first = np.flatnonzero(batch["decoder_segment_ids"][b] == segment)[0]
            before = len(one.inputs) if shape.architecture == "decoder" else 0
            for token in range(len(one.targets)):
                weight = 1 if one.weights is None else one.weights[token]
                at = first + before + token - (shape.begin < 0)
                if weight and before + token - (shape.begin < 0) >= 0:
                    assert batch["decoder_teacher_ids"][b, at].tolist() == [said_of(example, token), 1]
                    assert batch["decoder_teacher_logprobs"][b, at].tolist() == [-0.25, -2.0 - example]
                    seen.add((b, at))
    speaks = np.isfinite(batch["decoder_teacher_logprobs"][..., 0])
    assert seen == set(zip(*map(np.ndarray.tolist, np.nonzero(speaks)), strict=True))
    np.testing.assert_array_equal(speaks, batch["decoder_loss_weights"] > 0)


def test_of_a_task_that_it_has_not_read_it_says_nothing(task):
    shape = SHAPES["decoder"]
    plan = Plan([PlannedTask("t", 3, shares_of([1])[0], "f")], shape.capacities, 7)
    batch = Loader(plan, Reader([task], shape), 3, teacher=TeacherColumns([None], KEY, TOP_K, VOCAB)).batch(0)
    assert np.isneginf(batch["decoder_teacher_logprobs"]).all() and batch["decoder_loss_weights"].any()


def test_what_is_not_read_is_counted_and_refused(task):
    read(lots(task), [0, 2])
    assert lots(task).read().tolist() == [True, False, True]
    columns = TeacherColumns([task], KEY, TOP_K, VOCAB)
    assert columns.unread({(0, 0): np.array([True, True, True])}) == 1
    assert columns.unread({(0, 0): np.array([True, False, True])}) == 0
    with pytest.raises(UserError, match="has not read example 1 of .*flan-jax prepare --teacher"):
        lots(task).entries(1)


def test_lots_are_cut_and_a_lot_that_is_there_stays(tmp_path, monkeypatch):
    monkeypatch.setattr(teacher_lots, "LOT", 2)
    write_store(tmp_path / "draw-0", EXAMPLES * 2)
    first = lots(str(tmp_path))
    read(first, range(4))
    assert lots(str(tmp_path)).read().tolist() == [True] * 4 + [False] * 2
    first.write(2, {5: as_entries(np.array([[7, 8]]), np.array([[-1.0, -2.0]]), first.dtype)})
    again = lots(str(tmp_path))
    assert again.entries(5)["ids"].tolist() == [[7, 8]] and again.entries(3)["ids"][0, 0] == said_of(3, 0)
    assert again.read().tolist() == [True] * 4 + [False, True]


def test_a_damaged_byte_and_a_cut_file_are_told(task):
    read(lots(task), range(3))
    path = next(pathlib.Path(task).rglob("lot-*.bin"))
    whole = bytearray(path.read_bytes())
    whole[-1] ^= 1
    path.write_bytes(whole)
    with pytest.raises(UserError, match="does not match its checksum.*delete it"):
        lots(task).entries(2)
    assert len(lots(task).entries(0)) == 2
    path.write_bytes(whole[:-3])
    with pytest.raises(UserError, match=f"has {len(whole) - 3} bytes, wanted {len(whole)}"):
        lots(task).read()


def test_what_was_said_of_another_store_counts_for_nothing(task):
    read(lots(task), range(3))
    folder = pathlib.Path(task) / "draw-0"
    for path in folder.iterdir():
        path.unlink()
    folder.rmdir()
    write_store(folder, [dataclasses.replace(EXAMPLES[0], inputs=[5, 5, 5]), *EXAMPLES[1:]])
    forget()
    assert not lots(task).read().any()
    lots(task).begin()
    assert not list(pathlib.Path(task).rglob("lot-*.bin"))


def test_reached_are_the_examples_of_the_runs_rows_by_draw(tmp_path):
    for draw in range(2):
        write_store(tmp_path / f"draw-{draw}", EXAMPLES * 100)
    shape = SHAPES["decoder"]
    plan = Plan([PlannedTask("t", 300, shares_of([1])[0], "f", draws=2)], shape.capacities, 7, largest_window=64)
    reader = Reader([str(tmp_path)], shape)
    index = RowIndex(plan, reader.lengths)
    loader = Loader(plan, reader, 10, index=index)
    for steps in (2, 15, 30):
        found = reached(plan, index, 10 * steps, reader.stored, {0: 300})
        trained: dict[int, set[int]] = {}
        for step in range(steps):
            for row in loader.contents(step):
                for _, example, draw, _ in row:
                    trained.setdefault(draw, set()).add(example)
        assert {draw: set(np.flatnonzero(mask).tolist()) for (_, draw), mask in found.items()} == trained
    assert {draw for _, draw in found} == {0, 1}


def test_a_note_remembers_the_tasks_of_one_key(tmp_path):
    path = teaching.note_path(str(tmp_path), "runs/large", 16)
    assert teaching.read_note(path) is None
    teaching.write_note(path, "runs/large", "a", ["rte"])
    teaching.write_note(path, "runs/large", "a", ["anli"])
    assert teaching.read_note(path)["tasks"] == ["anli", "rte"]
    teaching.write_note(path, "runs/large", "b", ["copa"])
    assert teaching.read_note(path)["tasks"] == ["copa"]
    assert teaching.note_path(str(tmp_path), "runs/large", 8) != path
    with pytest.raises(UserError, match="STORE_DIR is gs://bucket/stores"):
        teaching.note_path("gs://bucket/stores", "runs/large", 16)

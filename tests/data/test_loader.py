import dataclasses

import numpy as np
import pytest

from flan_jax.data.loader import Loader, Reader
from flan_jax.data.planning.plan import Plan, PlannedTask, shares_of
from flan_jax.data.rows import RowShape, Segment, assemble
from flan_jax.data.stores.parts import Part
from flan_jax.data.stores.store import open_part, open_store
from flan_jax.errors import UserError
from tests.data.written import Written, write_store

ENCODER_DECODER, DECODER = RowShape("encoder_decoder", 6, 5), RowShape("decoder", 6, 5)
ROW = [Segment(np.array([7, 8, 9]), np.array([3, 1]), task=1), Segment(np.array([4, 5]), np.array([6, 2, 1]), task=2)]


def test_encoder_decoder_row():
    batch = {name: array[0].tolist() for name, array in assemble([ROW], ENCODER_DECODER).items()}
    assert batch["encoder_input_tokens"] == [7, 8, 9, 4, 5, 0]
    assert batch["encoder_segment_ids"] == [1, 1, 1, 2, 2, 0]
    assert batch["encoder_positions"] == [0, 1, 2, 0, 1, 0]
    assert batch["decoder_target_tokens"] == [3, 1, 6, 2, 1]
    assert batch["decoder_input_tokens"] == [0, 3, 0, 6, 2]
    assert batch["decoder_segment_ids"] == [1, 1, 2, 2, 2]
    assert batch["decoder_positions"] == [0, 1, 0, 1, 2]
    assert batch["decoder_loss_weights"] == [1, 1, 1, 1, 1]
    assert batch["decoder_task_ids"] == [1, 1, 2, 2, 2]


def test_decoder_row():
    batch = {name: array[0].tolist() for name, array in assemble([ROW], DECODER).items()}
    assert batch["decoder_target_tokens"] == [7, 8, 9, 3, 1, 4, 5, 6, 2, 1, 0]
    assert batch["decoder_input_tokens"] == [0, 7, 8, 9, 3, 0, 4, 5, 6, 2, 0]
    assert batch["decoder_loss_weights"] == [0, 0, 0, 1, 1, 0, 0, 1, 1, 1, 0]
    assert batch["decoder_segment_ids"] == [1, 1, 1, 1, 1, 2, 2, 2, 2, 2, 0]
    assert batch["decoder_prefix_mask"] == [1, 1, 1, 1, 0, 1, 1, 1, 0, 0, 0]
    assert not any(name.startswith("encoder") for name in batch)


def test_a_begin_token_stands_before_every_example():
    for shape, was in ((ENCODER_DECODER, 0), (DECODER, 0)):
        plain, begun = (assemble([ROW], dataclasses.replace(shape, begin=begin)) for begin in (was, 9))
        firsts = (plain["decoder_positions"] == 0) & (plain["decoder_segment_ids"] > 0)
        assert begun["decoder_input_tokens"][firsts].tolist() == [9, 9]
        plain["decoder_input_tokens"][firsts] = 9
        assert all((plain[name] == begun[name]).all() for name in plain)


def test_a_decoder_without_a_begin_token_reads_the_tokens_themselves():
    batch = {k: v[0].tolist() for k, v in assemble([ROW], dataclasses.replace(DECODER, begin=-1)).items()}
    assert batch["decoder_input_tokens"] == [7, 8, 9, 3, 1, 4, 5, 6, 2, 1, 0]
    assert batch["decoder_target_tokens"] == [8, 9, 3, 1, 0, 5, 6, 2, 1, 0, 0]
    assert batch["decoder_loss_weights"] == [0, 0, 1, 1, 0, 0, 1, 1, 1, 0, 0]
    assert batch["decoder_segment_ids"] == [1, 1, 1, 1, 1, 2, 2, 2, 2, 2, 0]
    assert batch["decoder_positions"] == [0, 1, 2, 3, 4, 0, 1, 2, 3, 4, 0]
    assert batch["decoder_prefix_mask"] == [1, 1, 1, 0, 0, 1, 1, 0, 0, 0, 0]
    # Of an example without inputs the first token is never predicted.
    text = Segment(np.zeros(0, int), np.array([5, 6, 7]), np.array([1, 0.25, 0.5], np.float32))
    batch = assemble([[text]], dataclasses.replace(DECODER, begin=-1))
    assert batch["decoder_target_tokens"][0, :4].tolist() == [6, 7, 0, 0]
    assert batch["decoder_loss_weights"][0, :4].tolist() == [0.25, 0.5, 0, 0]


def test_loss_weights_by_token_and_empty_inputs():
    chat = Segment(np.zeros(0, int), np.array([5, 6, 7]), np.array([0, 1, 0.5], np.float32))
    batch = assemble([[chat]], DECODER)
    assert batch["decoder_loss_weights"][0, :4].tolist() == [0, 1, 0.5, 0]
    assert batch["decoder_prefix_mask"].sum() == 0


def test_dtypes_are_what_the_step_compiles_for():
    for name, array in assemble([ROW], DECODER).items():
        assert array.dtype == (np.float32 if name == "decoder_loss_weights" else np.int32)


TASKS = [300, 80]


def write_tasks(folder, part_rows):
    """Two tasks of 300 and 80 examples; every example's tokens name its task and place."""
    random = np.random.default_rng(0)
    for task, count in enumerate(TASKS):
        examples = []
        for i in range(count):
            inputs = np.full(random.integers(1, 7), 10 + i)
            weights = np.array([0.5, 1], np.float32) if i % 3 == 0 else None
            examples.append(Written(f"{task}:{i}", inputs, np.array([1000 * (task + 1) + i, 1]), weights))
        write_store(folder / f"t{task}" / "draw-0", examples, vocab_size=5000, rows=part_rows)
    return [str(folder / f"t{task}") for task in range(len(TASKS))]


def loader_of(folders, shape=ENCODER_DECODER, **options):
    shares = shares_of(TASKS)
    tasks = [PlannedTask(f"t{t}", n, s, "") for t, (n, s) in enumerate(zip(TASKS, shares, strict=True))]
    return Loader(Plan(tasks, shape.capacities, 7), Reader(folders, shape), 8, **options)


@pytest.fixture(scope="module", params=[10_000, 32], ids=["one part", "many parts"])
def stored(tmp_path_factory, request):
    folders = write_tasks(tmp_path_factory.mktemp("stores"), request.param)
    return lambda **options: loader_of(folders, **options)


def batches(loader, start, stop):
    return [batch for _, batch in loader.from_step(start, stop)]


def same(a, b):
    return all(a[name].tobytes() == b[name].tobytes() for name in a)


@pytest.mark.parametrize(("threads", "prefetch"), [(1, 1), (3, 5)])
def test_any_number_of_threads_and_any_start_give_the_same_batches(stored, threads, prefetch):
    whole = batches(stored(), 0, 30)
    resumed = batches(stored(threads=threads, prefetch=prefetch), 11, 30)
    assert len(resumed) == 19 and all(same(a, b) for a, b in zip(whole[11:], resumed, strict=True))


def test_hosts_load_their_rows_of_the_same_global_batch(stored):
    whole = batches(stored(), 3, 6)
    parts = [batches(stored(local_rows=rows), 3, 6) for rows in (range(0, 2), range(2, 5), range(5, 8))]
    for step, batch in enumerate(whole):
        for name, array in batch.items():
            assert np.array_equal(array, np.concatenate([part[step][name] for part in parts]))


def test_an_epoch_trains_on_every_example_once(stored):
    loader = stored()
    targets = []
    rows = loader.index.rows_in(1)
    for _, batch in loader.from_step(0, -(-rows // 8)):
        targets.append(batch["decoder_target_tokens"])
    tokens = np.concatenate(targets)[:rows]
    values = tokens[tokens >= 1000]
    assert sorted(values.tolist()) == [1000 + i for i in range(300)] + [2000 + i for i in range(80)]


@pytest.mark.parametrize("shape", [ENCODER_DECODER, DECODER], ids=["encoder-decoder", "decoder"])
def test_a_batch_holds_what_the_stores_say_example_by_example(stored, shape):
    """The compiled loop against one example after another, read without it."""
    loader = stored(shape=shape)
    for step in (0, 7, 29):
        batch, wanted = loader.batch(step), loader.segments(loader.contents(step))
        for b, row in enumerate(wanted):
            for number, segment in enumerate(row, 1):
                here = batch["decoder_segment_ids"][b] == number
                joined = shape is DECODER
                ids = np.concatenate([segment.inputs, segment.targets]) if joined else segment.targets
                assert batch["decoder_target_tokens"][b, here].tolist() == ids.tolist()
                weights = np.ones(len(segment.targets)) if segment.weights is None else segment.weights
                assert batch["decoder_loss_weights"][b, here][-len(weights) :].tolist() == weights.tolist()
                assert set(batch["decoder_task_ids"][b, here]) == {segment.task}
                if not joined:
                    inputs = batch["encoder_input_tokens"][b, batch["encoder_segment_ids"][b] == number]
                    assert inputs.tolist() == segment.inputs.tolist()
            assert batch["decoder_segment_ids"][b].max() == len(row)


def _spoil(folders, column, place):
    """Flips a bit in the middle of a column of the first task."""
    part = Part(f"{folders[0]}/draw-0/part-00000.bin")
    at = part.columns[column].ctypes.data - part._bytes.ctypes.data + place
    raw = bytearray(part.path.read_bytes())
    raw[at] ^= 1
    part.path.write_bytes(raw)
    open_part.cache_clear()
    open_store.cache_clear()


def test_an_error_in_a_thread_is_raised_at_its_step(tmp_path):
    folders = write_tasks(tmp_path, 10_000)
    victim = next(
        step
        for step in range(2, 40)
        if any(task == 0 for row in loader_of(folders).contents(step) for task, *_ in row)
        and not {index for row in loader_of(folders).contents(step) for task, index, *_ in row if task == 0}
        & {index for s in range(step) for row in loader_of(folders).contents(s) for t, index, *_ in row if t == 0}
    )
    index = next(index for row in loader_of(folders).contents(victim) for task, index, *_ in row if task == 0)
    _spoil(folders, "targets.values", 4 * index)
    got = []
    with pytest.raises(UserError, match=f"example {index} of .*t0.draw-0.part-00000.bin does not match its checksum"):
        for step, _ in loader_of(folders, threads=2, prefetch=4).from_step(0, 40):
            got.append(step)
    assert got == list(range(victim))


def test_damaged_lengths_are_found_before_anything_is_packed(tmp_path):
    folders = write_tasks(tmp_path, 10_000)
    _spoil(folders, "inputs.offsets", 8 * 100)
    with pytest.raises(UserError, match="has damaged offsets"):
        loader_of(folders).batch(0)

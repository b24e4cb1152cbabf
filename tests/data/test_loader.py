import dataclasses

import numpy as np
import pytest

from flan_jax.data.loader import Loader, RowShape, Segment, assemble
from flan_jax.data.plan import Plan, PlannedTask, shares_of
from flan_jax.data.store import StoreWriter

ENCODER_DECODER, DECODER = RowShape("encoder_decoder", 6, 5), RowShape("decoder", 6, 5)
ROW = [Segment(np.array([7, 8, 9]), np.array([3, 1]), task=1), Segment(np.array([4, 5]), np.array([6, 2, 1]), task=2)]


@dataclasses.dataclass
class Written:
    id: str
    inputs: np.ndarray
    targets: np.ndarray
    weights = None
    template: int = 0
    options = None
    answer = None


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


def test_loss_weights_by_token_and_empty_inputs():
    chat = Segment(np.zeros(0, int), np.array([5, 6, 7]), np.array([0, 1, 0.5], np.float32))
    batch = assemble([[chat]], DECODER)
    assert batch["decoder_loss_weights"][0, :4].tolist() == [0, 1, 0.5, 0]
    assert batch["decoder_prefix_mask"].sum() == 0


def test_dtypes_are_what_the_step_compiles_for():
    for name, array in assemble([ROW], DECODER).items():
        assert array.dtype == (np.float32 if name == "decoder_loss_weights" else np.int32)


@pytest.fixture(scope="module")
def stored(tmp_path_factory):
    """Two tasks of 300 and 80 examples; every example's tokens name its task and place."""
    folder, random = tmp_path_factory.mktemp("stores"), np.random.default_rng(0)
    folders = []
    for task, count in enumerate([300, 80]):
        writer = StoreWriter(folder / f"t{task}", 5000)
        for i in range(count):
            inputs = np.full(random.integers(1, 7), 10 + i)
            writer.add(Written(f"{task}:{i}", inputs, np.array([1000 * (task + 1) + i, 1])))
        writer.finish({})
        folders.append([str(folder / f"t{task}")])
    tasks = [
        PlannedTask(f"t{t}", n, s, "") for t, (n, s) in enumerate(zip([300, 80], shares_of([300, 80]), strict=True))
    ]
    return lambda **options: Loader(Plan(tasks, ENCODER_DECODER.capacities, 7), folders, ENCODER_DECODER, 8, **options)


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


def test_an_error_in_a_thread_is_raised_at_its_step(stored, tmp_path):
    loader = stored()
    original = loader.segments
    loader.segments = lambda rows: (
        (_ for _ in ()).throw(ValueError("torn")) if len(rows) == 8 and next(steps) == 2 else original(rows)
    )
    steps = iter(range(100))
    got = []
    with pytest.raises(ValueError, match="torn"):
        for step, _ in loader.from_step(0, 10):
            got.append(step)
    assert got == [0, 1]

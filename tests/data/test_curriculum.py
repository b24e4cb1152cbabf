"""Orders of tasks and of examples, on real stores, plans and loaders."""

import dataclasses

import numpy as np
import pytest

from flan_jax.data import curriculum, difficulty
from flan_jax.data.blending import examples_at, virtual_time
from flan_jax.data.loader import Loader, Reader
from flan_jax.data.mixing_config import CurriculumConfig
from flan_jax.data.planning.plan import differences
from flan_jax.data.planning.row_index import RowIndex
from flan_jax.data.request import Request
from flan_jax.data.resolve import RatesFrom, Resolved, ResolvedTask, resolve
from flan_jax.data.rows import RowShape
from flan_jax.data.worker import Worker
from flan_jax.errors import UserError
from flan_jax.files import atomic, filesystem
from tests.data.written import Written, write_store

SHAPE = RowShape("decoder", 48, 16)
COUNTS = {"short": 3000, "long": 2000, "text": 2500}
BATCH = 8


@pytest.fixture(scope="module")
def mixture(tmp_path_factory):
    """Three tasks of unlike lengths, "text" beside the others; every example's first token is its place."""
    folder, random, tasks = tmp_path_factory.mktemp("stores"), np.random.default_rng(0), []
    for (name, count), most in zip(COUNTS.items(), (12, 40, 30), strict=True):
        lengths = random.integers(2, most, count)
        examples = [Written(f"{name}:{i}", np.full(n, 10 + i), [5, 6, 1]) for i, n in enumerate(lengths)]
        write_store(folder / name / "draw-0", examples)
        about = {"cluster": "prose" if name == "text" else "tasks"}
        tasks.append(
            ResolvedTask(name, str(folder / name), name, count, float(count), None, 1, {}, about, beside=name == "text")
        )
    request = Request("all", "train", {"inputs": 48, "targets": 16}, 3, str(folder))
    return Resolved(request, tuple(tasks), {})


def loader_of(resolved, courses=(), window=256):
    plan = resolved.plan(SHAPE.capacities, True, window, courses)
    return Loader(plan, Reader(resolved.folders(plan), SHAPE, resolved.selections(plan)), BATCH)


def easy_first(resolved, **settings):
    return curriculum.easy_first(resolved, CurriculumConfig(**settings), Worker())


def lengths_by_tenth(loader, task):
    """The mean length of one task's examples in each tenth of the steps of an epoch."""
    found = []
    for steps in np.array_split(np.arange(loader.index.rows_in(1) // BATCH), 10):
        rows = [row for step in steps[::3].tolist() for row in loader.segments(loader.contents(step))]
        found.append(np.mean([len(one.inputs) for row in rows for one in row if one.task == task]))
    return found


def test_the_first_pass_goes_from_short_to_long_and_the_next_is_shuffled(mixture):
    ordered = easy_first(mixture, by="length")
    loader = loader_of(ordered)
    assert [task.in_order for task in ordered.tasks] == [True, True, False]
    plan = loader.plan
    taken, first, second = [], [], []
    for window in range(3 * plan._parts):
        task, index, epoch = plan.examples(window)
        here = (task == 0) & (epoch == 0)
        stored = loader.reader.stored(task, index)
        taken += stored[here].tolist()
        for of, wanted in ((first, 0), (second, 1)):
            if (this := (task == 0) & (epoch == wanted)).any():
                of.append(np.mean([len(loader.store(0, 0)[i].inputs) for i in stored[this].tolist()]))
    assert sorted(taken) == list(range(COUNTS["short"]))  # each once
    assert (np.diff(first) >= 0).all() and first[0] < 3 and first[-1] > 10
    assert np.ptp(second[:-1]) < 2  # no order


def test_steps_get_longer_examples(mixture):
    """Through packing, shuffled rows and batches; what stands beside stays as it was."""
    loader = loader_of(easy_first(mixture, by="length"))
    for task, most in ((0, 12), (1, 40)):
        tenths = lengths_by_tenth(loader, task)
        assert tenths == sorted(tenths) and tenths[0] < most / 2 and tenths[-1] > most - 4
    assert np.ptp(lengths_by_tenth(loader, 2)) < 5
    tenths = lengths_by_tenth(loader_of(easy_first(mixture, by="length", hard_first=True)), 1)
    assert tenths == sorted(tenths, reverse=True)


def test_only_what_hygiene_kept_is_put_in_order(mixture, tmp_path):
    keeps = np.arange(0, COUNTS["short"], 7)
    np.save(tmp_path / "kept-0-abc.npy", keeps)
    task = dataclasses.replace(mixture.tasks[0], kept=str(tmp_path / "kept-0-abc.npy"), count=len(keeps))
    ordered = easy_first(dataclasses.replace(mixture, tasks=(task,)), by="length").tasks[0]
    order, lengths = np.load(ordered.kept), ordered_lengths(ordered)
    assert sorted(order) == keeps.tolist()
    assert (np.diff(lengths[order]) >= 0).all()
    assert ordered.trained_as != task.trained_as


def ordered_lengths(task):
    from flan_jax.data.stores.store import Store

    return Store(task.store()).lengths("inputs")


def test_equal_ones_come_in_an_order_of_the_seed(mixture):
    ties, kept = np.array([1.0, 0.0] * 500), None
    orders = [curriculum.first_pass(ties, kept, False, seed) for seed in (0, 0, 1)]
    assert (orders[0] == orders[1]).all() and not (orders[0] == orders[2]).all()
    for order in orders:
        assert set(order[:500]) == set(range(1, 1000, 2)) and list(order[:500]) != sorted(order[:500])


def test_a_plan_tells_one_order_from_another(mixture):
    plans = [loader_of(one).plan for one in (mixture, easy_first(mixture, by="length"))]
    plans += [loader_of(easy_first(mixture, by="length", hard_first=True)).plan]
    assert len({plan.fingerprint for plan in plans}) == 3
    said = differences(plans[1].describe(), plans[2].describe())
    assert said == [
        f"task {name!r} is trained on other examples of its store, or in another order" for name in ("short", "long")
    ]


def test_it_goes_on_at_any_step(mixture):
    """By what a checkpoint keeps, without the windows before; the plan read back from its file."""
    ordered, courses = curriculum.in_order(
        easy_first(mixture, by="length"), [], CurriculumConfig(tasks=("long",), joins=(0.5,)), 60_000
    )
    through = loader_of(ordered, courses)
    plan = type(through.plan).from_description(through.plan.describe())
    assert plan.fingerprint == through.plan.fingerprint
    batches = dict(through.from_step(0, 90))
    state = through.index.state(70, BATCH)
    index = RowIndex(plan, through.reader.lengths, anchor=(state["window"], state["rows_before"]))
    assert state["window"] > 2
    for step, batch in Loader(plan, through.reader, BATCH, index=index).from_step(70, 90):
        assert all((batch[name] == batches[step][name]).all() for name in batch)


def tokens_by_task(loader, steps):
    """Tokens of each task in each step, [steps, T]."""
    found = np.zeros((len(steps), len(loader.plan.tasks)))
    for number, step in enumerate(steps):
        batch = loader.batch(step)
        there = batch["decoder_segment_ids"] > 0
        found[number] = np.bincount(batch["decoder_task_ids"][there], minlength=found.shape[1])
    return found


@pytest.mark.parametrize("by", [None, "length"])
def test_tasks_join_when_the_part_of_the_run_is_done(mixture, by):
    """Counted in the batches of a run; the share of what stands beside holds before and after."""
    steps, ordered, whole = 100, easy_first(mixture, by=by), loader_of(mixture, window=8192)
    length = steps * BATCH * curriculum.tokens_a_row(whole.plan, whole.reader)
    settings = CurriculumConfig(tasks=("short", "lo*"), joins=(0.0, 0.4))
    joined, courses = curriculum.in_order(ordered, [], settings, length)
    assert [task.rate > 0 for task in joined.tasks] == [True, False, True]
    found = tokens_by_task(loader_of(joined, courses, window=64), range(steps))
    first = int(np.flatnonzero(found[:, 1])[0])
    assert 0.39 * steps < first < 0.46 * steps
    assert (found[first + 5 :, 1] > 0).mean() > 0.95
    if by is None:  # every example bears three tokens' loss, so shares of them are shares of examples
        loader = loader_of(joined, courses)
        counts = loader.plan.counts_by
        start = courses[0].start
        window = next(w for w in range(1000) if loader.plan.boundary(w) > start)
        before, after = counts(window - 1), counts(window + 8) - counts(window)
        for some in (before, after):
            assert some[2] / some.sum() == pytest.approx(2500 / 7500, abs=0.01)
        assert before[1] == 0 and after[1] / after[0] == pytest.approx(2 / 3, abs=0.02)


def test_joins_and_a_schedule_of_shares_are_both_kept(mixture):
    """The mixture's text goes from a third to a half of it when half of the run is done, "long" joins at a quarter."""
    rates = tuple(task.rate for task in mixture.tasks)
    schedule = [RatesFrom(2000, (3000.0, 2000.0, 5000.0))]
    means = np.array([task.mean_tokens()[0] for task in mixture.tasks])
    length = means.dot(examples_at(4000, [RatesFrom(0, rates), *schedule]))
    half = means.dot(examples_at(2000, [RatesFrom(0, rates)])) / length
    joined, courses = curriculum.in_order(mixture, schedule, CurriculumConfig(tasks=("long",), joins=(0.25,)), length)
    legs = [RatesFrom(0, tuple(task.rate for task in joined.tasks)), *courses]
    shares = [np.array(leg.rates) / sum(leg.rates) for leg in legs]
    assert [share.round(4).tolist() for share in shares] == [
        [0.6667, 0.0, 0.3333],
        [0.4, 0.2667, 0.3333],
        [0.3, 0.2, 0.5],
    ]
    done = [means.dot(examples_at(leg.start, legs)) / length for leg in legs[1:]]
    assert done == pytest.approx([0.25, half], abs=1e-3)


def test_by_default_tasks_join_evenly(mixture):
    settings = CurriculumConfig(tasks=("short", "tasks", "prose"))
    assert curriculum.joins_of(mixture, settings) == pytest.approx([0.0, 1 / 3, 2 / 3])


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        (
            {"tasks": ("shrot",)},
            "Curriculum.tasks names 'shrot', no task, pattern or cluster of 'all'; did you mean 'short'?",
        ),
        ({"tasks": ("tasks",), "joins": (0.2,)}, "the first joins when 20% of the run is done"),
    ],
)
def test_tasks_that_cannot_join_are_refused(mixture, settings, said):
    with pytest.raises(UserError) as fault:
        curriculum.in_order(mixture, [], CurriculumConfig(**settings), 1000)
    assert said in str(fault.value)


def test_without_settings_nothing_changes(mixture):
    courses = [RatesFrom(10, (1.0, 1.0, 1.0))]
    assert curriculum.in_order(mixture, courses, CurriculumConfig(), 0) == (mixture, courses)
    assert easy_first(mixture) is mixture


def test_windows_are_small_against_what_is_in_order():
    by, joining = CurriculumConfig(by="length"), CurriculumConfig(tasks=("a",))
    found = [curriculum.window_of(by, 8192, size, 2.0) for size in (1_000_000, 20_000, 100)]
    assert found == [8192, 1000, 256]
    assert curriculum.window_of(by, 64, 1_000_000, 2.0) == 64
    # More STEPS go on by the same plan, but where tasks join at parts of them.
    assert [curriculum.window_of(by, 8192, 20_000, passes) for passes in (0.3, 3.0)] == [1000, 1000]
    assert [curriculum.window_of(joining, 8192, 20_000, passes) for passes in (0.3, 3.0)] == [300, 1000]


def test_virtual_time_is_the_first_by_which_the_tokens_are_there():
    random = np.random.default_rng(0)
    means = np.array([3.0, 40.0, 0.5])
    for _ in range(20):
        starts = [0, *np.cumsum(random.integers(1, 500, 3)).tolist()]
        rates = [RatesFrom(start, tuple(random.random(3))) for start in starts]
        # Written out: an example at a time.
        each = [
            means.dot(next(np.array(r.rates) / sum(r.rates) for r in reversed(rates) if r.start <= t))
            for t in range(3000)
        ]
        tokens = random.random() * sum(each)
        assert virtual_time(tokens, rates, means.dot) == pytest.approx(
            np.searchsorted(np.cumsum(each), tokens) + 1, abs=1
        )


def test_numbers_in_the_rows_order_them(worker, tmp_path):
    resolved = resolve(Request("parity", "train", {"inputs": 64, "targets": 16}, 0, str(tmp_path)), worker)
    settings = CurriculumConfig(by="field:number", hard_first=True)
    (task,) = curriculum.easy_first(resolved, settings, worker).tasks
    assert np.load(task.kept).tolist() == list(range(39, -1, -1))

    class Idle(Worker):
        def call(self, op, **arguments):
            raise AssertionError(f"the data process was asked for {op}")

    again = curriculum.easy_first(resolved, settings, Idle(worker.setup))  # they are kept
    assert again.tasks == (task,)


@pytest.mark.parametrize(
    ("task", "field", "said"),
    [
        ("parity", "numbr", "parity.jsonl:7 of task 'parity' has no such field; did you mean 'number'?"),
        ("parity", "parity", "parity.jsonl:7 of task 'parity' holds 'even' there; wanted a number in every row"),
        ("shout", "number", "task 'shout' is of other code"),
    ],
)
def test_a_row_without_a_number_is_refused(worker, tmp_path, task, field, said):
    resolved = resolve(Request(task, "train", {"inputs": 64, "targets": 16}, 0, str(tmp_path)), worker)
    with pytest.raises(UserError) as fault:
        curriculum.easy_first(resolved, CurriculumConfig(by=f"field:{field}"), worker)
    assert said in str(fault.value) and f"Curriculum.by is 'field:{field}'" in str(fault.value)


def test_a_loss_that_nobody_measured_is_told_with_the_command(mixture):
    with pytest.raises(UserError, match="flan-jax prepare --difficulty runs/small"):
        easy_first(mixture, by="loss", measured_by="runs/small")


def test_a_damaged_order_is_written_anew_and_a_damaged_number_is_told(mixture):
    ordered = easy_first(mixture, by="length").tasks[0]
    whole = np.load(ordered.kept)
    with open(ordered.kept, "r+b") as file:
        file.truncate(1000)
    assert easy_first(mixture, by="length").tasks[0] == ordered
    assert (np.load(ordered.kept) == whole).all()
    folder = difficulty.losses_folder(mixture, "runs/torn")
    folder.mkdir()
    for task in mixture.tasks:
        (folder / difficulty.losses_file(task)).write_bytes(b"torn")
    atomic.write_sealed(folder / difficulty.MEASURED, {"run": filesystem.absolute("runs/torn"), "step": 1})
    with pytest.raises(UserError, match="is damaged .* delete it, and run the same command again"):
        easy_first(mixture, by="loss", measured_by="runs/torn")

"""The plan against what it promises: exact proportions, one pass before the next, and nothing but integers."""

import collections
import hashlib
import json
import math

import numpy as np
import pytest

from flan_jax.data.planning.order import mix, permute
from flan_jax.data.planning.plan import Course, Plan, PlannedTask, differences, examples_by, phases_of, shares_of
from flan_jax.errors import UserError


def make(counts, rates=None, capacities=None, seed=0, draws=1, **options):
    shares = shares_of(rates or counts)
    tasks = [PlannedTask(f"t{i}", n, s, f"f{i}", draws) for i, (n, s) in enumerate(zip(counts, shares, strict=True))]
    return Plan(tasks, capacities or {"row": 64}, seed, **options)


def lengths_of(task, draw, index):
    """Any lengths will do, as long as an example always has the same."""
    return 1 + (mix(7, task, draw, index) % np.uint64(39)).astype(np.int64)[:, None]


def two_lengths_of(task, draw, index):
    """The same for a row of two budgets."""
    return np.stack([lengths_of(task, draw, index)[:, 0], 1 + index % 9], axis=1)


GOLDEN = [
    ({"row": 64}, lengths_of, "bb2ca35fec41acbd"),
    ({"inputs": 64, "targets": 16}, two_lengths_of, "215fa3ba5a66b362"),
]


@pytest.mark.parametrize("counts", [[10], [3, 4, 5], [100, 7, 1], [5000, 4000, 30]])
def test_an_epoch_sees_every_example_once(counts):
    plan = make(counts)
    seen = collections.Counter()
    window = 0
    while plan.boundary(window) < plan.epoch_size:
        task, index, epoch = plan.examples(window)
        assert (epoch == 0).all()
        seen.update(zip(task.tolist(), index.tolist(), strict=True))
        window += 1
    assert plan.epoch_size == sum(counts)
    assert seen == {(t, i): 1 for t, n in enumerate(counts) for i in range(n)}


def test_shares_stay_within_one_example_of_the_rates_at_every_time():
    rates = [3000.0, 3000.0, 250.0, 71.5, 1e-3]
    shares = np.array(shares_of(rates), np.uint64)
    exact = np.array(rates) / sum(rates)
    before = np.zeros(5)
    for time in [1, 7, 100, 12_345, 10**7, 10**12]:
        counts = examples_by(time, shares, phases_of(shares))
        assert np.abs(counts - time * exact).max() <= 1
        assert (counts >= before).all()
        before = counts


def test_counts_are_exact_where_64_bit_products_would_overflow():
    shares = np.array(shares_of([1, 2**20 - 1]), np.uint64)
    time = 2**42 + 12_345
    phases = phases_of(shares)
    exact = [(time * int(share) + int(phase)) >> 40 for share, phase in zip(shares, phases, strict=True)]
    assert examples_by(time, shares, phases).tolist() == exact


def test_permute_is_a_permutation_that_its_key_changes():
    for count in (1, 2, 3, 100, 4097):
        order = [permute(np.arange(count), np.full(count, count), np.full(count, k, np.uint64)) for k in (1, 2)]
        assert sorted(order[0].tolist()) == list(range(count))
        assert count < 100 or order[0].tolist() != order[1].tolist()


def chi_squared_is_low(observed, expected):
    """Whether counts are what chance gives: below the mean of chi-squared by 4.5 standard deviations or less."""
    freedom = observed.size - 1
    return ((observed - expected) ** 2 / expected).sum() < freedom + 4.5 * (2 * freedom) ** 0.5


@pytest.mark.parametrize("count", [2, 3, 5, 6])
def test_every_order_of_a_few_examples_is_as_likely_as_another(count):
    keys = mix(0, count, np.arange(40_000))
    placed = permute(np.tile(np.arange(count), len(keys)), np.full(count * len(keys), count), np.repeat(keys, count))
    orders = placed.reshape(-1, count) @ count ** np.arange(count)
    observed = np.unique(orders, return_counts=True)[1]
    assert len(observed) == math.factorial(count)
    assert chi_squared_is_low(observed, len(keys) / len(observed))


@pytest.mark.parametrize("count", [10, 17, 100, 300])
def test_neighbours_are_moved_apart_evenly(count):
    """Where two neighbours go together is uniform over all pairs of places."""
    keys = mix(1, count, np.arange(400_000))
    first, second = (permute(np.full(len(keys), p), np.full(len(keys), count), keys) for p in (0, 1))
    observed = np.bincount(first * count + second, minlength=count * count).reshape(count, count)
    assert not observed.diagonal().any()
    apart = observed[~np.eye(count, dtype=bool)]
    assert chi_squared_is_low(apart, len(keys) / len(apart))


def test_rows_hold_each_example_of_the_window_once_and_fit():
    plan = make([3000, 2000], capacities={"row": 64})
    rows = plan.rows(0, lengths_of)
    task, index, _ = plan.examples(0)
    assert sorted(zip(rows.task, rows.index, strict=True)) == sorted(zip(task, index, strict=True))
    used = np.add.reduceat(lengths_of(rows.task, rows.draw, rows.index)[:, 0], rows.first[:-1])
    assert len(used) == len(rows) and used.max() <= 64


def test_epochs_go_around_the_draws():
    plan = make([10], draws=3)
    assert [int(plan.rows(w, lengths_of).draw[0]) for w in range(5)] == [0, 1, 2, 0, 1]
    assert plan.draws_reached(2) == [2] and plan.draws_reached(9) == [3]


def test_every_epoch_has_another_order():
    plan = make([500])
    first, second = plan.examples(0)[1].tolist(), plan.examples(1)[1].tolist()
    assert sorted(first) == sorted(second) and first != second


def test_the_seed_changes_the_order_and_nothing_else_does():
    same = make([50, 60], seed=1), make([50, 60], seed=1), make([50, 60], seed=2)
    rows = [plan.rows(0, lengths_of).index.tolist() for plan in same]
    assert rows[0] == rows[1] != rows[2]
    assert same[0].fingerprint == same[1].fingerprint != same[2].fingerprint


def test_golden_rows():
    """The plan is the same on every machine: a digest of the first windows of a fixed plan.

    Written down by this test's own code on 2026-11-24 (x86-64, Python 3.11, NumPy 2, Numba 0.68). A change of hash,
    permutation, packing or order of rows changes it, and with it every run's batches: then `plan.RULES` must rise too.
    """
    assert make([7], seed=3).examples(0)[1].tolist() == [6, 5, 4, 3, 0, 2, 1]
    for capacities, lengths, digest in GOLDEN:
        plan = make([3000, 2000, 37, 1], rates=[300.0, 200.0, 37.5, 1e-3], capacities=capacities, seed=11, draws=3)
        whole = hashlib.sha256()
        for window in range(4):
            rows = plan.rows(window, lengths)
            for column in (rows.first, rows.task, rows.index, rows.draw, rows.epoch):
                whole.update(column.astype("<i8").tobytes())
        assert whole.hexdigest()[:16] == digest


def test_a_window_is_the_same_whatever_was_computed_before_it():
    plan = make([30_000, 500])
    fresh = make([30_000, 500])
    for window in range(3):
        plan.rows(window, lengths_of)
    assert plan.rows(3, lengths_of).index.tolist() == fresh.rows(3, lengths_of).index.tolist()


def test_differences_name_what_changed():
    old, new = make([10, 20], rates=[1, 1]).describe(), make([10, 20], rates=[1, 3]).describe()
    assert differences(old, old) == []
    assert differences(old, new) == [
        "task 't0' had 50.0000% of the mixture, has 25.0000%",
        "task 't1' had 50.0000% of the mixture, has 75.0000%",
    ]
    gone = make([10]).describe()
    assert "task 't1' is gone" in differences(old, gone)


def test_a_plan_is_made_again_from_its_description():
    plan = make([100, 50], draws=2)
    again = Plan.from_description(plan.describe())
    assert again.rows(1, lengths_of).index.tolist() == plan.rows(1, lengths_of).index.tolist()
    assert again.fingerprint == plan.fingerprint


def test_a_plan_of_other_rules_is_named_and_not_continued_silently():
    plan = make([10])
    earlier = plan.describe()
    del earlier["rules"]  # the first rules had no number
    assert differences(earlier, plan.describe()) == ["rules was 1, is 2"]
    with pytest.raises(UserError, match="made by rules 1, this version of flan_jax plans by 2.*versions.json"):
        Plan.from_description(earlier)


@pytest.mark.parametrize("rates", [[0.0, 0.0], [1.0, float("inf")], [float("nan")]])
def test_rates_that_add_up_to_nothing_are_refused(rates):
    with pytest.raises(UserError, match="rates add up to (0.0|inf|nan); give its tasks finite rates"):
        shares_of(rates)


@pytest.mark.parametrize(
    "counts,rates", [([40, 9000, 1, 7], [1, 30, 0.2, 9]), ([500] * 50, None), ([5000, 64], [9, 1])]
)
def test_at_the_end_of_every_window_no_example_is_ahead_by_more_than_one_pass(counts, rates):
    """Every example of a task is seen once before any is seen twice, wherever its epochs end."""
    plan = make(counts, rates, largest_window=600)
    seen = [np.zeros(n, int) for n in counts]
    ended_inside = 0
    for window in range(150):
        task, index, epoch = plan.examples(window)
        for t in range(len(counts)):
            here = task == t
            np.add.at(seen[t], index[here], 1)
            assert seen[t].max() - seen[t].min() <= 1
            # The epoch that an example is said to be of is how often it was seen before.
            assert epoch[here].max(initial=0) == max(0, seen[t].max() - 1) or not here.any()
            ended_inside += len(set(epoch[here].tolist())) > 1
        assert [int(s.sum()) for s in seen] == plan.counts_by(window + 1).tolist()
    assert ended_inside or rates is None


def test_windows_are_of_one_size_however_many_tasks_are_alike():
    """Also where there are more tasks than a window has examples."""
    for tasks in (7, 1836, 100_000):
        plan = make([500] * tasks, largest_window=4096)
        sizes = [int((plan.counts_by(w + 1) - plan.counts_by(w)).sum()) for w in range(400)]
        expected = plan.boundary(1)
        assert max(abs(size - expected) for size in sizes) <= 40 + tasks // 1000


def test_a_plan_of_very_many_tasks_is_columns():
    """A hundred thousand tasks, a hundred windows: looking at every task for each would take minutes."""
    plan = make([500] * 100_000)
    assert all(len(plan.rows(window, lengths_of).task) > 8000 for window in range(100))
    assert plan.draws_reached(3) == [1] * 100_000
    assert Plan.from_description(plan.describe()).fingerprint == plan.fingerprint


def in_courses(courses, **flags):
    tasks = [PlannedTask(f"t{i}", 1000, s, "", **flags) for i, s in enumerate(shares_of([0.5, 0.3, 0.2]))]
    return Plan(tasks, {"row": 64}, 7, largest_window=100, courses=courses)


def test_shares_change_with_the_courses_and_sums_go_on_within_one_example():
    later = [Course(1_003, tuple(shares_of([0.1, 0.0, 0.9]))), Course(5_001, tuple(shares_of([0.0, 1.0, 0.0])))]
    plan = in_courses(later)
    legs = [(0, [0.5, 0.3, 0.2]), (1_003, [0.1, 0.0, 0.9]), (5_001, [0.0, 1.0, 0.0])]
    before = np.zeros(3, np.int64)
    for window in range(1, 90):
        time = plan.boundary(window)
        exact = np.zeros(3)
        for (start, shares), end in zip(legs, [1_003, 5_001, 10**9], strict=True):
            exact += np.array(shares) * max(0, min(time, end) - start)
        counts = plan.counts_by(window)
        assert np.abs(counts - exact).max() <= 1
        assert (counts >= before).all()
        before = counts
    assert Plan.from_description(json.loads(json.dumps(plan.describe()))).fingerprint == plan.fingerprint
    assert plan.fingerprint != in_courses([]).fingerprint
    assert "shares change otherwise" in "".join(differences(plan.describe(), in_courses(later[:1]).describe()))


def test_a_task_in_order_comes_in_order_once_and_one_beside_makes_no_epoch():
    plan = Plan(
        [PlannedTask("sorted", 300, 2**39, "", in_order=True), PlannedTask("text", 10, 2**39, "", beside=True)],
        {"row": 64},
        seed=3,
        largest_window=100,
    )
    assert plan.epoch_size == 600
    found = [plan.examples(window) for window in range(12)]
    mine = [(index[task == 0], epoch[task == 0]) for task, index, epoch in found]
    index, epoch = np.concatenate([i for i, _ in mine]), np.concatenate([e for _, e in mine])
    assert index[epoch == 0].tolist() == list(range(300))
    second = index[epoch == 1]
    assert len(second) == 300 and sorted(second) == list(range(300)) and second.tolist() != list(range(300))

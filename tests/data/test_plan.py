"""The plan against what it promises: exact proportions, one pass before the next, and nothing but integers."""

import collections

import numpy as np
import pytest

from flan_jax.data.plan import Plan, PlannedTask, RowIndex, differences, examples_by, mix, permute, shares_of


def make(counts, rates=None, capacities=None, seed=0, draws=1, **options):
    shares = shares_of(rates or counts)
    tasks = [PlannedTask(f"t{i}", n, s, f"f{i}", draws) for i, (n, s) in enumerate(zip(counts, shares, strict=True))]
    return Plan(tasks, capacities or {"row": 64}, seed, **options)


def lengths_of(task, draw, index):
    """Any lengths will do, as long as an example always has the same."""
    return 1 + (mix(7, task, draw, index) % np.uint64(39)).astype(np.int64)[:, None]


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
        counts = examples_by(time, shares)
        assert np.abs(counts - time * exact).max() <= 1
        assert (counts >= before).all()
        before = counts


def test_counts_are_exact_where_64_bit_products_would_overflow():
    shares = np.array(shares_of([1, 2**20 - 1]), np.uint64)
    time = 2**42 + 12_345
    assert examples_by(time, shares).tolist() == [(time * int(s) + 2**39) >> 40 for s in shares]


def test_permute_is_a_permutation_that_its_key_changes():
    for count in (1, 2, 3, 100, 4097):
        order = [permute(np.arange(count), np.full(count, count), np.full(count, k, np.uint64)) for k in (1, 2)]
        assert sorted(order[0].tolist()) == list(range(count))
        assert count < 100 or order[0].tolist() != order[1].tolist()


def test_permute_moves_examples_evenly():
    """Where position 0 goes is uniform over the keys: chi-squared, 9 degrees of freedom, 0.1% point 27.9."""
    keys = mix(0, np.arange(5000))
    places = permute(np.zeros(5000, np.int64), np.full(5000, 10), keys)
    observed = np.bincount(places, minlength=10)
    assert ((observed - 500) ** 2 / 500).sum() < 27.9


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


def test_golden_order():
    """Written down by this code on 2026-11-24: a change of hash or permutation would change every run's batches."""
    assert make([7], seed=3).examples(0)[1].tolist() == [4, 1, 3, 5, 6, 0, 2]


def test_a_window_is_the_same_whatever_was_computed_before_it():
    plan = make([30_000, 500])
    fresh = make([30_000, 500])
    for window in range(3):
        plan.rows(window, lengths_of)
    assert plan.rows(3, lengths_of).index.tolist() == fresh.rows(3, lengths_of).index.tolist()


def test_index_survives_a_torn_write_and_gives_the_same_rows(tmp_path):
    path = tmp_path / "rows.index"
    first = RowIndex(make([20_000]), lengths_of, path)
    ends = [first.end(w) for w in range(3)]
    path.write_bytes(path.read_bytes() + b"\x01\x02\x03")
    again = RowIndex(make([20_000]), lengths_of, path)
    assert [again.end(w) for w in range(3)] == ends
    rows, place = again.locate(ends[1])
    assert place == 0 and rows.index.tolist() == first.window(2).index.tolist()


def test_rows_in_epochs_cover_the_epochs():
    index = RowIndex(make([20_000]), lengths_of)
    parts = [len(index.window(w)) for w in range(3)]
    assert index.plan.boundary(3) == 20_000
    assert index.rows_in(1) == sum(parts)
    assert abs(index.rows_in(0.5) - sum(parts) / 2) < 100


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

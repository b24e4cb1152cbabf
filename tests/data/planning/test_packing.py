import numpy as np
import pytest

from flan_jax.data.planning.packing import least_rows, pack
from flan_jax.errors import UserError


def fill(lengths, rows, capacities):
    return lengths.sum(axis=0) / ((rows.max() + 1) * np.array(capacities))


def check(lengths, rows, capacities):
    """No row over its budgets, no row number left out."""
    for budget, capacity in enumerate(capacities):
        assert np.bincount(rows, lengths[:, budget]).max() <= capacity
    assert set(rows.tolist()) == set(range(rows.max() + 1))


def log_normal(random, count, mean, spread, most):
    return np.clip(random.lognormal(np.log(mean) - spread**2 / 2, spread, count).astype(int), 1, most)


def best_fit_decreasing(lengths, capacity):
    """What TRL packs by, written out: longest first, into the row that it leaves fullest."""
    rows, left = [0], np.zeros(capacity + 1, int)  # rows by what they still take
    for length in sorted(lengths.tolist(), reverse=True):
        fitting = np.flatnonzero(left[length:])
        room = int(fitting[0]) + length if len(fitting) else capacity
        if len(fitting):
            left[room] -= 1
        else:
            rows[0] += 1
        left[room - length] += 1
    return rows[0]


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_decoder_rows_are_full_in_a_window_as_it_is_planned(seed):
    """The lengths of REFERENCE 6, log-normal of mean 394, in a window of 8,192; and no worse than best-fit."""
    lengths = log_normal(np.random.default_rng(seed), 8192, 394, 0.85, 2048)[:, None]
    rows = pack(lengths, np.array([2048]))
    check(lengths, rows, [2048])
    assert fill(lengths, rows, [2048])[0] > 0.999
    assert rows.max() + 1 <= best_fit_decreasing(lengths[:, 0], 2048) * 1.001


TWO_BUDGETS = {
    # inputs' mean and spread, targets' mean and spread
    "mostly inputs": (300, 0.85, 60, 0.85),
    "both alike": (300, 0.85, 75, 0.85),
    "mostly targets": (150, 0.85, 50, 0.85),
    "very unlike": (200, 1.2, 40, 1.2),
}


@pytest.mark.parametrize("kind", TWO_BUDGETS)
def test_two_budgets_come_within_2_percent_of_what_any_packing_needs(kind):
    random, (inputs, spread, targets, other) = np.random.default_rng(1), TWO_BUDGETS[kind]
    lengths = np.stack(
        [log_normal(random, 8192, inputs, spread, 1024), log_normal(random, 8192, targets, other, 256)], axis=1
    )
    rows = pack(lengths, np.array([1024, 256]))
    check(lengths, rows, [1024, 256])
    assert rows.max() + 1 <= 1.02 * least_rows(lengths, np.array([1024, 256]))


def test_two_budgets_come_within_4_percent_of_the_sum_bound_where_examples_are_short():
    """Where nearly no example is half a row, the sum of tokens is all that bounds."""
    random = np.random.default_rng(1)
    lengths = np.stack([log_normal(random, 8192, 150, 0.7, 512), log_normal(random, 8192, 30, 0.7, 128)], axis=1)
    rows = pack(lengths, np.array([1024, 256]))
    assert rows.max() + 1 <= 1.04 * np.ceil((lengths.sum(axis=0) / [1024, 256]).max())


def test_the_bound_holds_for_the_best_packing_there_is():
    """Against all packings of a few examples, tried out one by one."""
    random = np.random.default_rng(0)
    capacities = np.array([20, 10])
    tighter = 0
    for _ in range(60):
        lengths = np.stack([random.integers(0, 21, 7), random.integers(0, 11, 7)], axis=1)
        least = fewest(lengths, capacities)
        bound = least_rows(lengths, capacities)
        assert bound <= least <= pack(lengths, capacities).max() + 1
        tighter += bound > np.ceil((lengths.sum(axis=0) / capacities).max())
    assert tighter > 5


def fewest(lengths, capacities, rows=()):
    """The fewest rows of any packing, by trying every one."""
    if not len(lengths):
        return len(rows)
    best = fewest(lengths[1:], capacities, (*rows, tuple(lengths[0])))
    for k, used in enumerate(rows):
        together = np.array(used) + lengths[0]
        if (together <= capacities).all():
            best = min(best, fewest(lengths[1:], capacities, (*rows[:k], tuple(together), *rows[k + 1 :])))
    return best


def test_the_budgets_may_be_named_in_either_order():
    random = np.random.default_rng(3)
    lengths = np.stack([random.integers(1, 300, 500), random.integers(1, 30, 500)], axis=1)
    one, other = pack(lengths, np.array([512, 64])), pack(lengths[:, ::-1], np.array([64, 512]))
    check(lengths, one, [512, 64])
    assert one.tolist() == other.tolist()


def test_example_that_fills_a_row_has_it_alone():
    rows = pack(np.array([[8], [1], [8]]), np.array([8]))
    assert rows[0] != rows[2] and rows[1] not in (rows[0], rows[2])


def test_empty_inputs_share_rows_without_end():
    assert pack(np.array([[0, 2], [0, 2], [8, 4]]), np.array([8, 4])).max() == 1


def test_too_long_an_example_is_refused_with_its_lengths():
    with pytest.raises(UserError, match=r"\[9, 1\] tokens does not fit a row of \[8, 4\]; raise FEATURE_LENGTHS"):
        pack(np.array([[9, 1]]), np.array([8, 4]))


def test_nothing_to_pack():
    assert len(pack(np.zeros((0, 1)), np.array([8]))) == 0 == least_rows(np.zeros((0, 2)), np.array([8, 4]))

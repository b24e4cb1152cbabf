import numpy as np
import pytest

from flan_jax.data.packing import pack
from flan_jax.errors import UserError


def fill(lengths, rows, capacities):
    return lengths.sum(axis=0) / ((rows.max() + 1) * np.array(capacities))


def check(lengths, rows, capacities):
    """No row over its budgets, no row number left out."""
    for budget, capacity in enumerate(capacities):
        assert np.bincount(rows, lengths[:, budget]).max() <= capacity
    assert set(rows.tolist()) == set(range(rows.max() + 1))


def test_decoder_rows_are_nearly_full():
    """The lengths of REFERENCE 6: log-normal, mean 394; TRL's best-fit reaches 99.7% in windows of 1,000."""
    lengths = np.clip(np.random.default_rng(0).lognormal(5.6, 0.85, 8192).astype(int), 1, 2048)[:, None]
    rows = pack(lengths, np.array([2048]))
    check(lengths, rows, [2048])
    assert fill(lengths, rows, [2048])[0] > 0.995


def test_two_budgets_come_near_the_sum_bound():
    random = np.random.default_rng(1)
    lengths = np.stack([random.integers(20, 600, 4096), random.integers(1, 150, 4096)], axis=1)
    rows = pack(lengths, np.array([1024, 256]))
    check(lengths, rows, [1024, 256])
    bound = max(np.ceil(lengths[:, 0].sum() / 1024), np.ceil(lengths[:, 1].sum() / 256))
    assert (rows.max() + 1) / bound < 1.06


def test_example_that_fills_a_row_has_it_alone():
    rows = pack(np.array([[8], [1], [8]]), np.array([8]))
    assert rows[0] != rows[2] and rows[1] not in (rows[0], rows[2])


def test_empty_inputs_share_rows_without_end():
    assert pack(np.array([[0, 2], [0, 2], [8, 4]]), np.array([8, 4])).max() == 1


def test_too_long_an_example_is_refused_with_its_lengths():
    with pytest.raises(UserError, match=r"\[9, 1\] tokens does not fit a row of \[8, 4\]; raise FEATURE_LENGTHS"):
        pack(np.array([[9, 1]]), np.array([8, 4]))


def test_nothing_to_pack():
    assert len(pack(np.zeros((0, 1)), np.array([8]))) == 0

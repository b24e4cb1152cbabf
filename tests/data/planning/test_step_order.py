"""The order of the steps of several lanes, against exact fractions."""

from fractions import Fraction

import pytest

from flan_jax.data.planning.plan import Course, shares_of
from flan_jax.data.planning.step_order import MOST_LANES, StepOrder
from flan_jax.errors import UserError


@pytest.mark.parametrize("rates", [[1.0], [3.0, 1.0], [0.917, 0.083], [5.0, 2.0, 2.0], [1.0, 1e-3, 7.0, 0.5]])
def test_every_step_is_one_lanes_next_and_lanes_keep_to_their_shares(rates):
    order = StepOrder(shares_of(rates))
    counts = [0] * len(rates)
    for step in range(500):
        assert order.steps_by(step) == counts
        lane, number = order.of(step)
        assert number == counts[lane]
        counts[lane] += 1
        for count, share in zip(counts, order.shares, strict=True):
            assert abs(count - Fraction(share, 2**40) * (step + 1)) <= max(1, len(rates) - 1)


def test_two_lanes_are_spread_evenly_and_exactly_far_out():
    order = StepOrder(shares_of([2.0, 1.0]))
    assert [order.of(step)[0] for step in range(9)] == [0, 1, 0] * 3
    far = 10**12 + 7
    assert order.steps_by(far)[1] == far - ((far * order.shares[0] + 2**39) >> 40)


def test_shares_change_at_a_step_and_sums_go_on():
    courses = [Course(100, tuple(shares_of([1.0, 3.0]))), Course(201, tuple(shares_of([0.0, 1.0])))]
    order = StepOrder(shares_of([1.0, 0.0]), courses)
    lanes = [order.of(step)[0] for step in range(400)]
    assert lanes[:100] == [0] * 100 and lanes[201:] == [1] * 199
    assert lanes[100:201].count(0) in (25, 26)
    assert order.steps_by(400) == [lanes.count(0), lanes.count(1)]
    again = StepOrder.from_description(order.describe())
    assert [again.of(step) for step in range(400)] == [order.of(step) for step in range(400)]
    with pytest.raises(ValueError, match="a course starts at step 5"):
        StepOrder(order.shares, [Course(5, order.shares), Course(5, order.shares)])


def test_more_shapes_than_are_compiled_for_are_refused():
    StepOrder(shares_of([1.0] * MOST_LANES))
    with pytest.raises(UserError, match="rows of 5 shapes are trained on, wanted at most 4"):
        StepOrder(shares_of([1.0] * 5))

"""Loss weights by task and on prompts, written out by hand."""

import dataclasses

import numpy as np
import pytest

from flan_jax.data.loader import Loader, Reader
from flan_jax.data.loss_weights import LossWeights, task_factors
from flan_jax.data.planning.plan import Plan, PlannedTask, shares_of
from flan_jax.data.resolve import ResolvedTask
from flan_jax.data.rows import RowShape, Segment, assemble
from flan_jax.errors import UserError
from tests.data.written import Written, write_store

SHAPE = RowShape("decoder", 6, 5)
ROW = [
    Segment(np.array([7, 8, 9]), np.array([3, 1]), task=1),
    Segment(np.array([4]), np.array([6, 2, 1]), np.array([0, 0.5, 1], np.float32), task=0),
]


def weights_of(shape, **settings):
    batch = assemble([ROW], shape)
    return LossWeights(**settings).applied(batch, shape.begin)["decoder_loss_weights"][0].tolist()


def test_prompts_and_all_else_without_loss_have_their_weight():
    #                            7     8     9     3  1  4     6     2    1  padding
    assert weights_of(SHAPE, prompt=0.25) == [0.25, 0.25, 0.25, 1, 1, 0.25, 0.25, 0.5, 1, 0, 0]


def test_without_a_begin_token_a_first_token_is_never_learnt_and_none_across_examples():
    without = dataclasses.replace(SHAPE, begin=-1)
    #                              8     9     3  1  -  6     2    1  -  padding
    assert weights_of(without, prompt=0.25) == [0.25, 0.25, 1, 1, 0, 0.25, 0.5, 1, 0, 0, 0]
    full = RowShape("decoder", 3, 2, begin=-1)
    batch = assemble([ROW[:1]], full)
    assert LossWeights(prompt=0.5).applied(batch, -1)["decoder_loss_weights"].tolist() == [[0.5, 0.5, 1, 1, 0]]


def test_a_tasks_factor_is_on_top_of_both():
    factors = np.array([0, 4], np.float32)
    assert weights_of(SHAPE, factors=factors) == [0, 0, 0, 4, 4, 0, 0, 0, 0, 0, 0]
    assert weights_of(SHAPE, factors=factors, prompt=0.25) == [1, 1, 1, 4, 4, 0, 0, 0, 0, 0, 0]


def test_without_either_the_batch_is_the_same_object():
    batch = assemble([ROW], SHAPE)
    assert LossWeights().applied(batch, 0) is batch


def test_the_loader_gives_weighted_batches(tmp_path):
    folders = []
    for name in ("a", "b"):
        write_store(tmp_path / name / "draw-0", [Written(f"{name}:{i}", [5, 6], [7, 1]) for i in range(6)])
        folders.append(str(tmp_path / name))
    plan = Plan([PlannedTask(n, 6, s, n) for n, s in zip("ab", shares_of([1, 1]), strict=True)], SHAPE.capacities, 1)
    loss_weights = LossWeights(np.array([2, 0], np.float32))
    _, batch = next(Loader(plan, Reader(folders, SHAPE), 4, loss_weights=loss_weights).from_step(0, 1))
    learnt = batch["decoder_loss_weights"]
    targets = (batch["decoder_segment_ids"] > 0) & (batch["decoder_positions"] >= 2)
    assert np.array_equal(learnt, np.where(targets & (batch["decoder_task_ids"] == 0), 2, 0))
    assert {0, 1} <= set(batch["decoder_task_ids"][targets].tolist())


def task(name, **about):
    return ResolvedTask(name, "", "", 10, 1.0, None, 1, {}, about)


TASKS = [
    task("rte", cluster="nli", objective="instruction"),
    task("anli_r1", cluster="nli", objective="instruction"),
    task("anli_r2", cluster="nli", objective="chat"),
    task("book", objective="causal_lm"),
]


@pytest.mark.parametrize(
    ("weights", "plain_text", "wanted"),
    [
        ({"nli": 0.5}, 1.0, [0.5, 0.5, 0.5, 1]),
        ({"nli": 0.5, "rte": 3.0}, 1.0, [3, 0.5, 0.5, 1]),
        ({"anli_*": 2.0, "nli": 0.5, "anli_r2": 0.0}, 1.0, [0.5, 2, 0, 1]),
        ({"anli_*": 2.0, "anli_*1": 7.0}, 1.0, [1, 7, 2, 1]),
        ({"instruction": 0.25, "nli": 2.0, "causal_lm": 4.0}, 0.5, [2, 2, 2, 2]),
        ({}, 0.5, [1, 1, 1, 0.5]),
    ],
)
def test_the_most_special_word_counts(weights, plain_text, wanted):
    np.testing.assert_array_equal(task_factors(TASKS, weights, plain_text), np.array(wanted, np.float32))


def test_ones_are_no_factors():
    assert task_factors(TASKS, {"nli": 1.0}, 1.0) is None


def test_a_word_that_means_nothing_is_refused():
    with pytest.raises(UserError, match=r"Loss.task_weights names 'anli_r3'.*did you mean 'anli_r"):
        task_factors(TASKS, {"rte": 2.0, "anli_r3": 0.5}, 1.0)

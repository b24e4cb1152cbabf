"""Rows of several shapes in one run: shares counted on what is really packed, and batches of all of them."""

import itertools
import types

import numpy as np
import pytest

from flan_jax.data.blending import RunLength, blended
from flan_jax.data.lanes import Lane, Lanes, LanesLoader, batch_beside, divided, ordered, without_schedules
from flan_jax.data.loader import Loader, Reader
from flan_jax.data.mixing_config import share_at
from flan_jax.data.planning.plan import Plan, PlannedTask, shares_of
from flan_jax.data.planning.row_index import RowIndex
from flan_jax.data.planning.step_order import StepOrder
from flan_jax.data.rows import RowShape
from flan_jax.errors import UserError
from tests.data.test_blending import INSTRUCTIONS, LENGTHS, SHAPE, resolved, text
from tests.data.test_loader import TASKS, batches, same, write_tasks

OWN = RowShape("decoder", 0, 512)
BATCH = 32
MEANS = {name: (float(each.sum(axis=1).mean()), float(each[:, 1].mean())) for name, each in LENGTHS.items()}


def lane_of(mixture, shape, batch_size, first_task=0):
    """A lane of made-up lengths, and trainable tokens by row in the order of the plan, without end."""
    plan = mixture.plan(shape.capacities, True, 1024)
    whole = np.concatenate([LENGTHS[task.name] for task in plan.tasks])
    first = np.cumsum([0, *(len(LENGTHS[task.name]) for task in plan.tasks)])
    lengths_of = lambda task, draw, index: whole[first[task] + index].sum(axis=1, keepdims=True)
    index, nothing = RowIndex(plan, lengths_of), types.SimpleNamespace()
    found = (
        trainable
        for window in itertools.count()
        for rows in [index.window(window)]
        for trainable in np.add.reduceat(whole[first[rows.task] + rows.index, 1], rows.first[:-1])
    )
    return Lane(plan, index, nothing, nothing, batch_size, first_task), found


def steps_of(share, steps, epochs=None):
    """Of each step the trainable tokens, and whether they are of text; and the lanes."""
    whole, courses = blended(INSTRUCTIONS, without_schedules([text(share)]), RunLength(99, SHAPE))
    assert not courses
    mixed, own = divided(whole, [text(share)])
    made = [lane_of(mixed, SHAPE, BATCH), lane_of(own, OWN, batch_beside(BATCH, SHAPE, OWN), len(mixed.tasks))]
    lanes = [lane for lane, _ in made]
    trainable = [lane.trainable_a_step(MEANS) for lane in lanes]
    first_steps = lambda: -(-lanes[0].index.rows_in(epochs) // BATCH)
    order, steps = ordered(share, trainable, steps, first_steps)
    found = []
    for step in range(steps):
        lane, _ = order.of(step)
        rows = itertools.islice(made[lane][1], lanes[lane].batch_size)
        found.append((sum(rows), lane == 1))
    return np.array(found), Lanes(lanes, order, steps)


@pytest.mark.parametrize("share", [0.1, 0.6])
def test_text_in_rows_of_its_own_has_its_share_of_trainable_tokens(share):
    found, lanes = steps_of(share, 5000)
    step = found[found[:, 1] == 1, 0].max()  # a step of text is all text: any stretch may have one more or less
    rows = lanes.lanes[0].index.end(100)  # of the mixture's first hundred windows
    width = next(steps for steps in range(5000) if lanes.order.steps_by(steps)[0] * BATCH >= rows)
    for start in range(0, 5000 - width, 50):
        tokens, of_text = found[start : start + width].T
        assert (tokens * of_text).sum() == pytest.approx(share * tokens.sum(), abs=0.01 * share * tokens.sum() + step)
    tokens, of_text = found.T
    assert (tokens * of_text).sum() / tokens.sum() == pytest.approx(share, rel=0.01)


def test_a_schedule_goes_by_steps():
    schedule = ((0.0, 0.6), (1.0, 0.1))
    found, lanes = steps_of(schedule, 2000)
    assert 1 < len(lanes.order.courses) <= 64
    for start in range(0, 2000, 400):
        tokens, of_text = found[start : start + 400].T
        share = (tokens * of_text).sum() / tokens.sum()
        assert share == pytest.approx(share_at(schedule, (start + 200) / 2000), abs=0.02)


@pytest.mark.parametrize("share", [0.3, ((0.0, 0.5), (1.0, 0.0))])
def test_epochs_are_those_of_the_mixture(share):
    _, lanes = steps_of(share, None, epochs=0.2)
    wanted = lanes.lanes[0].index.rows_in(0.2)
    of_mixture = lanes.rows()[0]
    assert wanted <= of_mixture + BATCH and of_mixture <= wanted + 2 * BATCH


def test_what_shapes_batches_is_in_the_fingerprint():
    _, lanes = steps_of(0.3, 40)
    first, second = lanes.lanes
    same_again = Lanes([first, second], StepOrder(lanes.order.shares), 80)
    assert same_again.fingerprint == lanes.fingerprint
    wider = Lane(second.plan, second.index, second.reader, second.draws, 2 * second.batch_size)
    others = [Lanes([first, wider], lanes.order, 40), Lanes([second, first], lanes.order, 40)]
    others += [Lanes([first, second], StepOrder(shares_of([1.0, 1.0])), 40)]
    assert len({each.fingerprint for each in [lanes, *others]}) == 4


def test_a_checkpoint_finds_its_place_in_every_lane_again():
    _, lanes = steps_of(0.6, 2000)
    for lane, steps in zip(lanes.lanes, lanes.order.steps_by(1900), strict=True):
        lane.index.locate(steps * lane.batch_size)
    state = lanes.state(1900)
    assert [one["step"] for one in state] == lanes.order.steps_by(1900) and all(one["window"] > 4 for one in state)
    _, fresh = steps_of(0.6, 0)
    assert fresh.fingerprint == lanes.fingerprint and fresh.state(1900) != state
    fresh.anchor(state)
    assert fresh.state(1900) == state


def test_a_task_in_rows_of_both_kinds_is_refused():
    both = resolved({"nli": 1.0, "web": 1.0})
    whole, _ = blended(both, [text(0.3)], RunLength(99, SHAPE))
    with pytest.raises(UserError, match="task 'web' is of PRETRAINING, which has rows of its own"):
        divided(whole, [text(0.3)])


@pytest.fixture(scope="module")
def loader_of(tmp_path_factory):
    """Two lanes of a task each, of written stores; of all rows or of what a function of their number gives."""
    folders = write_tasks(tmp_path_factory.mktemp("stores"), 10_000)
    shapes, sizes = [RowShape("encoder_decoder", 6, 5), RowShape("encoder_decoder", 12, 4)], [8, 4]

    def made(local_rows=range):
        loaders = []
        for task, (count, shape, size) in enumerate(zip(TASKS, shapes, sizes, strict=True)):
            plan = Plan([PlannedTask(f"t{task}", count, 2**40, "")], shape.capacities, 7)
            reader = Reader(folders[task : task + 1], shape)
            loaders.append(Loader(plan, reader, size, local_rows=local_rows(size), first_task=task))
        return LanesLoader(loaders, StepOrder(shares_of([2.0, 1.0])))

    return made


def test_batches_of_all_lanes_come_in_order_from_any_step(loader_of):
    whole = batches(loader_of(), 0, 30)
    assert [len(batch["encoder_positions"]) for batch in whole] == [8, 4, 8] * 10
    assert [batch["encoder_positions"].shape[1] for batch in whole[:3]] == [6, 12, 6]
    for batch, task in zip(whole, [0, 1, 0] * 10, strict=True):
        targets, held = batch["decoder_target_tokens"], batch["decoder_segment_ids"] > 0
        assert set(batch["decoder_task_ids"][held].tolist()) == {task}
        assert {token // 1000 - 1 for token in targets[held].tolist() if token >= 1000} == {task}
    loader = loader_of()
    assert all(same(loader.batch(step), batch) for step, batch in enumerate(whole))
    for start in (1, 7, 22):
        assert all(map(same, batches(loader_of(), start, 30), whole[start:]))


def test_hosts_hold_their_rows_of_every_lane(loader_of):
    halves = [loader_of(lambda rows, host=host: range(host * rows // 2, (host + 1) * rows // 2)) for host in (0, 1)]
    whole = batches(loader_of(), 0, 6)
    for both, batch in zip(zip(*(batches(half, 0, 6) for half in halves), strict=True), whole, strict=True):
        assert same({name: np.concatenate([half[name] for half in both]) for name in batch}, batch)

"""Shares of trainable tokens, counted on what plans really pack."""

import dataclasses
import itertools

import numpy as np
import pytest

from flan_jax.data.blending import Part, RunLength, blended, text_of
from flan_jax.data.mixing_config import share_at
from flan_jax.data.request import Request
from flan_jax.data.resolve import Resolved, ResolvedTask
from flan_jax.data.rows import RowShape
from flan_jax.errors import UserError

SHAPE = RowShape("decoder", 384, 128)
# (examples, mean tokens of inputs, mean tokens of targets): short answers, long ones, a large corpus in whole chunks.
TASKS = {"nli": (30_000, 90, 3), "summaries": (12_000, 300, 60), "few": (900, 40, 20), "chat": (20_000, 60, 180)}
TEXT = {"web": (60_000, 0, 400), "books": (8_000, 0, 500)}
DRAWN = np.random.default_rng(3)


def lengths_of(count, inputs, targets):
    """Skewed as real ones are, and cut at the row."""
    spread = lambda mean: np.zeros(count) if not mean else DRAWN.lognormal(np.log(mean) - 0.125, 0.5, count)
    found = np.stack([np.clip(spread(inputs), 0, 384), np.clip(spread(targets), 1, 128 + (384 if not inputs else 0))])
    return found.T.astype(np.int64)


LENGTHS = {name: lengths_of(*facts) for name, facts in (TASKS | TEXT).items()}


def resolved(tasks, mixture="m", **changes):
    made = []
    for name, rate in tasks.items():
        found = LENGTHS[name]
        means = float(found.sum(axis=1).mean()), float(found[:, 1].mean())
        about = {"objective": "causal_lm" if name in TEXT else "instruction"}
        made.append(ResolvedTask(name, f"stores/{name}", "f", len(found), rate, None, 1, {}, about, means=means))
    request = Request(mixture, "train", {"inputs": 384, "targets": 128}, 7, "stores")
    return dataclasses.replace(Resolved(request, tuple(made), {"fingerprint": "v", "size": 9}), **changes)


INSTRUCTIONS = resolved({"nli": 30_000.0, "summaries": 12_000.0, "few": 900.0})
PLAIN = resolved({"web": 3.0, "books": 1.0}, "text")


def text(share):
    return Part(PLAIN, share, "PRETRAINING", "pretraining")


def planned(parts, rows, of=INSTRUCTIONS, **length):
    whole, courses = blended(of, parts, RunLength(rows, SHAPE, **length), lambda task: LENGTHS[task.name][:128])
    return whole, whole.plan(SHAPE.capacities, True, 8192, courses)


def windows_of(plan):
    """Of each window: its rows, and the trainable tokens of the text and of all that its packed rows hold."""
    names = [task.name for task in plan.tasks]
    whole = np.concatenate([LENGTHS[name] for name in names])
    first = np.cumsum([0, *(len(LENGTHS[name]) for name in names)])
    is_text = np.array([name in TEXT for name in names])
    for window in itertools.count():
        rows = plan.rows(window, lambda task, draw, index: whole[first[task] + index].sum(axis=1, keepdims=True))
        learnt = whole[first[rows.task] + rows.index, 1]
        yield len(rows), learnt[is_text[rows.task]].sum(), learnt.sum()


@pytest.mark.parametrize("share", [0.1, 0.6])
def test_a_part_has_its_share_of_trainable_tokens_over_any_100_windows(share):
    _, plan = planned([text(share)], 100_000)
    _, of_text, of_all = np.array(list(itertools.islice(windows_of(plan), 130))).T
    for start in range(31):
        some = slice(start, start + 100)
        assert of_text[some].sum() / of_all[some].sum() == pytest.approx(share, rel=0.01)


def test_within_a_part_tasks_stand_to_each_other_as_without_the_others():
    whole, _ = planned([text(0.3)], 1000)
    rates = {task.name: task.rate for task in whole.tasks}
    assert rates["nli"] / rates["few"] == pytest.approx(30_000 / 900)
    assert rates["web"] / rates["books"] == pytest.approx(3)


def test_text_and_replay_have_their_shares_and_a_task_that_is_also_trained_on_has_the_sum():
    replayed = resolved({"nli": 1.0, "chat": 3.0}, "earlier")
    again = Part(replayed, 0.2, "REPLAY", "replay")
    whole, plan = planned([text(0.1), again], 1000)
    tokens = {task.name: task.rate * task.mean_tokens()[1] for task in whole.tasks}
    shares = {name: value / sum(tokens.values()) for name, value in tokens.items()}
    assert shares["web"] + shares["books"] == pytest.approx(0.1)
    mean = {task.name: task.mean_tokens()[1] for task in replayed.tasks}
    of_chat = 3 * mean["chat"] / (mean["nli"] + 3 * mean["chat"])
    assert shares["chat"] == pytest.approx(0.2 * of_chat)
    alone, _ = planned([text(0.1), dataclasses.replace(again, share=0.0)], 1000)
    before = {task.name: task.rate * task.mean_tokens()[1] for task in alone.tasks}
    share_before = before["nli"] / sum(before.values())
    assert shares["nli"] == pytest.approx(share_before * 0.7 / 0.9 + 0.2 * (1 - of_chat))
    # An epoch is of what is trained on, replayed or not.
    beside = {task.name: task.beside for task in plan.tasks}
    assert beside == {"nli": False, "summaries": False, "few": False, "web": True, "books": True, "chat": True}
    first = {task.name: task.count / task.share for task in plan.tasks if not task.beside}
    assert plan.epoch_size == pytest.approx(min(first.values()) * 2**40, rel=1e-3)


@pytest.mark.parametrize(
    "schedule", [((0.0, 0.5), (1.0, 0.1)), ((0.0, 0.0), (0.4, 0.0), (0.6, 0.5)), ((0.0, 0.3), (0.5, 0.0), (1.0, 0.0))]
)
def test_a_schedule_is_followed_in_the_rows_of_the_run(schedule):
    total = 30_000
    _, plan = planned([text(schedule)], total)
    assert 1 < len(plan.courses) <= 64
    done = 0
    for rows, of_text, of_all in windows_of(plan):
        within = np.linspace(done, min(done + rows, total), 50) / total
        wanted = np.mean([share_at(schedule, at) for at in within])
        assert of_text / of_all == pytest.approx(wanted, abs=0.025)
        if (done := done + rows) > total:
            break


def test_a_schedule_over_epochs_ends_when_they_do():
    for epochs in (0.5, 3.0):
        schedule = ((0.0, 0.6), (1.0, 0.0))
        whole, courses = blended(
            INSTRUCTIONS,
            [text(schedule)],
            RunLength(None, SHAPE, epochs),
            lambda task: LENGTHS[task.name][:128],
        )
        plan = whole.plan(SHAPE.capacities, True, 8192, courses)
        end = plan.boundary(round(plan.windows_of(epochs)))
        # The last of the 63 pieces begins when 62 of them are over.
        assert courses[-1].start == pytest.approx(end * 62 / 63, rel=0.03)


def test_plain_text_that_the_mixture_holds_already_gets_the_share():
    both = resolved({"nli": 1.0, "web": 1.0, "summaries": 1.0})
    rest, part = text_of(both, 0.25)
    assert [task.name for task in rest.tasks] == ["nli", "summaries"] and not part.beside
    whole, _ = planned([part], 100, rest)
    tokens = {task.name: task.rate * task.mean_tokens()[1] for task in whole.tasks}
    assert tokens["web"] / sum(tokens.values()) == pytest.approx(0.25)
    assert {task.name: task.part for task in whole.tasks} == {"nli": "", "summaries": "", "web": "pretraining"}
    for alone, said in ((INSTRUCTIONS, "no task of plain text"), (PLAIN, "nothing but plain text")):
        with pytest.raises(UserError, match=f"PRETRAINING_FRACTION is 0.25.*{said}"):
            text_of(alone, 0.25)


def test_what_cannot_stand_side_by_side_is_refused_by_name():
    other = dataclasses.replace(PLAIN, vocabulary={"fingerprint": "w", "size": 12})
    with pytest.raises(UserError, match="PRETRAINING 'text' has another vocabulary .12 tokens.*MIXTURE 'm' .9 tokens"):
        planned([Part(other, 0.1, "PRETRAINING", "pretraining")], 100)
    shorter = resolved({"nli": 1.0}, "again")
    task = dataclasses.replace(shorter.tasks[0], folder="stores/nli-of-64-tokens")
    request = dataclasses.replace(shorter.request, lengths={"inputs": 48, "targets": 16})
    unlike = dataclasses.replace(shorter, tasks=(task,), request=request)
    with pytest.raises(UserError, match="task 'nli' is in MIXTURE and in REPLAY.*'inputs': 384.*'inputs': 48"):
        planned([Part(unlike, 0.1, "REPLAY", "replay")], 100)


def test_without_parts_nothing_is_another():
    whole, courses = blended(INSTRUCTIONS, [], RunLength(100, SHAPE))
    assert whole is INSTRUCTIONS and courses == []

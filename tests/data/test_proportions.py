"""What a plan gives every task, against seqio's own rates: within one example at the end of every window."""

import functools

import numpy as np
import pytest
import seqio
import tensorflow as tf

from flan_jax.data.planning.plan import Plan, PlannedTask, shares_of
from flan_jax.tasks import mixture, proportional, rate_of

SIZES = {"one": 1, "few": 7, "hundred": 103, "thousand": 1000, "many": 8000, "most": 300_000}
AT_MOST_3000 = functools.partial(seqio.mixing_rate_num_examples, maximum=3000)
TEMPERED = functools.partial(seqio.mixing_rate_num_examples, maximum=30_000, temperature=3.0)


@pytest.fixture(autouse=True)
def tasks(monkeypatch):
    """Seqio tasks that know their sizes, in registries of the test's own."""
    monkeypatch.setattr(seqio.TaskRegistry, "_REGISTRY", {})
    monkeypatch.setattr(seqio.MixtureRegistry, "_REGISTRY", {})
    for name, size in SIZES.items():
        seqio.TaskRegistry.add(
            name,
            source=seqio.FunctionDataSource(
                lambda split, shuffle_files=False: tf.data.Dataset.range(1), ("train",), {"train": size}
            ),
            output_features={"targets": seqio.Feature(seqio.ByteVocabulary())},
        )


def mixtures_of_every_kind():
    """Registers them; by name, what a rate can be."""
    add = seqio.MixtureRegistry.add
    add("proportional", list(SIZES), default_rate=seqio.mixing_rate_num_examples)
    add("capped", list(SIZES), default_rate=AT_MOST_3000)
    add("tempered", list(SIZES), default_rate=TEMPERED)
    add("explicit", [("one", 0.01), ("hundred", 3), ("most", 96.99)])
    add("inner", [("few", proportional(cap=5)), ("many", AT_MOST_3000), ("thousand", 0.25)])
    add("nested", [("inner", 0.4), ("capped", 0.3), ("most", 0.3)])
    mixture("ours", list(SIZES), cap=500, temperature=2.0)
    return ["proportional", "capped", "tempered", "explicit", "nested", "ours"]


def plan_of(name, window):
    rates = rate_of(name, SIZES)
    tasks = [PlannedTask(t, SIZES[t], s, "f") for t, s in zip(rates, shares_of(list(rates.values())), strict=True)]
    return Plan(tasks, {"row": 64}, seed=5, largest_window=window)


def test_tasks_are_seen_as_often_as_seqio_says_at_the_end_of_every_window():
    for name in mixtures_of_every_kind():
        plan = plan_of(name, 777)
        top = seqio.MixtureRegistry.get(name)
        rates = np.array([top.get_rate(seqio.TaskRegistry.get(task.name)) for task in plan.tasks])
        seen = [np.zeros(task.count, int) for task in plan.tasks]
        total = np.zeros(len(plan.tasks), int)
        wrapped = 0
        for window in range(400):
            task, index, _ = plan.examples(window)
            total += np.bincount(task, minlength=len(seen))
            for t, times in enumerate(seen):
                np.add.at(times, index[task == t], 1)
                assert times.max() - times.min() <= 1, (name, plan.tasks[t].name, window)
            expected = plan.boundary(window + 1) * rates / rates.sum()
            assert np.abs(total - expected).max() <= 1, (name, window)
            wrapped += sum(int(times.min() > 0) for times in seen)
        assert total.sum() > 100_000 and wrapped > 0


def test_an_epoch_of_a_proportional_mixture_is_every_example_once():
    seqio.MixtureRegistry.add("all", list(SIZES), default_rate=seqio.mixing_rate_num_examples)
    plan = plan_of("all", 8192)
    windows = round(plan.windows_of(1))
    assert plan.epoch_size == sum(SIZES.values())
    for epochs in (1, 2, 100):
        assert plan.counts_by(epochs * windows).tolist() == [epochs * size for size in SIZES.values()]

"""The run's own shares: against the same written out, and against the counts that a plan really has."""

import dataclasses
import math
from fractions import Fraction

import numpy as np
import pytest
from scipy import optimize

from flan_jax.config.checks import check
from flan_jax.config.run_config import RunConfig
from flan_jax.data.balance import at_least, balanced
from flan_jax.data.mixing_config import BalanceConfig
from flan_jax.data.request import Request
from flan_jax.data.resolve import Resolved, ResolvedTask
from flan_jax.errors import UserError

COUNTS = {"wmt_de": 90_000, "wmt_fr": 10_000, "rte": 2_500, "snli": 40_000, "joke": 400}
CLUSTERS = {"wmt_de": "translation", "wmt_fr": "translation", "rte": "nli", "snli": "nli"}


def resolved(rates=None, means=None, counts=COUNTS):
    """A mixture as it was declared: in proportion to at most 30,000 examples."""
    tasks = []
    for name, count in counts.items():
        rate = (rates or {}).get(name, float(min(count, 30_000)))
        about = {"cluster": CLUSTERS[name]} if name in CLUSTERS else {}
        facts = {"folder": "", "fingerprint": name, "draws": 1, "tally": {}, "about": about, "cap": 30_000}
        tasks.append(ResolvedTask(name, count=count, rate=rate, means=(means or {}).get(name, (50.0, 10.0)), **facts))
    return Resolved(Request("m", "train", {"inputs": 64, "targets": 16}, 0, ""), tuple(tasks), {})


def shares(mixture=None, **settings):
    """The share of each task's examples."""
    found = balanced(mixture or resolved(), BalanceConfig(**settings))
    total = math.fsum(task.rate for task in found.tasks)
    return {task.name: task.rate / total for task in found.tasks}


def near(wanted):
    total = sum(wanted.values())
    return pytest.approx({name: float(value / total) for name, value in wanted.items()})


def test_without_settings_the_declared_rates_stay_as_they_are():
    mixture = resolved()
    assert balanced(mixture, BalanceConfig()) is mixture


def test_a_cap_and_a_temperature_take_the_place_of_declared_rates():
    declared = resolved({"joke": 1e6})
    capped = {name: Fraction(min(count, 5_000)) for name, count in COUNTS.items()}
    assert shares(declared, cap=5_000) == near(capped)
    assert shares(declared, cap=100_000) == near(COUNTS)  # above what the mixture itself lets count
    assert shares(declared, cap=5_000, temperature=2.0) == near({n: math.sqrt(count) for n, count in capped.items()})
    own = {name: min(count, 30_000) for name, count in COUNTS.items()}  # its own cap, where the run sets none
    assert shares(declared, temperature=3.0) == near({name: count ** (1 / 3) for name, count in own.items()})
    assert shares(declared, temperature=1e9) == near(dict.fromkeys(COUNTS, 1))
    assert shares(declared, temperature=1e-3)["snli"] == pytest.approx(0.5)  # both of the largest, without an overflow


def test_the_table_is_told_the_cap_that_held():
    caps = lambda **settings: {task.cap for task in balanced(resolved(), BalanceConfig(**settings)).tasks}
    assert caps(cap=5_000) == {5_000} and caps(temperature=2.0) == caps(floor=0.01) == {30_000}


def test_the_most_specific_weight_holds():
    weights = {"translation": 5.0, "wmt*": 2.0, "wmt_d*": 3.0, "nli": 0.5, "rte": 4.0, "*": 7.0}
    factors = {"wmt_de": 3, "wmt_fr": 2, "rte": 4, "snli": 7, "joke": 7}
    assert shares(weights=weights) == near({name: min(COUNTS[name], 30_000) * f for name, f in factors.items()})
    del weights["*"]
    found = shares(weights=weights)
    assert found["snli"] / found["joke"] == pytest.approx(0.5 * 30_000 / 400)


def test_a_weight_of_nothing_leaves_a_task_out_of_the_plan():
    found = balanced(resolved(), BalanceConfig(weights={"translation": 0.0}, floor=0.1))
    plan = found.plan({"row": 64}, True, 8192)
    assert [task.name for task in plan.tasks] == ["rte", "snli", "joke"]


def test_a_task_whose_corpus_cannot_be_had_may_have_a_weight():
    mixture = dataclasses.replace(resolved(), missing={"newsroom": "its corpus is not there"})
    assert shares(mixture, weights={"newsroom": 2.0, "rte": 1.0}) == shares(weights={"rte": 1.0})


def test_what_the_mixture_leaves_out_stays_out():
    assert shares(resolved({"joke": 0.0}), cap=5_000, floor=0.05)["joke"] == 0


def test_budgets_are_shared_by_rates_within_and_the_rest_by_the_others():
    found = shares(budgets={"nli": 0.3})
    assert found["rte"] + found["snli"] == pytest.approx(0.3)
    assert found["snli"] / found["rte"] == pytest.approx(30_000 / 2_500)
    rest = 30_000 + 10_000 + 400
    assert found["wmt_de"] == pytest.approx(0.7 * 30_000 / rest) and found["joke"] == pytest.approx(0.7 * 400 / rest)
    found = shares(budgets={"nli": 0.25, "translation": 0.75}, weights={"joke": 0.0})
    assert found["rte"] + found["snli"] == pytest.approx(0.25) and found["joke"] == 0


@pytest.mark.parametrize("floor", [0.0, 0.003, 0.02, 0.09, 0.1])
def test_a_floor_lowers_all_others_alike(floor):
    rates = np.random.default_rng(3).pareto(0.7, 10) + 1e-6
    found = np.array(at_least(floor, rates.tolist()))
    assert found.sum() == pytest.approx(1, abs=1e-12) and found.min() >= floor - 1e-12
    if floor < 0.1:  # else there is nothing to choose
        level = optimize.brentq(lambda c: np.maximum(floor, c * rates).sum() - 1, 0, 10 / rates.sum(), xtol=1e-15)
        np.testing.assert_allclose(found, np.maximum(floor, level * rates), rtol=1e-6)


def test_a_floor_leaves_budgets_as_they_are():
    found = shares(budgets={"nli": 0.3}, floor=0.1)
    assert found["rte"] == pytest.approx(0.1) and found["snli"] == pytest.approx(0.2)
    assert found["wmt_fr"] == pytest.approx(0.6 * 10 / 40) and found["joke"] == pytest.approx(0.1)


@pytest.mark.parametrize("unit", ["examples", "tokens", "trainable_tokens"])
def test_a_plan_gives_the_shares_of_what_they_are_of(unit):
    """Of a real plan's examples, whose lengths are drawn: within 1% over 100 windows."""
    rng = np.random.default_rng(0)
    lengths = {
        name: (rng.poisson(10 + 30 * n, COUNTS[name]), rng.poisson(3 ** (n + 1), COUNTS[name]))
        for n, name in enumerate(COUNTS)
    }
    means = {name: (float((i + t).mean()), float(t.mean())) for name, (i, t) in lengths.items()}
    budgets, floor = {"nli": 0.3, "translation": 0.5}, 0.1
    settings = BalanceConfig(budgets=budgets, floor=floor, unit=unit)
    plan = balanced(resolved(means=means), settings).plan({"row": 512}, True, 8192)
    seen = dict.fromkeys(COUNTS, 0)
    for window in range(100):
        tasks, indices, _ = plan.examples(window)
        for number, task in enumerate(plan.tasks):
            inputs, targets = (column[indices[tasks == number]] for column in lengths[task.name])
            of_one = {"examples": np.ones(len(inputs)), "tokens": inputs + targets, "trainable_tokens": targets}
            seen[task.name] += of_one[unit].sum()
    # rte would have 0.3 * 2.5 / 32.5 and so has the floor, as has wmt_fr: 0.5 * 10 / 40 is above it.
    wanted = {"wmt_de": 0.375, "wmt_fr": 0.125, "rte": 0.1, "snli": 0.2, "joke": 0.2}
    assert {name: amount / sum(seen.values()) for name, amount in seen.items()} == pytest.approx(wanted, rel=0.01)


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        (
            {"weights": {"wmt_da": 2.0}},
            "Balance.weights names 'wmt_da', .* MIXTURE 'm'; did you mean 'wmt_de'",
        ),
        ({"weights": {"wnt_*": 2.0}}, "Balance.weights names 'wnt_*', which is no task, pattern of tasks or cluster"),
        (
            {"budgets": {"nlii": 0.3}},
            "names 'nlii', and no task .* of such a cluster .*nli, translation.; did you mean 'nli'",
        ),
        ({"budgets": {"rte": 0.3}}, "Balance.budgets names 'rte', and no task of MIXTURE 'm' is of such a cluster"),
        ({"weights": {"*": 0.0}}, "Balance.weights leave nothing of MIXTURE 'm'; give one of its tasks more than 0"),
        (
            {"budgets": {"nli": 0.4, "translation": 0.6}},
            "Balance.budgets add up to 1, so that nothing is left for joke; lower one of them",
        ),
        (
            {"budgets": {"nli": 0.4, "translation": 0.5}, "weights": {"joke": 0.0}},
            "Balance.budgets add up to 0.9, and there is no task without a budget to have the rest",
        ),
        ({"budgets": {"nli": 0.4}, "weights": {"nli": 0.0}}, "Balance.budgets gives 0.4 to 'nli', of which every task"),
        (
            {"floor": 0.21},
            "Balance.floor is 0.21, which 5 tasks cannot have of the 1 that they share; lower it to 0.2 or",
        ),
        (
            {"floor": 0.1, "budgets": {"nli": 0.15}},
            "which 2 tasks cannot have of the 0.15 that Balance.budgets leaves cluster 'nli'; lower it to 0.075 or",
        ),
    ],
)
def test_what_cannot_be_had_is_refused(settings, told):
    with pytest.raises(UserError, match=told.replace("_*", r"_\*")):
        balanced(resolved(), BalanceConfig(**settings))


def test_budgets_of_tasks_without_clusters_are_refused():
    with pytest.raises(UserError, match="the tasks of MIXTURE 'm' have no clusters; weigh them by name"):
        balanced(resolved(counts={"joke": 400}), BalanceConfig(budgets={"nli": 0.3}))


def test_of_many_tasks_an_error_names_the_first():
    mixture = resolved(counts={"rte": 9, **{f"t{number}": 5 for number in range(14)}})
    with pytest.raises(UserError, match="nothing is left for t0, .*, t11 and 2 more tasks; lower"):
        balanced(mixture, BalanceConfig(budgets={"nli": 1.0}))


def test_a_share_of_tokens_that_a_task_does_not_have_is_refused():
    mixture = resolved(means={"joke": (20.0, 0.0)})
    with pytest.raises(UserError, match="Balance.unit is 'trainable_tokens', of which task 'joke' has none"):
        balanced(mixture, BalanceConfig(unit="trainable_tokens"))
    assert shares(mixture, unit="trainable_tokens", weights={"joke": 0.0})["joke"] == 0
    assert shares(mixture, unit="tokens")["joke"] > 0


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"cap": 0}, "Balance: cap is 0, wanted a positive number of examples, or None"),
        ({"temperature": 0.0}, "Balance: temperature is 0.0, wanted more than 0"),
        ({"temperature": -2.0}, "Balance: temperature is -2.0, wanted more than 0"),
        ({"weights": {"rte": -1.0}}, "Balance: weights has -1.0 for 'rte', wanted 0 or more"),
        ({"budgets": {"nli": 1.5}}, "Balance: budgets has 1.5 for 'nli', wanted a share of more than 0 and at most 1"),
        ({"budgets": {"nli": 0.0}}, "Balance: budgets has 0.0 for 'nli'"),
        ({"budgets": {"nli": 0.7, "qa": 0.4}}, "Balance: budgets add up to 1.1, wanted shares of at most 1 in all"),
        ({"floor": 1.2}, "Balance: floor is 1.2, wanted a share from 0 to 1"),
        ({"unit": "rows"}, "Balance.unit: wanted one of 'examples', 'tokens', 'trainable_tokens', got 'rows'"),
        ({"weights": {"rte": "much"}}, "Balance.weights: wanted a dict, each key a string and each value a number"),
    ],
)
def test_what_shows_without_data_is_told_before_any_is_read(settings, told):
    config = RunConfig(mixture="m", steps=3, balance=BalanceConfig(**settings))
    with pytest.raises(UserError) as fault:
        check(config)
    assert str(fault.value).startswith(told)
    check(dataclasses.replace(config, balance=BalanceConfig(cap=1, budgets={"a": 0.1, "b": 0.9}, floor=0.5)))

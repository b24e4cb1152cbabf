"""The verdict on forgetting, from made-up scores."""

import numpy as np
import pytest
from scipy import stats

from flan_jax.evaluation import forgetting
from flan_jax.evaluation.differences import Figure
from flan_jax.evaluation.forgetting import PRETRAINING, Scores


def score(task, value, kind="generate", examples=400, chance=None, unit="%", objective="instruction"):
    about = {"objective": objective, "cluster": ""}
    known = {"task": task, "kind": kind, "examples": examples, "score": value, "chance": chance, "unit": unit}
    return {**known, "metrics": {"figure": value}, "about": about, "failures": [], "by_template": {}, "repeats": 1}


def text(task, value):
    return score(task, value, "loss", unit="loss", objective="causal_lm")


def verdicts(result, kind="groups"):
    return {row["name"]: row["verdict"] for row in result[kind]}


def test_what_fell_beyond_the_noise_is_forgotten():
    before = {"suite": Scores([score("seen", 40.0), score("kept", 80.0), score("lost", 80.0)])}
    after = {"suite": Scores([score("seen", 90.0), score("kept", 79.0), score("lost", 60.0)])}
    result = forgetting.report(before, [after], ["seen"])
    assert verdicts(result) == {"seen templates": "better", "held-out tasks": "forgotten"}
    assert verdicts(result, "tasks") == {"seen": "better", "kept": "within the noise", "lost": "forgotten"}
    assert result["forgot"] and result["because"] == ["held-out tasks", "lost"] and result["noise"] == "examples"
    # Binomial, with two more right and wrong; a false alarm in any of three tasks once in 20.
    rates = [(0.8 * 400 + 2) / 404, (0.6 * 400 + 2) / 404]
    error = 100 * np.sqrt(sum(rate * (1 - rate) / 404 for rate in rates))
    assert result["tasks"][2]["floor"] == pytest.approx(stats.norm.ppf(1 - 0.05 / 3) * error)
    same = forgetting.report(before, [before], ["seen"])
    assert not same["forgot"] and same["retention"]["kept"] == 1.0


def test_with_repeats_the_spread_of_the_seeds_decides():
    before = {"suite": Scores([score("lost", 80.0)])}
    runs = lambda *values: [{"suite": Scores([score("lost", value)])} for value in values]
    narrow, wide = (forgetting.report(before, runs(*values), []) for values in ((75, 76, 74), (75, 90, 60)))
    assert narrow["noise"] == "seeds" and narrow["forgot"] and not wide["forgot"]
    assert narrow["groups"][0]["floor"] == pytest.approx(stats.t.ppf(0.95, 2) * stats.sem([75, 76, 74]))
    assert not forgetting.report(before, runs(76), [])["forgot"]  # 400 examples tell no more


def test_text_is_a_group_of_its_own_and_rises_example_by_example():
    weights = np.full(50, 20.0)
    losses = 20.0 * np.linspace(1.0, 4.0, 50)
    before = {"suite": Scores([text("prose", 2.5), score("qa", 50.0)], {"prose": (losses, weights)})}
    risen = {"suite": Scores([text("prose", 2.6), score("qa", 50.0)], {"prose": (losses + 2.0, weights)})}
    result = forgetting.report(before, [risen], ["qa"])
    assert verdicts(result)[PRETRAINING] == "forgotten" and result["because"][0] == PRETRAINING
    assert result["groups"][0]["floor"] == pytest.approx(0, abs=1e-9)  # every example is worse by as much
    without = {"suite": Scores([text("prose", 2.6), score("qa", 50.0)])}
    unknown = forgetting.report(before, [without], ["qa"])
    assert verdicts(unknown)[PRETRAINING] == "noise not known" and not unknown["forgot"]
    row = next(line for line in forgetting.render(result).splitlines() if line.startswith(PRETRAINING.upper()))
    assert row.split()[3:] == ["400", "2.5000", "2.6000", "0.1000", "0.0000", "forgotten"]


def test_controls_and_tasks_without_a_score_are_no_part_of_it():
    before = {"suite": Scores([score("a", 50.0), score("a.as_b", 90.0), score("broken", None)])}
    after = {"suite": Scores([score("a", 50.0), score("a.as_b", 10.0), score("broken", 10.0)])}
    result = forgetting.report(before, [after], [])
    assert verdicts(result, "tasks") == {"a": "within the noise"} and result["not_compared"] == ["broken"]
    assert "Without a score before or after: broken." in forgetting.render(result)


def test_suites_are_told_apart():
    suites = lambda value: {"seen": Scores([score("a", 50.0)]), "unseen": Scores([score("b", value)])}
    result = forgetting.report(suites(90.0), [suites(50.0)], ["a"])
    assert verdicts(result) == {"seen: seen templates": "within the noise", "unseen: held-out tasks": "forgotten"}
    assert "Forgotten, beyond the noise: unseen: held-out tasks, b." in forgetting.render(result, "compare.json")


def test_retention_is_the_share_kept_above_chance_and_nothing_learnt_makes_up_for_it():
    figures = [Figure("half", 90.0, (70.0,), chance=50.0), Figure("gone", 20.0, (0.0,))]
    figures += [Figure("learnt", 30.0, (95.0,), chance=25.0), Figure("at chance", 49.0, (20.0,), chance=50.0)]
    assert forgetting.retention(figures) == {"kept": (20 + 0 + 5) / (40 + 20 + 5), "by_noise": None, "tasks": 3}
    assert forgetting.retention(figures[3:]) == {"kept": None, "by_noise": None, "tasks": 0}


def test_noise_alone_takes_its_part_of_what_is_kept():
    known = [Figure("a", 90.0, (90.0,), chance=50.0, error=4.0), Figure("b", 60.0, (60.0,), error=3.0)]
    errors = np.random.default_rng(0).normal(0.0, (4.0, 3.0), (4000, 2))
    shown = []
    for a, b in errors:
        moved = [Figure("a", 90.0, (90.0 + a,), chance=50.0), Figure("b", 60.0, (60.0 + b,))]
        shown.append(forgetting.retention(moved)["kept"])
    assert forgetting.retention(known)["by_noise"] == pytest.approx(np.mean(shown), abs=0.002)

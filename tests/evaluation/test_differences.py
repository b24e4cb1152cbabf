"""Noise floors, against scipy and the bootstrap."""

import numpy as np
import pytest
from scipy import stats

from flan_jax.evaluation.differences import EXAMPLES, SEEDS, Figure, mean_of, paired_error


def test_one_run_goes_by_its_examples_and_several_by_their_spread():
    alone = Figure("qa", 80.0, (70.0,), error=4.0)
    assert alone.noise == EXAMPLES and alone.fall == 10.0
    assert alone.floor(0.05) == pytest.approx(stats.norm.ppf(0.95) * 4.0)
    runs = (70.0, 74.0, 69.0)
    several = Figure("qa", 80.0, runs, error=4.0)
    assert several.noise == SEEDS and several.mean_after == pytest.approx(71.0)
    assert several.floor(0.01) == pytest.approx(stats.t.ppf(0.99, df=2) * stats.sem(runs))
    # The same as the test of one sample: a fall is beyond the floor where its p is below the level.
    p = stats.ttest_1samp(runs, 80.0, alternative="less").pvalue
    assert several.fall > several.floor(p * 1.001) and several.fall < several.floor(p * 0.999)


def test_losses_rise_where_scores_fall_and_some_noise_is_not_known():
    assert Figure("text", 2.0, (2.5,), lower_is_better=True).fall == 0.5
    assert Figure("other", 2.0, (2.5,)).floor(0.05) is None


def test_a_mean_has_the_spread_of_the_runs_means():
    figures = [Figure("a", 90.0, (80.0, 70.0), chance=50.0, error=3.0, examples=10)]
    figures += [Figure("b", 50.0, (40.0, 50.0), chance=0.0, error=4.0, examples=30)]
    mean = mean_of("both", figures)
    assert (mean.before, mean.after, mean.chance, mean.examples) == (70.0, (60.0, 60.0), 25.0, 40)
    assert mean.standard_error() == 0.0 and mean.error == pytest.approx(2.5)  # one gains what the other loses
    assert mean_of("one", [*figures, Figure("c", 1.0, (1.0, 1.0))]).error is None


def test_the_error_of_a_paired_loss_is_the_bootstraps():
    draw = np.random.default_rng(0)
    weights = draw.integers(5, 60, 300).astype(float)
    before = weights * draw.gamma(9.0, 0.3, 300)
    after = before + weights * draw.normal(0.1, 0.2, 300)
    picks = draw.integers(0, 300, (4000, 300))
    means = (after - before)[picks].sum(axis=1) / weights[picks].sum(axis=1)
    found = paired_error(before, after, weights)
    assert found == pytest.approx(means.std(), rel=0.05)
    unpaired = np.hypot(*(paired_error(0 * one, one, weights) for one in (before, after)))
    assert found < unpaired / 3  # that the examples are the same is made use of
    assert paired_error(before[:1], after[:1], weights[:1]) is None

"""What is hidden of a text is drawn as the published code draws it, written out here in NumPy from its arithmetic.

T5: google-research/text-to-text-transfer-transformer, t5/data/preprocessors.py, `random_spans_noise_mask` and
`random_spans_helper`, in float32 as TensorFlow has it.
"""

import collections
import itertools

import numpy as np
import pytest
from scipy.stats import chisquare

from flan_jax.tasks import UL2, Denoiser
from flan_jax.tasks.drawing import RandomChoices
from flan_jax.tasks.prefix_lm import HiddenEnd
from flan_jax.tasks.span_corruption import SpanNoise

SPANS = [one.noise for one in UL2 if one.mean_span is not None]
ENOUGH = list(range(10**6, 10**6 - 2000, -1))  # sentinels


def published_counts(length, density, mean_span):
    noise = int(np.round(np.float32(length) * np.float32(density)))
    noise = min(max(noise, 1), length - 1)
    return noise, max(int(np.round(np.float32(noise) / np.float32(mean_span))), 1)


def published_mask(length, density, mean_span, rng):
    noise, spans = published_counts(length, density, mean_span)

    def segments(items):
        begins = np.arange(items - 1) < spans - 1
        rng.shuffle(begins)
        return np.bincount(np.cumsum([0, *begins]), minlength=spans)

    hidden, shown = segments(noise), segments(length - noise)
    return np.concatenate([[False] * kept + [True] * lost for kept, lost in zip(shown, hidden, strict=True)])


def published_chunk(inputs, density, mean_span):
    """The tokens of a chunk, and of its targets, by the length of inputs; both end in end-of-sequence."""

    def lengths(tokens):
        noise = round(tokens * density)
        spans = round(noise / mean_span)
        return tokens - noise + spans + 1, noise + spans + 1

    tokens = inputs - 1
    while lengths(tokens + 1)[0] <= inputs:
        tokens += 1
    shown, hidden = lengths(tokens)
    return (tokens - 1, hidden - 1) if density == 0.5 and hidden > shown else (tokens, hidden)


def drawn(noise, length, number):
    """One draw of `noise` over a chunk of 1, 2, …: inputs and targets."""
    stream = RandomChoices(7, "t", 0).stream(str(number), "spans")
    ids = list(range(1, length + 1))
    return noise.split(ids, stream) if isinstance(noise, HiddenEnd) else noise.corrupt(ids, stream, ENOUGH)


def mask_of(inputs, length):
    shown = {one for one in inputs if one <= length}
    return tuple(number not in shown for number in range(1, length + 1))


def runs(mask):
    """Lengths of what is shown and of what is hidden, in turn, from what is shown on."""
    return [len(list(group)) for _, group in itertools.groupby(mask)]


@pytest.mark.parametrize("noise", SPANS, ids=str)
def test_how_many_tokens_and_spans_are_hidden(noise):
    for length in range(2, 1500):
        assert noise.counts(length, 10**6) == published_counts(length, noise.density, noise.mean_span), length


def test_chunks_are_as_long_as_t5s():
    assert published_chunk(512, 0.15, 3) == (568, 114)  # what its C4 tasks are pretrained with
    for noise, inputs in itertools.product(SPANS, (64, 100, 256, 512, 1024)):
        tokens, targets = published_chunk(inputs, noise.density, noise.mean_span)
        if tokens * noise.density < noise.mean_span / 2:
            continue  # it counts no span, and hides one: such inputs lose their end
        assert noise.chunk(inputs - 1, targets - 1, 10**6) == tokens, (noise, inputs)


def test_every_mask_is_as_likely_as_another():
    noise, count = SpanNoise(0.5, 2), 3_000
    found = collections.Counter(mask_of(drawn(noise, 8, number)[0], 8) for number in range(count))
    rng = np.random.default_rng(0)
    assert set(found) == {tuple(published_mask(8, 0.5, 2, rng).tolist()) for _ in range(300)} and len(found) == 9
    assert chisquare(list(found.values())).pvalue > 0.01


@pytest.mark.parametrize("noise", [SpanNoise(0.15, 3), SpanNoise(0.5, 8)], ids=str)
def test_where_spans_lie_and_how_long_they_are(noise):
    length, count = 60, 1_500
    ours = np.array([mask_of(drawn(noise, length, number)[0], length) for number in range(count)])
    rng = np.random.default_rng(1)
    theirs = np.array([published_mask(length, noise.density, noise.mean_span, rng) for _ in range(count)])
    (hidden, spans) = published_counts(length, noise.density, noise.mean_span)
    assert set(ours.sum(axis=1)) == {hidden} and {len(runs(mask)) for mask in ours} == {2 * spans}
    # No position is hidden more or less often than chance explains: 60 normal deviates stay below 4.
    a, b = ours.mean(axis=0), theirs.mean(axis=0)
    scale = np.sqrt((a * (1 - a) + b * (1 - b)) / count).clip(1 / count)
    assert np.abs((a - b) / scale).max() < 4
    for part in (0, 1, 2, 2 * spans - 1):  # the first shown, first hidden, second shown, last hidden
        of_ours, of_theirs = ([runs(mask)[part] for mask in masks] for masks in (ours, theirs))
        edges = np.unique(np.quantile(of_theirs, [0, 0.2, 0.4, 0.6, 0.8]))
        tables = [np.histogram(lengths, [*edges, length])[0] for lengths in (of_ours, of_theirs)]
        difference = ((tables[0] - tables[1]) ** 2 / (tables[0] + tables[1])).sum()
        assert difference < 20, (part, tables)  # chi-square of at most 4 degrees: 1 in 2,000 by chance


@pytest.mark.parametrize("noise,most", [(HiddenEnd(), 11), (HiddenEnd(0.25), 5)], ids=str)
def test_the_end_that_is_hidden_is_of_uniform_length(noise, most):
    hidden = collections.Counter(len(drawn(noise, 12, number)[1]) for number in range(2_000))
    assert set(hidden) == set(range(1, most + 1)) and chisquare(list(hidden.values())).pvalue > 0.01
    assert noise.most(1024) == 2048 * noise.density - 1  # in the mean `density` is hidden


def test_what_is_shown_and_what_is_hidden_are_the_text():
    rng = np.random.default_rng(2)
    for number, (noise, length) in enumerate(itertools.product([*SPANS, HiddenEnd()], rng.integers(2, 400, 12))):
        inputs, targets = drawn(noise, int(length), number)
        marks = [one for one in targets if one > 1000]
        assert marks == [one for one in inputs if one > 1000] == ENOUGH[: len(marks)]
        hidden = {mark: [] for mark in marks} | {0: []}
        mark = 0
        for one in targets:
            mark = one if one > 1000 else mark
            hidden[mark] += [] if one > 1000 else [one]
        rebuilt = [token for one in inputs for token in (hidden[one] if one > 1000 else [one])] + hidden[0]
        assert rebuilt == list(range(1, length + 1)), (noise, length)


def test_ul2_is_the_table_of_its_paper():
    table = {("R", 3, 0.15), ("R", 8, 0.15), ("X", 3, 0.5), ("X", 8, 0.5), ("X", 64, 0.15), ("X", 64, 0.5)}
    assert {(one.mode, one.mean_span, one.density) for one in UL2[:-1]} == table and len(
        {one.share for one in UL2}
    ) == 1
    assert UL2[-1] == Denoiser("S", 0.25)

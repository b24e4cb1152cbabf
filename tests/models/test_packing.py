import numpy as np
import pytest

from tests.models.batches import ALL, examples, logits_of, model_of, rows, target_log_probs

LENGTHS = [(5, 3), (7, 4), (4, 2), (11, 6), (3, 1)]


@pytest.fixture(scope="module", params=ALL)
def config(request):
    return ALL[request.param]


def sums(log_probs, batch):
    """Summed loss of each segment of each row, in order."""
    out = []
    for row in range(len(log_probs)):
        for segment in range(1, batch["decoder_segment_ids"][row].max() + 1):
            mask = (batch["decoder_segment_ids"][row] == segment) * batch["decoder_loss_weights"][row]
            out.append(-(log_probs[row] * mask).sum())
    return np.array(out)


def test_packed_rows_give_the_losses_of_unpacked_ones(config):
    model, made = model_of(config), examples(LENGTHS)
    packed = rows([made[:3], made[3:]], config, 24, 12)
    alone = rows([[one] for one in made], config, 24, 12)
    together, apart = sums(target_log_probs(model, packed), packed), sums(target_log_probs(model, alone), alone)
    assert together.shape == (len(LENGTHS),) and np.ptp(apart) > 1
    np.testing.assert_allclose(together, apart, rtol=1e-5)


def test_an_example_with_empty_inputs_is_the_same_packed_and_alone(config):
    model, made = model_of(config), examples([(6, 3), (0, 5), (4, 2)])
    packed, alone = rows([made], config, 24, 12), rows([[one] for one in made], config, 24, 12)
    np.testing.assert_allclose(
        sums(target_log_probs(model, packed), packed), sums(target_log_probs(model, alone), alone), rtol=1e-5
    )


@pytest.mark.parametrize("changed", range(4))
def test_no_leakage_between_neighbours(config, changed):
    model, lengths = model_of(config), [(5, 3), (7, 4), (0, 2), (6, 3)]
    made, other = examples(lengths), examples(lengths, seed=1)
    before = rows([made], config, 24, 14)
    after = rows([[other[i] if i == changed else one for i, one in enumerate(made)]], config, 24, 14)
    first, second = logits_of(model, before), logits_of(model, after)
    segments = before["decoder_segment_ids"]
    same = (segments != changed + 1) & (segments > 0)
    np.testing.assert_array_equal(first[same], second[same])
    assert np.abs(first[segments == changed + 1] - second[segments == changed + 1]).max() > 0.01


def test_decoding_is_causal_and_prefixes_are_not(config):
    model, made = model_of(config), examples([(6, 5)])
    inputs, targets = made[0]
    before = rows([made], config, 6, 5)
    late = rows([[(inputs, np.where(np.arange(5) == 2, 51 - targets, targets))]], config, 6, 5)
    early = rows([[(np.where(np.arange(6) == 5, 51 - inputs, inputs), targets)]], config, 6, 5)
    assert (late["decoder_input_tokens"] != before["decoder_input_tokens"]).sum() == 1
    first, second, third = (logits_of(model, b)[0] for b in (before, late, early))
    seen = np.flatnonzero(late["decoder_input_tokens"][0] != before["decoder_input_tokens"][0])[0]
    np.testing.assert_array_equal(first[:seen], second[:seen])
    assert np.abs(first[seen:] - second[seen:]).max(axis=-1).min() > 1e-4
    if config.architecture == "decoder":
        # the last input's change is seen by the positions before it only with a prefix LM
        changed = np.abs(first[:6] - third[:6]).max(axis=-1) > 1e-4
        assert changed.all() if config.prefix_lm else not changed.any()

"""A plain loop: one example in a row of its own, a full forward pass, no shared prompt, no cache."""

import numpy as np

from flan_jax.data.rows import RowShape


def shape_of(config):
    return RowShape(config.model.architecture, 64, 16)


def row(values, length):
    array = np.zeros((1, length), np.int32)
    array[0, : len(values)] = values
    return array


def alone(config, prompt, answer):
    """One example in a row of its own, laid out here and by nothing of the project."""
    prompt, answer = list(prompt), list(answer)
    if config.model.architecture == "encoder_decoder":
        return {
            "encoder_input_tokens": row(prompt, 64),
            "encoder_segment_ids": row([1] * len(prompt), 64),
            "encoder_positions": row(range(len(prompt)), 64),
            "decoder_input_tokens": row([0, *answer[:-1]], 16),
            "decoder_target_tokens": row(answer, 16),
            "decoder_segment_ids": row([1] * len(answer), 16),
            "decoder_positions": row(range(len(answer)), 16),
        }
    both = prompt + answer
    return {
        "decoder_input_tokens": row([0, *both[:-1]], 80),
        "decoder_target_tokens": row(both, 80),
        "decoder_segment_ids": row([1] * len(both), 80),
        "decoder_positions": row(range(len(both)), 80),
        "decoder_prefix_mask": row([1] * (len(prompt) + 1), 80),
    }


def token_log_probabilities(forward, config, prompt, answer):
    """Of each of the answer's tokens, from the logits of one row that holds prompt and answer alone."""
    log_probs = forward(alone(config, prompt, answer))
    first = 0 if config.model.architecture == "encoder_decoder" else len(prompt)
    return [float(log_probs[first + t, token]) for t, token in enumerate(answer)]


def log_probability(forward, config, prompt, answer):
    return sum(token_log_probabilities(forward, config, prompt, answer))

"""Resolves what stands beside a run's mixture: plain text as far as the run needs it, and what is replayed."""

import dataclasses
import math
from collections.abc import Callable

from flan_jax.data.blending import MOST_COURSES, Part, RunLength, text_of
from flan_jax.data.mixing_config import PretrainingConfig, ReplayConfig, Schedule, is_off, share_at
from flan_jax.data.request import Request
from flan_jax.data.resolve import PRETRAINING, Resolved
from flan_jax.errors import UserError

_SLACK = 1.1  # more text than its mean length asks for


def text_request(request: Request, settings: PretrainingConfig) -> Request:
    """What is asked of PRETRAINING's tasks, by what is asked of MIXTURE."""
    lengths = settings.example_lengths(request.lengths)
    return dataclasses.replace(request, mixture=settings.mixture or request.mixture, lengths=lengths)


def parts_beside(
    resolved: Resolved,
    pretraining: PretrainingConfig,
    replay: ReplayConfig,
    length: RunLength,
    resolve: Callable[[Request, str], Resolved],
) -> tuple[Resolved, list[Part]]:
    """What stands beside a mixture, prepared.

    Args:
      resolved: the mixture.
      pretraining: the run's.
      replay: the run's.
      length: of the run.
      resolve: gives what a request asks for; it is told which setting names the mixture.

    Returns:
      The mixture, without its plain text where that has a share of its own, and the parts.

    Raises:
      UserError: a share without tasks that could have it; …
    """
    parts = []
    some = not (is_off(pretraining.fraction) and is_off(replay.fraction))
    if some and length.rows is None and length.epochs is None:
        raise UserError(
            "neither STEPS nor EPOCHS is set, and what stands beside MIXTURE is prepared for the length of the run; "
            "set one of them"
        )
    if not is_off(pretraining.fraction):
        if pretraining.mixture:
            budget = pretraining.tokens or needed(resolved, pretraining.fraction, replay.fraction, length)
            request = dataclasses.replace(text_request(resolved.request, pretraining), budget=budget)
            parts.append(Part(resolve(request, PRETRAINING), pretraining.fraction, PRETRAINING, "pretraining"))
        else:
            resolved, part = text_of(resolved, pretraining.fraction)
            parts.append(part)
    if not is_off(replay.fraction):
        if not replay.mixture:
            raise UserError(
                f"REPLAY_FRACTION is {replay.fraction}, and REPLAY is not set; name what was trained on before, or "
                f"leave the fraction out"
            )
        again = dataclasses.replace(resolved.request, mixture=replay.mixture)
        parts.append(Part(resolve(again, "REPLAY"), replay.fraction, "REPLAY", "replay"))
    return resolved, parts


def needed(resolved: Resolved, fraction: Schedule, other: Schedule, length: RunLength) -> int:
    """How many trainable tokens of plain text a run may come to, rounded up so that like runs share their stores.

    As if every token of the text were learnt and every position of a row were filled: objectives that show what they
    do not ask for come to less.

    Args:
      resolved: what the text stands beside.
      fraction: the share of trainable tokens that the text has.
      other: the share that other parts have.
      length: of the run.
    """
    total = math.fsum(task.rate for task in resolved.tasks)
    tokens, trainable = (
        math.fsum(task.rate / total * task.mean_tokens()[k] for task in resolved.tasks) for k in (0, 1)
    )
    most = 0.0
    for piece in range(MOST_COURSES):
        share, beside = (share_at(schedule, (piece + 0.5) / MOST_COURSES) for schedule in (fraction, other))
        if length.rows is None:
            epoch = min(task.count * total / task.rate for task in resolved.tasks if task.rate)
            most += (length.epochs or 0.0) * epoch * trainable * share / (1 - share - beside)
        else:
            # A trainable token of the others comes with some that are not.
            positions = length.rows * sum(length.shape.capacities.values())
            most += positions * share / (share + (1 - share) * tokens / max(trainable, 1e-9))
    return _rounded(most / MOST_COURSES * _SLACK)


def _rounded(tokens: float) -> int:
    """Up to the next quarter of a power of two.

    >>> [_rounded(tokens) for tokens in (1000, 1025, 1300, 7e9)]
    [1024, 1280, 1536, 7516192768]
    """
    step = 2 ** max(0, math.ceil(math.log2(max(tokens, 1))) - 3)
    return max(1, math.ceil(tokens / step) * step)

"""Loss weights that a run gives its tokens beside those that the store holds: by task, and on prompts.

They are applied to batches on the host, where the rows of a step are laid out: a step sums losses times weights and
divides by the sum of weights once, so nothing else has to know of them.
"""

import dataclasses
from collections.abc import Mapping, Sequence

import numpy as np

from flan_jax.data.objectives import ON_TEXT
from flan_jax.data.resolve import ResolvedTask
from flan_jax.data.rows import Batch
from flan_jax.errors import UserError, nearest
from flan_jax.names import meaning


@dataclasses.dataclass(frozen=True)
class LossWeights:
    """What becomes of the stored loss weights.

    Attributes:
      factors: float32 [T], by which the weights of each task's tokens are multiplied; None: they stay.
      prompt: the weight of an example's tokens that bear no loss otherwise, before its task's factor. For decoders: an
        encoder predicts nothing.
    """

    factors: np.ndarray | None = None
    prompt: float = 0.0

    def applied(self, batch: Batch, begin: int) -> Batch:
        """The batch with other loss weights; the same where nothing is to be changed.

        Args:
          batch: as `flan_jax.data.rows` lays it out.
          begin: `RowShape.begin`.

        >>> batch = {"decoder_loss_weights": np.array([[0, 0, 1, 0]], np.float32)}
        >>> batch |= {"decoder_segment_ids": np.array([[1, 1, 1, 0]]), "decoder_task_ids": np.array([[1, 1, 1, 0]])}
        >>> LossWeights(np.array([1, 2], np.float32), prompt=0.25).applied(batch, 0)["decoder_loss_weights"].tolist()
        [[0.5, 0.5, 2.0, 0.0]]
        """
        if self.factors is None and not self.prompt:
            return batch
        weights = batch["decoder_loss_weights"]
        if self.prompt:
            weights = np.where(_predicts(batch, begin) & (weights == 0), np.float32(self.prompt), weights)
        if self.factors is not None:
            weights = weights * self.factors[batch["decoder_task_ids"]]
        return {**batch, "decoder_loss_weights": weights}


def _predicts(batch: Batch, begin: int) -> np.ndarray:
    """Whether a position predicts a token of its own segment, bool [B, L]."""
    segments = batch["decoder_segment_ids"]
    found = segments > 0
    if begin < 0:  # position p predicts token p + 1, and a segment's last one nothing
        found[:, :-1] &= segments[:, 1:] == segments[:, :-1]
        found[:, -1] = False
    return found


def task_factors(tasks: Sequence[ResolvedTask], weights: Mapping[str, float], plain_text: float) -> np.ndarray | None:
    """The factor of each task's loss.

    Args:
      tasks: those of the plan, in its order.
      weights: factors by a task's name, a pattern of names, a cluster or an objective; the most special counts.
      plain_text: factor of all tasks whose objective is one on plain text, times what `weights` says.

    Returns:
      float32 [T]; None where all are 1.

    Raises:
      UserError: a word means no task.
    """
    used: set[str] = set()
    factors = []
    for task in tasks:
        words = meaning(weights, task.name, *_kinds(task))
        used |= set(words)
        factors.append(weights[words[0]] if words else 1.0)
        if task.about.get("objective") in ON_TEXT:
            factors[-1] *= plain_text
    if unknown := [word for word in weights if word not in used]:
        known = {word for task in tasks for word in (task.name, *_kinds(task)) if word}
        raise UserError(
            f"Loss.task_weights names {unknown[0]!r}, which is no task, pattern, cluster or objective of what is "
            f"trained on{nearest(unknown[0], sorted(known))}; wanted one of those, or leave it out"
        )
    return np.array(factors, np.float32) if any(factor != 1 for factor in factors) else None


def _kinds(task: ResolvedTask) -> tuple[str, str]:
    """A task's cluster and objective."""
    return task.about.get("cluster") or "", task.about.get("objective") or ""

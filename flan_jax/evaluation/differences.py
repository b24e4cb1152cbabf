"""Whether a figure differs between two models by more than noise: numbers in, numbers out.

There are two measures of the noise, and a figure goes by one of them:

    seeds      several runs of one recipe with other seeds: the spread of what they come to, by Student's t. It holds
               all that chance has a hand in while a model is trained.
    examples   one run: how far the figure would move on other examples, by the normal distribution. A recipe's luck is
               not in it.
"""

import dataclasses
import math
import statistics
from collections.abc import Sequence

import numpy as np
from scipy import special

SEEDS, EXAMPLES = "seeds", "examples"


@dataclasses.dataclass(frozen=True)
class Figure:
    """One figure, before and after.

    Attributes:
      name: of the task or group.
      before: of the model that all is compared with.
      after: of each run of the recipe that is judged, one or more.
      lower_is_better: whether it is a loss.
      chance: what guessing comes to, in the figure's unit; None where that is nothing.
      error: the standard error of after less before over the examples; None where it is not known. Of no account where
        there are several runs.
      examples: how many it is of.
    """

    name: str
    before: float
    after: tuple[float, ...]
    lower_is_better: bool = False
    chance: float | None = None
    error: float | None = None
    examples: int = 0

    @property
    def mean_after(self) -> float:
        """The mean over the runs."""
        return statistics.fmean(self.after)

    @property
    def fall(self) -> float:
        """How much worse it is, above 0, or better, below."""
        return (self.mean_after - self.before) * (1 if self.lower_is_better else -1)

    @property
    def noise(self) -> str:
        """Which measure of the noise it goes by."""
        return SEEDS if len(self.after) > 1 else EXAMPLES

    def standard_error(self) -> float | None:
        """Of the mean after, less before; None where it is not known."""
        if self.noise == EXAMPLES:
            return self.error
        return statistics.stdev(self.after) / math.sqrt(len(self.after))

    def floor(self, level: float) -> float | None:
        """The fall that noise alone exceeds with this probability; None where the noise is not known.

        >>> round(Figure("qa", 80.0, (75.0,), error=2.0).floor(0.05), 2)
        3.29
        """
        error = self.standard_error()
        if error is None:
            return None
        at = special.stdtrit(len(self.after) - 1, 1 - level) if self.noise == SEEDS else special.ndtri(1 - level)
        return float(at) * error


def mean_of(name: str, figures: Sequence[Figure]) -> Figure:
    """The mean of figures of one unit and as many runs: run by run, so that its spread is that of the runs' means.

    Args:
      name: of the group.
      figures: one or more. Their examples count as independent of one another's.
    """
    errors = [one.error for one in figures]
    known = [error for error in errors if error is not None]
    chances = [one.chance for one in figures if one.chance is not None]
    return Figure(
        name,
        statistics.fmean(one.before for one in figures),
        tuple(map(statistics.fmean, zip(*(one.after for one in figures), strict=True))),
        figures[0].lower_is_better,
        statistics.fmean(chances) if len(chances) == len(figures) else None,
        math.hypot(*known) / len(figures) if len(known) == len(figures) else None,
        sum(one.examples for one in figures),
    )


def paired_error(before: np.ndarray, after: np.ndarray, weights: np.ndarray) -> float | None:
    """The standard error of the difference of two mean losses a token over the same examples.

    Of a ratio of sums, by the usual linearisation (Cochran, *Sampling Techniques*, 1977, section 6.4): what an example
    is worse by counts less what its tokens would be at the mean.

    Args:
      before: [N] summed loss of each example.
      after: [N] the same of the other model.
      weights: [N] its tokens that bear loss.

    Returns:
      None for fewer than two examples.
    """
    count = len(weights)
    if count < 2:
        return None
    difference, total = after - before, weights.sum()
    left = difference - weights * (difference.sum() / total)
    return float(np.sqrt(count / (count - 1) * np.square(left).sum()) / total)

"""Random choices that are a pure function of (seed, task, example, draw).

Which template, which exemplars, which span is corrupted: each is drawn from a keyed hash of these four and of the
draw's purpose. So hosts and restarts agree, and neither the order of the examples nor another task's randomness has a
say.
"""

import hashlib
from collections.abc import Iterator


class RandomChoices:
    """The random choices of one task's examples in one draw (one pass over the data).

    Args:
      seed: the run's seed.
      task: the seqio task's name.
      draw: which pass over the examples this is, from 0.

    >>> draws = RandomChoices(seed=0, task="colours", draw=0)
    >>> draws.pick("train:17", "template", 10) == draws.pick("train:17", "template", 10)
    True
    """

    def __init__(self, seed: int, task: str, draw: int):
        self._start = hashlib.blake2b(f"{seed}\x1f{task}\x1f{draw}\x1f".encode(), digest_size=8)

    def pick(self, example_id: str, purpose: str, count: int) -> int:
        """Draws an index below `count`; the same arguments always give the same one.

        Args:
          example_id: the example's id within its task.
          purpose: what is drawn, so that one choice tells nothing of another.
          count: how many to choose from, at least 1.
        """
        if count == 1:
            return 0
        state = self._start.copy()
        state.update(f"{purpose}\x1f{example_id}".encode())
        return int.from_bytes(state.digest(), "little") % count

    def order(self, example_id: str, purpose: str, count: int) -> list[int]:
        """Draws an order of the indices below `count`."""
        numbers = self.stream(example_id, purpose)
        return sorted(range(count), key=lambda _: next(numbers))

    def stream(self, example_id: str, purpose: str) -> Iterator[int]:
        """Yields independent 64-bit integers without end."""
        number = 0
        while True:
            state = self._start.copy()
            state.update(f"{purpose}\x1f{example_id}\x1f{number}".encode())
            yield int.from_bytes(state.digest(), "little")
            number += 1


def sample(stream: Iterator[int], population: int, count: int) -> list[int]:
    """Draws `count` different indices below `population`, sorted (Floyd's algorithm).

    >>> sample(iter([5, 2, 2]), population=4, count=3)
    [1, 2, 3]
    """
    chosen: set[int] = set()
    for top in range(population - count, population):
        index = next(stream) % (top + 1)
        chosen.add(top if index in chosen else index)
    return sorted(chosen)

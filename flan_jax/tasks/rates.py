"""Mixing rates: examples-proportional with caps and temperature, and any seqio mixture's rates for the counts that were
realised."""

import dataclasses
import functools
import itertools
import math
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import seqio

from flan_jax.errors import UserError, nearest
from flan_jax.names import names_in
from flan_jax.tasks import fingerprints, registry

Rate = float | Callable[[Any], float]
Member = str | tuple[str, Rate]


@dataclasses.dataclass(frozen=True)
class Proportional:
    """A seqio rate: the number of examples, at most `cap`, to the power of 1 / temperature.

    Attributes:
      cap: the most examples that count.
      temperature: 1 for proportional rates; larger ones even them out.
      scale: multiplies the number before the cap.
      share: multiplies the rate that comes of it.
    """

    cap: int | None = None
    temperature: float = 1.0
    scale: float = 1.0
    share: float = 1.0

    def __call__(self, task: Any) -> float:
        """The task's rate.

        Raises:
          UserError: the task does not know its number of examples.
        """
        count = task.num_input_examples("train")
        if count is None:
            raise UserError(
                f"The number of examples of task {task.name!r} is not known before it is prepared; prepare it, or give "
                f"its rate as a number."
            )
        size = count * self.scale
        if self.cap is not None:
            size = min(size, self.cap)
        return self.share * float(size) ** (1.0 / self.temperature)


def proportional(cap: int | None = None, temperature: float = 1.0, scale: float = 1.0) -> Proportional:
    """A rate in proportion to the number of examples; see `Proportional`.

    >>> class Task:
    ...     name = "big"
    ...     def num_input_examples(self, split): return 90_000
    >>> proportional(cap=10_000, temperature=2.0)(Task())
    100.0
    """
    if cap is not None and cap <= 0:
        raise UserError(f"cap={cap}; give a positive number of examples, or None.")
    if temperature <= 0 or scale <= 0:
        raise UserError(f"temperature={temperature}, scale={scale}; both must be positive.")
    return Proportional(cap, float(temperature), float(scale))


def mixture(
    name: str,
    members: Iterable[Member],
    cap: int | None = None,
    temperature: float = 1.0,
    inverted: float | None = None,
) -> seqio.Mixture:
    """Registers a seqio mixture; doing so twice with the same members changes nothing.

    Args:
      name: the mixture's name.
      members: names of registered tasks, or (name, rate) pairs of tasks or mixtures. A task without a rate is mixed in
        proportion to its examples, capped at `cap` and at its own cap, whichever is less; a mixture among the members
        needs a number.
      cap: the most examples of a task that count.
      temperature: see `Proportional`.
      inverted: adds the inverted task of each member that has one, at this share of the member's own rate: 0.3 in the
        Flan collection of 2022. Inversions that are members already stay as they are.

    Raises:
      UserError: a member is not registered, is named twice, or is a mixture without a number; or the name is taken.
    """
    pairs = [_with_rate(name, member, cap, temperature) for member in members]
    if inverted is not None:
        pairs += _inversions(name, pairs, inverted)
    if not pairs:
        raise UserError(f"Mixture {name!r} has no members; name at least one task.")
    known = [member for member, _ in pairs]
    if twice := sorted({member for member in known if known.count(member) > 1}):
        raise UserError(f"Mixture {name!r} names {', '.join(map(repr, twice))} twice; name each member once.")
    if name in seqio.TaskRegistry.names():
        raise UserError(f"{name!r} is the name of a task already; give the mixture another name.")
    if name in seqio.MixtureRegistry.names():
        present = seqio.MixtureRegistry.get(name)
        if fingerprints.of(dict(present.rate_per_task_name)) == fingerprints.of(dict(pairs)):
            return present
        raise UserError(
            f"{name!r} is registered already with other members or rates; give one of the two another name."
        )
    try:
        return seqio.MixtureRegistry.add(name, pairs)
    except ValueError as error:  # tasks with different features
        raise UserError(f"seqio does not take the mixture {name!r}: {' '.join(str(error).split())}") from None


def _with_rate(mixture_name: str, member: Member, cap: int | None, temperature: float) -> tuple[str, Rate]:
    name, rate = (member, None) if isinstance(member, str) else member
    if name in seqio.MixtureRegistry.names() and name not in seqio.TaskRegistry.names():
        if callable(rate) or rate is None:
            raise UserError(
                f"Mixture {mixture_name!r} has the mixture {name!r} as a member; give its share as a number: "
                f"({name!r}, 1.0)."
            )
    elif name not in seqio.TaskRegistry.names():
        close = nearest(name, [*seqio.TaskRegistry.names(), *seqio.MixtureRegistry.names()])
        raise UserError(
            f"Mixture {mixture_name!r} names {name!r}, which is not registered{close}; register its tasks first."
        )
    if rate is None:
        own = getattr(registry.declared(name), "cap", None)
        caps = [one for one in (cap, own) if one is not None]
        rate = proportional(min(caps, default=None), temperature)
    return name, rate


def _inversions(mixture_name: str, pairs: list[tuple[str, Rate]], share: float) -> list[tuple[str, Rate]]:
    """The inverted tasks of members, with their rates."""
    if not share > 0:
        raise UserError(f"Mixture {mixture_name!r}: inverted={share}; a share above 0 is wanted, or None.")
    members = {name for name, _ in pairs}
    found: list[tuple[str, Rate]] = []
    for name, rate in pairs:
        other = f"{name}.inverted"
        if other not in seqio.TaskRegistry.names() or other in members:
            continue
        if isinstance(rate, Proportional):
            found.append((other, dataclasses.replace(rate, share=rate.share * share)))
        elif callable(rate):
            raise UserError(
                f"Mixture {mixture_name!r} gives {name!r} a function as its rate, of which no share can be taken for "
                f"its inversion; give a number, or name {other!r} among the members."
            )
        else:
            found.append((other, rate * share))
    if not found:
        raise UserError(f"Mixture {mixture_name!r}: inverted={share}, and no member has an inverted task to add.")
    return found


class _Counted:
    """A task with a known number of examples, for rate functions to look at; all else is the task's own."""

    cache_dir = None

    def __init__(self, task: seqio.Task, count: int):
        self._task = task
        self._count = count

    def __getattr__(self, attribute: str) -> Any:
        return getattr(self._task, attribute)

    def num_input_examples(self, split: str = "train") -> int:
        return self._count

    def get_cached_stats(self, split: str = "train") -> dict[str, int]:
        return {"examples": self._count}


def rate_of(mixture_name: str, counts: Mapping[str, int]) -> dict[str, float]:
    """The rate of each task of a mixture, with the numbers of examples that were really kept.

    It follows seqio's definition for nested mixtures: a member mixture's rate is shared among its tasks by their rates
    there.

    Args:
      mixture_name: a registered mixture, or a task, whose rate is then 1. Of several with commas between, a task has
        the sum of its rates in each; where they are in proportion to examples, so are those.
      counts: kept examples by task; a task that kept none has the rate 0.

    Raises:
      UserError: no such mixture, a task without a count, or a rate that cannot be worked out.
    """
    if len(names := names_in(mixture_name)) > 1:
        each = [_rate_among_others(name, counts) for name in names]
        return {
            task: math.fsum(rates.get(task, 0.0) for rates in each) for task in dict.fromkeys(itertools.chain(*each))
        }
    if mixture_name in seqio.TaskRegistry.names():
        return {mixture_name: 1.0}
    top = _mixture(mixture_name)
    missing = [task.name for task in top.tasks if task.name not in counts]
    if missing:
        raise UserError(
            f"Mixture {mixture_name!r}: the number of examples of {', '.join(missing[:3])} is not known; prepare it "
            f"first."
        )
    return _rates(top, counts)


def _rate_among_others(name: str, counts: Mapping[str, int]) -> dict[str, float]:
    """The rates of a mixture; of a task its examples, so that it stands beside such rates."""
    if name not in seqio.TaskRegistry.names():
        return rate_of(name, counts)
    cap = getattr(registry.declared(name), "cap", None)
    return {name: float(min(counts[name], cap or counts[name]))}


def _mixture(name: str) -> seqio.Mixture:
    known = seqio.MixtureRegistry.names()
    if name not in known:
        raise UserError(f"There is no mixture {name!r}{nearest(name, [*known, *seqio.TaskRegistry.names()])}.")
    return seqio.MixtureRegistry.get(name)


def _rates(top: seqio.Mixture, counts: Mapping[str, int]) -> dict[str, float]:
    rates: dict[str, float] = {}
    for name, rate in top.rate_per_task_name.items():
        member = top._task_map[name]  # members may be given as objects that are in no registry
        if isinstance(member, seqio.Mixture):
            if callable(rate):
                raise UserError(
                    f"Mixture {top.name!r} gives the mixture {name!r} a function as its rate; give a number."
                )
            inner = _rates(member, counts)
            total = sum(inner.values())
            shares = (
                {task: float(rate) * value / total for task, value in inner.items()}
                if total
                else dict.fromkeys(inner, 0.0)
            )
        else:
            count = counts[name]
            shares = {name: 0.0 if count == 0 else float(rate(_Counted(member, count)) if callable(rate) else rate)}
        for task, value in shares.items():
            rates[task] = rates.get(task, 0.0) + value
    return rates


def caps_of(mixture_name: str) -> dict[str, int | None]:
    """The cap on each task of a mixture: the least of those that its rates set, None where none does."""
    caps: dict[str, int | None] = {}
    for name in names_in(mixture_name):
        if name in seqio.TaskRegistry.names():
            caps.setdefault(name, None)
        else:
            _gather_caps(_mixture(name), caps)
    return caps


def _gather_caps(top: seqio.Mixture, caps: dict[str, int | None]) -> None:
    for name, rate in top.rate_per_task_name.items():
        member = top._task_map[name]
        if isinstance(member, seqio.Mixture):
            _gather_caps(member, caps)
        else:
            found = [cap for cap in (caps.get(name), _cap(rate)) if cap is not None]
            caps[name] = min(found, default=None)


def _cap(rate: Any) -> int | None:
    if isinstance(rate, functools.partial) and rate.func is seqio.mixing_rate_num_examples:
        return rate.keywords.get("maximum")
    return getattr(rate, "cap", None)

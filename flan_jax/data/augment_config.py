"""How a run words its tasks' rows in more, or fewer, ways than their declarations do: plain words and numbers."""

import dataclasses
from typing import Any


@dataclasses.dataclass(frozen=True)
class AugmentConfig:
    """Changes to the wording of MIXTURE's instruction tasks, whatever they declare; what is scored stays as declared.

    Tasks of other kinds (chats, plain text, seqio's own) have no templates, and stay as they are.

    Attributes:
      inverted: has the inverted task of each task that has one trained on too, at this share of the task's own rate;
        or such shares by a task's name, a pattern of names ("nli_*") or a cluster, of which the most special counts.
        An inversion that MIXTURE holds already has this rate in the place of its own; 0 leaves it out. Of a task's
        NAME.with_inverted so many examples are worded by inverted templates for each one that is not.
      templates: each task words its rows by so many of its training templates, the first ones; None: by all. Of
        templates that are for certain rows alone (`Template.given`, `lacking`) so many of each kind.
      shuffle_options: whether answer options stand in an order that is drawn for each example.
      word_dropout: the share of the words in the fields of prompts that are left out, from 0 to below 1. Instructions,
        options and what is answered lose none; an answer that is to be found in a field may go with its words.
    """

    inverted: float | dict[str, float] | None = None
    templates: int | None = None
    shuffle_options: bool = False
    word_dropout: float = 0.0

    def __bool__(self) -> bool:
        return self != AugmentConfig()

    def wording(self) -> dict[str, Any]:
        """What of it shapes the tokens of a task, as `flan_jax.tasks.augmenting.augmented` takes it.

        >>> AugmentConfig(inverted=0.3, templates=4).wording()
        {'inverted': 0.3, 'templates': 4}
        """
        off = AugmentConfig()
        return {name: value for name, value in dataclasses.asdict(self).items() if value != getattr(off, name)}

    def described(self) -> list[str]:
        """What it does, in a phrase each.

        >>> AugmentConfig(inverted=0.3, templates=1, word_dropout=0.05).described()
        ["inverted tasks at 0.3 of their tasks' rates", 'the first template of each task', '5.0% of words left out']
        """
        said = []
        if isinstance(self.inverted, dict):
            shares = ", ".join(f"{name} {share:g}" for name, share in self.inverted.items())
            said.append(f"inverted tasks at shares of their tasks' rates: {shares}")
        elif self.inverted is not None:
            said.append(f"inverted tasks at {self.inverted:g} of their tasks' rates")
        if self.templates is not None:
            said.append(f"the first {f'{self.templates} templates' if self.templates > 1 else 'template'} of each task")
        if self.shuffle_options:
            said.append("options in a drawn order")
        if self.word_dropout:
            said.append(f"{self.word_dropout:.1%} of words left out")
        return said

    def faults(self) -> list[str]:
        """Every fault of these settings that shows without data."""
        faults = []
        shares = self.inverted if isinstance(self.inverted, dict) else {"": self.inverted or 0.0}
        for name, share in shares.items():
            if not 0 <= share <= 1:
                of = f" for {name!r}" if name else ""
                faults.append(f"inverted is {share}{of}, wanted a share of the task's rate from 0 to 1")
        if self.templates is not None and self.templates < 1:
            faults.append(f"templates is {self.templates}, wanted 1 or more, or None for all")
        if not 0 <= self.word_dropout < 1:
            faults.append(f"word_dropout is {self.word_dropout}, wanted a share of the words from 0 to below 1")
        return faults

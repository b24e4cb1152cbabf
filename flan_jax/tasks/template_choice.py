"""Which of a task's templates words an example, and in which of its wordings: drawn for each example and draw."""

import bisect
import itertools

from flan_jax.tasks.drawing import RandomChoices
from flan_jax.tasks.sources import Row
from flan_jax.tasks.tally import BadRow
from flan_jax.tasks.templates import Template

_FINE = 2**32  # in so many parts are shares of templates drawn


class TemplateChoice:
    """Draws a template for each example: of those that suit it, each as often as its weight says.

    Args:
      templates: the task's.
      draws: its random choices.
    """

    def __init__(self, templates: tuple[Template, ...], draws: RandomChoices):
        self._templates, self._draws = templates, draws
        self._is_plain = all(one.suits_all and one.weight == 1.0 for one in templates)

    def number(self, example_id: str, fields: Row) -> int:
        """The drawn template's number.

        Raises:
          BadRow: none suits the example.
        """
        if self._is_plain:
            return self._draws.pick(example_id, "template", len(self._templates))
        suited = self.suited(fields)
        ends = list(itertools.accumulate(self._templates[number].weight for number in suited))
        drawn = self._draws.pick(example_id, "template", _FINE) / _FINE
        return suited[min(bisect.bisect_right(ends, drawn * ends[-1]), len(suited) - 1)]

    def suited(self, fields: Row) -> list[int]:
        """The numbers of the templates that suit an example.

        Raises:
          BadRow: there are none.
        """
        found = [number for number, template in enumerate(self._templates) if template.suits(fields)]
        if not found:
            raise BadRow("no template suits it: each is for rows with, or without, a field")
        return found

    def wording(self, example_id: str, template: Template) -> Template:
        """One of a template's wordings."""
        return template.wordings[self._draws.pick(example_id, "wording", len(template.wordings))]

"""The uses of one declaration: its plain task and those derived from it, each a recipe of its own.

A variant shares the declaration's rows, ids and answers, and differs in the instruction: held-out wordings, exemplars
before the prompt, the task turned around, or a sibling's instruction over the same rows.
"""

import dataclasses
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from flan_jax.errors import UserError, nearest
from flan_jax.tasks import metrics, options, registry, vocabularies
from flan_jax.tasks.encoding import DraftEncoder, Finisher, batched
from flan_jax.tasks.recipe import Encoder, Example, OfDeclaration, Request
from flan_jax.tasks.rendering import Renderer
from flan_jax.tasks.sources import Row
from flan_jax.tasks.tally import OnBadRow
from flan_jax.tasks.templates import OPTIONS, Template
from flan_jax.tasks.user_functions import of_task

if TYPE_CHECKING:
    from flan_jax.tasks.instruction import InstructionTask


@dataclasses.dataclass(frozen=True)
class Variant(OfDeclaration):
    """One seqio task of an `InstructionTask`.

    Attributes:
      declaration: what the user declared.
      name: the seqio task's name.
      kind: "plain", "held_out_wordings", "inverted", "few_shot" or "sibling".
      shots: how many exemplars stand before the prompt.
      sibling: the name of the task whose instruction is used, for the kind "sibling".
    """

    declaration: "InstructionTask"
    name: str
    kind: str = "plain"
    shots: int = 0
    sibling: str = ""

    @property
    def add_eos_to_inputs(self) -> bool:
        """What the declaration says."""
        return self.declaration.add_eos_to_inputs

    @property
    def has_options(self) -> bool:
        """Whether the answer is one of given options; the inverted task is open."""
        return self.declaration.options is not None and self.kind != "inverted"

    @property
    def metrics(self) -> tuple[str | Callable[..., Mapping[str, Any]], ...]:
        """The declaration's metrics, or what fits the kind of answer; those of a task do not fit its inversion."""
        if self.declaration.metrics and self.kind != "inverted":
            return self.declaration.metrics
        return ("accuracy",) if self.has_options else ("exact_match",)

    @property
    def templates(self) -> tuple[Template, ...]:
        """The wordings that are drawn from.

        Raises:
          UserError: the sibling is not registered, or its templates ask for options that this task has not.
        """
        if self.kind == "held_out_wordings":
            return self.declaration.held_out_templates
        if self.kind == "inverted":
            return self.declaration.inverted_templates
        if self.kind != "sibling":
            return self.declaration.templates
        sibling = registry.declared(self.sibling)
        if sibling is None or not hasattr(sibling, "templates"):
            close = nearest(self.sibling, registry.names())
            raise UserError(
                f"Task {self.declaration.name!r} has the sibling {self.sibling!r}, which is no registered "
                f"InstructionTask{close}."
            )
        for template in sibling.templates:
            template.check(self.has_options)
        return sibling.templates

    def encoder(self, split: str, request: Request) -> Encoder:
        """See `Recipe`."""
        renderer = Renderer(self, split, request)
        finisher = Finisher(self.name, vocabularies.tokenizer(self.vocabulary), request, self.add_eos_to_inputs)
        encode = DraftEncoder(finisher, self.declaration.trim_field, self.declaration.trim_from, renderer.where)

        def encoder(rows: Iterable[tuple[str, Row]]) -> Iterator[Example]:
            for batch in batched(renderer.drafts(rows)):
                yield from encode(batch)

        return encoder

    def texts(self, split: str, on_bad_row: OnBadRow) -> Iterator[tuple[str, ...]]:
        """See `Recipe`."""
        renderer = Renderer(self, split, Request({}, on_bad_row=on_bad_row))
        for draft in renderer.drafts(of_task(self.name, self.source.rows(split, on_bad_row))):
            yield draft.inputs, draft.targets

    def shaping(self) -> Any:
        """See `Recipe`."""
        task = self.declaration
        styles = [options.STYLES[name] for name in task.option_styles]
        wording = (self.templates, styles, task.options, task.answer, task.preprocess)
        return (
            self.name,
            self.kind,
            self.shots,
            wording,
            (task.trim_field, task.trim_from, task.add_eos_to_inputs),
            task.version,
        )

    def describe(self) -> dict[str, Any]:
        """See `Recipe`."""
        task = self.declaration
        fixed = list(task.options) if isinstance(task.options, tuple) else None
        chance = 1.0 / len(fixed) if task.chance is None and fixed else task.chance
        return {
            "task": task.name,
            "kind": self.kind,
            "cluster": task.cluster,
            "cap": task.cap,
            "chance": None if self.kind == "inverted" else chance,
            "siblings": list(task.siblings),
            "sibling": self.sibling or None,
            "shots": self.shots,
            "options": fixed if self.has_options else None,
            "eval_kind": "rank" if self.has_options else "generate",
            "metrics": [metrics.name_of(metric) for metric in self.metrics],
            "templates": [[template.inputs, template.targets] for template in self.templates],
            "held_out_wordings": len(task.held_out_templates),
            "objective": "instruction",
            "random": self._is_random(),
            "version": task.version,
        }

    def _is_random(self) -> bool:
        """Whether another draw may give other tokens."""
        task = self.declaration
        styled = len(task.option_styles) > 1 and any(OPTIONS in template.prompt.fields for template in self.templates)
        return len(self.templates) > 1 or self.shots > 0 or styled

"""Unnatural Instructions (Honovich et al., 2022): instructions that a model made, each with an input, what bounds the
output, and in the full data other wordings of the same.

    unnatural_instructions("core_data.jsonl", "unnatural")
    unnatural_instructions("full_data.jsonl", "unnatural", reformulations="drawn")

A row {"instruction": "Reverse the words.", "instances": [{"instruction_with_input": "Reverse the words.\\nred plum",
"input": "red plum", "constraints": "None.", "output": "plum red"}]} becomes the prompt "Reverse the words.\\nred plum"
and the answer "plum red".
"""

import dataclasses
import re
from typing import Any, Literal

from flan_jax.errors import UserError, nearest
from flan_jax.tasks.formats.cells import answers_in, input_in, is_nothing, records_in
from flan_jax.tasks.formats.places import Place, source_at
from flan_jax.tasks.instruction import InstructionTask
from flan_jax.tasks.sources import Row
from flan_jax.tasks.tally import BadRow
from flan_jax.tasks.templates import Template
from flan_jax.tasks.vocabularies import VocabularyLike

Reformulations = Literal["none", "all", "drawn"]
_CHOICES = ("none", "all", "drawn")
_SLOT = "{INPUT}"
_UNFILLED = re.compile(r"\{[A-Z][A-Z0-9_]*\}")
_NOTHING: Row = {
    "instruction": "",
    "input": "",
    "rest": "",
    "output": "",
}  # dropped and counted, as it asks for nothing


@dataclasses.dataclass(frozen=True)
class Unnatural:
    """Makes examples of a row: of each instance one, and of its reformulations what is wanted.

    Attributes:
      reformulations: "none" leaves them out, "all" makes an example of each, "drawn" counts them as wordings of the
        instance that they reword.
      constraints: whether what bounds the output is shown.
    """

    reformulations: Reformulations = "none"
    constraints: bool = True

    def __call__(self, row: Row) -> list[Row]:
        """Examples with the fields "instruction", "input", "rest" and "output".

        >>> instance = {"input": "a b", "constraints": "None.", "output": "b a"}
        >>> Unnatural()({"instruction": "Turn it.", "instances": [instance]})
        [{'instruction': 'Turn it.\\n', 'input': 'a b', 'rest': '', 'output': 'b a'}]
        """
        instances = records_in(row, "instances")
        if not instances:
            raise BadRow("the column 'instances' is empty; one instance at least is wanted")
        own = [self._instance(row, instance) for instance in instances]
        if self.reformulations == "none" or is_nothing(row.get("reformulations")):
            return own if self.reformulations != "drawn" else [{"wordings": [one]} for one in own]
        others = records_in({"them": _without_nulls(row["reformulations"])}, "them")
        if self.reformulations == "all":
            return [*own, *map(_reworded, others)]
        return [
            {"wordings": [one, *_of_instance(others, instance, alone=len(own) == 1)]}
            for one, instance in zip(own, instances, strict=True)
        ]

    def _instance(self, row: Row, instance: Row) -> Row:
        given, whole = input_in(instance, "input"), input_in(instance, "instruction_with_input")
        instruction = input_in(row, "instruction")
        if not instruction and not whole:
            raise BadRow("the column 'instruction' is empty, and no instance says it; text is wanted")
        if instruction and (not whole or whole == f"{instruction}\n{given}".strip()):
            asked = {"instruction": f"{instruction}\n" if given else instruction, "input": given}
        else:
            asked = _parted(whole, given)
        bounds = input_in(instance, "constraints") if self.constraints else ""
        return {
            **asked,
            "rest": f"\nConstraints: {bounds}" if bounds else "",
            "output": answers_in(instance, "output"),
        }


def _without_nulls(value: Any) -> Any:
    return [one for one in value if not is_nothing(one)] if isinstance(value, list) else value


def _parted(whole: str, given: str) -> Row:
    """A prompt with its input told apart, where that ends it, so that only the input is ever cut."""
    if given and whole.endswith(given) and len(whole) > len(given):
        return {"instruction": whole.removesuffix(given), "input": given}
    return {"instruction": "", "input": whole}


def _of_instance(others: list[Row], instance: Row, alone: bool) -> list[Row]:
    """The reformulations that reword an instance; one that says the same answer of the same input."""
    same = [one for one in others if alone or input_in(one, "input") == input_in(instance, "input")]
    return [worded for one in same if (worded := _reworded(one))["output"]]


def _reworded(reformulation: Row) -> Row:
    """A reformulation as it reads itself; `_NOTHING` for one that asks for nothing or is not filled in."""
    pattern, whole = input_in(reformulation, "instruction"), input_in(reformulation, "instruction_with_input")
    left = _UNFILLED.search(pattern.replace(_SLOT, ""))
    output = "" if is_nothing(reformulation.get("output")) else answers_in(reformulation, "output")
    if pattern.strip(" .:") in ("", _SLOT) or left or not whole or _SLOT in whole or not output:
        return _NOTHING
    before, _, after = pattern.partition(_SLOT)
    given = whole.removeprefix(before).removesuffix(after)
    if before + given + after != whole or _SLOT in after:
        before, given, after = "", whole, ""
    return {"instruction": before, "input": given, "rest": after, "output": output}


def unnatural_instructions(
    place: Place,
    name: str,
    *,
    reformulations: Reformulations = "none",
    constraints: bool = True,
    validation_rows: int | None = 0,
    on_bad_row: str | None = None,
    vocabulary: VocabularyLike | None = None,
    cap: int | None = None,
) -> InstructionTask:
    """Declares a task of Unnatural Instructions, core or full; call `register()` on it to use it.

    Args:
      place: see `flan_jax.tasks.formats.places.Place`.
      name: the task's name.
      reformulations: "none" for the core alone; "all" makes each an example of its own, as the paper's full data has
        them; "drawn" words an example by its instruction or one of its reformulations, drawn anew in each pass. Those
        that are bare "{INPUT}", have a slot left unfilled or no output are left out.
      constraints: whether what bounds the output is shown where there is such; "None." is never.
      validation_rows: how many of the first rows become the validation split; None: a tenth of them, at most 50.
      on_bad_row: "error" or "skip"; None leaves it to who reads.
      vocabulary: as in `InstructionTask`.
      cap: as in `InstructionTask`.

    Raises:
      UserError: `reformulations` is none of the three.
    """
    if reformulations not in _CHOICES:
        raise UserError(
            f"reformulations={reformulations!r}; it is {', '.join(_CHOICES[:2])} or {_CHOICES[2]}"
            f"{nearest(str(reformulations), _CHOICES)}."
        )
    source = source_at(place, validation_rows, on_bad_row)
    how: Any = {"vocabulary": vocabulary, "cap": cap, "preprocess": Unnatural(reformulations, constraints)}
    return declared(source, name, (), **how, wordings="wordings" if reformulations == "drawn" else None)


def declared(source: Any, name: str, columns: tuple[str, ...], **shared: Any) -> InstructionTask:
    """See `flan_jax.tasks.formats.files`."""
    how: Any = {"preprocess": Unnatural(), "trim_field": "input", "answer": "output", **shared}
    return InstructionTask(name, source, templates=(Template("{instruction}{input}{rest}", "{output}"),), **how)

"""Self-Instruct (Wang et al., 2022): seed tasks with several instances, instances that a model made, and its raw words.

    self_instruct("all_generated_instances.jsonl", "self_instruct")
    self_instruct("seed_tasks.jsonl", "seeds", layouts="plain")

Its fine-tuning pairs, {"prompt", "completion"}, are read by `pairs`. A row {"instruction": "Add them.", "instances":
[{"input": "1, 2", "output": "3"}]} becomes, in one of seven layouts, "Task: Add them.\\nInput: 1, 2\\nOutput:" and
" 3".
"""

import dataclasses
import re
from collections.abc import Mapping
from typing import Any, Literal

from flan_jax.errors import UserError, nearest
from flan_jax.tasks.formats.cells import answers_in, input_in, is_nothing, records_in, text_in
from flan_jax.tasks.formats.places import Place, source_at
from flan_jax.tasks.instruction import InstructionTask
from flan_jax.tasks.sources import Row
from flan_jax.tasks.tally import BadRow
from flan_jax.tasks.templates import Template
from flan_jax.tasks.vocabularies import VocabularyLike

#: How its authors lay out an instance for fine-tuning: seven ways with an input, six without.
PUBLISHED = (
    Template("{instruction}\nInput: {input}\nOutput:", " {output}", given="input"),
    Template("{instruction}\n\nInput: {input}\n\nOutput:", " {output}", given="input"),
    Template("Task: {instruction}\nInput: {input}\nOutput:", " {output}", given="input"),
    Template("{instruction}\n\n{input}\n\nOutput:", " {output}", given="input"),
    Template("{instruction}\n\n{input}\n\n", "{output}", given="input"),
    Template("{instruction}\n{input}\n\n", "{output}", given="input"),
    Template("Task: {instruction}\n\n{input}\n\n", "{output}", given="input"),
    Template("{instruction} Output:", " {output}", lacking="input"),
    Template("{instruction}\nOutput:", " {output}", lacking="input"),
    Template("{instruction}\n\nOutput:", " {output}", lacking="input"),
    Template("{instruction}\n", "{output}", lacking="input"),
    Template("{instruction}\n\n", "{output}", lacking="input"),
    Template("Task: {instruction}\n\n", "{output}", lacking="input"),
)
PLAIN = (
    Template("{instruction}\n\n{input}", "{output}", given="input"),
    Template("{instruction}", "{output}", lacking="input"),
)
_LAYOUTS = {"published": PUBLISHED, "plain": PLAIN}
_EXAMPLE = re.compile(r"^[ \t]*Example[ \t]*\d*[.:]?[ \t]*", re.M)
_OUTPUT = re.compile(r"^[ \t]*Output[ \t]*\d*[ \t]*:|(?<=\s)Output:", re.M)
_INPUT = re.compile(r"^[ \t]*Input[ \t]*\d*[ \t]*:[ \t]*", re.M)
_LABEL = "Class label:"


@dataclasses.dataclass(frozen=True)
class SelfInstruct:
    """Makes an example of each instance of a row, whichever of the three kinds of row it is."""

    def __call__(self, row: Row) -> list[Row]:
        """Examples with the fields "instruction", "input" and "output".

        >>> SelfInstruct()({"instruction": "Add.", "raw_instances": "Example 1\\nInput: 1, 2\\nOutput: 3"})
        [{'instruction': 'Add.', 'input': '1, 2', 'output': '3'}]
        """
        instruction = text_in(row, "instruction").strip()
        if not instruction:
            raise BadRow("the column 'instruction' is empty; text is wanted")
        if "raw_instances" in row:
            found = _sound(_parsed(text_in(row, "raw_instances"), _breaks_off(row)))
            return [{"instruction": instruction, "input": given, "output": output} for given, output in found]
        instances = [row] if is_nothing(row.get("instances")) else records_in(row, "instances")
        if not instances:
            raise BadRow("the column 'instances' is empty; one instance at least is wanted")
        return [
            {"instruction": instruction, "input": input_in(one, "input"), "output": answers_in(one, "output")}
            for one in instances
        ]


def _breaks_off(row: Row) -> bool:
    """Whether the model was cut off while it wrote: its last instance is not whole then."""
    found: Any = row.get("instance_metadata")
    for key in ("response", "choices"):
        found = found.get(key) if isinstance(found, Mapping) else None
    first = found[0] if isinstance(found, list) and found else None
    return isinstance(first, Mapping) and first.get("finish_reason") == "length"


def _parsed(raw: str, breaks_off: bool) -> list[tuple[str, str]]:
    """Inputs and outputs as a model wrote them down: a class label before each input, or an output after it.

    Raises:
      BadRow: neither is there.
    """
    if _LABEL in raw:
        parts = [part.strip().partition("\n") for part in raw.split(_LABEL)[1:]]
        found = [(given.strip(), label.strip()) for label, _, given in parts]
    else:
        found = [pair for part in _EXAMPLE.split(raw) if part.strip() and (pair := _pair(part.strip()))]
    if not found:
        raise BadRow("the column 'raw_instances' has neither 'Output:' nor 'Class label:' in it, so none can be told")
    return found[:-1] if breaks_off else found


def _pair(part: str) -> tuple[str, str] | None:
    """One instance; None where it does not say what its output is."""
    if not (mark := _OUTPUT.search(part)):
        return None
    given, output = part[: mark.start()], part[mark.end() :]
    # A model that goes on writes further instances without saying so.
    ends = [found.start() for found in (_INPUT.search(output), _OUTPUT.search(output)) if found]
    return _INPUT.sub("", given.strip(), count=1).strip(), output[: min(ends, default=None)].strip()


def _sound(found: list[tuple[str, str]]) -> list[tuple[str, str]]:
    """The instances without those that their authors leave out, which are emptied and so counted as dropped: what
    repeats its input or another instance, breaks off after a colon, or contradicts another of the same input.
    """
    outputs: dict[str, set[str]] = {}
    for given, output in found:
        outputs.setdefault(given, set()).add(output)
    if any(given and len(several) > 1 for given, several in outputs.items()):
        return [(given, "") for given, _ in found]
    seen: set[tuple[str, str]] = set()
    kept = []
    for given, output in found:
        unsound = given == output or given.endswith(":") or output.endswith(":") or (given, output) in seen
        kept.append((given, "" if unsound else output))
        seen.add((given, output))
    return kept


def self_instruct(
    place: Place,
    name: str,
    *,
    layouts: Literal["published", "plain"] = "published",
    validation_rows: int | None = 0,
    on_bad_row: str | None = None,
    vocabulary: VocabularyLike | None = None,
    cap: int | None = None,
    metrics: tuple[Any, ...] = (),
) -> InstructionTask:
    """Declares a task of Self-Instruct's rows; call `register()` on it to use it.

    Rows are seed tasks or user-oriented instructions (with "instances"), generated instances ("instruction", "input",
    "output"), or a model's raw records ("raw_instances").

    Args:
      place: see `flan_jax.tasks.formats.places.Place`.
      name: the task's name.
      layouts: "published" draws one of the authors' seven layouts with an input, or six without, for each example and
        pass; "plain" is the instruction and its input, a blank line between them.
      validation_rows: how many of the first rows become the validation split; None: a tenth of them, at most 50.
      on_bad_row: "error" or "skip"; None leaves it to who reads.
      vocabulary: as in `InstructionTask`.
      cap: as in `InstructionTask`.
      metrics: as in `InstructionTask`.

    Raises:
      UserError: there are no such layouts.
    """
    if layouts not in _LAYOUTS:
        raise UserError(f"layouts={layouts!r}; it is {' or '.join(_LAYOUTS)}{nearest(str(layouts), _LAYOUTS)}.")
    source = source_at(place, validation_rows, on_bad_row)
    how: Any = {"vocabulary": vocabulary, "cap": cap, "metrics": metrics, "templates": _LAYOUTS[layouts]}
    return declared(source, name, (), **how)


def declared(source: Any, name: str, columns: tuple[str, ...], **shared: Any) -> InstructionTask:
    """See `flan_jax.tasks.formats.files`."""
    how: Any = {
        "templates": PUBLISHED,
        "preprocess": SelfInstruct(),
        "trim_field": "input",
        "answer": "output",
        **shared,
    }
    return InstructionTask(name, source, **how)

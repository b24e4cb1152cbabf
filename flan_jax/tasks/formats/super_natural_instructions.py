"""Super-Natural Instructions: task files with a definition, positive and negative examples, categories and instances.

An instance of `task1562_zest_text_modification`, as Tk-Instruct words it by default:

    Definition: Paraphrase the given questions to have different wording. Your paraphrased questions should ...

     Positive Example 1 -
    Input: Does this dog breed have short legs compared to the rest of its body?
     Output: Is the body of this dog breed large compared to its legs?

     Positive Example 2 -
    ...

    Now complete the following example -
    Input: What unique features of this dog breed make them prone to disease or injury?
    Output:                -> What are the distinctive qualities of this dog breed that makes them injury prone?

The layout is that of Wang et al. (2022, "Super-NaturalInstructions"), blank for blank, so that published models read
what they were trained on. Where a prompt is too long examples are left out as there; then the instance's input is cut,
where Tk-Instruct cuts the prompt's end off.
"""

import dataclasses
import os
import string
from collections.abc import Mapping
from typing import Any

from flan_jax.tasks.formats.cells import is_nothing, text_in
from flan_jax.tasks.formats.instruction_folders import category_of, is_folder
from flan_jax.tasks.formats.places import Place, source_at
from flan_jax.tasks.formats.task_file_folders import TaskFiles
from flan_jax.tasks.instruction import InstructionTask
from flan_jax.tasks.instruction_metrics import CrossLingual
from flan_jax.tasks.sources import Row
from flan_jax.tasks.sources.task_files import TASK, head_of, task_file
from flan_jax.tasks.tally import BadRow
from flan_jax.tasks.templates import Template, text_of
from flan_jax.tasks.vocabularies import VocabularyLike

TEMPLATE = Template("{name}{definition}{examples}Now complete the following example -\nInput: {input}\nOutput: ")
INSTANCES = 100  # of a task, as Tk-Instruct trains on and is scored on


@dataclasses.dataclass(frozen=True)
class Encoding:
    """How much of a task's instruction stands before an instance.

    Attributes:
      name: whether the task's name does.
      definition: whether its definition does.
      positive: how many positive examples do.
      negative: how many negative ones do.
      explanations: whether examples are explained.
    """

    name: bool = False
    definition: bool = True
    positive: int = 0
    negative: int = 0
    explanations: bool = False

    def __call__(self, row: Row) -> Row:
        """The template's fields of a row.

        >>> row = {"Definition": "Say the plural", "input": "plum", "output": ["plums"]}
        >>> TEMPLATE.render({**Encoding()(row), "examples": "", "answer": "plums"})
        ('Definition: Say the plural.\\n\\nNow complete the following example -\\nInput: plum.\\nOutput: ', 'plums')
        """
        definition = _first_text(row, "Definition") if self.definition else ""
        return {
            "name": f"{text_in(row, TASK)}. " if self.name else "",
            "definition": f"Definition: {_ended(definition)}\n\n" if self.definition else "",
            "examples": [
                self._examples(row, "Positive", self.positive),
                self._examples(row, "Negative", self.negative),
            ],
            "input": _ended(text_in(row, "input")),
            "output": outputs_in(row),
        }

    def _examples(self, row: Row, kind: str, most: int) -> list[str]:
        found = (row.get(f"{kind} Examples") if most else None) or []
        if not isinstance(found, list):
            raise BadRow(f"{kind} Examples is a {type(found).__name__}; a list of examples is wanted")
        return [self._example(one, f"{kind} Example {number}") for number, one in enumerate(found[:most], 1)]

    def _example(self, example: Any, heading: str) -> str:
        if not isinstance(example, dict):
            raise BadRow(f"{heading} is {example!r}; an object with input and output is wanted")
        lines = [f" {heading} -", f"Input: {_ended(_first_text(example, 'input'))}"]
        lines.append(f" Output: {_ended(_first_text(example, 'output'))}")
        if self.explanations and not is_nothing(example.get("explanation")):
            lines.append(f" Explanation: {_ended(_first_text(example, 'explanation'))}")
        return "\n".join(lines) + "\n\n"


DEFAULT = Encoding(positive=2)
#: The other encodings that the paper compares, by what their tasks' names end in.
ENCODINGS: Mapping[str, Encoding] = {
    "task_name": Encoding(name=True, definition=False),
    "definition": Encoding(),
    "examples": Encoding(definition=False, positive=2),
    "one_positive": Encoding(positive=1),
    "four_positive": Encoding(positive=4),
    "negative": Encoding(positive=2, negative=2),
    "explanations": Encoding(positive=2, explanations=True),
    "negative_and_explanations": Encoding(positive=2, negative=2, explanations=True),
}
#: What Tk-Instruct draws among for each example, where one model is to heed them all; "" is the default.
DRAWN = ("definition", "examples", "", "negative", "explanations")


def super_natural_instructions(
    place: Place,
    name: str = "super_ni",
    *,
    instances: int | None = INSTANCES,
    validation_rows: int | None = None,
    gpt2: str | None = None,
    on_bad_row: str | None = None,
    vocabulary: VocabularyLike | None = None,
    cap: int | None = None,
) -> Any:
    """Declares the task of a task file, or the tasks and mixtures of a folder of them; call `register()` to use it.

    A task is worded by its definition and two positive examples; as NAME.ENCODING, for each of `ENCODINGS`, by more or
    less. Of a folder each file becomes the task NAME_STEM, its characters that names cannot have as `_`, and there are
    the mixtures

        NAME, NAME_test             the train and test tasks of `splits/default`; without such lists all files train
        NAME_CATEGORY               the train tasks of a category
        NAME_xlingual, NAME_xlingual_test   those of `splits/xlingual`
        any.ENCODING                the same in another encoding
        any.drawn_encodings         the same in the five encodings that Tk-Instruct draws among

    Args:
      place: a task file, or a pattern of such; a folder of them, as the official repository is one; or any source whose
        rows have the fields of a task file and of one of its instances.
      name: the task's name, or what the names of a folder's tasks and mixtures begin with.
      instances: the most instances of a task in training, drawn once and for all; None for all.
      validation_rows: how many of the first instances are kept from training to be scored: of a file, and of each file
        of a folder without lists, None for a tenth, at most 50 (of a folder's 10); of a test task of a folder with
        lists None for 100, as published, and the train tasks of such a folder keep none.
      gpt2: where GPT-2's tokenizer lies, by which the published scores of other languages are counted; see
        `flan_jax.tasks.instruction_metrics.CrossLingual`. Of a folder its own subfolder `gpt2`, where that is there.
      on_bad_row: "error" or "skip"; None leaves it to who reads.
      vocabulary: as in `InstructionTask`.
      cap: as in `InstructionTask`.

    Raises:
      UserError: there is no such file or folder, or no task files in it.
    """
    how: Any = {"vocabulary": vocabulary, "cap": cap, "on_bad_row": on_bad_row}
    if is_folder(place):
        return folder(place, name, instances=instances, validation_rows=validation_rows, gpt2=gpt2, **how)
    source = source_at(place, validation_rows, on_bad_row)
    return declared(source, name, (), gpt2=gpt2, instances=instances, **how)


def folder(
    place: Any,
    name: str,
    *,
    instances: int | None = INSTANCES,
    validation_rows: int | None = None,
    gpt2: str | None = None,
    **shared: Any,
) -> TaskFiles:
    """See `super_natural_instructions`, of a folder."""

    beside = os.path.join(place, "gpt2", "tokenizer.json")
    gpt2 = gpt2 or (beside if os.path.isfile(beside) else None)

    def of_file(path: str, task: str, splits: Mapping[str, str], tracks: frozenset[str]) -> InstructionTask:
        head = head_of(path, only=("Categories", "Output_language"))
        others = "xlingual" in tracks or ("default" not in tracks and not _is_english(head.get("Output_language")))
        drawn = {} if instances is None else {"train": instances}
        source = task_file(path, splits=splits, drawn=drawn, on_bad_row=shared.get("on_bad_row"))
        scores = CrossLingual(gpt2) if others else "super_ni"
        return _task(source, task, scores, category_of(head.get("Categories")), **shared)

    return TaskFiles(str(place), name, of_file, tuple(ENCODINGS), DRAWN, validation_rows, INSTANCES)


def declared(
    source: Any,
    name: str,
    columns: tuple[str, ...],
    *,
    gpt2: str | None = None,
    instances: int | None = None,
    **shared: Any,
) -> InstructionTask:
    """See `flan_jax.tasks.formats.files`."""
    files = source.files(source.splits[0]) if getattr(source, "patterns", ()) else []
    heads = [head_of(file, only=("Categories", "Output_language")) for file in files]
    if files and instances is not None:
        source = dataclasses.replace(source, drawn=(("train", instances),))
    categories = {category_of(head.get("Categories")) for head in heads}
    english = all(_is_english(head.get("Output_language")) for head in heads)
    category = categories.pop() if len(categories) == 1 else ""
    return _task(source, name, "super_ni" if english else CrossLingual(gpt2), category, **shared)


def _task(source: Any, name: str, metric: Any, category: str, **shared: Any) -> InstructionTask:
    return InstructionTask(
        name,
        source,
        templates=(dataclasses.replace(TEMPLATE, targets="{output}"),),
        answer="output",
        preprocess=DEFAULT,
        encodings=tuple(ENCODINGS.items()),
        worked="examples",
        several_answers=True,
        trim_field="input",
        metrics=(metric,),
        cluster=category,
        **shared,
    )


def outputs_in(row: Row) -> Any:
    """The right answers of an instance, each once, without empty ones and outer blanks; "" where all are empty.

    >>> outputs_in({"output": ["a", " a", ""]}), outputs_in({"output": "b"}), outputs_in({"output": [""]})
    (['a'], ['b'], '')

    Raises:
      BadRow: there is no output, or it is no text.
    """
    if "output" not in row:
        text_in(row, "output")
    given = row["output"] if isinstance(row["output"], list) else [row["output"]]
    texts = ["" if is_nothing(one) else text_of(one) for one in given]
    if not texts or None in texts:
        raise BadRow(f"output is {row['output']!r}; a text, or a list of texts, is wanted")
    return list(dict.fromkeys(text.strip() for text in texts if text and text.strip())) or ""


def _first_text(fields: Mapping[str, Any], key: str) -> str:
    """A text, or the first of a list of texts, as either schema has it."""
    value = fields.get(key)
    first = next(iter(value), None) if isinstance(value, list) else value
    text = None if is_nothing(first) else text_of(first)
    if text is None:
        raise BadRow(f"{key!r} is {value!r}; a text, or a list of texts, is wanted")
    return text


def _ended(text: str) -> str:
    """A text that ends in a full stop, where it ends in no punctuation."""
    text = text.strip()
    return text if text and text[-1] in string.punctuation else f"{text}."


def _is_english(language: Any) -> bool:
    given = language if isinstance(language, list) else [language]
    return all(is_nothing(one) or str(one).lower() in ("english", "en") for one in given)

"""Natural Instructions v1: task files with a title, a prompt, a definition, what to avoid, what to mind, and examples.

An instance of `subtask003_mctaco_question_generation_event_duration` under the whole of its instruction:

    Definition: In this task, we ask you to write a question that involves “event duration”, based on a given ...
    Prompt: Ask a question on "event duration" based on the provided sentence.
    Things to Avoid: Don't create questions which have explicit mentions of answers in text. ...
    Emphasis & Caution: The written questions are not required to have a single correct answer.
    Negative Example1-
    input: Sentence: He spent two hours on his homework.
    output: How long did he do his homework?
    reason: We DO NOT want this question, as the answer is directly mentioned in the text.
    Positive Example1-
    ...
    input: Sentence: ...
    output:

The layout is that of Mishra et al. (2022, "Cross-Task Generalization via Natural Language Crowdsourcing Instructions"),
whose code writes a suggestion on the line of its reason; here it has a line of its own. The title is in none of the
paper's encodings; NAME.with_title has it.
"""

import dataclasses
from collections.abc import Mapping
from typing import Any

from flan_jax.tasks.formats.cells import is_nothing, text_in
from flan_jax.tasks.formats.instruction_folders import is_folder
from flan_jax.tasks.formats.places import Place, source_at
from flan_jax.tasks.formats.super_natural_instructions import outputs_in
from flan_jax.tasks.formats.task_file_folders import TaskFiles
from flan_jax.tasks.instruction import InstructionTask
from flan_jax.tasks.sources import Row
from flan_jax.tasks.sources.task_files import task_file
from flan_jax.tasks.tally import BadRow
from flan_jax.tasks.templates import Template
from flan_jax.tasks.vocabularies import VocabularyLike

TEMPLATE = Template("{instruction}{examples}input: {input}\noutput:", "{output}")
_NOTHING = {"", "-"}
_PARTS = {
    "title": "Title",
    "definition": "Definition",
    "prompt": "Prompt",
    "avoid": "Things to Avoid",
    "emphasis": "Emphasis & Caution",
}


@dataclasses.dataclass(frozen=True)
class Parts:
    """Which parts of a task's instruction stand before an instance.

    Attributes:
      title: whether its title does.
      definition: whether its definition does.
      prompt: whether its prompt does, which says the task in a sentence.
      avoid: whether its things to avoid do.
      emphasis: whether its words of emphasis and caution do.
      negative: whether its negative examples do.
      positive: whether its positive examples do.
      explained: whether examples have headings, reasons and suggestions; else they are inputs and outputs alone.
    """

    title: bool = False
    definition: bool = True
    prompt: bool = True
    avoid: bool = True
    emphasis: bool = True
    negative: bool = True
    positive: bool = True
    explained: bool = True

    def __call__(self, row: Row) -> Row:
        """The template's fields of a row.

        >>> row = {"Prompt": "Say the plural. ", "Definition": "-", "input": "plum", "output": ["plums"]}
        >>> TEMPLATE.render({**Parts(avoid=False)(row), "examples": "", "output": "plums"})
        ('Prompt: Say the plural.\\ninput: plum\\noutput:', 'plums')
        """
        shown = [heading for part, heading in _PARTS.items() if getattr(self, part)]
        lines = [f"{heading}: {text}\n" for heading in shown if (text := _said(row, heading))]
        examples = row.get("Examples") or {}
        if not isinstance(examples, dict):
            raise BadRow(f"Examples is a {type(examples).__name__}; an object of positive and negative ones is wanted")
        return {
            "instruction": "".join(lines),
            "examples": [
                self._examples(examples, "Negative") if self.negative else [],
                self._examples(examples, "Positive") if self.positive else [],
            ],
            "input": text_in(row, "input"),
            "output": outputs_in(row),
        }

    def _examples(self, examples: Mapping[str, Any], kind: str) -> list[str]:
        found = examples.get(f"{kind} Examples") or []
        found = [one for one in (found if isinstance(found, list) else [found]) if not _is_mark(one)]
        return [self._example(one, f"{kind} Example{number}") for number, one in enumerate(found, 1)]

    def _example(self, example: Any, heading: str) -> str:
        if not isinstance(example, dict):
            raise BadRow(f"{heading} is {example!r}; an object with input and output is wanted")
        lines = [f"input: {text_in(example, 'input')}", f"output: {text_in(example, 'output')}"]
        if self.explained:
            said = [(key, _said(example, key)) for key in ("reason", "suggestion")]
            lines = [f"{heading}- ", *lines, *(f"{key}: {text}" for key, text in said if text)]
        return "\n".join(lines) + "\n"


_NONE = Parts(False, False, False, False, False, False, False)
_PROMPT = dataclasses.replace(_NONE, prompt=True)
_SHOWN = {"positive": True, "explained": False}
#: The encodings beside the full one by what their tasks' names end in: a part left out, and those the paper compares.
ENCODINGS: Mapping[str, Parts] = {
    "with_title": Parts(title=True),
    "without_definition": Parts(definition=False),
    "without_prompt": Parts(prompt=False),
    "without_things_to_avoid": Parts(avoid=False),
    "without_emphasis": Parts(emphasis=False),
    "without_negative_examples": Parts(negative=False),
    "without_positive_examples": Parts(positive=False),
    "without_examples": Parts(negative=False, positive=False),
    "without_explanations": Parts(negative=False, explained=False),
    "no_instruction": _NONE,
    "prompt": _PROMPT,
    "prompt_and_definition": dataclasses.replace(_PROMPT, definition=True),
    "prompt_and_things_to_avoid": dataclasses.replace(_PROMPT, avoid=True),
    "prompt_and_emphasis": dataclasses.replace(_PROMPT, emphasis=True),
    "prompt_and_examples": dataclasses.replace(_PROMPT, negative=True, positive=True),
    "prompt_and_positive_examples": dataclasses.replace(_PROMPT, **_SHOWN),
    "prompt_definition_and_positive_examples": dataclasses.replace(_PROMPT, definition=True, **_SHOWN),
    "positive_examples": dataclasses.replace(_NONE, **_SHOWN),
}


def natural_instructions(
    place: Place,
    name: str = "natural_instructions",
    *,
    validation_rows: int | None = None,
    on_bad_row: str | None = None,
    vocabulary: VocabularyLike | None = None,
    cap: int | None = None,
) -> Any:
    """Declares the task of a file of Natural Instructions v1, or the tasks of a folder; call `register()` to use it.

    A task is worded by the paper's full encoding; as NAME.ENCODING, for each of `ENCODINGS`, without a part of it, or
    by those that the paper compares it with. Of a folder each file becomes the task NAME_STEM, and NAME (and
    NAME.ENCODING) is the mixture of them all. They are scored by ROUGE-L, as in the paper, and by exact match.

    Args:
      place: a task file, or a pattern of such; a folder of them; or any source whose rows have the fields of a task
        file and of one of its instances.
      name: the task's name, or what the names of a folder's tasks begin with.
      validation_rows: how many of the first instances are kept from training to be scored; None for a tenth, at most
        50, and of each file of a folder for 10.
      on_bad_row: "error" or "skip"; None leaves it to who reads.
      vocabulary: as in `InstructionTask`.
      cap: as in `InstructionTask`.

    Raises:
      UserError: there is no such file or folder, or no task files in it.
    """
    how: Any = {"vocabulary": vocabulary, "cap": cap, "on_bad_row": on_bad_row}
    if is_folder(place):
        return folder(place, name, validation_rows=validation_rows, **how)
    return declared(source_at(place, validation_rows, on_bad_row), name, (), **how)


def folder(place: Any, name: str, *, validation_rows: int | None = None, **shared: Any) -> TaskFiles:
    """See `natural_instructions`, of a folder."""

    def of_file(path: str, task: str, splits: Mapping[str, str], tracks: frozenset[str]) -> InstructionTask:
        del tracks
        return declared(task_file(path, splits=splits, on_bad_row=shared.get("on_bad_row")), task, (), **shared)

    return TaskFiles(str(place), name, of_file, tuple(ENCODINGS), (), validation_rows)


def declared(source: Any, name: str, columns: tuple[str, ...], **shared: Any) -> InstructionTask:
    """See `flan_jax.tasks.formats.files`."""
    return InstructionTask(
        name,
        source,
        templates=(TEMPLATE,),
        answer="output",
        preprocess=Parts(),
        encodings=tuple(ENCODINGS.items()),
        worked="examples",
        worked_from="last",  # positive examples, which stand last, tell more
        several_answers=True,
        trim_field="input",
        metrics=("super_ni",),
        **shared,
    )


def _is_mark(value: Any) -> bool:
    """Whether it stands for nothing: "-", "- ", " "."""
    return is_nothing(value) or (isinstance(value, str) and value.strip() in _NOTHING)


def _said(fields: Mapping[str, Any], key: str) -> str:
    return "" if _is_mark(fields.get(key)) else text_in(dict(fields), key).strip()

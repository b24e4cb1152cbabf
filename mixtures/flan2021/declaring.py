"""What the tasks of FLAN 2021 have in common."""

from typing import Any

from flan_jax.tasks import Corpus, InstructionTask

TRAIN = 30_000  # training examples that are used of a data set
VALIDATION = 200
EXEMPLARS = (0, 16)  # of few-shot prompts, drawn for each

# Of options that are classes; those that differ from row to row are lettered too, as FLAN 2022 has them.
CLASSES = ("dashes", "stars", "line", "or", "slashes")
CHOICES = (*CLASSES, "numbers", "letters", "lettered_lines")
SENTENCES = ("dashes", "stars", "numbers", "letters", "lettered_lines")  # of options too long for one line
_EXEMPLARS = ("blank_lines", "question_answer", "input_output", "examples", "rules", "problem_solution")


def flan_task(name: str, cluster: str, source: Corpus, **fields: Any) -> InstructionTask:
    """An `InstructionTask` with what all of FLAN's have: options in drawn styles and order, few-shot prompts.

    Args:
      name: the task's.
      cluster: the folder that the file is in.
      source: the data set.
      **fields: all else that an `InstructionTask` takes.
    """
    # Of several right answers the first is learnt, as in its code; all of them count.
    shared: dict[str, Any] = {"draw_answer": False, "on_bad_row": "skip"}
    if (options := fields.get("options")) is not None:
        shared |= {"shuffle_options": True, "without_options": True}
        shared["option_styles"] = CHOICES if isinstance(options, str) else CLASSES
    if "train" in source.splits:
        shared |= {"few_shot": (EXEMPLARS,), "exemplar_styles": _EXEMPLARS}
    return InstructionTask(name=name, cluster=cluster, source=source, **{**shared, **fields})

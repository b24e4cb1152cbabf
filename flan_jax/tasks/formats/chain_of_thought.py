r"""Chain of thought: a question, its answer, and the reasoning that leads there.

    chain_of_thought("gsm8k_train.tsv", "gsm8k")
    chain_of_thought("ecqa.jsonl", "ecqa", rationale_first=0.5, answer_alone=0.1)

FLAN's files are TSV without a header, `question<TAB>answer<TAB>rationale`, in which "\n" stands for a line's end. A row
becomes "How much are two plums at 3?\nReason step by step, then give the answer." and "Two plums are 2 x 3 = 6.\nSo the
answer is 6."
"""

import dataclasses
import os
from collections.abc import Sequence
from typing import Any

from flan_jax.errors import UserError
from flan_jax.tasks.formats import recognition
from flan_jax.tasks.formats.cells import answers_in, text_in
from flan_jax.tasks.formats.places import Place, source_at
from flan_jax.tasks.instruction import InstructionTask
from flan_jax.tasks.sources import Row, readers
from flan_jax.tasks.tally import BadRow
from flan_jax.tasks.templates import Template
from flan_jax.tasks.vocabularies import VocabularyLike

# Each answer is told in a way that the metric "final_answer" reads.
RATIONALE_FIRST = (
    ("{question}\nReason step by step, then give the answer.", "{rationale}\nSo the answer is {answer}."),
    ("Question: {question}\nThink it through before you answer.\nThoughts:", "{rationale}\nAnswer: {answer}"),
    ("{question}\n\nWork this out in writing and end with your answer.", "{rationale}\nThe answer is {answer}."),
    ("Here is something to puzzle over.\n{question}\nShow how you reach a result.", "{rationale}\nAnswer: {answer}"),
    ("Q: {question}\nExplain first, conclude afterwards.\nA:", "{rationale}\nTherefore, the answer is {answer}."),
    (
        "Let the reader follow your reasoning on the way to an answer.\n\n{question}",
        "{rationale}\n\nFinal answer: {answer}",
    ),
    (
        "{question}\nWhat follows from what here? Conclude with the answer.",
        "{rationale}\nHence, the answer is {answer}.",
    ),
)
ANSWER_FIRST = (
    ("{question}\nAnswer, then say why.", "The answer is {answer}.\n{rationale}"),
    ("Question: {question}\nReply at once and justify it afterwards.", "Answer: {answer}\n{rationale}"),
    ("{question}\n\nWhich answer is right, and what speaks for it?", "The answer is {answer}.\n{rationale}"),
    ("Q: {question}\nGive an answer together with an explanation of it.\nA:", "Answer: {answer}\nBecause: {rationale}"),
    ("State your answer to this and defend it.\n\n{question}", "My answer is {answer}.\n{rationale}"),
    ("{question}\nStart with the result; the reasons come second.", "Answer: {answer}\nReasons: {rationale}"),
)
ANSWER_ALONE = (
    ("{question}\nGive only the answer.", "{answer}"),
    ("Question: {question}\nAnswer:", "{answer}"),
    ("Without any explanation, what is the answer to this?\n\n{question}", "{answer}"),
    ("Q: {question}\nA (no reasons, please):", "{answer}"),
    ("{question}\n\nReply briefly, with the answer and nothing else.", "{answer}"),
    ("Just answer this one.\n{question}", "{answer}"),
)
INVERTED = (
    ("{question}\nThe answer is {answer}. Why?", "{rationale}"),
    ("Question: {question}\nAnswer: {answer}\nWrite down the reasoning that leads there.", "{rationale}"),
    ('Somebody answered "{answer}" to the question below. Explain how one gets there.\n\n{question}', "{rationale}"),
    ("{rationale}\nSo the answer is {answer}.\n\nWhat was asked?", "{question}"),
    ("Find a question to which this is the solution.\n\n{rationale}\nAnswer: {answer}", "{question}"),
    ("Reasoning: {rationale}\nResult: {answer}\nThe question must have been:", "{question}"),
)


@dataclasses.dataclass(frozen=True)
class ChainOfThought:
    r"""Takes a question, its answer and its rationale.

    Attributes:
      columns: their columns.
      unescape: whether "\n" as two characters stands for a line's end, as in FLAN's TSV files.
    """

    columns: tuple[str, str, str] = ("question", "answer", "rationale")
    unescape: bool = False

    def __call__(self, row: Row) -> Row:
        r"""Fields "question", "answer" and "rationale" of a row.

        >>> row = {"question": r"Is it so?\n- yes\n- no", "answer": "no", "rationale": " It is not. "}
        >>> ChainOfThought(unescape=True)(row)["question"]
        'Is it so?\n- yes\n- no'
        """
        question, answer, rationale = self.columns
        found = {
            "question": self._text(text_in(row, question)),
            "answer": answers_in(row, answer),
            "rationale": self._text(text_in(row, rationale)),
        }
        for name, column in zip(("question", "rationale"), (question, rationale), strict=True):
            if not found[name]:
                raise BadRow(f"the column {column!r} is empty; text is wanted")
        if isinstance(found["answer"], str):
            found["answer"] = self._text(found["answer"])
        if not found["answer"]:
            raise BadRow(f"the column {answer!r} is empty; text is wanted")
        return found

    def _text(self, cell: str) -> str:
        return (cell.replace("\\n", "\n") if self.unescape else cell).strip()


def chain_of_thought(
    place: Place,
    name: str,
    *,
    rationale_first: bool | float = True,
    answer_alone: float = 0.0,
    columns: Sequence[str] = (),
    validation_rows: int | None = 0,
    on_bad_row: str | None = None,
    vocabulary: VocabularyLike | None = None,
    cap: int | None = None,
) -> InstructionTask:
    """Declares a task of questions, answers and rationales; call `register()` on it to use it.

    It is scored by the answer alone (`final_answer`). NAME.inverted asks for the rationale of an answer, or for the
    question, and NAME.with_inverted does so among the others.

    Args:
      place: see `flan_jax.tasks.formats.places.Place`; a TSV file without a header has the columns question, answer and
        rationale, with double quotes as characters like any other.
      name: the task's name.
      rationale_first: the share of examples that reason before they answer, True for all; the others answer first and
        give the rationale after. It is drawn for each example and draw.
      answer_alone: the share of examples, of all, that answer without a rationale.
      columns: what the columns of question, answer and rationale are called; empty where they have names known here
        (question, input or source; answer or target; rationale, explanation or chain_of_thought).
      validation_rows: how many of the first rows become the validation split; None: a tenth of them, at most 50.
      on_bad_row: "error" or "skip"; None leaves it to who reads.
      vocabulary: as in `InstructionTask`.
      cap: as in `InstructionTask`.

    Raises:
      UserError: a share is not between 0 and 1, or the file's columns are not known here.
    """
    for setting, share in (("rationale_first", rationale_first), ("answer_alone", answer_alone)):
        if not isinstance(share, bool | int | float) or not 0 <= share <= 1:
            raise UserError(f"{setting}={share!r}; a share from 0 to 1 is wanted.")
    if columns and len(columns) != 3:
        raise UserError(f"columns={tuple(columns)!r}; the question's, the answer's and the rationale's are wanted.")
    source = source_at(place, validation_rows, on_bad_row)
    if not columns and isinstance(place, str | os.PathLike) and hasattr(source, "reader"):
        columns = recognition.reasoned(source, place)
    how: Any = {"vocabulary": vocabulary, "cap": cap, "templates": _templates(float(rationale_first), answer_alone)}
    return declared(source, name, tuple(columns), **how)


def _templates(first: float, alone: float) -> tuple[Template, ...]:
    """The templates of each kind that has a share, each of a kind as often as the others of it."""
    shares = ((RATIONALE_FIRST, first * (1 - alone)), (ANSWER_FIRST, (1 - first) * (1 - alone)), (ANSWER_ALONE, alone))
    wanted = [(kind, share) for kind, share in shares if share > 0]
    if len(wanted) == 1:
        return tuple(Template(*texts) for texts in wanted[0][0])
    return tuple(Template(*texts, weight=share / len(kind)) for kind, share in wanted for texts in kind)


def declared(source: Any, name: str, columns: tuple[str, ...], **shared: Any) -> InstructionTask:
    """See `flan_jax.tasks.formats.files`."""
    reader = getattr(source, "reader", None)
    escaped = isinstance(reader, readers.Csv) and not reader.quoted
    question, answer, rationale = columns or ("question", "answer", "rationale")
    how: Any = {
        "templates": _templates(1.0, 0.0),
        "inverted_templates": INVERTED,
        "preprocess": ChainOfThought((question, answer, rationale), unescape=escaped),
        "metrics": ("final_answer",),
        "metric_field": "answer",
        "trim_field": "question",
        **shared,
    }
    return InstructionTask(name, source, **how)

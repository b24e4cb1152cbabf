"""SNLI: whether a sentence is true of a picture whose caption is known.

Photo caption: Two boys are kicking a ball on a beach.
Is this true of the photo, false, or undecided? The boys are brothers.
→ undecided
"""

from typing import Any

from flan_jax.mixtures.flan2021.declaring import flan_task
from flan_jax.tasks import Corpus, Hub, Template


def _labelled(row: dict[str, Any]) -> dict[str, Any] | None:
    """Leaves out the rows whose annotators did not agree, which have the label -1."""
    return row if row["label"] >= 0 else None


_SNLI = flan_task(
    name="snli",
    cluster="nli",
    source=Corpus(
        "snli",
        tfds="snli:1.1.0",
        hub=Hub("stanfordnlp/snli", "plain_text"),
        splits={"train": "train[:30000]", "validation": "validation[:200]", "test": "test"},
        rows={"train": 550_152, "validation": 10_000, "test": 10_000},
        sample={
            "premise": "Two boys are kicking a ball on a beach.",
            "hypothesis": "The boys are brothers.",
            "label": 1,
        },
    ),
    options=("true", "undecided", "false"),
    answer="label",
    preprocess=_labelled,
    templates=(
        "Photo caption: {premise}\nIs this true of the photo, false, or undecided? {hypothesis}",
        "{premise}\n\nJudge this statement about the scene: {hypothesis}\n{options}",
        "Caption: {premise}\nSentence: {hypothesis}\nAs far as the caption tells, is the sentence true?\n{options}",
        'We read in a picture book: "{premise}" A child says: "{hypothesis}" What do you make of what the child says?\n'
        "{options}",
        "Label the second sentence by what the first one says.\n1) {premise}\n2) {hypothesis}\n{options}",
        "{hypothesis}\nDecide whether that is so in the situation described here: {premise}\n{options}",
        "What we see: {premise}\nWhat is claimed: {hypothesis}\nWhat is the verdict on the claim?\n{options}",
        'Without guessing, rate the claim "{hypothesis}" against this description: {premise}\n{options}',
        "Picture this: {premise} What would you call the statement that follows? {hypothesis}\n{options}",
        "I was told what is in a photo: {premise} Sort my guess about it into the right class: {hypothesis}\n{options}",
    ),
    inverted_templates=(
        (
            "A photo shows this: {premise}\nWrite a short sentence on it that, going by this alone, is {answer}.",
            "{hypothesis}",
        ),
        (
            "{hypothesis}\n\nDescribe a scene in one sentence so that the truth of the line above is: {answer}",
            "{premise}",
        ),
        Template(
            "Describe in one sentence a photo of people or animals that are up to something.", "{premise}", "open"
        ),
    ),
    held_out_templates=(
        "| scene | statement | verdict |\n|---|---|---|\n| {premise} | {hypothesis} | ? |\n\nFill in the verdict.\n"
        "{options}",
        "Welcome to the quiz! All that you get to hear is: {premise} Now quick: true, false or undecided? {hypothesis}",
    ),
)

TASKS = (_SNLI,)

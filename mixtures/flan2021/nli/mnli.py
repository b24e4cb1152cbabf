"""MultiNLI (GLUE): whether a sentence is true, given one from speech or writing of many kinds.

We missed the last bus and had to walk all the way home.
If that is so, is this true as well? They went home on foot.
OPTIONS:
- yes
- maybe
- no
→ yes
"""

from flan_jax.mixtures.flan2021.declaring import flan_task
from flan_jax.tasks import Corpus, Hub, InstructionTask

_SAMPLE = {
    "premise": "We missed the last bus and had to walk all the way home.",
    "hypothesis": "They went home on foot.",
    "label": 0,
    "idx": 0,
}
_TEMPLATES = (
    "{premise}\nIf that is so, is this true as well? {hypothesis}\n{options}",
    'Somebody says: "{premise}"\nFrom that, would you agree with the next sentence?\n"{hypothesis}"\n{options}',
    "First sentence: {premise}\nSecond sentence: {hypothesis}\n\nSuppose the first is true. Is the second?\n{options}",
    "Is it right to say the following?\n{hypothesis}\nYou know this much: {premise}\n{options}",
    "Here is a line from a talk or a document.\n\n{premise}\n\nJudging by it, is the next one true? {hypothesis}\n"
    "{options}",
    "{premise}\n\nSo, in other words: {hypothesis}\nHave I understood that correctly?\n{options}",
    "Given: {premise}\nIn question: {hypothesis}\nIs it true?\n{options}",
    "Tell me whether what stands in brackets is true of the situation described. {premise} [{hypothesis}]\n{options}",
    'Say "yes" if B has to be true given A, "no" if A rules B out, and "maybe" otherwise.\nA: {premise}\nB: '
    "{hypothesis}",
    'Notes on the remark "{premise}":\n- {hypothesis}\n\nAre the notes accurate?\n{options}',
)
_INVERTED = (
    (
        '{premise}\n\nWrite a sentence so that, given the above, the answer to "Is it true?" is "{answer}".',
        "{hypothesis}",
    ),
    ("Premise: {premise}\nIs the hypothesis true if the premise is? {answer}\nHypothesis:", "{hypothesis}"),
    (
        'Make up a remark. Whoever hears it and is asked whether the following is true should reply "{answer}".\n'
        "{hypothesis}",
        "{premise}",
    ),
)
_HELD_OUT = (
    "Imagine that you are a witness who knows one thing only: {premise} The lawyer asks you if this is true: "
    "{hypothesis} How do you reply?\n{options}",
    'P = "{premise}"\nQ = "{hypothesis}"\nAssume P. Is Q true?\n{options}',
)


def _mnli(kind: str) -> InstructionTask:
    """The task whose test rows are of the kinds of text that training has ("matched") or of others ("mismatched")."""
    return flan_task(
        name=f"mnli_{kind}",
        cluster="nli",
        source=Corpus(
            f"mnli_{kind}",
            tfds="glue/mnli:2.0.0",
            hub=Hub("nyu-mll/glue", "mnli"),
            splits={"train": "train[:30000]", "validation": "train[-200:]", "test": f"validation_{kind}"},
            rows={"train": 392_702, "validation_matched": 9_815, "validation_mismatched": 9_832},
            sample=_SAMPLE,
        ),
        options=("yes", "maybe", "no"),
        answer="label",
        templates=_TEMPLATES,
        inverted_templates=_INVERTED,
        held_out_templates=_HELD_OUT,
    )


TASKS = (_mnli("matched"), _mnli("mismatched"))

"""WinoGrande: which of two words fills the blank of a sentence.

Fill in the blank (_): Nora lent Ida her coat because _ was freezing.
OPTIONS:
- Nora
- Ida
→ Ida
"""

from flan_jax.mixtures.flan2021.declaring import flan_task
from flan_jax.tasks import Corpus, Hub
from flan_jax.tasks.sources import Row


def _tfds_row(row: Row) -> Row:
    same = {name: row[name] for name in ("sentence", "option1", "option2")}
    return {**same, "label": int(row["answer"] or 0) - 1}


def _fields(row: Row) -> Row | None:
    if row["label"] < 0:
        return None
    before, _, after = row["sentence"].partition("_")
    choices = [row["option1"], row["option2"]]
    return {**row, "before": before, "after": after, "choices": choices, "other": choices[1 - row["label"]]}


_SAME = {"sentence": "Nora lent Ida her coat because _ was freezing.", "option1": "Nora", "option2": "Ida"}

_WINOGRANDE = flan_task(
    name="winogrande",
    cluster="coreference",
    source=Corpus(
        "winogrande",
        tfds="winogrande:1.2.0",
        hub=Hub(
            "allenai/winogrande",
            "winogrande_xl",
            splits={"train_xl": "train"},
            row=_tfds_row,
            sample={**_SAME, "answer": "2"},
        ),
        splits={"train": "train_xl[:30000]", "validation": "train_xl[-200:]", "test": "validation"},
        rows={"train_xl": 40_398, "validation": 1267},
        sample={**_SAME, "label": 1},
    ),
    preprocess=_fields,
    options="choices",
    answer="label",
    chance=0.5,
    templates=(
        "Fill in the blank (_): {sentence}\n{options}",
        "{sentence}\nWhat does the underscore stand for?\n{options}",
        "Which word or name makes sense in place of the _?\n\n{sentence}\n\n{options}",
        'Part of the text is hidden: "{sentence}" What is behind the "_"?\n{options}',
        "Complete the sentence.\nSentence: {sentence}\nMissing:\n{options}",
        "The ink has run, and something is unreadable now:\n{before}###{after}\nCan you restore it?\n{options}",
        "Choose what belongs in the gap. {before}____{after}\n{options}",
        'Somebody mumbled as they spoke: "{before}...{after}" What did they mean?\n{options}',
        "{sentence}\n\nUse your knowledge of the world to decide what goes where the _ is.\n{options}",
    ),
    inverted_templates=(
        ('Write a sentence with a gap (_) which "{answer}" fits and "{other}" does not.', "{sentence}"),
        (
            "I teach English. Make an exercise with one blank, shown as _, for me.\nWords to choose from: {choices}\n"
            "Solution: {answer}",
            "{sentence}",
        ),
    ),
    held_out_templates=(
        "Answer key\n1. {sentence}\n   _ = ?\n{options}",
        'The radio crackled for a moment: "{before}*kkrrsh*{after}" Tell the captain what was said there.\n{options}',
    ),
)

TASKS = (_WINOGRANDE,)

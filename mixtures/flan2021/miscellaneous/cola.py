"""CoLA (GLUE): whether a sentence is acceptable English.

Is this sentence acceptable English?
The letter was put by the clerk.
OPTIONS:
- unacceptable
- acceptable
→ unacceptable
"""

from flan_jax.mixtures.flan2021.declaring import flan_task
from flan_jax.tasks import Corpus, Hub

_COLA = flan_task(
    name="cola",
    cluster="miscellaneous",
    source=Corpus(
        "cola",
        tfds="glue/cola:2.0.0",
        hub=Hub("nyu-mll/glue", "cola", is_sorted=True),  # by the books that they are from
        splits={"train": "train[:-200]", "validation": "train[-200:]", "test": "validation"},
        rows={"train": 8551, "validation": 1043},
        sample={"sentence": "The letter was put by the clerk.", "label": 0, "idx": 0},
    ),
    options=("unacceptable", "acceptable"),
    answer="label",
    metrics=("matthews", "accuracy"),
    templates=(
        "Is this sentence acceptable English?\n{sentence}\n{options}",
        "{sentence}\n\nHow would native speakers of English judge that?\n{options}",
        "A linguist puts a star before sentences that no one would say. This one has just reached her: {sentence}\n"
        "What is her verdict?\n{options}",
        'Judge the grammar of "{sentence}"\n{options}',
        "Sentence: {sentence}\nGrammar:\n{options}",
        "I found this in a student's essay. May it stay as it is, or is it bad English?\n\n{sentence}\n\n{options}",
        "Decide whether the words below make up a well-formed sentence.\n{sentence}\n{options}",
        "Rate as acceptable or unacceptable: {sentence}\n{options}",
        "{sentence} <- Do the rules of English allow this?\n{options}",
    ),
    inverted_templates=(
        ("Give me a sentence that is grammatically {answer}.", "{sentence}"),
        (
            "I am collecting examples for a lecture on syntax. Now I need a short one that speakers find {answer}. "
            "What do you suggest?",
            "{sentence}",
        ),
    ),
    held_out_templates=(
        'You know English well. Does "{sentence}" sound right to you, or is something off?\n{options}',
        "Grammaticality judgements\nitem 1: {sentence}\njudgement 1: ?\n{options}",
    ),
)

TASKS = (_COLA,)

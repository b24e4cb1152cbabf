"""RTE (SuperGLUE): whether a second text follows from a first.

The old mill by the river was turned into a library in 1998.
Does it follow that "The town has a library."?
OPTIONS:
- yes
- no
→ yes
"""

from flan_jax.mixtures.flan2021.declaring import flan_task
from flan_jax.tasks import Corpus, Hub

_RTE = flan_task(
    name="rte",
    cluster="nli",
    source=Corpus(
        "rte",
        tfds="super_glue/rte:1.0.2",
        hub=Hub("aps/super_glue", "rte"),
        splits={"train": "train[:-200]", "validation": "train[-200:]", "test": "validation"},
        rows={"train": 2490, "validation": 277},
        sample={
            "premise": "The old mill by the river was turned into a library in 1998.",
            "hypothesis": "The town has a library.",
            "label": 0,
            "idx": 0,
        },
    ),
    options=("yes", "no"),
    answer="label",
    templates=(
        '{premise}\nDoes it follow that "{hypothesis}"?\n{options}',
        "Read the text and say whether the sentence below it must then be true.\n\nText: {premise}\nSentence: "
        "{hypothesis}\n\n{options}",
        "Suppose this is all we know: {premise}\n\nMay we conclude the following? {hypothesis}\n{options}",
        "{hypothesis}\n\nIs that backed up by what comes next? {premise}\n{options}",
        "Premise: {premise}\nConclusion: {hypothesis}\nIs the conclusion sound?\n{options}",
        'A friend tells you: {premise}\nYou reply: "{hypothesis}"\nAre you right to say so?\n{options}',
        "Decide if the second statement is implied by the first one.\n1) {premise}\n2) {hypothesis}\n{options}",
        "News item: {premise}\nWould a careful reader of it accept this claim? {hypothesis}\n{options}",
        "{premise} Therefore: {hypothesis} Is this reasoning valid?\n{options}",
    ),
    inverted_templates=(
        ('{premise}\nWrite a sentence for which the answer to "does it follow?" is {answer}.', "{hypothesis}"),
    ),
    held_out_templates=(
        'Here is a passage.\n{premise}\nCan one infer "{hypothesis}" from it?\n{options}',
        'Taking "{premise}" as a fact, is "{hypothesis}" a fact as well?\n{options}',
    ),
)

TASKS = (_RTE,)

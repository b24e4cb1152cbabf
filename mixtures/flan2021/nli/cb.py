"""CommitmentBank (SuperGLUE): whether a speaker takes what is mentioned to be so.

A: Did you go to the market? B: Yes, but I don't think that the fish was fresh.

Does the speaker hold that the fish was fresh?
OPTIONS:
- yes
- no
- unclear
→ no
"""

from flan_jax.mixtures.flan2021.declaring import flan_task
from flan_jax.tasks import Corpus, Hub

_CB = flan_task(
    name="cb",
    cluster="nli",
    source=Corpus(
        "cb",
        tfds="super_glue/cb:1.0.2",
        hub=Hub("aps/super_glue", "cb"),
        splits={"train": "train[:-50]", "validation": "train[-50:]", "test": "validation"},
        rows={"train": 250, "validation": 56},
        sample={
            "premise": "A: Did you go to the market? B: Yes, but I don't think that the fish was fresh.",
            "hypothesis": "the fish was fresh",
            "label": 1,
            "idx": 0,
        },
    ),
    options=("yes", "no", "unclear"),
    answer="label",
    metrics=("accuracy", "macro_f1"),
    trim_field="premise",
    templates=(
        "{premise}\n\nDoes the speaker hold that {hypothesis}?\n{options}",
        "Read this and tell me: is it a fact that {hypothesis}?\n{premise}\n{options}",
        "Passage: {premise}\nQuestion: Is it the case that {hypothesis}?\nAnswer by the passage.\n{options}",
        "Somebody wrote the lines below. Would the writer agree that {hypothesis}?\n\n{premise}\n\n{options}",
        'The view in question is "{hypothesis}". Does the author share it? Judge by this: {premise}\n{options}',
        "{premise}\n\nAfter that, may I take it that {hypothesis}?\n{options}",
        "Claim: {hypothesis}\nContext: {premise}\nGiven the context, is the claim true?\n{options}",
        "Follow closely what is said here.\n{premise}\nDoes it turn out that {hypothesis}?\n{options}",
        'A reader takes away from a text that "{hypothesis}". Is the reader right?\nThe text: {premise}\n{options}',
        "What do you gather from the text on whether {hypothesis}?\nText: {premise}\n{options}",
    ),
    inverted_templates=(
        (
            "{premise}\n\nMake a short statement that this passage touches on. Does the speaker believe it? {answer}",
            "{hypothesis}",
        ),
        (
            'Write a few lines of talk or prose. Those who read them and are asked whether {hypothesis} should say "'
            '{answer}".',
            "{premise}",
        ),
    ),
    held_out_templates=(
        "Finish the dialogue with Bea's reply.\n{options}\n\nAnn: Listen to this: {premise}\nBea: I see.\nAnn: So is "
        "it true that {hypothesis}?\nBea:",
        "From a detective's notebook. Evidence: {premise} Still to be settled: whether {hypothesis}. What is the "
        "conclusion?\n{options}",
    ),
)

TASKS = (_CB,)

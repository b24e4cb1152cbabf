"""Opinion Abstracts, iDebate: the claim that an argument in a debate supports.

1. Children learn to swim at school or not at all.
2. Lessons cost a family more than many can pay.
3. Drownings fell in every town that opened a school pool.

What single claim do these arguments support?
→ Swimming lessons at school save lives.
"""

from typing import Any

from flan_jax.mixtures.flan2021.declaring import flan_task
from flan_jax.tasks import Corpus

_ARGUMENTS = 10  # as many as are shown


def _argument(row: dict[str, Any]) -> dict[str, Any] | None:
    sentences = [sentence.strip() for sentence in row["_argument_sentences"]["value"] if sentence.strip()]
    debate, claim = row["_debate_name"].strip(), row["_claim"].strip()
    if not sentences or not debate or not claim:
        return None
    numbered = [f"{number}. {sentence}" for number, sentence in enumerate(sentences[:_ARGUMENTS], 1)]
    return {"debate": debate, "arguments": "\n".join(numbered), "claim": claim}


_IDEBATE = flan_task(
    name="opinion_abstracts_idebate",
    cluster="summarization",
    source=Corpus(
        "opinion_abstracts_idebate",
        tfds="opinion_abstracts/idebate:1.0.0",
        splits={"train": "train[:-600]", "validation": "train[-600:-500]", "test": "train[-500:]"},
        rows={"train": 2259},
        sample={
            "_debate_name": "This House would teach swimming in every school",
            "_claim_id": "0_1",
            "_claim": "Swimming lessons at school save lives.",
            "_argument_sentences": {
                "key": ["1", "2", "3"],
                "value": [
                    "Children learn to swim at school or not at all.",
                    "Lessons cost a family more than many can pay.",
                    "Drownings fell in every town that opened a school pool.",
                ],
            },
        },
    ),
    preprocess=_argument,
    answer="claim",
    metrics=("rouge",),
    templates=(
        "{arguments}\n\nWhat single claim do these arguments support?",
        "Debate: {debate}\nPoints made by one side:\n{arguments}\nMain claim:",
        'The motion is "{debate}". Write the thesis that the sentences below argue for.\n\n{arguments}',
        "Sum up this line of reasoning in one sentence.\n{arguments}",
        "What is the speaker trying to prove?\n\n{arguments}",
        'My notes from a discussion of "{debate}":\n{arguments}\n\nState briefly what they come down to.',
        "Give the following argument a heading that says what is being asserted.\n\n{arguments}",
        "{debate}\n\n{arguments}\n\nFind the idea that ties it all together.",
    ),
    inverted_templates=(
        ("List arguments for this claim and number them: {answer}", "{arguments}"),
        ('In a debate on "{debate}", somebody says: {answer}\nHow might they back it up?', "{arguments}"),
        ("At which debate could you hear this? {answer}", "{debate}"),
    ),
    held_out_templates=(
        "Premises\n========\n{arguments}\n\nConclusion\n==========",
        'A debater took the floor on "{debate}" and made the remarks listed here. Which position did she take?\n\n'
        "{arguments}",
    ),
)

TASKS = (_IDEBATE,)

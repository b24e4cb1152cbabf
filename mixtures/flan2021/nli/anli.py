"""ANLI, rounds 1 to 3: whether a claim about a passage, written so as to mislead models, is true.

The lighthouse was built in 1871. It was closed to visitors after a storm in 1954.

Going by this text alone, is the following claim true? Visitors have been able to climb the lighthouse since 1954.
OPTIONS:
- yes
- unknown
- no
→ no
"""

from typing import Any

from flan_jax.mixtures.flan2021.declaring import TRAIN, flan_task
from flan_jax.tasks import Corpus, Hub, InstructionTask

_SAMPLE = {
    "context": "The lighthouse was built in 1871. It was closed to visitors after a storm in 1954.",
    "hypothesis": "Visitors have been able to climb the lighthouse since 1954.",
    "label": 2,
    "uid": "made-up-1",
}
_HUB_SAMPLE = {
    "premise": _SAMPLE["context"],
    "hypothesis": _SAMPLE["hypothesis"],
    "label": 2,
    "uid": "made-up-1",
    "reason": "It was closed that year.",
}
_TEMPLATES = (
    "{context}\n\nGoing by this text alone, is the following claim true? {hypothesis}\n{options}",
    "Source: {context}\nClaim: {hypothesis}\nIs the claim correct according to the source?\n{options}",
    'Judge the sentence "{hypothesis}" by nothing but this passage. Is it right?\n\n{context}\n\n{options}',
    "I just read the following.\n{context}\nA friend of mine now says: {hypothesis}\nIs my friend right?\n{options}",
    "{hypothesis}\n\nIs that so? Here is all there is to go on: {context}\n{options}",
    "You check facts for a newspaper. The archive has this:\n\n{context}\n\nA reporter wrote: {hypothesis}\nDid the "
    "reporter get it right?\n{options}",
    "Text:\n{context}\n\nStatement:\n{hypothesis}\n\nDoes the statement hold?\n{options}",
    'Take every word of this passage as true.\n{context}\nIs "{hypothesis}" then true too, or does the passage leave '
    "that open?\n{options}",
    "{context}\n\nThe next line may be a trick, so read it with care. Is it true?\n{hypothesis}\n{options}",
    "Answer from the passage and not from what you know of the world: is this a true statement?\n{hypothesis}\n"
    "Passage: {context}\n{options}",
)
_INVERTED = (
    (
        '{context}\n\nWrite a sentence about this text. Asked "Is it true?", a reader should say: {answer}',
        "{hypothesis}",
    ),
    (
        'Invent a statement for a quiz on the text below. By the key, the answer to whether it is true is "{answer}".'
        "\n\n{context}",
        "{hypothesis}",
    ),
    (
        'Write a short passage. A reader who is then asked "{hypothesis} Is that true?" should reply "{answer}".',
        "{context}",
    ),
)
_HELD_OUT = (
    "# Document\n{context}\n# Assertion\n{hypothesis}\n# Is the assertion true?\n{options}",
    "A judge has one piece of evidence: {context} She is asked whether this is true: {hypothesis} What does she rule?\n"
    "{options}",
)


def _of_hub(row: dict[str, Any]) -> dict[str, Any]:
    return {
        "context": row["premise"],
        "hypothesis": row["hypothesis"],
        "label": row["label"],
        "uid": row["uid"],
    }


def _round(number: int, train: int, others: int) -> InstructionTask:
    """The task of a round, given how many rows it has for training, and for validation and test each."""
    splits = {"train": f"train_r{number}", "validation": f"dev_r{number}", "test": f"test_r{number}"}
    return flan_task(
        name=f"anli_r{number}",
        cluster="nli",
        source=Corpus(
            f"anli_r{number}",
            tfds=f"anli/r{number}:0.1.0",
            hub=Hub("facebook/anli", "plain_text", splits=splits, row=_of_hub, sample=_HUB_SAMPLE),
            splits={
                "train": f"train[:{TRAIN}]" if train > TRAIN else "train",
                "validation": "validation[:200]",
                "test": "test",
            },
            rows={"train": train, "validation": others, "test": others},
            sample=_SAMPLE,
        ),
        options=("yes", "unknown", "no"),
        answer="label",
        trim_field="context",
        templates=_TEMPLATES,
        inverted_templates=_INVERTED,
        held_out_templates=_HELD_OUT,
    )


TASKS = (_round(1, 16_946, 1_000), _round(2, 45_460, 1_000), _round(3, 100_459, 1_200))

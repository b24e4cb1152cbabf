"""OpenOrca (Lian et al., 2023): questions of the Flan collection, answered by GPT-4 or GPT-3.5 under a system prompt.

System: You are a teacher who explains each step.
User: Is 51 a prime number?
Assistant: The sum of its digits is 6, which 3 divides, so 3 divides 51. It is not a prime number.

    Data.corpora = {"open_orca": "1M-GPT4-Augmented.parquet"}
"""

from flan_jax.tasks import Corpus, Hub, alpaca

TASKS = (
    alpaca(
        Corpus(
            "open_orca",
            hub=Hub("Open-Orca/OpenOrca"),
            splits={"train": "train[50:]", "validation": "train[:50]"},
            get="1M-GPT4-Augmented.parquet of Open-Orca/OpenOrca on the hub, MIT",
            sample={
                "id": "cot.1",
                "system_prompt": "You are a teacher who explains each step.",
                "question": "Is 51 a prime number?",
                "response": "The sum of its digits is 6, which 3 divides, so 3 divides 51. It is not a prime number.",
            },
        ),
        "open_orca",
        as_chat=True,
    ).register(),
)

"""Dolly (Databricks, 2023): 15,011 instructions of eight kinds that people wrote, some about a passage, and answered.

When was the bridge opened?

The bridge over the strait took six years to build and was opened in 1973.
→ In 1973.

    Data.corpora = {"dolly": "databricks-dolly-15k.jsonl"}
"""

from flan_jax.tasks import Corpus, Hub, alpaca

TASKS = (
    alpaca(
        Corpus(
            "dolly",
            hub=Hub("databricks/databricks-dolly-15k"),
            splits={"train": "train[50:]", "validation": "train[:50]"},
            get="databricks-dolly-15k.jsonl of databricks/databricks-dolly-15k on the hub, CC BY-SA 3.0",
            sample={
                "instruction": "When was the bridge opened?",
                "context": "The bridge over the strait took six years to build and was opened in 1973.",
                "response": "In 1973.",
                "category": "closed_qa",
            },
        ),
        "dolly",
    ).register(),
)

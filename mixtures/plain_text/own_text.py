"""Text of your own: files of text, by their paragraphs, or rows that have a "text".

My grandmother kept bees. Every morning she walked down to the hives ...

Say where it lies: Data.corpora = {"own_text": "books/*.txt"}, or "pages/*.jsonl", "pages/*.parquet". The first 50 rows
are kept for validation.
"""

from flan_jax.mixtures.plain_text.objectives import text_tasks
from flan_jax.tasks import Corpus

_SAMPLE = {
    "text": "My grandmother kept bees. Every morning she walked down to the hives with a pot of tea, sat on the wall "
    "and told them the news: who had married, who had died, and what the milk cost now. A hive that is told nothing, "
    "she said, flies off in the spring."
}

TASKS = tuple(
    task.register()
    for task in text_tasks(
        Corpus(
            "own_text",
            splits={"train": "train[50:]", "validation": "train[:50]"},
            sample=_SAMPLE,
            get="text of your own: books/*.txt, or rows with a text, pages/*.jsonl",
        )
    )
)

"""What the data sets of GEM have in common."""

from flan_jax.mixtures.flan2021.declaring import TRAIN, VALIDATION
from flan_jax.tasks.sources import Row

# The test rows of some have no texts, so GEM's validation is the test here.
SPLITS = {"train": f"train[:{TRAIN}]", "validation": f"train[-{VALIDATION}:]", "test": "validation"}


def texts_of(row: Row) -> list[str]:
    """All right texts of a row, the target first. Rows to train on have it alone, others also further references.

    >>> texts_of({"target": "A dog runs.", "references": ["A dog runs.", "Dogs run.", ""]})
    ['A dog runs.', 'Dogs run.']
    """
    return [text for text in dict.fromkeys([row["target"], *row["references"]]) if text.strip()]

"""The English side of ParaCrawl's Danish part, of which the tasks that restore a text's form have a part each."""

from flan_jax.mixtures.flan2021.declaring import TRAIN, VALIDATION
from flan_jax.tasks import Corpus, Hub
from flan_jax.tasks.sources import Row

_SAMPLE = {
    "en": "In May, the old Café Nord opened again; it's been full ever since!",
    "da": "I maj åbnede den gamle Café Nord igen; den har været fuld lige siden!",
}


def _from_hub(row: Row) -> Row:
    return dict(row["translation"])


def english_lines(name: str, part: int) -> Corpus:
    """Lines for training and validation that no other part has; all parts are tested on the same 3,000.

    Args:
      name: the corpus's.
      part: 0, 1, 2, …
    """
    start = part * (TRAIN + VALIDATION)
    end = start + TRAIN
    return Corpus(
        name,
        tfds="para_crawl/enda:1.2.0",
        hub=Hub("ParaCrawl/para_crawl", "enda", row=_from_hub, sample={"translation": _SAMPLE}, is_sorted=True),
        splits={
            "train": f"train[{start}:{end}]",
            "validation": f"train[{end}:{end + VALIDATION}]",
            "test": "train[-3000:]",
        },
        rows={"train": 2_414_895},
        sample=_SAMPLE,
    )

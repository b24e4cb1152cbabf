"""WMT 2014, English and French: sentences from parallel corpora, news for evaluation.

English: The price of bread has doubled in ten years.
French:
→ Le prix du pain a doublé en dix ans.
"""

from flan_jax.mixtures.flan2021.translation.templates import WMT_SPLITS, hub_pair, translation_task
from flan_jax.tasks import Corpus, Hub

_SAMPLE = {"fr": "Le prix du pain a doublé en dix ans.", "en": "The price of bread has doubled in ten years."}
_TASK = translation_task(
    "wmt14_enfr",
    "fr",
    "French",
    Corpus(
        "wmt14_enfr",
        tfds="wmt14_translate/fr-en:1.0.0",
        # Parquet itself, and too big for the hub's own copy, which has a part of it. Its rows lie sorted by where they
        # are from, yet loading all of 40 million to draw from would cost more than it gives.
        hub=Hub("wmt/wmt14", "fr-en", revision="main", row=hub_pair, sample={"translation": _SAMPLE}),
        splits=WMT_SPLITS,
        rows={"train": 40_836_715, "validation": 3000, "test": 3003},
        sample=_SAMPLE,
    ),
)

TASKS = (_TASK,)

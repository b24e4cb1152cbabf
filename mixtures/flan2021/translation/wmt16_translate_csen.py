"""WMT 2016, English and Czech: sentences from parallel corpora, news for evaluation.

English: The library is closed on Mondays.
Czech:
→ Knihovna je v pondělí zavřená.
"""

from flan_jax.mixtures.flan2021.translation.templates import WMT_SPLITS, hub_pair, translation_task
from flan_jax.tasks import Corpus, Hub

_SAMPLE = {"cs": "Knihovna je v pondělí zavřená.", "en": "The library is closed on Mondays."}
_TASK = translation_task(
    "wmt16_translate_csen",
    "cs",
    "Czech",
    Corpus(
        "wmt16_translate_csen",
        tfds="wmt16_translate/cs-en:1.0.0",
        hub=Hub("wmt/wmt16", "cs-en", row=hub_pair, sample={"translation": _SAMPLE}, is_sorted=True),
        splits=WMT_SPLITS,
        rows={"train": 52_335_651, "validation": 2656, "test": 2999},
        sample=_SAMPLE,
        gone=("tfds",),  # wants a part that must be fetched by hand
    ),
)

TASKS = (_TASK,)

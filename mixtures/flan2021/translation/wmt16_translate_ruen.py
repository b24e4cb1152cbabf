"""WMT 2016, English and Russian: sentences from parallel corpora, news for evaluation.

English: The museum opened its doors in spring.
Russian:
→ Музей открыл свои двери весной.
"""

from flan_jax.mixtures.flan2021.translation.templates import WMT_SPLITS, hub_pair, translation_task
from flan_jax.tasks import Corpus, Hub

_SAMPLE = {"ru": "Музей открыл свои двери весной.", "en": "The museum opened its doors in spring."}
_TASK = translation_task(
    "wmt16_translate_ruen",
    "ru",
    "Russian",
    Corpus(
        "wmt16_translate_ruen",
        tfds="wmt16_translate/ru-en:1.0.0",
        hub=Hub("wmt/wmt16", "ru-en", row=hub_pair, sample={"translation": _SAMPLE}, is_sorted=True),
        splits=WMT_SPLITS,
        rows={"train": 2_516_162, "validation": 2818, "test": 2998},
        sample=_SAMPLE,
        gone=("tfds",),  # wants a part that must be fetched by hand
    ),
)

TASKS = (_TASK,)

"""WMT 2016, English and Turkish: sentences from parallel corpora, news for evaluation.

English: The ministers meet again on Friday.
Turkish:
→ Bakanlar cuma günü yeniden toplanıyor.
"""

from flan_jax.mixtures.flan2021.translation.templates import WMT_SPLITS, hub_pair, translation_task
from flan_jax.tasks import Corpus, Hub

_SAMPLE = {"tr": "Bakanlar cuma günü yeniden toplanıyor.", "en": "The ministers meet again on Friday."}
_TASK = translation_task(
    "wmt16_translate_tren",
    "tr",
    "Turkish",
    Corpus(
        "wmt16_translate_tren",
        tfds="wmt16_translate/tr-en:1.0.0",
        hub=Hub("wmt/wmt16", "tr-en", row=hub_pair, sample={"translation": _SAMPLE}),
        splits=WMT_SPLITS,
        rows={"train": 205_756, "validation": 1001, "test": 3000},
        sample=_SAMPLE,
        gone=("tfds",),  # the address of its SETIMES part answers no more
    ),
)

TASKS = (_TASK,)

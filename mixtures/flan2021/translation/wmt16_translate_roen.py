"""WMT 2016, English and Romanian: sentences from parallel corpora, news for evaluation.

English: Two new bridges will be built next year.
Romanian:
→ Două poduri noi vor fi construite anul viitor.
"""

from flan_jax.mixtures.flan2021.translation.templates import WMT_SPLITS, hub_pair, translation_task
from flan_jax.tasks import Corpus, Hub

_SAMPLE = {"ro": "Două poduri noi vor fi construite anul viitor.", "en": "Two new bridges will be built next year."}
_TASK = translation_task(
    "wmt16_translate_roen",
    "ro",
    "Romanian",
    Corpus(
        "wmt16_translate_roen",
        tfds="wmt16_translate/ro-en:1.0.0",
        hub=Hub("wmt/wmt16", "ro-en", row=hub_pair, sample={"translation": _SAMPLE}, is_sorted=True),
        splits=WMT_SPLITS,
        rows={"train": 610_320, "validation": 1999, "test": 1999},
        sample=_SAMPLE,
        gone=("tfds",),  # the address of its SETIMES part answers no more
    ),
)

TASKS = (_TASK,)

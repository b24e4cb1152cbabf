"""WMT 2016, English and German: sentences from parallel corpora, news for evaluation.

English: The vote will take place tomorrow at noon.
German:
→ Die Abstimmung findet morgen um 12 Uhr statt.
"""

from flan_jax.mixtures.flan2021.translation.templates import WMT_SPLITS, hub_pair, translation_task
from flan_jax.tasks import Corpus, Hub

_SAMPLE = {"de": "Die Abstimmung findet morgen um 12 Uhr statt.", "en": "The vote will take place tomorrow at noon."}
_TASK = translation_task(
    "wmt16_translate_deen",
    "de",
    "German",
    Corpus(
        "wmt16_translate_deen",
        tfds="wmt16_translate/de-en:1.0.0",
        hub=Hub("wmt/wmt16", "de-en", row=hub_pair, sample={"translation": _SAMPLE}, is_sorted=True),
        splits=WMT_SPLITS,
        rows={"train": 4_548_885, "validation": 2169, "test": 2999},
        sample=_SAMPLE,
    ),
)

TASKS = (_TASK,)

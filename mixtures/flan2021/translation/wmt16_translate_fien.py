"""WMT 2016, English and Finnish: sentences from parallel corpora, news for evaluation.

English: The committee has not yet answered our letter.
Finnish:
→ Valiokunta ei ole vielä vastannut kirjeeseemme.
"""

from flan_jax.mixtures.flan2021.translation.templates import WMT_SPLITS, hub_pair, translation_task
from flan_jax.tasks import Corpus, Hub

_SAMPLE = {
    "fi": "Valiokunta ei ole vielä vastannut kirjeeseemme.",
    "en": "The committee has not yet answered our letter.",
}
_TASK = translation_task(
    "wmt16_translate_fien",
    "fi",
    "Finnish",
    Corpus(
        "wmt16_translate_fien",
        tfds="wmt16_translate/fi-en:1.0.0",
        hub=Hub("wmt/wmt16", "fi-en", row=hub_pair, sample={"translation": _SAMPLE}, is_sorted=True),
        splits=WMT_SPLITS,
        rows={"train": 2_073_394, "validation": 1370, "test": 6000},
        sample=_SAMPLE,
    ),
)

TASKS = (_TASK,)

"""ParaCrawl, English and Spanish: sentences of web pages in both languages.

English: Breakfast is served on the terrace until ten.
Spanish:
→ El desayuno se sirve en la terraza hasta las diez.
"""

from flan_jax.mixtures.flan2021.declaring import TRAIN, VALIDATION
from flan_jax.mixtures.flan2021.translation.templates import translation_task
from flan_jax.tasks import Corpus

_TEST = 1000
_TASK = translation_task(
    "para_crawl_enes",
    "es",
    "Spanish",
    Corpus(
        "para_crawl_enes",
        tfds="para_crawl/enes:1.2.0",
        splits={
            "train": f"train[:{TRAIN}]",
            "validation": f"train[-{_TEST + VALIDATION}:-{_TEST}]",
            "test": f"train[-{_TEST}:]",
        },
        rows={"train": 21_987_267},
        sample={
            "en": "Breakfast is served on the terrace until ten.",
            "es": "El desayuno se sirve en la terraza hasta las diez.",
        },
    ),
)

TASKS = (_TASK,)

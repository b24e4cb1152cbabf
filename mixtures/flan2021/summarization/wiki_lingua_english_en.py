"""WikiLingua (GEM): the steps of a how-to article in short.

Before you start, cover the floor and the furniture with old sheets. Then go over the walls with fine sandpaper, so that
the paint will hold. Use a wide roller, which leaves fewer streaks than a brush, and let each coat dry overnight.

Sum up these instructions.
→ Cover the furniture. Sand the walls. Apply the paint with a roller.
"""

from flan_jax.mixtures.flan2021.declaring import flan_task
from flan_jax.tasks import Corpus, Hub

_WIKI_LINGUA = flan_task(
    name="wiki_lingua_english_en",
    cluster="summarization",
    source=Corpus(
        "wiki_lingua_english_en",
        tfds="gem/wiki_lingua_english_en:1.1.0",
        hub=Hub("GEM/wiki_lingua", "en"),
        splits={"train": "train[:30000]", "validation": "validation[:200]", "test": "test"},
        rows={"train": 99020, "validation": 13823, "test": 28614},
        sample={
            "gem_id": "wiki_lingua_english_en-train-0",
            "gem_parent_id": "wiki_lingua_english_en-train-0",
            "source": "Before you start, cover the floor and the furniture with old sheets. Then go over the walls "
            "with fine sandpaper, so that the paint will hold. Use a wide roller, which leaves fewer streaks than a "
            "brush, and let each coat dry overnight.",
            "target": "Cover the furniture. Sand the walls. Apply the paint with a roller.",
            "references": [],
        },
    ),
    answer="target",
    metrics=("rouge",),
    templates=(
        "{source}\n\nSum up these instructions.",
        "Cut this guide down to its steps, with a short sentence for each.\n\n{source}",
        "How-to article:\n{source}\n\nIn brief:",
        "What do I have to do? Just the essentials, please.\n\n{source}",
        "Give me only the key advice from the text below.\n{source}",
        "Shorten the following to a few plain commands: {source}",
        "A page of a handbook has the details, but the overview is missing. Write the overview.\n\nDetails: {source}",
        "{source} What would a summary of this tutorial say?",
    ),
    inverted_templates=(
        ("Write out in detail how to carry out these steps: {answer}", "{source}"),
        ("Outline of a how-to article: {answer}\n\nComplete the article.", "{source}"),
    ),
    held_out_templates=(
        "My hands will be full, so I need something short enough to remember.\nLong form: {source}\nShort form:",
        'Which steps does this teach? Leave out reasons and examples.\n"""\n{source}\n"""',
    ),
)

TASKS = (_WIKI_LINGUA,)

"""Yelp polarity: whether a review of a business is negative or positive.

Review text: They know my "usual" and it is ready in five minutes.
I will be back.
Polarity (positive/negative):
→ positive
"""

import re

from flan_jax.mixtures.flan2021.declaring import flan_task
from flan_jax.tasks import Corpus, Hub
from flan_jax.tasks.sources import Row


def _fields(row: Row) -> Row:
    """Undoes the escapes of the file that the data come from: a quote is \\"" there, a new line \\n."""
    text = re.sub(r'\\?""', '"', row["text"])
    return {"text": re.sub(r"\s*(?:\\n)+\s*", "\n", text).strip(), "label": row["label"]}


_YELP_POLARITY_REVIEWS = flan_task(
    name="yelp_polarity_reviews",
    cluster="sentiment",
    source=Corpus(
        "yelp_polarity_reviews",
        tfds="yelp_polarity_reviews:0.2.0",
        hub=Hub("fancyzhx/yelp_polarity", "plain_text", is_sorted=True),  # by business
        splits={"train": "train[:30000]", "validation": "train[-200:]", "test": "test"},
        rows={"train": 560_000, "test": 38_000},
        sample={
            "text": 'They know my \\""usual\\"" and it is ready in five minutes.\\n\\nI will be back.',
            "label": 1,
        },
    ),
    preprocess=_fields,
    options=("negative", "positive"),
    answer="label",
    templates=(
        "{text}\n\nDid this customer leave with a negative or a positive impression?",
        "Label what the customer says.\nReview: {text}\n{options}",
        "You own the business that this is about: {text}\nWhat sort of feedback have you just got?\n{options}",
        "What is the sentiment of the following online review of a local business?\n\n{text}\n\n{options}",
        "A guest says:\n{text}\n\nWould you put that among the negative or the positive comments?",
        "{text}\nGoing only by the text above, how was the visit?\n{options}",
        "The stars of this review got lost. Was it on the positive or on the negative side?\n\n{text}",
        "Review text: {text}\nPolarity (positive/negative):",
    ),
    inverted_templates=(
        ("Write what somebody might say online after a {answer} experience as a customer.", "{text}"),
        ("Please make up a {answer} review of a restaurant, a shop or some other service.", "{text}"),
    ),
    held_out_templates=(
        "review = {text}\nsentiment = ?\n{options}",
        "Hi team, this came in overnight:\n> {text}\nWhich tag should it carry?\nThanks, Jo\n{options}",
    ),
)

TASKS = (_YELP_POLARITY_REVIEWS,)

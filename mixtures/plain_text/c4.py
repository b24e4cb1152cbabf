"""C4 in English: the text of web pages, cleaned, as T5 and UL2 were pretrained on it.

The ferry leaves at seven. Bring a coat, since the wind is cold on deck ...

It is read from TFDS, which makes it of Common Crawl by Apache Beam; streamed from the hub, with Data.corpora =
{"c4": "hugging_face"}; or from the hub's files that you get yourself: {"c4": "c4/en/c4-{split}.*.json.gz"}. Under
ODC-BY, and the terms of Common Crawl.
"""

from flan_jax.mixtures.plain_text.objectives import text_tasks
from flan_jax.tasks import Corpus, Hub

_SAMPLE = {
    "text": "The ferry leaves at seven. Bring a coat, since the wind is cold on deck, and something to read.\n"
    "Tickets are sold at the kiosk by the pier, which opens an hour before. Dogs travel free of charge, bicycles cost "
    "two coins. In winter there is one crossing a day; whoever misses it can stay at the inn behind the church."
}

TASKS = tuple(
    task.register()
    for task in text_tasks(
        Corpus(
            "c4",
            tfds="c4/en:3.1.0",
            hub=Hub("allenai/c4", "en", revision="1588ec454efa1a09f29cd18ddd04fe05fc8653a2"),
            splits={"train": "train", "validation": "validation"},
            sample=_SAMPLE,
            get="the folder en of the data set allenai/c4 on the hub of Hugging Face: "
            "c4-train.00000-of-01024.json.gz and so on, ODC-BY",
        )
    )
)

"""Opinion Abstracts, Rotten Tomatoes: what the critics of a film agree on.

Reviews of The Lighthouse Keeper:
1. The sea has never looked so cold.
2. Two hours of gulls and silence, and not one of them dull.
3. It is slow, but every image stays with you.

What do the critics agree on?
→ Slow but beautifully filmed, The Lighthouse Keeper rewards the patient.
"""

import re
from typing import Any

from flan_jax.mixtures.flan2021.declaring import flan_task
from flan_jax.tasks import Corpus, Template

_TAG = re.compile(r"</?\w+>")
_REVIEWS = 10  # as many as are shown


def _film(row: dict[str, Any]) -> dict[str, Any] | None:
    reviews = [review.strip() for review in row["_critics"]["value"] if review.strip()]
    consensus = _TAG.sub("", row["_critic_consensus"]).strip()
    if not reviews or not consensus:
        return None
    numbered = [f"{number}. {review}" for number, review in enumerate(reviews[:_REVIEWS], 1)]
    movie = row["_movie_name"].replace("_", " ")
    return {"movie": movie, "reviews": "\n".join(numbered), "review": reviews[0], "consensus": consensus}


_ROTTEN_TOMATOES = flan_task(
    name="opinion_abstracts_rotten_tomatoes",
    cluster="summarization",
    source=Corpus(
        "opinion_abstracts_rotten_tomatoes",
        tfds="opinion_abstracts/rotten_tomatoes:1.0.0",
        splits={"train": "train[:-600]", "validation": "train[-600:-500]", "test": "train[-500:]"},
        rows={"train": 3731},
        sample={
            "_movie_name": "The Lighthouse Keeper",
            "_movie_id": "the_lighthouse_keeper",
            "_critics": {
                "key": ["1", "2", "3"],
                "value": [
                    "The sea has never looked so cold.",
                    "Two hours of gulls and silence, and not one of them dull.",
                    "It is slow, but every image stays with you.",
                ],
            },
            "_critic_consensus": "Slow but beautifully filmed, The Lighthouse Keeper rewards the patient.",
        },
    ),
    preprocess=_film,
    answer="consensus",
    metrics=("rouge",),
    templates=(
        "Reviews of {movie}:\n{reviews}\n\nWhat do the critics agree on?",
        "Here is what was written about {movie}.\n\n{reviews}\n\nSum up these opinions in a sentence.",
        "{reviews}\n\nWrite the consensus of the film critics above.",
        "I am thinking of seeing {movie}. How has it been received on the whole?\n\n{reviews}",
        "Film: {movie}\nCritics:\n{reviews}\nConsensus:",
        "Turn the following remarks on a movie into one general verdict.\n\n{reviews}",
        "The poster for {movie} has room for one honest line. Write it on the basis of the reviews.\n{reviews}",
        "{reviews}\n\nIf all of these reviewers signed a single statement, how would it read?",
    ),
    inverted_templates=(
        ("The critics' consensus on {movie}: {answer}\nWrite a line from one of their reviews.", "{review}"),
        ("What might a reviewer say who shares this view of a film? {answer}", "{review}"),
        Template("Write a sentence for a review of the movie {movie}.", "{review}", "open"),
    ),
    held_out_templates=(
        "{movie} -- what the papers say\n{reviews}\n\nOverall:",
        "You run a site that collects reviews and adds a sentence that speaks for them all. Today's film is {movie}, "
        "and this is what came in: {reviews}\nWhat do you publish?",
    ),
)

TASKS = (_ROTTEN_TOMATOES,)

"""Short reviews: is the writer pleased, and what is reviewed?

inputs:  Is this review positive or negative? The actors were great and the music was lovely.
targets: positive
"""

from collections.abc import Iterator

from flan_jax.mixtures.starter import draws
from flan_jax.mixtures.starter.held_out import TEMPLATES
from flan_jax.mixtures.starter.lexicon import words
from flan_jax.mixtures.starter.templates import fill
from flan_jax.tasks import InstructionTask, generator

_SENTIMENT_TEMPLATES = (
    "Is this review positive or negative? {review}",
    "{review} Is this positive or negative?",
    "What is the sentiment of this review? {review} {options}",
    "{review} What is the sentiment? {options}",
    "Give the sentiment of the review. {review} {options}",
    "Review: {review} {options} Sentiment:",
    "How does the writer feel? {review} {options}",
    "{review} How does the writer of this review feel? {options}",
    "Read the review and pick the sentiment. {review} {options}",
    "{review} Pick the sentiment of the writer. {options}",
    "Would you say this is positive or negative? {review}",
    "Say how the writer feels: {review} {options}",
)
_TOPIC_TEMPLATES = (
    "What is this review about? {review} {options}",
    "{review} What is it about? {options}",
    "Give the topic of the review. {review} {options}",
    "{review} What is the topic? {options}",
    "Review: {review} {options} Topic:",
    "Is this about a film, a meal, a hotel or a book? {review}",
    "{review} Is it about a film, a meal, a hotel or a book?",
    "Which topic fits this review? {review} {options}",
    "{review} Which of these is it about? {options}",
    "Read the review and pick the topic. {review} {options}",
    "{review} Pick the topic of this review. {options}",
    "Say what the writer is talking about: {review} {options}",
)
_INVERTED = (
    "Write a {sentiment} review of a {topic}.",
    "Give a {sentiment} review. Topic: {topic}",
    "Topic: {topic} Sentiment: {sentiment} Review:",
    "What would a {sentiment} review of a {topic} say?",
)
_ASPECTS = {
    "film": ("actors", "scenes", "music", "hero", "camera"),
    "meal": ("waiter", "sauce", "dessert", "plates", "starter"),
    "hotel": ("room", "bed", "pool", "towels", "shower"),
    "book": ("pages", "chapters", "author", "cover", "pictures"),
}
_PLURAL = {"actors", "scenes", "plates", "towels", "pages", "chapters", "pictures"}
_JUDGEMENTS = {
    "positive": words("great lovely wonderful excellent charming pleasant perfect delightful brilliant splendid"),
    "negative": words("awful terrible dull horrible dreadful boring nasty ugly poor useless"),
}
_FORMS = (
    "The {one} {was_one} {good} and the {two} {was_two} {fine}.",
    "I found the {one} {good} and the {two} {fine}.",
    "The {one} {was_one} {good}, and so {was_two} the {two}.",
    "For me the {one} {was_one} {good} and the {two} {fine}.",
)


def _row(draw: draws.Draws) -> draws.Row:
    topic, sentiment = draw.pick(tuple(_ASPECTS)), draw.pick(tuple(_JUDGEMENTS))
    one, two = draw.distinct(_ASPECTS[topic], 2)
    good, fine = draw.distinct(_JUDGEMENTS[sentiment], 2)
    was_one, was_two = ("were" if aspect in _PLURAL else "was" for aspect in (one, two))
    review = draw.pick(_FORMS).format(one=one, two=two, good=good, fine=fine, was_one=was_one, was_two=was_two)
    return {"review": review, "topic": topic, "sentiment": sentiment}


def reviews(split: str) -> Iterator[draws.Row]:
    """Yields the rows of a split; both tasks read the same ones."""
    return draws.rows("reviews", "review", _row, split)


ALL = (
    InstructionTask(
        name="review_sentiment",
        source=generator(reviews, num_rows=draws.NUM_ROWS),
        templates=fill(_SENTIMENT_TEMPLATES),
        held_out_templates=fill(TEMPLATES["review_sentiment"]),
        inverted_templates=fill(_INVERTED, "{review}"),
        options=tuple(_JUDGEMENTS),
        answer="sentiment",
        cluster="reviews",
        chance=1 / 2,
        cap=1_000,
    ),
    InstructionTask(
        name="review_topic",
        source=generator(reviews, num_rows=draws.NUM_ROWS),
        templates=fill(_TOPIC_TEMPLATES),
        held_out_templates=fill(TEMPLATES["review_topic"]),
        options=tuple(_ASPECTS),
        answer="topic",
        cluster="reviews",
        chance=1 / 4,
        cap=1_000,
    ),
)

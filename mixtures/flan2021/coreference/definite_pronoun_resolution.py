"""Definite pronoun resolution: which of two nouns a pronoun stands for.

The bees flew from the smoke because it stung them.
Who or what does "it" refer to?
OPTIONS:
- The bees
- the smoke
→ the smoke
"""

from flan_jax.mixtures.flan2021.declaring import flan_task
from flan_jax.tasks import Corpus, Hub

_DEFINITE_PRONOUN_RESOLUTION = flan_task(
    name="definite_pronoun_resolution",
    cluster="coreference",
    source=Corpus(
        "definite_pronoun_resolution",
        tfds="definite_pronoun_resolution:1.1.0",
        hub=Hub("community-datasets/definite_pronoun_resolution", "plain_text"),
        splits={"train": "train[:-200]", "validation": "train[-200:]", "test": "test"},
        rows={"train": 1322, "test": 564},
        sample={
            "sentence": "The bees flew from the smoke because it stung them.",
            "pronoun": "it",
            "candidates": ["The bees", "the smoke"],
            "label": 1,
        },
    ),
    options="candidates",
    answer="label",
    chance=0.5,
    templates=(
        '{sentence}\nWho or what does "{pronoun}" refer to?\n{options}',
        'In the sentence below, find the words that the pronoun "{pronoun}" stands for.\n\n{sentence}\n\n{options}',
        "Sentence: {sentence}\nPronoun: {pronoun}\nWhat is its antecedent?\n{options}",
        'If I wanted to say "{sentence}" without the word "{pronoun}", what could I put there instead?\n{options}',
        'Reading "{sentence}" I am not sure who or what is meant by "{pronoun}". Can you tell me?\n{options}',
        'Identify the meaning of "{pronoun}" here: {sentence}\n{options}',
        '{sentence} Hold on, which "{pronoun}"?\n{options}',
        'A translator must know what "{pronoun}" points to in this sentence:\n{sentence}\nGive the answer.\n{options}',
    ),
    inverted_templates=(
        ('Write a sentence with the pronoun "{pronoun}" in it, which should refer to: {answer}', "{sentence}"),
        (
            'Make up a sentence that mentions both of these: {candidates}. In it, "{pronoun}" has to mean: {answer}',
            "{sentence}",
        ),
    ),
    held_out_templates=(
        "{sentence}\n{pronoun} := ?\n{options}",
        'On the blackboard an arrow leads from "{pronoun}" back to the words that it replaces. Where does the arrow '
        "end?\n{sentence}\n{options}",
    ),
)

TASKS = (_DEFINITE_PRONOUN_RESOLUTION,)

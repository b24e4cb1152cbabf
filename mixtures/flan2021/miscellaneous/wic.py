"""WiC (SuperGLUE): whether a word has the same sense in two sentences.

Take the word "bank".
- We had a picnic on the bank of the river.
- The bank closes at four on Fridays.
Same sense, or a different sense?
OPTIONS:
- a different sense
- the same sense
→ a different sense
"""

from flan_jax.mixtures.flan2021.declaring import flan_task
from flan_jax.tasks import Corpus, Hub

_WIC = flan_task(
    name="wic",
    cluster="miscellaneous",
    source=Corpus(
        "wic",
        tfds="super_glue/wic:1.0.2",
        hub=Hub("aps/super_glue", "wic"),
        splits={"train": "train[:-200]", "validation": "train[-200:]", "test": "validation"},
        rows={"train": 5428, "validation": 638},
        sample={
            "word": "bank",
            "sentence1": "We had a picnic on the bank of the river.",
            "sentence2": "The bank closes at four on Fridays.",
            "start1": 23,
            "end1": 27,
            "start2": 4,
            "end2": 8,
            "label": 0,
            "idx": 0,
        },
    ),
    options=("a different sense", "the same sense"),
    answer="label",
    templates=(
        'Take the word "{word}".\n- {sentence1}\n- {sentence2}\nSame sense, or a different sense?\n{options}',
        '{sentence1}\n{sentence2}\n\nIn the second line, does "{word}" have the sense that it has in the first, or '
        "another one?\n{options}",
        "Word: {word}\nFirst use: {sentence1}\nSecond use: {sentence2}\nWhat sense does the second use have, compared "
        "with the first?\n{options}",
        'Would a dictionary print these two examples under one and the same sense of "{word}"?\n1. {sentence1}\n2. '
        "{sentence2}\n{options}",
        'I am learning English and have met "{word}" twice by now.\nFirst here: {sentence1}\nThen here: {sentence2}\n'
        "Was that in the same sense?\n{options}",
        'Many words can mean several things. Decide whether the meaning of "{word}" changes from sentence A to '
        "sentence B.\n\nA: {sentence1}\nB: {sentence2}\n\n{options}",
        'Ann says: {sentence1}\nBen says: {sentence2}\nDo they both mean the same by "{word}"?\n{options}',
        "Compare how a word is used: is it the same sense or a different one?\n\n"
        "Sentence 1: {sentence1}\nSentence 2: {sentence2}\nWord to look at: {word}\n\n"
        "{options}",
        'Is it a pun to put "{sentence1}" next to "{sentence2}" because "{word}" is used in a different sense, or is '
        "it the same sense?\n{options}",
    ),
    inverted_templates=(
        (
            'Here is a sentence with the word "{word}": {sentence1}\nWrite another one that uses it in {answer}.',
            "{sentence2}",
        ),
        ('{sentence2}\n\nGive an example in which "{word}" has {answer}.', "{sentence1}"),
    ),
    held_out_templates=(
        'Sense check, same or different?\n"{word}" / {sentence1} / {sentence2}\n{options}',
        'A translator wonders if she can render "{word}" alike in two places. One reads "{sentence1}", the other '
        '"{sentence2}". What do you tell her about its sense in the other?\n{options}',
    ),
)

TASKS = (_WIC,)

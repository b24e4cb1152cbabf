"""MRPC (GLUE): whether two sentences from the news mean the same.

Sentence 1: The bank said on Monday that it would close 12 of its branches .
Sentence 2: Twelve branches are to be closed , the bank announced Monday .

Is the second a paraphrase of the first?
OPTIONS:
- no
- yes
→ yes
"""

from flan_jax.mixtures.flan2021.declaring import flan_task
from flan_jax.tasks import Corpus, Hub, binary_f1

_MRPC = flan_task(
    name="glue_mrpc",
    cluster="paraphrase",
    source=Corpus(
        "glue_mrpc",
        tfds="glue/mrpc:2.0.0",
        hub=Hub("nyu-mll/glue", "mrpc"),
        splits={"train": "train[:-200]", "validation": "train[-200:]", "test": "validation"},
        rows={"train": 3_668, "validation": 408},
        sample={
            "sentence1": "The bank said on Monday that it would close 12 of its branches .",
            "sentence2": "Twelve branches are to be closed , the bank announced Monday .",
            "label": 1,
            "idx": 0,
        },
    ),
    options=("no", "yes"),
    answer="label",
    metrics=("accuracy", binary_f1("yes")),
    templates=(
        "{sentence1}\n{sentence2}\nDo these two say the same thing?\n{options}",
        "Sentence 1: {sentence1}\nSentence 2: {sentence2}\n\nIs the second a paraphrase of the first?\n{options}",
        "One newspaper writes: {sentence1} Another one writes: {sentence2} Is it the same news in other words?\n"
        "{options}",
        'Could an editor put "{sentence2}" for "{sentence1}" without a change in meaning?\n{options}',
        "I had to reword this line: {sentence1}\nHere is my attempt: {sentence2}\nHave I kept the meaning?\n{options}",
        "Compare what the two lines mean.\n(a) {sentence1}\n(b) {sentence2}\nEquivalent?\n{options}",
        "Would a reader learn just as much from either of these?\n- {sentence1}\n- {sentence2}\n{options}",
        "Original: {sentence1}\nRewrite: {sentence2}\nDecide whether the rewrite is faithful to the original.\n"
        "{options}",
        "{sentence1}\n\nDoes that come to the same as what follows? {sentence2}\n{options}",
        "I want no duplicates in my news feed. May I drop one of these items, since it repeats the other?\n\n"
        "{sentence1}\n\n{sentence2}\n\n{options}",
    ),
    inverted_templates=(
        (
            "{sentence1}\n\nWrite another sentence on this piece of news. Should it mean the same? {answer}",
            "{sentence2}",
        ),
        (
            "A line from the news: {sentence2}\nIs the next line to be a paraphrase of it? {answer}\nNext line:",
            "{sentence1}",
        ),
    ),
    held_out_templates=(
        'Anna told me: "{sentence1}" Ben told me: "{sentence2}" Did I hear the same from both of them?\n{options}',
        'Read "=" as "means the same as". Is this line right?\n{sentence1} = {sentence2}\n{options}',
    ),
)

TASKS = (_MRPC,)

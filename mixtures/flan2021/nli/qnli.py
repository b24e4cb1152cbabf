"""QNLI (GLUE): whether a sentence holds the answer to a question.

Question: Who designed the town's bridge?
Sentence: The bridge, which was opened in 1902, is 210 metres long.
Does the sentence answer the question?
OPTIONS:
- yes
- no
→ no
"""

from flan_jax.mixtures.flan2021.declaring import flan_task
from flan_jax.tasks import Corpus, Hub, Template

_QNLI = flan_task(
    name="qnli",
    cluster="nli",
    source=Corpus(
        "qnli",
        tfds="glue/qnli:2.0.0",
        hub=Hub("nyu-mll/glue", "qnli"),
        splits={"train": "train[:30000]", "validation": "train[-200:]", "test": "validation"},
        rows={"train": 104_743, "validation": 5_463},
        sample={
            "question": "Who designed the town's bridge?",
            "sentence": "The bridge, which was opened in 1902, is 210 metres long.",
            "label": 1,
            "idx": 0,
        },
    ),
    options=("yes", "no"),
    answer="label",
    trim_field="sentence",
    templates=(
        "Question: {question}\nSentence: {sentence}\nDoes the sentence answer the question?\n{options}",
        "I want to know this: {question}\nI found the following: {sentence}\nIs the answer in there?\n{options}",
        '{sentence}\n\nHaving read only that, could you answer "{question}"?\n{options}',
        'Can the answer to "{question}" be found in the text below?\n\n{sentence}\n\n{options}',
        "{question}\n{sentence}\nDoes the second line tell us what the first one asks?\n{options}",
        "Somebody asks: {question} Does this line from an encyclopedia tell them?\n{sentence}\n{options}",
        'A search for "{question}" returned this:\n{sentence}\nHas the search been a success?\n{options}',
        "The teacher asks: {question} A pupil points at this sentence in her book: {sentence} Did she find the "
        "answer?\n{options}",
        'Would whoever wonders "{question}" be content with this piece of information? {sentence}\n{options}',
        'Write "yes" if the passage has what it takes to answer the question, and "no" if it has not.\nPassage: '
        "{sentence}\nQuestion: {question}",
    ),
    inverted_templates=(
        ("{sentence}\n\nWrite a question. Does this sentence have to answer it? {answer}", "{question}"),
        (
            'Produce a sentence of an encyclopedia that goes with the question "{question}". Should it contain the '
            "answer? {answer}",
            "{sentence}",
        ),
        Template("Ask a question that an encyclopedia could answer.", "{question}", "open"),
    ),
    held_out_templates=(
        'Reading test. A candidate sees "{sentence}" and nothing else, and has to answer this: {question} Is that '
        "possible?\n{options}",
        "[question] {question} [evidence] {sentence} [is the evidence enough?]\n{options}",
    ),
)

TASKS = (_QNLI,)

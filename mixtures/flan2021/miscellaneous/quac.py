"""QuAC: a question of a student about a section of an encyclopedia, answered in the section's words if it can be.

She studied engraving in Turin. After the fire of 1871 she taught at a school for girls.

What did she do after the fire? If the text does not say, write "unanswerable".
→ she taught at a school for girls
"""

from flan_jax.mixtures.flan2021.declaring import flan_task
from flan_jax.tasks import Corpus, Template
from flan_jax.tasks.sources import Row

_NO_ANSWER = "CANNOTANSWER"  # stands for an answer, and at the end of each context


def _worded(row: Row) -> Row | None:
    """The original answer first, then what others gave; no answer in words that prompts name."""
    answers = [row["orig_answer"]["text"], *row["answers"]["text"]]
    context = row["context"].removesuffix(_NO_ANSWER).rstrip()
    if not context or not row["question"] or not all(answers):
        return None
    named = {field: row[field] for field in ("title", "section_title", "background", "question")}
    answers = ["unanswerable" if answer == _NO_ANSWER else answer for answer in answers]
    return {**named, "context": context, "answers": list(dict.fromkeys(answers))}


_QUAC = flan_task(
    name="quac",
    cluster="miscellaneous",
    source=Corpus(
        "quac",
        tfds="quac:1.0.0",
        splits={"train": "train[:30000]", "validation": "train[-200:]", "test": "validation"},
        rows={"train": 83_568, "validation": 7354},
        sample={
            "title": "Elena Bassi",
            "section_title": "Later years",
            "background": "Elena Bassi (1840-1902) was an Italian engraver.",
            "context": "She studied engraving in Turin. After the fire of 1871 she taught at a school for girls. "
            "CANNOTANSWER",
            "question": "What did she do after the fire?",
            "orig_answer": {"text": "she taught at a school for girls", "answer_start": 55},
            "answers": {"text": ["she taught at a school for girls", "taught"], "answer_start": [55, 59]},
            "yesno": "x",
            "followup": "y",
        },
    ),
    preprocess=_worded,
    answer="answers",
    metrics=("f1", "exact_match"),
    trim_field="context",
    templates=(
        '{context}\n\n{question} If the text does not say, write "unanswerable".',
        "Background: {background}\nText: {context}\nQuestion: {question}\n"
        'Answer (or "unanswerable" where the text has none):',
        "Somebody who cannot see the text below wants to know: {question}\n"
        'Quote the part that tells, or say "unanswerable" if nothing does.\n\n{context}',
        'This is about {title}, more exactly "{section_title}".\n{context}\n\n'
        'Using nothing else, answer this, with "unanswerable" for what is left open: {question}',
        "Article: {title}\nSection: {section_title}\n\n{context}\n\nA reader writes in: {question}\n"
        'Reply with words from the section, or with "unanswerable" when it is silent on that.',
        "Does the passage answer this, and how? {question}\n\nPassage: {context}\n\n"
        'Give the answer, or else "unanswerable".',
        "You are talking with a student about {title}. The student asks: {question}\n"
        'All that you have is this: {context}\nYour reply ("unanswerable" if you cannot tell):',
        '{background}\n\n{context}\n\nFind an answer to "{question}" in these paragraphs. Should there be none, report '
        '"unanswerable".',
        'Q: {question}\nSource: {context}\nA, which may be "unanswerable":',
    ),
    inverted_templates=(
        ('{context}\n\nWhich question about this passage gets the reply "{answer}"?', "{question}"),
        (
            'A student asks about "{section_title}" in the article on {title} and is told: {answer}\n'
            "What was the question?",
            "{question}",
        ),
        Template(
            'Imagine that you are curious about {title}, and above all about "{section_title}". Think of one thing to '
            "ask an expert.",
            "{question}",
            "open",
        ),
    ),
    held_out_templates=(
        "<text>\n{context}\n</text>\n<question>\n{question}\n</question>\n"
        'Copy the answer out of the text. Not in there? Then say "unanswerable".',
        "Can you help me? I am reading about {title} and this came up: {question} What I have in front of me: "
        '{context} Just tell me "unanswerable" if that is no use.',
    ),
)

TASKS = (_QUAC,)

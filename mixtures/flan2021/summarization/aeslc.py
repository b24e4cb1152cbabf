"""AESLC: the subject line of an email.

Hi all, the lift in the north wing will be out of order on Friday from 9 to 12. Please use the stairs.

Thanks, Ana

What would be a good subject line for this email?
→ Lift out of order on Friday
"""

from typing import Any

from flan_jax.mixtures.flan2021.declaring import flan_task
from flan_jax.tasks import Corpus, Hub


def _email(row: dict[str, Any]) -> dict[str, Any] | None:
    body, subject = row["email_body"].strip(), " ".join(row["subject_line"].split())
    return {"body": body, "subject": subject} if body and subject else None


_AESLC = flan_task(
    name="aeslc",
    cluster="summarization",
    source=Corpus(
        "aeslc",
        tfds="aeslc:1.0.0",
        hub=Hub("Yale-LILY/aeslc"),
        splits={"train": "train", "validation": "validation[-200:]", "test": "test"},
        rows={"train": 14436, "validation": 1960, "test": 1906},
        sample={
            "email_body": "Hi all, the lift in the north wing will be out of order on Friday from 9 to 12. Please use "
            "the stairs.\n\nThanks, Ana\n",
            "subject_line": "Lift out of order on Friday",
        },
        gone=("tfds",),  # the archive's checksum is not the recorded one
    ),
    preprocess=_email,
    answer="subject",
    metrics=("rouge",),
    templates=(
        "{body}\n\nWhat would be a good subject line for this email?",
        "I am about to send the email below and its subject is still blank. Fill it in for me.\n\n{body}",
        "Email:\n{body}\n\nSubject:",
        "Name the topic of this message in a few words, as the person who wrote it would.\n\n{body}",
        "Message: {body}\nCan you guess what stood in the subject field?",
        "Someone sent me this:\n\n{body}\n\nI want to find it again in my inbox. Give it a short title.",
        "Write the subject that belongs to the following mail. {body}",
        "What is it about? Answer with a subject line only.\n---\n{body}\n---",
    ),
    inverted_templates=(
        ('Write an email with the subject "{answer}".', "{body}"),
        ("Subject: {answer}\n\nDraft the message that goes with it.", "{body}"),
    ),
    held_out_templates=(
        "From: a colleague\nTo: me\nSubject: ???\n\n{body}\n\nReplace the question marks.\nSubject:",
        "If you had to squeeze this text into one line of a mailbox, how would that line read?\n\n{body}",
    ),
)

TASKS = (_AESLC,)

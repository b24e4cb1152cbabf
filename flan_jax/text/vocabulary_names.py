"""Names of vocabularies that are no files of the user's, and of the forms that a run's text is written in."""

from typing import Literal

STARTER, BYTES = "starter", "byte"  # the packaged one, and a byte a token (ByT5)
NAMES = (STARTER, BYTES)
Form = Literal["auto", "plain", "chat"]  # "auto": "chat" where the vocabulary comes with a chat template

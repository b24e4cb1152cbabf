"""The starter suite: generated tasks on which a small model learns to follow instructions in minutes.

`suite` registers the mixtures `starter` and `starter_eval`; `held_out` says what no training run may see; `vocabulary`
makes the SentencePiece model that comes with it.
"""

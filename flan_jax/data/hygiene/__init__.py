"""Which prepared examples a run does without: duplicates, rows of evals, and what filters leave out."""

"""Paraphrase: whether two texts mean the same, and how nearly."""

"""The starter suite: generated tasks on which a small model learns to follow instructions."""

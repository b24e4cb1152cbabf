"""Reading comprehension with common sense: questions about a text that does not say all that is needed."""

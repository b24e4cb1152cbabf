"""Miscellaneous: questions in a row, senses of words, kinds of questions, grammar, equations, formatting."""

"""Closed-book question answering: questions that are answered from what is known, with no text at hand."""

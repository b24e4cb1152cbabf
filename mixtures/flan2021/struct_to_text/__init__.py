"""Structured data, such as triples, attributes or key words, put into sentences."""

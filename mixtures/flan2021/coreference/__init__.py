"""Coreference: what a pronoun or a blank stands for."""

"""Commonsense: which ending, cause, effect or method is the plausible one."""

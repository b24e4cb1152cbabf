"""Instruction data that models wrote."""

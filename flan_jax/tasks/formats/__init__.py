"""Instruction data as they are published: a module for each format, which makes tasks of a file or folder."""

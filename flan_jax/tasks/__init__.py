"""Declares instruction tasks and derives their uses; the only room that imports seqio."""

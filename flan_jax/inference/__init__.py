"""A model to ask: loading, decoding, stops, how answers are written."""

"""A model to ask: loading, generation and its settings, stops, decoding."""

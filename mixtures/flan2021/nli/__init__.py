"""Natural language inference: what follows from a text, what contradicts it, and what does neither."""

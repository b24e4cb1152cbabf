"""Which example is in which row of which step: integers only."""

"""Reading comprehension: questions whose answers are found in, or worked out from, a text that is given."""

"""What `flan-jax` does beside training and evaluation: plan, inspect, tasks, prepare, vocab."""

"""Loss, optimiser, step, state, checkpoints and metrics of training."""

"""The training loop, its optimiser, checkpoints and early stopping."""

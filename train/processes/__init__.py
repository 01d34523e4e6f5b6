"""Training runs on worker processes."""

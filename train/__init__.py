"""Stage 2: cached layers in, predictions out."""
